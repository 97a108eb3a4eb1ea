"""Faults in how a data set is laid out: found all at once, named together, or passed over."""

from __future__ import annotations

import warnings

from facedistill.core.errors import FacedistillError

MOST_NAMED = 20
"""Faults of a data set that are named one by one."""


class Faults:
    """The faults of a data set that have been found so far.

    Args:
        name: What to call the data set.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._found: dict[str, list[str]] = {}

    def add(self, kind: str, message: str) -> None:
        """Take in a fault.

        Args:
            kind: What such faults are, in the plural: `listed files are missing`.
            message: What is wrong, where, and what to do.
        """
        self._found.setdefault(kind, []).append(message)

    def settle(self, skip: bool | None) -> None:
        """Warn of what is left out, a line for each kind; or refuse the data set.

        Args:
            skip: Whether the faults are passed over; None where that cannot be asked for.

        Raises:
            FacedistillError: If there are faults that are not passed over; its details name them.
        """
        if skip:
            for kind, messages in self._found.items():
                warnings.warn(
                    f"{self.name}: left out: {len(messages):,} {kind}, first: {messages[0]}",
                    stacklevel=4,
                )
        elif self._found:
            raise self._refusal(skippable=skip is not None)

    def _refusal(self, skippable: bool) -> FacedistillError:
        messages = [message for each in self._found.values() for message in each]
        if len(messages) == 1:
            remedy = ", or leave it out with --skip (data.on_error: skip)" if skippable else ""
            return FacedistillError(f"{messages[0]}{remedy}")
        counts = ", ".join(f"{len(each):,} {kind}" for kind, each in self._found.items())
        remedy = ", or leave them out with --skip (in a recipe data.on_error: skip)"
        more = len(messages) - MOST_NAMED
        return FacedistillError(
            f"{self.name}: {counts}: mend that{remedy if skippable else ''}",
            details=[*messages[:MOST_NAMED], *([f"... and {more:,} more"] if more > 0 else [])],
        )
