"""Starting and stopping the engines."""

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
from testbed.waiting import until

HERE: Final = Path(__file__).parent
CLASS_PATHS: Final = Path(".local/engines")
"""Where ``make engines`` writes the class path of each engine."""

JVM_OPTIONS: Final = (
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",  # hot after seconds: an engine lives for minutes, on few cores
    "-Xmx512m",
    f"-Dlogback.configurationFile={HERE / 'logback.xml'}",
)


class EnginesMissing(Exception):
    """A sentence that says what to do."""


class Engines:
    """Run inside a ``with``, on ports of their own; their logs are in `folder`.

    API keys are in moto: there is no Secrets Manager to install, and nothing but reading one
    secret is asked of it.
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
            until(lambda: all(map(_answers, map(self._url, self._ports))), "the engines answer")
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
        file = self._folder / "s3proxy.properties"
        file.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
        return ("org.gaul.s3proxy.Main", "--properties", str(file))

    def _start(
        self, stack: ExitStack, name: str, arguments: Sequence[str], **environment: str
    ) -> None:
        command = ("java", *JVM_OPTIONS, "-cp", _class_path(name), *arguments)
        program = Program(name, command, {**_plain(os.environ), **environment})
        stack.enter_context(Process(program, log=self._folder / f"{name}.log"))

    def _url(self, name: str) -> str:
        return f"http://{HOST}:{self._ports[name]}"


def _class_path(name: str) -> str:
    try:
        return (CLASS_PATHS / f"{name}.classpath").read_text().strip()
    except FileNotFoundError:
        raise EnginesMissing("The engines are not installed: run `make engines`.") from None


def _plain(environment: Mapping[str, str]) -> dict[str, str]:
    """Without what would let an engine find another AWS than itself."""
    return {name: value for name, value in environment.items() if not name.startswith("AWS_")}


def _answers(url: str) -> bool:
    """Whatever it says to a request without a signature."""
    try:
        urllib3.request("GET", url, retries=False, timeout=1)
    except urllib3.exceptions.HTTPError:
        return False
    return True
