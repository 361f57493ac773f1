"""The same trouble on real sockets: real timeouts, real resets, answers of real bytes."""

import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import boto3
import botocore.session
import pytest

from local import aws_resources
from local.embedded_aws import REGION, EmbeddedAws
from services.common.aws import Aws, CallLimits
from services.common.errors import BucketUnavailable, TableUnavailable
from services.common.result_bucket import ResultBucket
from services.common.task_table import TaskTable
from testbed import fault_proxy
from testbed.endpoints import Endpoints, LoopbackClients
from testbed.fault_proxy import FaultProxy, Reply
from tests.aws_trouble.faults import (
    SILENT,
    BotoCall,
    ConnectionBroken,
    Kind,
    Refusal,
    Service,
    TimedOut,
    Trouble,
)
from tests.tasks import POLICY, new_task

IMPATIENT = CallLimits(
    connect_timeout_s=5, read_timeout_s=0.5, transfer_timeout_s=0.5, max_attempts=2
)
"""For calls that are to fail, however long an answer takes."""
PATIENT = replace(IMPATIENT, read_timeout_s=CallLimits().read_timeout_s)
"""For a call that is to succeed, also on a machine that is busy with other things."""


class Wire:
    """Says for each call on the wire what becomes of it: the proxy's `fault_for`."""

    def __init__(self) -> None:
        self.trouble: Trouble | None = None
        self.over = threading.Event()
        """Ends the waiting of calls that get no answer."""

    def __call__(self, call: fault_proxy.AwsCall) -> fault_proxy.Fault:
        return self._fault

    def _fault(self, call: fault_proxy.AwsCall, forward: Callable[[], Reply]) -> Reply:
        if self.trouble is None:
            return forward()
        try:
            outcome = self.trouble.befall(_judged(call), forward)
        except ConnectionBroken as broken:
            raise fault_proxy.ConnectionBroken from broken
        except TimedOut as timed_out:
            self.over.wait()
            raise fault_proxy.ConnectionBroken from timed_out
        if isinstance(outcome, Refusal):
            return Reply(outcome.status, outcome.body, {"Content-Type": outcome.content_type})
        return outcome


def _judged(call: fault_proxy.AwsCall) -> BotoCall:
    scope = re.search(r"Credential=[^/]+/\d+/[^/]+/([^/]+)/", call.headers["Authorization"])
    assert scope is not None
    return BotoCall(Service(scope[1]), call.operation, call.headers["amz-sdk-invocation-id"])


@pytest.fixture(scope="module")
def embedded() -> Iterator[EmbeddedAws]:
    with EmbeddedAws() as embedded:
        yield embedded


@pytest.fixture(scope="module")
def proxy(embedded: EmbeddedAws) -> Iterator[FaultProxy]:
    with FaultProxy(embedded.endpoint_url, fault_for=Wire()) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def session(proxy: FaultProxy, tmp_path_factory: pytest.TempPathFactory) -> boto3.Session:
    """Finds its endpoint where boto3 looks for it: in its configuration file."""
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
def wire(proxy: FaultProxy) -> Iterator[Wire]:
    wire = Wire()
    proxy.fault_for = wire
    yield wire
    wire.over.set()


@pytest.mark.parametrize("kind", SILENT)
def test_a_write_that_got_no_answer_is_sent_again_and_recognised(
    session: boto3.Session, resources: aws_resources.Resources, wire: Wire, kind: Kind
) -> None:
    aws = Aws(region=REGION, session=session, limits=PATIENT)
    table = TaskTable(aws.dynamodb(), table=resources.task_table, retention=POLICY.retention)
    task = new_task(f"write-{kind}")
    wire.trouble = Trouble(kind, Service.DYNAMODB, "PutItem", tries=1)
    assert table.create(task) == task
    assert len(wire.trouble.struck) == 1


@pytest.mark.parametrize("kind", Kind)
def test_a_table_that_stays_in_trouble_is_given_up_after_few_tries(
    session: boto3.Session, resources: aws_resources.Resources, wire: Wire, kind: Kind
) -> None:
    aws = Aws(region=REGION, session=session, limits=IMPATIENT)
    table = TaskTable(aws.dynamodb(), table=resources.task_table, retention=POLICY.retention)
    wire.trouble = Trouble(kind, Service.DYNAMODB)
    with pytest.raises(TableUnavailable):
        table.get("nobody")
    assert len(wire.trouble.struck) <= IMPATIENT.max_attempts


@pytest.mark.parametrize("kind", Kind)
def test_a_bucket_that_stays_in_trouble_is_given_up_after_few_tries(
    session: boto3.Session, resources: aws_resources.Resources, wire: Wire, kind: Kind
) -> None:
    aws = Aws(region=REGION, session=session, limits=IMPATIENT)
    bucket = ResultBucket(aws.s3(), bucket=resources.result_bucket)
    wire.trouble = Trouble(kind, Service.S3)
    with pytest.raises(BucketUnavailable):
        bucket.put("key", b"bytes", content_type="image/png")
    assert len(wire.trouble.struck) <= IMPATIENT.max_attempts
