"""A check of the proof itself: each promise is broken on purpose, and a test must notice.

``make mutants`` applies one mutation at a time to a copy of the tree and runs the tests that ought
to fail. A mutation that survives, or that no longer applies, fails the run.
"""
