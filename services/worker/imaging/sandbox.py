"""The sandbox of an imaging child, and what protects its parent.

An image that takes over its decoder finds an empty environment, a parent whose environment and
memory the kernel hides, and no capabilities, even as root. Memory, CPU time and file size are
limited, and the kernel allows only the system calls in ``seccomp``. The attacker can still return a
wrong result, until the child is killed when its time is up.

The sandbox works in a container as an ordinary user, with all capabilities dropped and a read-only
root, on kernel 5.10 (Fargate's). It therefore uses neither user namespaces nor Landlock. Other
systems than Linux, which are for development only, have the limits but no sandbox.
"""

import ctypes
import resource
import signal
import sys
from typing import Final

from services.worker.imaging import seccomp

IS_LINUX: Final = sys.platform == "linux"

CPU_TIME_SIGNAL: Final = signal.SIGPROF

OPEN_FILES: Final = 16
"""Standard streams, the socket, the image, and some to spare."""

# linux/prctl.h and linux/capability.h
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION_3 = 0x20080522


def make_non_dumpable() -> None:
    """Hide this process's environment and memory from other processes of the same user.

    Otherwise a child could read the credentials in ``/proc/<parent>/environ``. This also prevents
    debuggers and core dumps (prctl(2), PR_SET_DUMPABLE). It has no effect on other systems than
    Linux.
    """
    if IS_LINUX:
        _prctl(_PR_SET_DUMPABLE, 0)


def confine(*, memory_bytes: int) -> None:
    """Restrict this process for the rest of its life. Raises ``OSError`` when a step fails.

    Open files stay open. Every module that the process needs must have been imported.
    """
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_NOFILE, OPEN_FILES)
    _limit(resource.RLIMIT_NPROC, 0)
    if IS_LINUX:
        _limit(resource.RLIMIT_AS, memory_bytes)  # macOS does not enforce it
        drop_capabilities()
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        make_non_dumpable()  # hides it from the other children
        seccomp.install()


def allow_cpu_time(seconds: float) -> None:
    """Have the kernel kill this process with ``CPU_TIME_SIGNAL`` after this much more CPU time.

    RLIMIT_CPU would not do: it counts whole seconds over the whole life of the process.
    """
    signal.setitimer(signal.ITIMER_PROF, seconds)


def drop_capabilities() -> None:
    """Drop all capabilities, so that root is an ordinary user. no_new_privs makes it permanent."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)  # 0: this process
    none = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; two words each
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capset(header, none):
        raise OSError(ctypes.get_errno(), "capset failed")


def _limit(which: int, maximum: int) -> None:
    resource.setrlimit(which, (maximum, maximum))


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    # prctl(2) requires unused arguments to be zero, as unsigned longs.
    unused = (ctypes.c_ulong(0),) * 3
    if libc.prctl(option, ctypes.c_ulong(value), *unused):
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")
