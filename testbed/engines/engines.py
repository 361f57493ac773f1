"""Starts and stops the engines."""

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self

import urllib3

from local.embedded_aws import EmbeddedAws
from local.ports import HOST, free_port
from local.processes import Program
from testbed.endpoints import ACCESS_KEY_ID, SECRET_ACCESS_KEY, Endpoints
from testbed.process import Process
from testbed.waiting import wait_until

HERE: Final = Path(__file__).parent
CLASS_PATHS: Final = Path(".local/engines")
"""Where ``make engines`` writes the class path of each engine."""

JVM_OPTIONS: Final = (
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",  # compile quickly: an engine runs for minutes on few cores
    "-Xmx512m",
    f"-Dlogback.configurationFile={HERE / 'logback.xml'}",
)


class EnginesNotInstalled(Exception):
    """The message says how to install the engines."""


class Engines:
    """Run inside a ``with``, on free ports. Their logs are written to `folder`.

    moto serves Secrets Manager, for which there is no engine. The services only read one secret.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._ports = {name: free_port() for name in ("dynamodb", "sqs", "s3")}
        self._secrets = EmbeddedAws()

    @property
    def endpoints(self) -> Endpoints:
        return Endpoints(
            dynamodb=self._url("dynamodb"),
            s3=self._url("s3"),
            secretsmanager=self._secrets.endpoint_url,
            sqs=self._url("sqs"),
        )

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self._secrets)
            self._start(stack, "dynamodb", self._dynamodb())
            self._start(stack, "sqs", self._sqs(), PORT=str(self._ports["sqs"]))
            self._start(stack, "s3", self._s3())
            wait_until(
                lambda: all(map(_responds, map(self._url, self._ports))), "the engines respond"
            )
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _dynamodb(self) -> Sequence[str]:
        return (
            str(HERE / "DynamoDbOnLoopback.java"),
            *("-inMemory", "-sharedDb", "-disableTelemetry"),
            *("-port", str(self._ports["dynamodb"])),
        )

    def _sqs(self) -> Sequence[str]:
        return (f"-Dconfig.file={HERE / 'elasticmq.conf'}", "org.elasticmq.server.Main")

    def _s3(self) -> Sequence[str]:
        properties = {
            "s3proxy.endpoint": self._url("s3"),
            "s3proxy.authorization": "aws-v2-or-v4",
            "s3proxy.identity": ACCESS_KEY_ID,
            "s3proxy.credential": SECRET_ACCESS_KEY,
            "s3proxy.ignore-unknown-headers": "true",  # the checksums that boto3 sends
            "jclouds.provider": "transient-nio2",
            "jclouds.identity": "unused",
            "jclouds.credential": "unused",
        }
        path = self._folder / "s3proxy.properties"
        path.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
        return ("org.gaul.s3proxy.Main", "--properties", str(path))

    def _start(
        self, stack: ExitStack, name: str, arguments: Sequence[str], **environment: str
    ) -> None:
        command = ("java", *JVM_OPTIONS, "-cp", _class_path(name), *arguments)
        program = Program(name, command, {**_without_aws(os.environ), **environment})
        stack.enter_context(Process(program, log=self._folder / f"{name}.log"))

    def _url(self, name: str) -> str:
        return f"http://{HOST}:{self._ports[name]}"


def _class_path(name: str) -> str:
    try:
        return (CLASS_PATHS / f"{name}.classpath").read_text().strip()
    except FileNotFoundError:
        raise EnginesNotInstalled("The engines are not installed. Run `make engines`.") from None


def _without_aws(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without variables that could make an engine use another AWS."""
    return {name: value for name, value in environment.items() if not name.startswith("AWS_")}


def _responds(url: str) -> bool:
    """Whether the engine responds to an unsigned request, with any status."""
    try:
        urllib3.request("GET", url, retries=False, timeout=1)
    except urllib3.exceptions.HTTPError:
        return False
    return True
