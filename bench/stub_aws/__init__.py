"""A stub of AWS for benchmarks, in a process of its own, with as little work behind the protocols
as they allow.

It answers DynamoDB, SQS, S3 and Secrets Manager, serves the source images, counts the calls, and
can delay each response as the real services do.
"""
