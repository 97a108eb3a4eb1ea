"""Timing calls, one contestant after the other. Light: a process to be measured imports it."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

TURNS = 10
"""Turns that a benchmark's calls are spread over."""

Clock = Callable[[], float]
"""Seconds since some moment."""

Key = TypeVar("Key", bound=Hashable)


def time_calls(
    call: Callable[[], Any], calls: int, *, clock: Clock = time.perf_counter
) -> list[float]:
    """Return the seconds that each of some calls took."""
    seconds = []
    for _ in range(calls):
        start = clock()
        call()
        seconds.append(clock() - start)
    return seconds


def time_in_turns(
    contestants: Mapping[Key, Callable[[int], Sequence[float]]], calls: int, *, turns: int = TURNS
) -> Iterator[tuple[Key, list[float]]]:
    """Let contestants take turns, so that a busy moment of the machine meets all alike.

    Every other turn goes through them in the opposite order.

    Args:
        contestants: By key, what makes a number of calls and returns the seconds of each.
        calls: Timed calls of each in all; rounded up to whole turns.
        turns: Turns; at most as many as there are calls.

    Yields:
        Key and seconds of one turn of one contestant.
    """
    turns = min(turns, calls)
    order = list(contestants)
    for turn in range(turns):
        for key in order if turn % 2 == 0 else reversed(order):
            yield key, list(contestants[key](-(-calls // turns)))
