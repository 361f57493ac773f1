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
CONNECTION = "services/worker/fetching/guarded_connection.py"
FETCHER = "services/worker/fetching/fetcher.py"
CERTIFICATES = "services/worker/fetching/certificates.py"
ENCODING = "services/worker/fetching/content_encoding.py"
FAILURES = "services/worker/fetching/failures.py"
PACING = "services/worker/fetching/pacing.py"
HOST_SLOTS = "services/worker/fetching/host_slots.py"
CLIENT = "taskfleet/client.py"
REPETITION = "taskfleet/repetition.py"

MODEL = "tests/model/test_model.py"
ON_TASK = "tests/common/test_task.py"
ON_TABLE = "tests/common/test_task_table.py"
ON_LOST_RESPONSES = "tests/aws_faults/test_lost_responses.py"
ON_PROCESSOR = "tests/worker/test_processor.py"
ON_LEASE = "tests/worker/test_lease.py"
ON_CONSUMER = "tests/worker/test_consumer.py"
ON_RECONCILE = "tests/worker/test_reconciler.py"
ON_SUBMIT = "tests/api/test_submit.py"
ON_ADMISSION = "tests/api/test_admission.py"
ON_DEAD_LETTERS = "tests/taskctl/test_dead_letters.py"
ON_REDIRECTS = "tests/worker/fetching/test_redirects.py"
ON_FETCHER = "tests/worker/fetching/test_fetcher.py"
ON_TLS = "tests/worker/fetching/test_tls.py"
ON_ENCODING = "tests/worker/fetching/test_content_encoding.py"
ON_PACING = "tests/worker/fetching/test_pacing.py"
ON_HOST_SLOTS = "tests/worker/fetching/test_host_slots.py"
ON_CLIENT = "tests/taskfleet/test_client.py"


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
        "        frozenset({Phase.ABANDONED}), Status.RUNNING",
        "        frozenset({Phase.ABANDONED, Phase.LEASED}), Status.RUNNING",
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
        "            removes=_LEASE,\n            values={**values",
        '            removes="leaseUntil",\n            values={**values',
        (ON_TABLE,),
    ),
    # ── The order of effects ──────────────────────────────────────────────────────────────────
    Mutation(
        "delete the message before completing the task",
        PROCESSOR,
        "            self._table.complete(claim, result, now=self._clock())\n",
        "            self._delete(lease.message)\n"
        "            self._table.complete(claim, result, now=self._clock())\n",
        (MODEL,),
    ),
    Mutation(
        "send the message before writing the row",
        SERVICE,
        "        row = self._table.create(task)\n",
        "        self._queue.send(Envelope(task.task_id, request_id=request_id, owner=owner))\n"
        "        row = self._table.create(task)\n",
        (MODEL,),
    ),
    Mutation(
        "delete the message of a lost lease",
        PROCESSOR,
        '            log.warning("attempt discarded", reason=str(lost))\n',
        "            self._delete(message)\n",
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
        "            yield from pages",
        "            yield from ()",
        (MODEL,),
    ),
    Mutation(
        "remove a task that waits for a retry from the index",
        TABLE,
        "            removes = _LEASE\n",
        '            removes = f"{_LEASE}, {_OPEN_INDEX}"\n',
        (MODEL,),
    ),
    Mutation(
        "send although another reconciler was first",
        TABLE,
        '                    ConditionExpression="checkAt = :seen",',
        '                    ConditionExpression="checkAt <= :next OR checkAt = :seen",',
        (ON_RECONCILE, ON_TABLE),
    ),
    Mutation(
        "never fail an exhausted task",
        RECONCILE,
        "        if error := task.exhaustion(now, self._policy.limits):\n",
        "        if False and (error := task.exhaustion(now, self._policy.limits)):\n",
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
        "            values=_claim_values(lease_owner, lease_until),\n"
        "            applied=lambda row: row.lease_owner == lease_owner,\n",
        "            values=_claim_values(lease_owner, lease_until),\n"
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
        "do not recognize an own right to send",
        TABLE,
        "return _envelope(item) if taken.items() <= item.items() else None",
        "return None",
        (ON_LOST_RESPONSES,),
    ),
    # ── Sources ───────────────────────────────────────────────────────────────────────────────
    Mutation(
        "allow every port to a redirect's target",
        CONNECTION,
        "        if url.port not in self.ports:\n",
        "        if False:\n",
        (ON_REDIRECTS,),
    ),
    Mutation(
        "retry a certificate that only its operator can fix",
        CERTIFICATES,
        "    return SourceCertificateInvalid(\n",
        "    return SourceUnreachable(\n",
        (ON_TLS,),
    ),
    Mutation(
        "decode an encoding that is only declared",
        ENCODING,
        "        if not _is_compressed(head, encoding) and _is_image(head):\n",
        "        if False:\n",
        (ON_ENCODING,),
    ),
    Mutation(
        "limit only the last layer of nested encodings",
        ENCODING,
        "        chunks = _limited(_decompress(chunks, head, encoding), max_bytes)\n",
        "        chunks = _decompress(chunks, head, encoding)\n",
        (ON_ENCODING,),
    ),
    Mutation(
        "ignore Retry-After",
        FAILURES,
        'return parse_retry_after(response.headers.get("retry-after"), now=now)',
        "return None",
        (ON_FETCHER,),
    ),
    Mutation(
        "retry every 202",
        FAILURES,
        "if status == HTTPStatus.ACCEPTED and retry_after_s is not None:",
        "if status == HTTPStatus.ACCEPTED:",
        (ON_FETCHER,),
    ),
    Mutation(
        "follow a redirect in a circle that needs cookies",
        FETCHER,
        "        if self._sets_cookies and target in self._visited:\n",
        "        if False:\n",
        (ON_REDIRECTS,),
    ),
    Mutation(
        "do not space the requests to a host that refuses some",
        PACING,
        "        self.next_turn = turn + 1 / self.rate\n",
        "",
        (ON_PACING,),
    ),
    Mutation(
        "slow a host once for each refusal of a burst",
        PACING,
        "        if asked_at > self.slowed_at:\n",
        "        if True:\n",
        (ON_PACING,),
    ),
    Mutation(
        "stop a host for as long as it says",
        PACING,
        "now + min(pause_s, MAX_PAUSE_S)",
        "now + pause_s",
        (ON_PACING,),
    ),
    Mutation(
        "give a slow host every slot",
        HOST_SLOTS,
        "limit = max(1, int(self._slots() * share))",
        "limit = self._slots()",
        (ON_HOST_SLOTS,),
    ),
    Mutation(
        "limit a slow host that is alone like one beside others",
        HOST_SLOTS,
        "SHARE_BESIDE_OTHERS if len(self._hosts) > 1 else SHARE_ALONE",
        "SHARE_BESIDE_OTHERS",
        (ON_HOST_SLOTS,),
    ),
    # ── The Python client ─────────────────────────────────────────────────────────────────────
    Mutation(
        "repeat a submission with another key",
        CLIENT,
        "lambda: self._api.submit(body, idempotency_key=key)",
        "lambda: self._api.submit(body, idempotency_key=secrets.token_urlsafe(24))",
        (ON_CLIENT,),
    ),
    Mutation(
        "repeat a cancellation",
        CLIENT,
        "self._task(lambda: self._api.cancel(task_id), Deadline(timeout_s), repeat=False)",
        "self._task(lambda: self._api.cancel(task_id), Deadline(timeout_s))",
        (ON_CLIENT,),
    ),
    Mutation(
        "store a result that was damaged on its way",
        CLIENT,
        "if hashlib.sha256(response.data).hexdigest() != task.result.sha256:",
        "if False:",
        (ON_CLIENT,),
    ),
    Mutation(
        "pause beyond the time limit of a call",
        REPETITION,
        "            if pause_s >= deadline.remaining_s():\n",
        "            if False:\n",
        (ON_CLIENT,),
    ),
    # ── Owners of faults ──────────────────────────────────────────────────────────────────────
    Mutation(
        "delete the message of a task that failed by our fault",
        PROCESSOR,
        "        if fault_of(failure_code) is Fault.OURS:\n",
        "        if False:\n",
        (ON_PROCESSOR,),
    ),
    Mutation(
        "delete a message that this version cannot handle",
        PROCESSOR,
        "        self._dead_letters.send_copy(message)\n",
        "",
        (ON_PROCESSOR,),
    ),
    # ── What counts, and when the next attempt starts ─────────────────────────────────────────
    Mutation(
        "count an attempt that was given back",
        TABLE,
        "        sets: list[str] = []\n",
        '        sets: list[str] = ["crashes = :attempt"]\n',
        (MODEL, ON_PROCESSOR),
    ),
    Mutation(
        "count an expired lease twice",
        TABLE,
        "expiredLeases = if_not_exists(expiredLeases, :zero) + :one",
        "expiredLeases = if_not_exists(expiredLeases, :one) + :one",
        (MODEL, ON_TABLE),
    ),
    Mutation(
        "start the next attempt too early",
        TABLE,
        '    Requirement.DUE: f"{_time_remains} AND NOT nextAttemptAt > :now",',
        '    Requirement.DUE: f"{_time_remains}",',
        (MODEL, ON_TABLE),
    ),
    Mutation(
        "retry at once without a floor",
        TASK,
        "ceiling / timedelta(milliseconds=2) * (1 + jitter)",
        "ceiling / timedelta(milliseconds=1) * jitter",
        (ON_TASK,),
    ),
    Mutation(
        "ignore when the source wants to be asked again",
        TASK,
        "        delay = max(delay, timedelta(milliseconds=math.ceil(asked_s * 1000)))\n",
        "",
        (ON_TASK,),
    ),
    Mutation(
        "count failures of the source and crashes together",
        "services/common/errors.py",
        "    counter = FailureCounter.SOURCE_FAILURES\n",
        "    counter = FailureCounter.CRASHES\n",
        (ON_TASK,),
    ),
    # ── Messages ──────────────────────────────────────────────────────────────────────────────
    Mutation(
        "forget that a task with a long wait is unsent",
        TABLE,
        '        sets += ["unsent = :true", "checkAt = :checkAt"]\n',
        '        sets += ["checkAt = :checkAt"]\n',
        (MODEL, ON_TABLE),
    ),
    Mutation(
        "forget that a rejected message is unsent",
        RECONCILE,
        "        for task_id in rejected:\n",
        "        for task_id in rejected[:0]:\n",
        (ON_RECONCILE,),
    ),
    Mutation(
        "send every task that has waited long",
        RECONCILE,
        "        missing = report.queued - max(",
        "        missing = report.queued - 0 * max(",
        (ON_RECONCILE,),
    ),
    Mutation(
        "stop at a row that this version cannot read",
        RECONCILE,
        "        except RowUnreadable as unreadable:\n",
        "        except ZeroDivisionError as unreadable:\n",
        (ON_RECONCILE,),
    ),
    Mutation(
        "delete the last message of an open task",
        DEAD_LETTERS,
        "            outcome = self._send(entry.task)\n",
        "            outcome = RedriveOutcome.SENT\n",
        (ON_DEAD_LETTERS,),
    ),
    # ── The API under outages and overload ────────────────────────────────────────────────────
    Mutation(
        "let submissions take all threads",
        "services/common/config.py",
        "        return max(1, self.api_threads // 2)\n",
        "        return self.api_threads\n",
        (ON_ADMISSION,),
    ),
    Mutation(
        "start a call that may outlast its request",
        "services/common/aws.py",
        "        if remaining_s() < self._limits.max_try_s():\n",
        "        if False:\n",
        ("tests/common/test_aws.py",),
    ),
    Mutation(
        "report health while the request threads are stalled",
        "services/api/server/immediate_responses.py",
        "        if not self._progress.is_stalled():\n",
        "        if True:\n",
        ("tests/api/server/test_immediate_responses.py",),
    ),
    Mutation(
        "do not charge a body by its size",
        "services/api/admission.py",
        "        amount = 1 + len(body) // BYTES_PER_CHARGE\n",
        "        amount = 1\n",
        ("tests/api/test_submission_limiter.py",),
    ),
    Mutation(
        "let defaults change the hash of a submission",
        "services/api/schemas.py",
        '        content = self.model_dump(mode="json", exclude_defaults=True)\n',
        '        content = self.model_dump(mode="json")\n',
        (ON_SUBMIT,),
    ),
    Mutation(
        "do not cap the pixels that operations compute",
        "services/worker/imaging/pipeline.py",
        "    if computed > limits.max_computed_pixels:\n",
        "    if False:\n",
        ("tests/worker/imaging/test_pipeline.py",),
    ),
    Mutation(
        "ignore the configured memory of an image",
        "services/worker/policies.py",
        "        memory_bytes=config.imaging_memory_bytes,\n",
        "",
        ("tests/worker/test_policies.py",),
    ),
    Mutation(
        "ignore the configured limit of submissions",
        "services/api/wsgi.py",
        "            limit=config.submissions_per_minute,\n",
        "            limit=6_000,\n",
        ("tests/api/test_wsgi.py",),
    ),
    Mutation(
        "compare a key's secret character by character",
        "services/common/api_key.py",
        "hmac.compare_digest(self.sha256, hash_secret(secret))",
        "self.sha256 == hash_secret(secret)",
        ("tests/common/test_api_key.py",),
    ),
)
