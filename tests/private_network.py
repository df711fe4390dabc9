"""A network of our own: loopback only, nobody else on it.

storescp, dcmqrscp and Orthanc's DICOM port listen on every interface and cannot be told otherwise. Tests and benchmarks
that start them therefore leave the machine's network first, by unshare(2) with CLONE_NEWNET, and bring up `lo` in the
new, empty one. Ports never clash with anything on the machine, and nothing outside can be reached by accident.

`enter()` does it to the running process: threads and processes started afterwards inherit the private network, so it
must be called early and from the main thread. `python tests/private_network.py COMMAND...` does it to one command.
Linux only; root, or a kernel that allows unprivileged user namespaces.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import sys
from pathlib import Path

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS = 0x8914
IFF_UP, IFF_RUNNING = 0x1, 0x40
BACK = "--back-by"
HOST = "ISOCENTER_HOST_NETWORK"  # in the environment of who was started in a private network: the one that was left

_host_network: int | None = None  # descriptor of the network namespace we came from
_failure: str | None = None


def _unshare(flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _map_own_user(uid: int, gid: int) -> None:
    """Keep our user and group inside a new user namespace, so that files go on belonging to us."""
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")


def _loopback_up() -> None:
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        fcntl.ioctl(probe, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP | IFF_RUNNING))


def enter() -> str | None:
    """Move this process to a private network, once. Returns None, or why this machine cannot do it."""
    global _host_network, _failure
    if _host_network is not None or _failure is not None:
        return _failure
    if not sys.platform.startswith("linux"):
        _failure = f"no network namespaces on {sys.platform}"
        return _failure
    # Processes that share the tests are started by one that is in a private network already: back is not to that one,
    # where pip would find nobody.
    try:
        host = os.open(os.environ[HOST], os.O_RDONLY | os.O_CLOEXEC)
    except (KeyError, OSError):  # nobody said, or we may not look
        host = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    uid, gid = os.geteuid(), os.getegid()
    try:
        if uid == 0:
            _unshare(CLONE_NEWNET)
        else:
            _unshare(CLONE_NEWUSER | CLONE_NEWNET)
            _map_own_user(uid, gid)
        _loopback_up()
    except OSError as error:
        os.close(host)
        _failure = f"unshare: {error.strerror}"
        return _failure
    _host_network = host
    os.environ[HOST] = f"/proc/{os.getpid()}/fd/{host}"
    return None


def is_private() -> bool:
    """True after a successful `enter()`."""
    return _host_network is not None


def on_host(*argv: str | Path) -> tuple[list[str | Path], tuple[int, ...]]:
    """The command that runs `argv` in the machine's network again (pip needs it), and the descriptors to pass to it.

    A process of its own goes back: a `preexec_fn` runs Python between fork and exec, where it waits for ever for a lock
    that another thread had at the fork, and servers of earlier tests have left threads. Only root may go back.
    """
    if _host_network is None:
        return [*argv], ()
    return [sys.executable, __file__, BACK, str(_host_network), *argv], (_host_network,)


def _go_back(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")
    os.close(descriptor)


def main() -> None:
    """Run the command of the arguments inside a private network; its exit code is ours."""
    if len(sys.argv) < 2:
        raise SystemExit(f"usage: {sys.argv[0]} COMMAND [ARGUMENT...]")
    if sys.argv[1] == BACK:
        _go_back(int(sys.argv[2]))
        os.execvp(sys.argv[3], sys.argv[3:])
    reason = enter()
    if reason is not None:
        raise SystemExit(f"no private network: {reason}")
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
