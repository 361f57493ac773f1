"""The fault soak: the whole system under load while everything around it fails.

API and workers are real processes on real engines. They are killed, stopped and frozen at random;
AWS refuses, hangs, resets and answers too late at random; so do the images' servers. What came of
every task that was acknowledged is then judged from outside.

``driver`` submits and watches, ``chaos`` hurts processes, ``aws_faults`` hurts calls, ``source``
serves images and fails, ``judge`` looks at what is left, ``worker_logs`` tells how long it took
until the task of a dead worker went on.
"""
