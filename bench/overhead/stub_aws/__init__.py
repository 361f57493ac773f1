"""A stub of AWS for benchmarks: valid HTTP responses with minimal work behind them.

The benchmarks measure the CPU time of the client, so the server only needs to implement the
protocols, count the calls and respond fast. moto slows down with every message.
"""

from bench.overhead.stub_aws.server import StubAws

__all__ = ["StubAws"]
