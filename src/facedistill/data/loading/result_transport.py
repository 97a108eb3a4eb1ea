"""A result on its way from a worker process, through a socket and memory without a name.

Arrays are not copied into the pickled text. Whatever is large goes into memory whose descriptor is
sent: other than the shared memory of torch's DataLoader it is not in /dev/shm, of which a container
often has 64 MB.
"""

from __future__ import annotations

import mmap
import os
import pickle
from collections.abc import Sequence
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from typing import Any

_SMALL = 1 << 15
"""Bytes up to which a result goes through the socket itself."""
_ALIGNMENT = 64


def pickled(result: Any) -> list[memoryview]:
    """Return a result as frames: its pickled text, and the memory of each array in it."""
    buffers: list[pickle.PickleBuffer] = []
    text = pickle.dumps(result, protocol=5, buffer_callback=buffers.append)
    return [memoryview(text), *(buffer.raw() for buffer in buffers)]


def unpickled(frames: Sequence[memoryview]) -> Any:
    """Return the result that frames hold; its arrays use their memory."""
    return pickle.loads(frames[0], buffers=frames[1:])  # noqa: S301 - of this program's process


def send(channel: Connection, frames: Sequence[memoryview]) -> None:
    """Send frames to the process at the other end."""
    sizes = [frame.nbytes for frame in frames]
    memory = _in_memory(frames) if sum(sizes) > _SMALL else None
    channel.send((sizes, memory is not None))
    if memory is None:
        for frame in frames:
            channel.send_bytes(frame)
        return
    try:
        send_handle(channel, memory, os.getppid())
    finally:
        os.close(memory)


def _in_memory(frames: Sequence[memoryview]) -> int | None:
    """Return a descriptor of memory that holds frames; None where the system gives none."""
    memory = None
    try:
        memory = os.memfd_create("facedistill")
        with open(memory, "wb", closefd=False) as file:
            for frame, start in zip(frames, _starts([f.nbytes for f in frames]), strict=True):
                file.seek(start)
                file.write(frame)
    except (OSError, AttributeError):
        if memory is not None:
            os.close(memory)
        return None
    return memory


def _starts(sizes: Sequence[int]) -> list[int]:
    """Return where frames begin, each fit for numbers of any kind."""
    starts, end = [], 0
    for size in sizes:
        starts.append(end)
        end += -(-size // _ALIGNMENT) * _ALIGNMENT
    return starts


def receive(channel: Connection) -> tuple[int, Any]:
    """Return the bytes of a result that was sent, and the result.

    Raises:
        EOFError: If the process at the other end has ended, as ConnectionError may, too.
    """
    sizes, shared = channel.recv()
    if shared:
        memory = recv_handle(channel)
        try:
            starts = _starts(sizes)
            block = memoryview(_mapped(memory, starts[-1] + sizes[-1]))
        finally:
            os.close(memory)
        frames = [block[start : start + size] for start, size in zip(starts, sizes, strict=True)]
    else:
        frames = [memoryview(bytearray(channel.recv_bytes())) for _ in sizes]
    return sum(sizes), unpickled(frames)


def _mapped(memory: int, size: int) -> mmap.mmap:
    flags = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
    return mmap.mmap(memory, size, flags=flags)
