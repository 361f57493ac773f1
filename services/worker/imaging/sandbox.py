"""The fences around an imaging child, and the one around its parent.

An image that takes over its decoder finds: an empty environment; a parent whose environment and
memory the kernel hides; no capabilities, even as root; limits on memory, CPU time and file size;
and a kernel that answers only the calls in ``seccomp``. What remains to it is to compute a wrong
result, and to be killed when its time is up.

All of it works in a container as an ordinary user, with all capabilities dropped and a read-only
root, on kernel 5.10 (Fargate's): no user namespaces, no Landlock. Other systems than Linux, for
development, have only the limits.
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


def hide_from_children() -> None:
    """Make this process's environment and memory unreadable to others of the same user.

    Children would otherwise read the credentials from ``/proc/<parent>/environ``. Also forbids
    debuggers and core dumps (prctl(2), PR_SET_DUMPABLE). Only Linux has this.
    """
    if IS_LINUX:
        _prctl(_PR_SET_DUMPABLE, 0)


def confine(*, memory_bytes: int) -> None:
    """Put up every fence around this process, for good. Raises ``OSError`` when one fails.

    Files that are open stay open; everything that is still to be imported has to be by now.
    """
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_NOFILE, OPEN_FILES)
    _limit(resource.RLIMIT_NPROC, 0)
    if IS_LINUX:
        _limit(resource.RLIMIT_AS, memory_bytes)  # macOS has it in name only
        drop_capabilities()
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        hide_from_children()  # from its siblings, that is
        seccomp.install()


def allow_cpu_time(seconds: float) -> None:
    """Let the kernel end this process (``CPU_TIME_SIGNAL``) after so much more CPU time.

    Not RLIMIT_CPU, which counts whole seconds over a process's whole life.
    """
    signal.setitimer(signal.ITIMER_PROF, seconds)


def drop_capabilities() -> None:
    """All of them, so that root is an ordinary user; with no_new_privs none comes back."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)  # 0: this process
    none = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; two words each
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capset(header, none):
        raise OSError(ctypes.get_errno(), "capset failed")


def _limit(which: int, most: int) -> None:
    resource.setrlimit(which, (most, most))


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    # The kernel wants the arguments that an option does not use to be zero, as unsigned longs.
    unused = (ctypes.c_ulong(0),) * 3
    if libc.prctl(option, ctypes.c_ulong(value), *unused):
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")
