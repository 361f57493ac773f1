"""CPU time of a guarded fetch beside a bare urllib3 GET: ``python -m bench.fetch_cost``.

Both open a connection for each request; the server is another process, so only the client counts.
The last line of output is one JSON object, in milliseconds of CPU per fetch.
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

from services.worker.fetching.fetcher import FetchPolicy, GuardedFetcher

BODY = bytes(60_000)
"""As large as a small photograph."""
ROUNDS = 5
FETCHES = 400


class _Image(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.send_header("Connection", "close")  # or urllib3 would reuse it
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


def _serve(port: Connection) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Image)
    port.send(server.server_port)
    server.serve_forever()


def _cpu_ms(fetch: Callable[[str], None], url: str) -> float:
    """The best of some rounds: what is over it is the machine's other work."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.process_time()
        for _ in range(FETCHES):
            fetch(url)
        best = min(best, time.process_time() - start)
    return best / FETCHES * 1000


def main() -> None:
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.Process(target=_serve, args=(theirs,), daemon=True)
    server.start()
    port = ours.recv()
    pool = urllib3.PoolManager(retries=False)
    fetcher = GuardedFetcher(
        policy=FetchPolicy(
            max_bytes=1_000_000,
            timeout_s=20,
            max_redirects=3,
            allowed_ports=(port,),
            allowed_networks=(ip_network("127.0.0.1/32"), ip_network("::1/128")),
        )
    )

    def bare(url: str) -> None:
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
        for client in (bare, guarded)
    }
    server.terminate()
    server.join()
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
