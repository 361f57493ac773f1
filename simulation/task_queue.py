"""The task queue, as counts of tasks that arrived in the same second."""

from collections import Counter, deque


class Queue:
    """First in, first out. SQS does not promise an order, but comes close to it."""

    def __init__(self) -> None:
        self._waiting: deque[list[int]] = deque()
        self._in_flight: deque[tuple[float, int]] = deque()
        self.visible = 0
        self.in_flight = 0
        self.waits: Counter[int] = Counter()
        """How many tasks waited for how many seconds until a worker started them."""

    def send(self, count: int, *, now_s: int) -> None:
        if count:
            self._waiting.append([now_s, count])
            self.visible += count

    def receive(self, limit: int, *, now_s: int, processed_in_s: float) -> int:
        """Hand out up to `limit` tasks, which stay in flight until they are processed."""
        started = 0
        while self._waiting and started < limit:
            first = self._waiting[0]
            taken = min(first[1], limit - started)
            self.waits[now_s - first[0]] += taken
            started += taken
            first[1] -= taken
            if not first[1]:
                self._waiting.popleft()
        if started:
            self.visible -= started
            self.in_flight += started
            self._in_flight.append((now_s + processed_in_s, started))
        return started

    def delete_processed(self, *, now_s: int) -> None:
        while self._in_flight and self._in_flight[0][0] <= now_s:
            self.in_flight -= self._in_flight.popleft()[1]

    def close(self, *, now_s: int) -> int:
        """Count the tasks that never started with the time that they waited so far."""
        left = self.visible
        for arrived_at_s, count in self._waiting:
            self.waits[now_s - arrived_at_s] += count
        self._waiting.clear()
        self.visible = 0
        return left
