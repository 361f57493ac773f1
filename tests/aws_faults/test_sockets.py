"""The same faults on real sockets: real timeouts, connection resets and HTTP responses."""

import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import boto3
import botocore.session
import pytest

from local import aws_resources
from local.embedded_aws import REGION, EmbeddedAws
from services.common.aws import Aws
from services.common.call_limits import CallLimits
from services.common.errors import BucketUnavailable, TableUnavailable
from services.common.result_bucket import ResultBucket
from services.common.task_table import TaskTable
from testbed import fault_proxy
from testbed.endpoints import Endpoints, LoopbackClients
from testbed.fault_proxy import FaultProxy, Reply
from tests.aws_faults.faults import (
    NO_RESPONSE,
    BotoCall,
    ConnectionReset,
    ErrorResponse,
    FaultKind,
    FaultRule,
    ResponseTimeout,
    Service,
)
from tests.tasks import POLICY, new_task

SHORT_TIMEOUTS = CallLimits(
    connect_timeout_s=5, read_timeout_s=0.5, transfer_timeout_s=0.5, max_attempts=2
)
"""For calls that must fail."""
NORMAL_TIMEOUTS = replace(SHORT_TIMEOUTS, read_timeout_s=CallLimits().read_timeout_s)
"""For calls that must succeed, even on a busy machine."""


class ProxyFaults:
    """Applies a rule to the calls through the proxy, as its `fault_for`."""

    def __init__(self) -> None:
        self.rule: FaultRule | None = None
        self.finished = threading.Event()
        """Ends the calls that get no response."""

    def __call__(self, call: fault_proxy.AwsCall) -> fault_proxy.Fault:
        return self._fault

    def _fault(self, call: fault_proxy.AwsCall, forward: Callable[[], Reply]) -> Reply:
        if self.rule is None:
            return forward()
        try:
            response = self.rule.apply(_to_boto_call(call), forward)
        except ConnectionReset as reset:
            raise fault_proxy.ResetConnection from reset
        except ResponseTimeout as timeout:
            self.finished.wait()
            raise fault_proxy.ResetConnection from timeout
        if isinstance(response, ErrorResponse):
            return Reply(response.status, response.body, {"Content-Type": response.content_type})
        return response


def _to_boto_call(call: fault_proxy.AwsCall) -> BotoCall:
    scope = re.search(r"Credential=[^/]+/\d+/[^/]+/([^/]+)/", call.headers["Authorization"])
    assert scope is not None
    return BotoCall(Service(scope[1]), call.operation, call.headers["amz-sdk-invocation-id"])


@pytest.fixture(scope="module")
def embedded() -> Iterator[EmbeddedAws]:
    with EmbeddedAws() as embedded:
        yield embedded


@pytest.fixture(scope="module")
def proxy(embedded: EmbeddedAws) -> Iterator[FaultProxy]:
    with FaultProxy(embedded.endpoint_url, fault_for=ProxyFaults()) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def session(proxy: FaultProxy, tmp_path_factory: pytest.TempPathFactory) -> boto3.Session:
    """A session that reads the proxy's endpoint from boto3's configuration file."""
    file = tmp_path_factory.mktemp("aws") / "config"
    file.write_text(f"[default]\nendpoint_url = {proxy.url}\n")
    core = botocore.session.Session()
    core.set_config_variable("config_file", str(file))
    return boto3.Session(
        botocore_session=core, aws_access_key_id="test", aws_secret_access_key="test"
    )


@pytest.fixture(scope="module")
def resources(embedded: EmbeddedAws) -> aws_resources.Resources:
    clients = LoopbackClients(Endpoints.all_at(embedded.endpoint_url))
    return aws_resources.create(
        dynamodb=clients.dynamodb,
        sqs=clients.sqs,
        s3=clients.s3,
        secretsmanager=clients.secretsmanager,
        prefix="sockets",
    )


@pytest.fixture
def faults(proxy: FaultProxy) -> Iterator[ProxyFaults]:
    faults = ProxyFaults()
    proxy.fault_for = faults
    yield faults
    faults.finished.set()


@pytest.mark.parametrize("kind", NO_RESPONSE)
def test_a_write_without_a_response_is_retried_and_succeeds(
    session: boto3.Session, resources: aws_resources.Resources, faults: ProxyFaults, kind: FaultKind
) -> None:
    aws = Aws(region=REGION, session=session, limits=NORMAL_TIMEOUTS)
    table = TaskTable(aws.dynamodb(), table=resources.task_table, retention=POLICY.retention)
    task = new_task(f"write-{kind}")
    faults.rule = FaultRule(kind, Service.DYNAMODB, "PutItem", tries=1)
    assert table.create(task) == task
    assert len(faults.rule.failed) == 1


@pytest.mark.parametrize("kind", FaultKind)
def test_a_table_that_keeps_failing_is_unavailable_after_the_last_try(
    session: boto3.Session, resources: aws_resources.Resources, faults: ProxyFaults, kind: FaultKind
) -> None:
    aws = Aws(region=REGION, session=session, limits=SHORT_TIMEOUTS)
    table = TaskTable(aws.dynamodb(), table=resources.task_table, retention=POLICY.retention)
    faults.rule = FaultRule(kind, Service.DYNAMODB)
    with pytest.raises(TableUnavailable):
        table.get("unknown")
    assert len(faults.rule.failed) <= SHORT_TIMEOUTS.max_attempts


@pytest.mark.parametrize("kind", FaultKind)
def test_a_bucket_that_keeps_failing_is_unavailable_after_the_last_try(
    session: boto3.Session, resources: aws_resources.Resources, faults: ProxyFaults, kind: FaultKind
) -> None:
    aws = Aws(region=REGION, session=session, limits=SHORT_TIMEOUTS)
    bucket = ResultBucket(aws.s3(), bucket=resources.result_bucket)
    faults.rule = FaultRule(kind, Service.S3)
    with pytest.raises(BucketUnavailable):
        bucket.put("key", b"bytes", content_type="image/png")
    assert len(faults.rule.failed) <= SHORT_TIMEOUTS.max_attempts
