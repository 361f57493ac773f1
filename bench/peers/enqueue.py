"""Send the messages of the first N tasks: ``python -m bench.peers.enqueue celery | dramatiq N``."""

import importlib
import sys

from bench.task_id import task_id

if __name__ == "__main__":
    peer, count = sys.argv[1], int(sys.argv[2])
    app = importlib.import_module(f"bench.peers.{peer}_app")
    send = app.process.delay if peer == "celery" else app.process.send
    for number in range(count):
        send(task_id(number))
