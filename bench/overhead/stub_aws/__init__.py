"""AWS as far as a benchmark's client sees it: right answers over HTTP, and next to no work behind.

moto keeps whole services in memory and slows down with every message. What is measured here is the
client's CPU time, so the server only has to speak the protocols, count the calls, and be quick.
"""

from bench.overhead.stub_aws.server import StubAws

__all__ = ["StubAws"]
