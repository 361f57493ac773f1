"""The filter itself, run by a small model of the kernel's: for both architectures on any."""

import errno
import mmap
import struct
from typing import Final

import pytest

from services.worker.imaging import seccomp

ALLOW: Final = 0x7FFF0000
REFUSE: Final = 0x00050000 | errno.EPERM

X86_64: Final = 0xC000003E
AARCH64: Final = 0xC00000B7
I386: Final = 0x40000003


def verdict(machine: str, audit_arch: int, number: int, *arguments: int) -> int:
    """What the kernel would return for this call."""
    data = struct.pack("<iIQ6Q", number, audit_arch, 0, *arguments, *(0,) * (6 - len(arguments)))
    program = list(seccomp.filter_for(machine))
    at = accumulator = 0
    while True:
        code, jump_true, jump_false, operand = (
            program[at].code,
            program[at].if_true,
            program[at].if_false,
            program[at].operand,
        )
        at += 1
        match code:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", data, operand)
            case 0x15:
                at += jump_true if accumulator == operand else jump_false
            case 0x45:
                at += jump_true if accumulator & operand else jump_false
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
def test_what_decoding_needs_is_allowed(machine: str, audit_arch: int, allowed: list[int]) -> None:
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
def test_what_an_attacker_needs_is_refused(machine: str, call: str) -> None:
    audit_arch = {"x86_64": X86_64, "aarch64": AARCH64}[machine]
    assert verdict(machine, audit_arch, FORBIDDEN[machine][call]) == REFUSE


@pytest.mark.parametrize(
    ("machine", "audit_arch", "mmap_call", "mprotect_call"),
    [("x86_64", X86_64, 9, 10), ("aarch64", AARCH64, 222, 226)],
)
def test_no_memory_can_be_made_executable(
    machine: str, audit_arch: int, mmap_call: int, mprotect_call: int
) -> None:
    for call in (mmap_call, mprotect_call):
        writable = mmap.PROT_READ | mmap.PROT_WRITE
        assert verdict(machine, audit_arch, call, 0, 4096, writable) == ALLOW
        assert verdict(machine, audit_arch, call, 0, 4096, writable | mmap.PROT_EXEC) == REFUSE


def test_calls_by_another_architecture_are_refused() -> None:
    assert verdict("x86_64", I386, 3) == REFUSE  # read there, close here
    assert verdict("x86_64", X86_64, 0x40000000) == REFUSE  # read of the x32 ABI


def test_an_unknown_machine_is_no_reason_to_run_unconfined() -> None:
    with pytest.raises(OSError, match="riscv64"):
        list(seccomp.filter_for("riscv64"))
