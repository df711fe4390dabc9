"""Memory for objects that are sent: read into a block, handed to the kernel, and let go, one after the other."""

from __future__ import annotations


def keep_memory(block: int) -> None:
    """Have blocks of up to so many bytes reused by this process.

    glibc gives the memory of a large block that is freed back to the system and asks for the next one's, which the
    system has to clear: a sixth of the time of whoever does nothing but send. From the largest block that was ever
    freed on, it keeps those up to that size, and twice as much at a time (mallopt(3), M_MMAP_THRESHOLD and
    M_TRIM_THRESHOLD); so one is freed here. Nothing is written to it, and with another allocator nothing happens.
    """
    bytes(block)
