"""Naming the key a user probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a hint for an unknown `word`: the nearest of `known`, or all of them.

    Args:
        word: What the user wrote.
        known: Every word that would have been right.

    Returns:
        A clause such as `did you mean 'weight'?` or `known: fcd, kd`, ready to end a message.
    """
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"known: {', '.join(known)}" if known else "none are known here"
