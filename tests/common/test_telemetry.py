"""Log lines: JSON with embedded metrics, or text for the console."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from services.common import telemetry
from services.common.telemetry import Metric


def fail() -> None:
    secret = "a local variable"
    raise OSError(f"disk full, {len(secret)}")


@pytest.fixture
def configure() -> Iterator[Callable[[str], io.StringIO]]:
    """Configures logging to a stream, and restores the previous configuration afterwards."""
    structlog.contextvars.clear_contextvars()  # set by requests of other tests
    before = structlog.get_config()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []  # `configure` closes existing handlers

    def to_stream(log_format: Any) -> io.StringIO:
        stream = io.StringIO()
        telemetry.configure(
            service="worker", environment="blue", log_format=log_format, stream=stream
        )
        return stream

    yield to_stream
    structlog.configure(**before)
    root.handlers, root.level = handlers, level


def test_a_line_with_metrics_uses_the_embedded_metric_format(
    configure: Callable[[str], io.StringIO],
) -> None:
    stream = configure("json")
    structlog.get_logger().info(
        "attempt failed",
        task_id="t",
        metrics={Metric.TASKS_FAILED: 1},
        dimensions={"FailureCode": "source_not_found"},
    )
    [line] = stream.getvalue().splitlines()
    document = json.loads(line)
    [directive] = document["_aws"]["CloudWatchMetrics"]
    assert directive == {
        "Namespace": "Taskfleet",
        "Dimensions": [["Service", "Environment"], ["Service", "Environment", "FailureCode"]],
        "Metrics": [{"Name": "TasksFailed", "Unit": "Count"}],
    }
    # The document must have a member for every name in the directive.
    members = {name for names in directive["Dimensions"] for name in names} | {"TasksFailed"}
    assert {name: document[name] for name in members} == {
        "Service": "worker",
        "Environment": "blue",
        "FailureCode": "source_not_found",
        "TasksFailed": 1,
    }
    assert (document["message"], document["task_id"]) == ("attempt failed", "t")


def test_a_line_without_metrics_has_no_metric_directive(
    configure: Callable[[str], io.StringIO],
) -> None:
    stream = configure("json")
    structlog.get_logger().info("worker started")
    assert "_aws" not in json.loads(stream.getvalue())


def test_an_exception_is_logged_in_one_line_with_its_stack_trace(
    configure: Callable[[str], io.StringIO],
) -> None:
    stream = configure("json")
    try:
        fail()
    except OSError:
        structlog.get_logger().exception("health file not written")
    [line] = stream.getvalue().splitlines()
    trace = json.loads(line)["exception"]
    assert trace.startswith("Traceback")
    assert trace.endswith("OSError: disk full, 16")


def test_library_warnings_are_json_and_library_info_is_dropped(
    configure: Callable[[str], io.StringIO],
) -> None:
    stream = configure("json")
    library = logging.getLogger("urllib3")
    library.info("opened a connection")
    library.warning("connection %s lost", 7)
    [line] = stream.getvalue().splitlines()
    entry = json.loads(line)
    assert (entry["message"], entry["logger"], entry["level"]) == (
        "connection 7 lost",
        "urllib3",
        "warning",
    )


def test_the_console_shows_no_metrics_and_no_local_variables(
    configure: Callable[[str], io.StringIO],
) -> None:
    stream = configure("console")
    log = structlog.get_logger()
    log.info("task submitted", metrics={Metric.TASKS_SUBMITTED: 1}, dimensions={"Client": "b"})
    try:
        fail()
    except OSError:
        log.exception("attempt failed")
    submitted, *failed = stream.getvalue().splitlines()
    assert submitted.endswith("task submitted")
    assert failed[-1] == "OSError: disk full, 16"
    assert "a local variable" not in stream.getvalue()
