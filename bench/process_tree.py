"""CPU time and memory of a whole process tree."""

from collections.abc import Callable
from contextlib import suppress

import psutil


def tree_cpu_s(pid: int) -> float:
    """User and system CPU seconds of a process and all its descendants, including exited ones.

    When a parent waits for an exited child, the kernel adds the CPU time of the child, and of the
    children that it waited for, to the parent's. So the living processes hold the time of the whole
    tree. Linux reports CPU time in steps of 10 ms (proc_pid_stat(5)), so a measurement should take
    seconds. Processes that have left the tree are not counted; ours do not leave it. Raises
    ``psutil.NoSuchProcess`` if the process `pid` has exited.
    """
    root = psutil.Process(pid)
    while True:
        # Read a parent before its children. A child that exits in between is then missing, which
        # raises NoSuchProcess, instead of being counted twice, which would go unnoticed.
        total = _cpu_s(root)
        try:
            return total + sum(map(_cpu_s, root.children(recursive=True)))
        except psutil.NoSuchProcess:
            continue


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system + times.children_user + times.children_system


def tree_rss_mb(pid: int) -> float:
    """Resident memory in MB. Pages that processes share count once for each process."""
    return _memory_mb(pid, lambda process: process.memory_info().rss)


def tree_pss_mb(pid: int) -> float:
    """Resident memory in MB. Pages that processes share count once. Only Linux reports it, and
    counting takes milliseconds of CPU time."""
    return _memory_mb(pid, lambda process: process.memory_full_info().pss)


def _memory_mb(pid: int, resident_bytes: Callable[[psutil.Process], int]) -> float:
    root = psutil.Process(pid)
    total = 0
    for process in (root, *root.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):  # it has exited
            total += resident_bytes(process)
    return total / 1e6
