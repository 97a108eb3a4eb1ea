"""What all commands have in common: examples at the end of their help."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from typer.core import TyperCommand


class Command(TyperCommand):
    """A command whose help ends with examples.

    Attributes:
        examples: Whole command lines.
    """

    examples: Sequence[str] = ()

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help, then the examples as they are typed, unwrapped."""
        super().format_help(ctx, formatter)
        formatter.write("Examples:\n" + "".join(f"  {line}\n" for line in self.examples))


def command_class(examples: Sequence[str], base: type[Command] = Command) -> type[Command]:
    """Return the class of a command that has these examples."""
    return type(base.__name__, (base,), {"examples": tuple(examples)})
