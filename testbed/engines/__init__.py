"""Real engines in the place of AWS: DynamoDB Local, ElasticMQ and S3Proxy, on loopback.

moto keeps everything in one Python process, answers in no particular order of events, and slows
down with the square of a queue's length. These are servers of their own with real concurrency:
what the flow suite finds on them, and what the soak counts, is about our conditions and leases.
They store in memory, so what was stored is forgotten when they stop.
"""
