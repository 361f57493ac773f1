"""The mutations: what is broken, where, and which tests ought to notice."""

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
    """In `file`, `before` must occur exactly once, and becomes `after`."""

    name: str
    file: str
    before: str
    after: str
    tests: Sequence[str]


MUTATIONS: Sequence[Mutation] = (
    # ── The fence ─────────────────────────────────────────────────────────────────────────────
    Mutation(
        "drop the attempt condition",
        TABLE,
        '_claim_holds = "attempt = :attempt AND leaseOwner = :leaseOwner"',
        '_claim_holds = "leaseOwner = :leaseOwner"',
        (ON_TABLE,),
    ),
    Mutation(
        "drop the fence altogether",
        TABLE,
        '_claim_holds = "attempt = :attempt AND leaseOwner = :leaseOwner"',
        '_claim_holds = "attempt >= :attempt"',
        (MODEL, ON_TABLE),
    ),
    Mutation(
        "claim under a lease that holds",
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
        "one result key for all attempts",
        BUCKET,
        'f"results/{claim.task_id}/{claim.attempt}.{EXTENSIONS[content_type]}"',
        'f"results/{claim.task_id}/1.{EXTENSIONS[content_type]}"',
        (MODEL,),
    ),
    Mutation(
        "release a task and keep its claim",
        TABLE,
        '            removes="leaseOwner",\n',
        "",
        (ON_TABLE,),
    ),
    # ── The order of effects ──────────────────────────────────────────────────────────────────
    Mutation(
        "delete before complete",
        PROCESSOR,
        "        self._table.complete(claim, result, now=self._clock())\n",
        "        self._queue.delete(lease.message)\n"
        "        self._table.complete(claim, result, now=self._clock())\n",
        (MODEL,),
    ),
    Mutation(
        "send before put",
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
        "ignore the open index",
        TABLE,
        'for item in page["Items"]:',
        'for item in page["Items"][:0]:',
        (MODEL,),
    ),
    Mutation(
        "drop a task from the index while it waits for a retry",
        TABLE,
        'sets, removes = ", willRetry = :true", _LEASE\n',
        'sets, removes = ", willRetry = :true", f"{_LEASE}, {_OPEN_INDEX}"\n',
        (MODEL,),
    ),
    Mutation(
        "send again without moving the check",
        RECONCILE,
        "        if not self._schedule_check(task, check_at, gap):\n            return",
        "        if False:\n            return",
        (ON_RECONCILE,),
    ),
    Mutation(
        "never give up",
        RECONCILE,
        "        if phase is not Phase.LEASED and (error := task.exhaustion(now)):\n",
        "        if False and (error := task.exhaustion(now)):\n",
        (ON_RECONCILE,),
    ),
    Mutation(
        "leave a task that could not be sent to the regular look",
        SERVICE,
        "        self._check_soon(task)\n        return False",
        "        return False",
        (ON_SUBMIT,),
    ),
    # ── Heartbeats and the poll loop ──────────────────────────────────────────────────────────
    Mutation(
        "extend visibility without the lease",
        LEASE,
        "            self._table.extend(lease.claim, lease_until=self.next_expiry(), "
        "now=self._clock())\n",
        "",
        (ON_LEASE,),
    ),
    Mutation(
        "extend the visibility first",
        LEASE,
        "            self._table.extend(",
        "            self._queue.change_visibility(lease.message, "
        "timeout_s=self._duration.total_seconds())\n"
        "            self._table.extend(",
        (ON_LEASE,),
    ),
    Mutation(
        "end the poll loop when the queue fails",
        CONSUMER,
        '        except QueueUnavailable:\n            log.exception("receive failed")\n',
        '        except ZeroDivisionError:\n            log.exception("receive failed")\n',
        (ON_CONSUMER,),
    ),
    Mutation(
        "keep the messages of the last poll",
        CONSUMER,
        "                self._return_messages(messages)\n",
        "",
        (ON_CONSUMER,),
    ),
    # ── Answers that were lost ────────────────────────────────────────────────────────────────
    Mutation(
        "do not know one's own claim",
        TABLE,
        "            applied=lambda row: row.lease_owner == lease_owner,\n",
        "            applied=lambda _: False,\n",
        (ON_LOST_RESPONSES,),
    ),
    Mutation(
        "take another's completion for one's own",
        TABLE,
        "row.status is Status.COMPLETED and row.result == result",
        "row.status is Status.COMPLETED",
        (ON_LOST_RESPONSES,),
    ),
    Mutation(
        "do not know one's own look",
        TABLE,
        "return row is not None and (row.check_at, row.checked_by) == (check_at, checked_by)",
        "return False",
        (ON_LOST_RESPONSES,),
    ),
    # ── Whose fault it is ─────────────────────────────────────────────────────────────────────
    Mutation(
        "delete the message of a task that failed by our fault",
        PROCESSOR,
        "        if fault_of(failure_code) is Fault.OURS:\n",
        "        if False:\n",
        (ON_PROCESSOR,),
    ),
)
