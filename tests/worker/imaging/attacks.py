"""Attacks by an image that took over its decoder, as a handler that a test gives to a pool.

Each attack returns its outcome as the body of the result.
"""

import ctypes
import errno
import json
import mmap
import os
import resource
import signal
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from services.common.errors import ImagingCrashed
from services.worker.imaging import sandbox
from services.worker.imaging.handler import ImageHandler, ResultImage
from services.worker.imaging.limits import ImagingLimits

LIBC: Final = ctypes.CDLL(None, use_errno=True)


def load_handler(limits: ImagingLimits) -> ImageHandler:
    environment_at_start = Path("/proc/self/environ").read_bytes()

    def handle(content: bytes, recipe: Mapping[str, Any]) -> ResultImage:
        [attack] = recipe["operations"]
        if attack["name"] == "environment":
            outcome = repr((environment_at_start, dict(os.environ)))
        else:
            outcome = outcome_of(ATTACKS[attack["name"]], attack)
        return ResultImage(outcome.encode(), "image/png", 1, 1)

    return handle


def load_handler_and_prevent_confinement(limits: ImagingLimits) -> ImageHandler:
    handler = load_handler(limits)
    sandbox.confine(memory_bytes=limits.memory_bytes)  # its filter forbids to confine again
    return handler


def outcome_of(attempt: Callable[..., object], attack: Mapping[str, Any]) -> str:
    """The name of the errno if the kernel denied the attack, otherwise the value it returned."""
    ctypes.set_errno(0)
    try:
        returned = attempt(attack)
    except OSError as denied:
        return errno.errorcode.get(denied.errno or 0, repr(denied))
    except RuntimeError as denied:  # raised by the threading module
        return repr(denied)
    return errno.errorcode[ctypes.get_errno()] if returned == -1 else f"succeeded: {returned!r}"


def read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(100)


def write_to_every_descriptor(data: bytes) -> int:
    for descriptor in range(3, 4096):  # its number is the parent's, which may have many files open
        try:
            os.write(descriptor, data)
        except OSError:
            continue
    return 0


def forge_error_reply(attack: Mapping[str, Any]) -> int:
    header = {
        "code": ImagingCrashed.code,
        "reason": "\x1b[2J\r\nAll is well." + "!" * 10_000,
        "traceback": "x" * 50_000,
    }
    encoded = json.dumps(header).encode()
    return write_to_every_descriptor(struct.pack(">II", len(encoded), 0) + encoded)


def exhaust_memory(attack: Mapping[str, Any]) -> int:
    allocated = []
    while True:
        allocated.append(bytes(16 * 1024**2))


def spin(attack: Mapping[str, Any]) -> int:
    while True:
        pass


def spin_without_a_timer(attack: Mapping[str, Any]) -> int:
    signal.setitimer(signal.ITIMER_PROF, 0)
    return spin(attack)


def segfault(attack: Mapping[str, Any]) -> int:
    return int(ctypes.string_at(0) == b"")


def raise_unexpected_error(attack: Mapping[str, Any]) -> int:
    raise KeyError("a bug")


def process_vm_readv(pid: int) -> int:
    buffer = ctypes.create_string_buffer(16)
    vector = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 16)
    return int(LIBC.process_vm_readv(pid, vector, 1, vector, 1, 0))


PTRACE_ATTACH: Final = 16
CLONE_NEWUSER: Final = 0x10000000
SYS_IO_URING_SETUP: Final = 425
SYS_PIDFD_OPEN: Final = 434

ATTACKS: Final[dict[str, Callable[[Mapping[str, Any]], object]]] = {
    # credentials
    "own environ": lambda _: read("/proc/self/environ"),
    "parent's environ": lambda _: read(f"/proc/{os.getppid()}/environ"),
    "parent's memory": lambda _: read(f"/proc/{os.getppid()}/mem"),
    "parent's memory by system call": lambda attack: process_vm_readv(attack["parent"]),
    "ptrace the parent": lambda attack: LIBC.ptrace(PTRACE_ATTACH, attack["parent"], 0, 0),
    "take the parent's files": lambda a: LIBC.syscall(SYS_PIDFD_OPEN, a["parent"], 0),
    # files
    "read a file": lambda _: read("/etc/passwd"),
    "read another image": lambda attack: read(attack["path"]),
    "list a folder": lambda _: os.listdir("/"),
    "write a file": lambda attack: os.open(attack["path"], os.O_WRONLY | os.O_CREAT),
    "remove a file": lambda attack: os.unlink(attack["path"]),
    "rename a file": lambda attack: os.rename(attack["path"], attack["path"] + "2"),
    "create a folder": lambda attack: os.mkdir(attack["path"] + "d"),
    "create a link": lambda attack: os.symlink("/etc/passwd", attack["path"] + "l"),
    "create a file in memory": lambda _: LIBC.memfd_create(b"hidden", 0),
    # network
    "open a socket": lambda _: socket.socket(),
    "open a local socket": lambda _: socket.socket(socket.AF_UNIX),
    "open a raw socket": lambda _: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1),
    "open a socket pair": lambda _: socket.socketpair(),
    # processes
    "fork": lambda _: os.fork(),
    "start a program": lambda _: subprocess.run(["/bin/true"], check=True),
    "start a thread": lambda _: threading.Thread(target=print).start(),
    "kill the parent": lambda attack: os.kill(attack["parent"], signal.SIGTERM),
    "kill every process": lambda _: os.kill(-1, 0),
    # the kernel
    "create a user namespace": lambda _: LIBC.unshare(CLONE_NEWUSER),
    "mount": lambda _: LIBC.mount(b"none", b"/mnt", b"tmpfs", 0, None),
    "io_uring": lambda _: LIBC.syscall(SYS_IO_URING_SETUP, 8, ctypes.create_string_buffer(120)),
    "map executable memory": lambda _: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC),
    "raise its memory limit": lambda _: LIBC.setrlimit(
        resource.RLIMIT_AS, (ctypes.c_ulong * 2)(2**40, 2**40)
    ),
    "set the parent's limits": lambda a: resource.prlimit(a["parent"], resource.RLIMIT_CPU, (1, 1)),
    # what ends the child or the image
    "send pickles": lambda _: write_to_every_descriptor(b"\x80\x04N." * 100),
    "forge an error reply": forge_error_reply,
    "exhaust memory": exhaust_memory,
    "spin": spin,
    "spin without a timer": spin_without_a_timer,
    "segfault": segfault,
    "raise an unexpected error": raise_unexpected_error,
}
