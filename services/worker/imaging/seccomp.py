"""The system calls that an imaging child may make: a seccomp filter, as BPF.

The filter is an allowlist. Decoding, changing and encoding an image takes only memory and the
socket that is already open. The child can therefore open no file or socket, start, signal or
inspect no process or thread, and make no memory executable. A forbidden call fails with EPERM.

The filter is written by hand because no maintained Python library builds one without libseccomp, a
C library that not every container image or laptop has. The call numbers are from the kernel's
``asm/unistd_64.h`` and ``asm-generic/unistd.h``, and the format is from its ``filter.rst`` and
``seccomp_filter.rst``.
"""

import ctypes
import errno
import mmap
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class _Architecture:
    audit_arch: int
    """The architecture's number in the filter's input (``linux/audit.h``)."""
    seccomp: int
    """The call number of seccomp(2)."""
    calls: dict[str, int]


_ARCHITECTURES: Final = {
    "x86_64": _Architecture(
        audit_arch=0xC000003E,
        seccomp=317,
        calls={
            "read": 0,
            "write": 1,
            "close": 3,
            "sendto": 44,
            "recvfrom": 45,
            "recvmsg": 47,
            "mmap": 9,
            "mprotect": 10,
            "munmap": 11,
            "mremap": 25,
            "madvise": 28,
            "brk": 12,
            "futex": 202,
            "sched_yield": 24,
            "clock_gettime": 228,
            "getrandom": 318,
            "getpid": 39,
            "gettid": 186,
            "rt_sigaction": 13,
            "rt_sigprocmask": 14,
            "rt_sigreturn": 15,
            "setitimer": 38,
            "exit": 60,
            "exit_group": 231,
        },
    ),
    "aarch64": _Architecture(
        audit_arch=0xC00000B7,
        seccomp=277,
        calls={
            "read": 63,
            "write": 64,
            "close": 57,
            "sendto": 206,
            "recvfrom": 207,
            "recvmsg": 212,
            "mmap": 222,
            "mprotect": 226,
            "munmap": 215,
            "mremap": 216,
            "madvise": 233,
            "brk": 214,
            "futex": 98,
            "sched_yield": 124,
            "clock_gettime": 113,
            "getrandom": 278,
            "getpid": 172,
            "gettid": 178,
            "rt_sigaction": 134,
            "rt_sigprocmask": 135,
            "rt_sigreturn": 139,
            "setitimer": 103,
            "exit": 93,
            "exit_group": 94,
        },
    ),
}

# Offsets into ``struct seccomp_data``. Both architectures are little-endian.
_NR, _ARCH, _ARGS = 0, 4, 16

# Instructions: ``BPF_LD | BPF_W | BPF_ABS``, ``BPF_JMP | BPF_JEQ | BPF_K``,
# ``BPF_JMP | BPF_JSET | BPF_K``, ``BPF_RET | BPF_K``.
_LOAD, _JUMP_IF_EQUAL, _JUMP_IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06

_ALLOW = 0x7FFF0000
_DENY = 0x00050000 | errno.EPERM

_SET_MODE_FILTER = 1
_FLAG_SPEC_ALLOW = 4
"""Without this flag, kernels before 5.16, such as Fargate's, disable speculation in a process that
has a filter, which slows codecs down considerably. Disabling it only protects a process from
code inside itself (``Documentation/userspace-api/spec_ctrl.rst``)."""


class _Instruction(ctypes.Structure):
    """``struct sock_filter``"""

    _fields_ = (
        ("code", ctypes.c_uint16),
        ("if_true", ctypes.c_uint8),
        ("if_false", ctypes.c_uint8),
        ("operand", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    """``struct sock_fprog``"""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.POINTER(_Instruction)))


def install() -> None:
    """Install the filter for the rest of this process's life.

    The process must have no_new_privs set and no other threads. Raises ``OSError`` when the kernel
    rejects the filter, or when there is no table for the architecture.
    """
    machine = platform.machine()
    instructions = list(filter_for(machine))
    program = _Program(len(instructions), (_Instruction * len(instructions))(*instructions))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(
        _ARCHITECTURES[machine].seccomp,
        _SET_MODE_FILTER,
        _FLAG_SPEC_ALLOW,
        ctypes.byref(program),
    ):
        raise OSError(ctypes.get_errno(), "the kernel rejected the seccomp filter")


def filter_for(machine: str) -> Iterator[_Instruction]:
    """The filter for a value of ``platform.machine()``. Raises ``OSError`` without a table."""
    if machine not in _ARCHITECTURES:
        raise OSError(errno.ENOSYS, f"no system call table for {machine}")
    architecture = _ARCHITECTURES[machine]
    calls = dict(architecture.calls)
    yield _Instruction(_LOAD, 0, 0, _ARCH)
    yield _Instruction(_JUMP_IF_EQUAL, 1, 0, architecture.audit_arch)
    yield _Instruction(_RETURN, 0, 0, _DENY)
    yield _Instruction(_LOAD, 0, 0, _NR)
    for call in ("mmap", "mprotect"):
        yield _Instruction(_JUMP_IF_EQUAL, 0, 4, calls.pop(call))
        yield _Instruction(_LOAD, 0, 0, _ARGS + 2 * 8)  # the third argument, the protection
        yield _Instruction(_JUMP_IF_ANY_BIT, 1, 0, mmap.PROT_EXEC)
        yield _Instruction(_RETURN, 0, 0, _ALLOW)
        yield _Instruction(_RETURN, 0, 0, _DENY)
    for number in calls.values():
        yield _Instruction(_JUMP_IF_EQUAL, 0, 1, number)
        yield _Instruction(_RETURN, 0, 0, _ALLOW)
    yield _Instruction(_RETURN, 0, 0, _DENY)
