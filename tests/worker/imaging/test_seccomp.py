"""The seccomp filter for both architectures, run by a small interpreter of the kernel's BPF."""

import errno
import mmap
import struct
from typing import Final

import pytest

from services.worker.imaging import seccomp

ALLOW: Final = 0x7FFF0000
DENY: Final = 0x00050000 | errno.EPERM

X86_64: Final = 0xC000003E
AARCH64: Final = 0xC00000B7
I386: Final = 0x40000003


def verdict(machine: str, audit_arch: int, number: int, *arguments: int) -> int:
    """The filter's return value for a system call."""
    data = struct.pack("<iIQ6Q", number, audit_arch, 0, *arguments, *(0,) * (6 - len(arguments)))
    program = list(seccomp.filter_for(machine))
    position = accumulator = 0
    while True:
        code, jump_true, jump_false, operand = (
            program[position].code,
            program[position].if_true,
            program[position].if_false,
            program[position].operand,
        )
        position += 1
        match code:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", data, operand)
            case 0x15:
                position += jump_true if accumulator == operand else jump_false
            case 0x45:
                position += jump_true if accumulator & operand else jump_false
            case 0x06:
                return int(operand)


@pytest.mark.parametrize(
    ("machine", "audit_arch", "allowed"),
    [
        # read, write, close, mmap, munmap, brk, recvmsg, sendto, futex, exit_group
        ("x86_64", X86_64, [0, 1, 3, 9, 11, 12, 47, 44, 202, 231]),
        ("aarch64", AARCH64, [63, 64, 57, 222, 215, 214, 212, 206, 98, 94]),
    ],
)
def test_the_calls_that_decoding_needs_are_allowed(
    machine: str, audit_arch: int, allowed: list[int]
) -> None:
    assert {verdict(machine, audit_arch, number) for number in allowed} == {ALLOW}


FORBIDDEN: Final = {
    "x86_64": {
        "open": 2, "openat": 257, "openat2": 437, "socket": 41, "connect": 42, "bind": 49,
        "socketpair": 53, "sendmsg": 46, "clone": 56, "fork": 57, "vfork": 58, "clone3": 435,
        "execve": 59, "execveat": 322, "kill": 62, "tgkill": 234, "ptrace": 101,
        "process_vm_readv": 310, "process_vm_writev": 311, "pidfd_open": 434,
        "pidfd_getfd": 438, "mount": 165, "unshare": 272, "setns": 308, "chroot": 161,
        "io_uring_setup": 425, "io_uring_enter": 426, "bpf": 321, "perf_event_open": 298,
        "memfd_create": 319, "userfaultfd": 323, "keyctl": 250, "unlink": 87, "rename": 82,
        "mkdir": 83, "chmod": 90, "link": 86, "symlink": 88, "truncate": 76, "ioctl": 16,
        "prctl": 157, "seccomp": 317, "setuid": 105, "capset": 126, "readlink": 89, "stat": 4,
        "newfstatat": 262, "getdents64": 217, "prlimit64": 302, "setrlimit": 160,
    },
    "aarch64": {
        "openat": 56, "openat2": 437, "socket": 198, "connect": 203, "bind": 200,
        "socketpair": 199, "sendmsg": 211, "clone": 220, "clone3": 435, "execve": 221,
        "execveat": 281, "kill": 129, "tgkill": 131, "ptrace": 117, "process_vm_readv": 270,
        "process_vm_writev": 271, "pidfd_open": 434, "pidfd_getfd": 438, "mount": 40,
        "unshare": 97, "setns": 268, "chroot": 51, "io_uring_setup": 425, "io_uring_enter": 426,
        "bpf": 280, "perf_event_open": 241, "memfd_create": 279, "userfaultfd": 282,
        "keyctl": 219, "unlinkat": 35, "renameat": 38, "mkdirat": 34, "fchmodat": 53,
        "linkat": 37, "symlinkat": 36, "truncate": 45, "ioctl": 29, "prctl": 167,
        "seccomp": 277, "setuid": 146, "capset": 91, "readlinkat": 78, "newfstatat": 79,
        "getdents64": 61, "prlimit64": 261, "setrlimit": 164,
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("machine", "call"), [(machine, call) for machine in FORBIDDEN for call in FORBIDDEN[machine]]
)
def test_the_calls_that_an_attack_needs_are_denied(machine: str, call: str) -> None:
    audit_arch = {"x86_64": X86_64, "aarch64": AARCH64}[machine]
    assert verdict(machine, audit_arch, FORBIDDEN[machine][call]) == DENY


@pytest.mark.parametrize(
    ("machine", "audit_arch", "mmap_call", "mprotect_call"),
    [("x86_64", X86_64, 9, 10), ("aarch64", AARCH64, 222, 226)],
)
def test_memory_cannot_be_made_executable(
    machine: str, audit_arch: int, mmap_call: int, mprotect_call: int
) -> None:
    for call in (mmap_call, mprotect_call):
        writable = mmap.PROT_READ | mmap.PROT_WRITE
        assert verdict(machine, audit_arch, call, 0, 4096, writable) == ALLOW
        assert verdict(machine, audit_arch, call, 0, 4096, writable | mmap.PROT_EXEC) == DENY


def test_the_calls_of_another_architecture_are_denied() -> None:
    assert verdict("x86_64", I386, 3) == DENY  # read on i386, close on x86-64
    assert verdict("x86_64", X86_64, 0x40000000) == DENY  # read of the x32 ABI


def test_an_unknown_architecture_is_an_error() -> None:
    with pytest.raises(OSError, match="riscv64"):
        list(seccomp.filter_for("riscv64"))
