"""Ways to damage a file, remembering what became of every byte, and the judge of what follows."""

from __future__ import annotations

import os
import resource
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from facedistill.core.errors import FacedistillError

MUTATIONS = int(os.environ.get("FACEDISTILL_MUTATIONS", "400"))
"""Mutations of each reader."""
MEMORY = 128 << 20
"""Bytes that reading a damaged file of a few kilobytes may take, images not yet decoded."""
IMAGE_MEMORY = 704 << 20
"""The same with decoding: 67 megapixels, as coefficients of a progressive JPEG and as pixels."""
CPU_SECONDS = 10
"""What takes longer than this is a hang."""
_ADDRESS_SLACK = 512 << 20  # Threads of libraries reserve addresses, not memory.

hostile = settings(
    max_examples=MUTATIONS,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
tally: Counter[tuple[str, str]] = Counter()
"""How often each reader came to each end."""
peaks: Counter[str] = Counter()
"""Most bytes that each reader took for one mutation."""

Result = TypeVar("Result")


class Mutated(NamedTuple):
    """A damaged file.

    Attributes:
        content: Its bytes.
        origin: int64, for each byte its place in the whole file, -1 for a new one.
        steps: What was done.
    """

    content: bytes
    origin: np.ndarray
    steps: tuple[str, ...]

    def intact(self, start: int, stop: int) -> bool:
        """Whether the whole file's bytes start..stop still stand together, in any place."""
        expected = np.arange(start, stop)
        return any(
            np.array_equal(self.origin[at : at + len(expected)], expected)
            for at in np.flatnonzero(self.origin == start)
        )

    def __repr__(self) -> str:
        return "; ".join(self.steps)


LIMITS = [
    0,
    1,
    2,
    0x7F,
    0xFF,
    0x7FFF,
    0xFFFF,
    0x1FFFFFFF,
    0x20000000,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    2**53,
    2**63 - 1,
    2**64 - 1,
]
NUMBERS = [b"0", b"-1", b"1e999", b"nan", b"4294967296", b"9223372036854775807", b"9" * 30]
KINDS = ("flip", "flip", "cut", "insert", "delete", "limit", "swap", "repeat", "zero")


@st.composite
def mutations(
    draw: st.DrawFn,
    content: bytes,
    fields: Sequence[int] = (),
    records: Sequence[tuple[int, int]] = (),
    text: bool = False,
) -> Mutated:
    """Damage `content` once to three times.

    Args:
        content: The whole file.
        fields: Places of lengths and headers, which are hit more often than other bytes.
        records: (start, stop) of parts that may be exchanged, repeated or left out whole.
        text: Whether numbers stand there as digits.
    """
    data = np.frombuffer(content, np.uint8)
    origin = np.arange(len(data))
    steps = []
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        if not len(data):
            break
        kinds = (*KINDS, "records", "records") if records and not steps else KINDS
        kind = draw(st.sampled_from(kinds))
        if kind == "records":
            order, step = draw(_orders(records))
            pieces = _rearranged(len(content), records, order)
            data, origin = (
                np.concatenate([part[a:b] for a, b in pieces]) for part in (data, origin)
            )
            steps.append(step)
            continue
        known = [field for field in fields if field < len(data)]
        anywhere = st.integers(0, len(data) - 1)
        at = draw(st.one_of(anywhere, anywhere, st.sampled_from(known)) if known else anywhere)
        new = b""
        length = 0
        if kind == "flip":
            bit = draw(st.integers(0, 7))
            new, length = bytes([int(data[at]) ^ 1 << bit]), 1
            step = f"bit {bit} of byte {at} flipped"
        elif kind == "cut":
            length = len(data) - at
            step = f"cut at {at}"
        elif kind == "insert":
            new = draw(st.binary(min_size=1, max_size=9))
            step = f"{new!r} inserted at {at}"
        elif kind == "delete":
            length = draw(st.integers(1, 64))
            step = f"{length} bytes deleted at {at}"
        elif kind == "limit":
            new = draw(st.sampled_from(NUMBERS) if text else _numbers())
            length = draw(st.integers(0, 4)) if text else len(new)
            step = f"{new!r} for {length} bytes at {at}"
        elif kind == "zero":
            length = draw(st.integers(1, 64))
            length = min(length, len(data) - at)
            new, step = bytes(length), f"{length} bytes zeroed at {at}"
        else:
            length = draw(st.integers(1, 40))
            other = draw(st.integers(0, len(data) - 1))
            data, origin = (_moved(part, at, other, length, kind) for part in (data, origin))
            steps.append(f"{kind} {length} bytes at {at} and {other}")
            continue
        data = np.concatenate([data[:at], np.frombuffer(new, np.uint8), data[at + length :]])
        origin = np.concatenate([origin[:at], np.full(len(new), -1), origin[at + length :]])
        steps.append(step)
    return Mutated(data.tobytes(), origin, tuple(steps))


def _numbers() -> st.SearchStrategy[bytes]:
    return st.builds(
        lambda number, size, order: (number % (1 << 8 * size)).to_bytes(size, order),
        st.sampled_from(LIMITS),
        st.sampled_from([1, 2, 4, 8]),
        st.sampled_from(["little", "big"]),
    )


@st.composite
def _orders(draw: st.DrawFn, records: Sequence[tuple[int, int]]) -> tuple[list[int], str]:
    order = list(range(len(records)))
    a, b = draw(st.integers(0, len(order) - 1)), draw(st.integers(0, len(order) - 1))
    kind = draw(st.sampled_from(["exchange", "leave out", "repeat", "replace"]))
    if kind == "exchange":
        order[a], order[b] = order[b], order[a]
    elif kind == "leave out":
        del order[a]
    elif kind == "repeat":
        order.insert(b, a)
    else:
        order[b] = a
    return order, f"{kind} records {a} and {b}"


def _rearranged(
    length: int, records: Sequence[tuple[int, int]], order: list[int]
) -> list[tuple[int, int]]:
    """Return the pieces of the file: what stands before, between and behind stays in its place."""
    gaps = [
        (end, start)
        for end, start in zip(
            [0, *(stop for _, stop in records)],
            [*(start for start, _ in records), length],
            strict=True,
        )
    ]
    pieces = [gaps[0]]
    for place, record in enumerate(order):
        pieces += [records[record], gaps[place + 1] if place + 1 < len(gaps) - 1 else (0, 0)]
    return [*pieces, gaps[-1]]


def _moved(part: np.ndarray, at: int, other: int, length: int, kind: str) -> np.ndarray:
    a, b = sorted((at, other))
    if kind == "repeat":
        return np.concatenate([part[:b], part[a : a + length], part[b:]])
    length = min(length, b - a, len(part) - b)
    result = part.copy()
    result[a : a + length], result[b : b + length] = part[b : b + length], part[a : a + length]
    return result


def attempt(
    reader: str, names: str | Path, read: Callable[[], Result], memory: int
) -> Result | None:
    """Read a damaged file: what it holds, or None where it was refused as it should be.

    Args:
        reader: For the tally.
        names: What an error must name.
        read: The reader, closed over the damaged file.
        memory: Most bytes it may take.
    """
    try:
        with bounded(reader, memory):
            return read()
    except FacedistillError as error:
        message = str(error)
    assert str(names) in message, message
    assert message.isprintable(), message  # Hence one line,
    assert len(message) < 1000, message  # and one to read.
    tally[reader, "refused"] += 1
    return None


@contextmanager
def bounded(reader: str, memory: int) -> Iterator[None]:
    """Fail where the block takes more memory or processor time than it may."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # Begin the peak anew.
    resource.setrlimit(resource.RLIMIT_AS, (_status("VmSize") + memory + _ADDRESS_SLACK, limits[1]))
    handler = signal.signal(signal.SIGPROF, _hang)
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, handler)
        resource.setrlimit(resource.RLIMIT_AS, limits)
        peak = _status("VmHWM") - before
        peaks[reader] = max(peaks[reader], peak)
        assert peak <= memory, f"took {peak >> 20} MiB"


def _hang(*_: object) -> None:
    raise AssertionError(f"more than {CPU_SECONDS} seconds")


def _status(field: str) -> int:
    with open("/proc/self/status", "rb") as file:
        for line in file:
            if line.startswith(field.encode()):
                return int(line.split()[1]) << 10
    raise AssertionError(field)
