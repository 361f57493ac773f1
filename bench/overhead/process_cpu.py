"""CPU time of a whole process tree."""

import psutil


def tree_cpu_s(pid: int) -> float:
    """User and system seconds of the process, its descendants, and those of them that have ended.

    The kernel adds a child's time to its parent's when the parent waits for it, and that of the
    child's own children with it; so a tree is what lives, each with what it has waited for.
    Linux counts to the nanosecond and tells in steps of 10 ms (proc_pid_stat(5)), so what is
    measured should take seconds. A process that has left the tree is not counted: none of ours
    does. Raises ``psutil.NoSuchProcess`` when `pid` itself has ended.
    """
    root = psutil.Process(pid)
    while True:
        # A parent before its children: one that ends in between is then missing from the sum,
        # which is noticed, and not in it twice, which would not be.
        total = _cpu_s(root)
        try:
            return total + sum(map(_cpu_s, root.children(recursive=True)))
        except psutil.NoSuchProcess:
            continue


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system + times.children_user + times.children_system
