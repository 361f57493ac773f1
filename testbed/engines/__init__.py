"""DynamoDB Local, ElasticMQ and S3Proxy as stand-ins for AWS on loopback.

Unlike moto, which runs in one Python process and slows down with the square of a queue's length,
they are servers with real concurrency. So the flow suite and the soak test our conditional writes
and leases. The engines store everything in memory.
"""
