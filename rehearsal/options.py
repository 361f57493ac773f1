"""What a user may choose about the rehearsal."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ENGINES = ("auto", "docker", "processes")


@dataclass(frozen=True, slots=True)
class RehearsalOptions:
    """`context` are further settings of the deployment; `app` is another app than the project's."""

    profile: str
    engine: str
    context: Mapping[str, str]
    app: str | None

    @property
    def environment_name(self) -> str:
        return self.context.get("environment", self.profile)


def read_options(arguments: Sequence[str]) -> RehearsalOptions:
    """Ends the program, with a sentence, where they are wrong."""
    parser = argparse.ArgumentParser(prog="python -m rehearsal", description=__doc__)
    parser.add_argument("--profile", default="dev", help="of the deployment, as app.py has them")
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default="auto",
        help="what containers run in; auto: Docker if an engine answers",
    )
    parser.add_argument(
        "--setting",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of the deployment; may be repeated",
    )
    parser.add_argument("--app", metavar="COMMAND", help="another CDK app than cdk.json's")
    given = parser.parse_args(arguments)
    pairs = [setting.partition("=") for setting in given.setting]
    if wrong := [name for name, separator, _ in pairs if not separator]:
        parser.error(f"--setting takes NAME=VALUE, not {', '.join(wrong)}")
    return RehearsalOptions(
        profile=given.profile,
        engine=given.engine,
        context={name: value for name, _, value in pairs},
        app=given.app,
    )
