"""CPU time of a guarded fetch, compared with a plain urllib3 GET: ``python -m bench.fetch_cost``.

Both open a connection per request. The server is another process, so only the client is measured.
The output is one JSON object with milliseconds of CPU time per fetch.
"""

import io
import json
import multiprocessing
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from multiprocessing.connection import Connection

import urllib3

from services.common.version import PROJECT_PAGE
from services.worker.fetching.fetcher import FetchPolicy, GuardedFetcher

BODY = bytes(60_000)
"""The size of a small photograph."""
ROUNDS = 5
FETCHES = 400


class _ImageHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.send_header("Connection", "close")  # otherwise urllib3 reuses the connection
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


def _serve(port: Connection) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _ImageHandler)
    port.send(server.server_port)
    server.serve_forever()


def _cpu_ms(fetch: Callable[[str], None], url: str) -> float:
    """The minimum of several rounds: anything above it comes from other load on the machine."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.process_time()
        for _ in range(FETCHES):
            fetch(url)
        best = min(best, time.process_time() - start)
    return best / FETCHES * 1000


def main() -> None:
    receiver, sender = multiprocessing.Pipe(duplex=False)
    server = multiprocessing.Process(target=_serve, args=(sender,), daemon=True)
    server.start()
    port = receiver.recv()
    pool = urllib3.PoolManager(retries=False)
    fetcher = GuardedFetcher(
        policy=FetchPolicy(
            max_bytes=1_000_000,
            timeout_s=20,
            max_redirects=3,
            allowed_ports=(port,),
            allowed_networks=(ip_network("127.0.0.1/32"), ip_network("::1/128")),
            contact=PROJECT_PAGE,
        )
    )

    def plain(url: str) -> None:
        response = pool.request("GET", url, preload_content=False, timeout=20)
        into = io.BytesIO()
        for chunk in response.stream(65_536):
            into.write(chunk)
        response.close()

    def guarded(url: str) -> None:
        fetcher.fetch(url, into=io.BytesIO(), timeout_s=20)

    figures = {
        f"{client.__name__}_{kind}_ms": round(_cpu_ms(client, f"http://{host}:{port}/"), 3)
        for kind, host in (("address", "127.0.0.1"), ("name", "localhost"))
        for client in (plain, guarded)
    }
    server.terminate()
    server.join()
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
