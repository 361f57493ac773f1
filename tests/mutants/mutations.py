"""The mutations, each with the tests that must fail."""

from collections.abc import Sequence
from dataclasses import dataclass

TABLE = "services/common/task_table.py"
TASK = "services/common/task.py"
PROCESSOR = "services/worker/processor.py"
LEASE = "services/worker/lease.py"
CONSUMER = "services/worker/consumer.py"
RECONCILE = "services/worker/reconciler.py"
SERVICE = "services/api/task_service.py"
BUCKET = "services/common/result_bucket.py"
DEAD_LETTERS = "taskctl/dead_letters.py"

MODEL = "tests/model/test_model.py"
ON_TABLE = "tests/common/test_task_table.py"
ON_LOST_RESPONSES = "tests/aws_faults/test_lost_responses.py"
ON_PROCESSOR = "tests/worker/test_processor.py"
ON_LEASE = "tests/worker/test_lease.py"
ON_CONSUMER = "tests/worker/test_consumer.py"
ON_RECONCILE = "tests/worker/test_reconciler.py"
ON_SUBMIT = "tests/api/test_submit.py"
ON_DEAD_LETTERS = "tests/taskctl/test_dead_letters.py"


@dataclass(frozen=True, slots=True)
class Mutation:
    """Replaces `before` with `after` in `file`. `before` must occur exactly once."""

    name: str
    file: str
    before: str
    after: str
    tests: Sequence[str]


MUTATIONS: Sequence[Mutation] = (
    # ── The fence ─────────────────────────────────────────────────────────────────────────────
    Mutation(
        "drop the condition on the attempt",
        TABLE,
        '_claim_holds = "attempt = :attempt AND leaseOwner = :leaseOwner"',
        '_claim_holds = "leaseOwner = :leaseOwner"',
        (ON_TABLE,),
    ),
    Mutation(
        "drop the fence",
        TABLE,
        '_claim_holds = "attempt = :attempt AND leaseOwner = :leaseOwner"',
        '_claim_holds = "attempt >= :attempt"',
        (MODEL, ON_TABLE),
    ),
    Mutation(
        "claim a task whose lease has not expired",
        TASK,
        "    Move.CLAIM: Transition(_CLAIMABLE, ",
        "    Move.CLAIM: Transition(_CLAIMABLE | {Phase.LEASED}, ",
        (MODEL,),
    ),
    Mutation(
        "retry a completed task",
        TASK,
        "frozenset({Phase.FAILED, Phase.RETRYING, Phase.CANCELED}), Status.PENDING",
        "frozenset({Phase.FAILED, Phase.COMPLETED, Phase.CANCELED}), Status.PENDING",
        (MODEL,),
    ),
    Mutation(
        "use one result key for all attempts",
        BUCKET,
        'f"results/{claim.task_id}/{claim.attempt}.{EXTENSIONS[content_type]}"',
        'f"results/{claim.task_id}/1.{EXTENSIONS[content_type]}"',
        (MODEL,),
    ),
    Mutation(
        "keep the claim of a released task",
        TABLE,
        '            removes="leaseOwner",\n',
        "",
        (ON_TABLE,),
    ),
    # ── The order of effects ──────────────────────────────────────────────────────────────────
    Mutation(
        "delete the message before completing the task",
        PROCESSOR,
        "        self._table.complete(claim, result, now=self._clock())\n",
        "        self._queue.delete(lease.message)\n"
        "        self._table.complete(claim, result, now=self._clock())\n",
        (MODEL,),
    ),
    Mutation(
        "send the message before writing the row",
        SERVICE,
        "        row = self._table.create(task)\n",
        "        self._queue.send(task.task_id, request_id=request_id)\n"
        "        row = self._table.create(task)\n",
        (MODEL,),
    ),
    Mutation(
        "delete the message of a lost lease",
        PROCESSOR,
        '            log.warning("attempt discarded", reason=str(lost))\n',
        "            self._queue.delete(message)\n",
        (MODEL, ON_PROCESSOR),
    ),
    Mutation(
        "delete a dead letter before its task is retried",
        DEAD_LETTERS,
        "        outcome = RedriveOutcome.DELETED\n",
        "        outcome = RedriveOutcome.DELETED\n"
        "        for letter in entry.letters:\n"
        "            self._letters.delete(letter)\n",
        (ON_DEAD_LETTERS,),
    ),
    # ── The index of open tasks ───────────────────────────────────────────────────────────────
    Mutation(
        "ignore the index of open tasks",
        TABLE,
        'for item in page["Items"]:',
        'for item in page["Items"][:0]:',
        (MODEL,),
    ),
    Mutation(
        "remove a task that waits for a retry from the index",
        TABLE,
        'sets, removes = ", willRetry = :true", _LEASE\n',
        'sets, removes = ", willRetry = :true", f"{_LEASE}, {_OPEN_INDEX}"\n',
        (MODEL,),
    ),
    Mutation(
        "send again without scheduling the next check",
        RECONCILE,
        "        if not self._schedule_check(task, check_at, gap):\n            return",
        "        if False:\n            return",
        (ON_RECONCILE,),
    ),
    Mutation(
        "never fail an exhausted task",
        RECONCILE,
        "        if phase is not Phase.LEASED and (error := task.exhaustion(now)):\n",
        "        if False and (error := task.exhaustion(now)):\n",
        (ON_RECONCILE,),
    ),
    Mutation(
        "do not record that a send failed",
        SERVICE,
        "            self._record_unsent(task)\n            return False",
        "            return False",
        (ON_SUBMIT,),
    ),
    Mutation(
        "do not record that a task was not sent while the circuit is open",
        SERVICE,
        "            unsent=not may_send,\n",
        "",
        (ON_SUBMIT,),
    ),
    Mutation(
        "keep sending while the queue fails",
        SERVICE,
        "            self._send_breaker.failed()\n",
        "",
        (ON_SUBMIT,),
    ),
    # ── Heartbeats and the poll loop ──────────────────────────────────────────────────────────
    Mutation(
        "extend the visibility without the lease",
        LEASE,
        "            self._table.extend(lease.claim, lease_until=self.next_expiry(), "
        "now=self._clock())\n",
        "",
        (ON_LEASE,),
    ),
    Mutation(
        "extend the visibility before the lease",
        LEASE,
        "            self._table.extend(",
        "            self._queue.change_visibility(lease.message, "
        "timeout_s=self._duration.total_seconds())\n"
        "            self._table.extend(",
        (ON_LEASE,),
    ),
    Mutation(
        "stop polling when the queue fails",
        CONSUMER,
        '        except QueueUnavailable:\n            log.exception("receive failed")\n',
        '        except ZeroDivisionError:\n            log.exception("receive failed")\n',
        (ON_CONSUMER,),
    ),
    Mutation(
        "keep the messages of the last poll while draining",
        CONSUMER,
        "                self._return_messages(messages)\n",
        "",
        (ON_CONSUMER,),
    ),
    # ── Lost responses ────────────────────────────────────────────────────────────────────────
    Mutation(
        "do not recognize an own claim",
        TABLE,
        "            applied=lambda row: row.lease_owner == lease_owner,\n",
        "            applied=lambda _: False,\n",
        (ON_LOST_RESPONSES,),
    ),
    Mutation(
        "take the completion of another worker for an own one",
        TABLE,
        "row.status is Status.COMPLETED and row.result == result",
        "row.status is Status.COMPLETED",
        (ON_LOST_RESPONSES,),
    ),
    Mutation(
        "do not recognize an own check",
        TABLE,
        "return row is not None and (row.check_at, row.checked_by) == (check_at, checked_by)",
        "return False",
        (ON_LOST_RESPONSES,),
    ),
    # ── Owners of faults ──────────────────────────────────────────────────────────────────────
    Mutation(
        "delete the message of a task that failed by our fault",
        PROCESSOR,
        "        if fault_of(failure_code) is Fault.OURS:\n",
        "        if False:\n",
        (ON_PROCESSOR,),
    ),
)
