"""CPU time of a whole process tree."""

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
