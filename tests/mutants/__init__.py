"""Tests the tests: each mutation breaks one promise, and a test must fail.

``make mutants`` applies one mutation at a time to a copy of the code and runs the tests that should
fail. The run fails if a mutation survives or no longer applies.
"""
