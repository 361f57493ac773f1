"""The soak: runs the whole system under load while processes and AWS calls fail at random.

The API and the workers are real processes on real engines. ``driver`` submits tasks, ``source``
serves their images, ``process_faults`` kills, stops and freezes processes, and ``aws_faults``
injects faults into AWS calls. Then ``judge`` checks the outcome of every acknowledged task from
outside, and ``worker_logs`` measures how long the tasks of dead workers waited.

``drain`` is a shorter test that stops workers under load.
"""
