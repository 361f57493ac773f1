"""Runs the whole system as real processes on one machine, for tests that make them fail.

The flow suite and the soak use it to start any number of API and worker processes on an AWS on
loopback. ``make run`` starts the same programs for users.
"""
