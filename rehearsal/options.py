"""Command-line options of the rehearsal."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ENGINES = ("auto", "docker", "processes")


@dataclass(frozen=True, slots=True)
class RehearsalOptions:
    """`settings` override those of the profile. `app` is a CDK app to use instead of cdk.json's."""

    profile: str
    engine: str
    settings: Mapping[str, str]
    app: str | None

    @property
    def environment_name(self) -> str:
        return self.settings.get("environment", self.profile)


def read_options(arguments: Sequence[str]) -> RehearsalOptions:
    """Parse the command line. Exits with a usage message if it is invalid."""
    parser = argparse.ArgumentParser(
        prog="python -m rehearsal",
        description="Deploy to an emulated AWS, test the deployment as a client, and destroy it.",
    )
    parser.add_argument("--profile", default="dev", help="a profile of app.py")
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default="auto",
        help="what runs the containers; auto uses Docker if it is available",
    )
    parser.add_argument(
        "--setting",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a deployment setting; may be repeated",
    )
    parser.add_argument("--app", metavar="COMMAND", help="a CDK app to use instead of cdk.json's")
    parsed = parser.parse_args(arguments)
    pairs = [setting.partition("=") for setting in parsed.setting]
    if invalid := [name for name, separator, _ in pairs if not separator]:
        parser.error(f"--setting takes NAME=VALUE, not {', '.join(invalid)}")
    return RehearsalOptions(
        profile=parsed.profile,
        engine=parsed.engine,
        settings={name: value for name, _, value in pairs},
        app=parsed.app,
    )
