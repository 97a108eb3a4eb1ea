"""What all commands have in common: examples at the end of their help, and `~` in paths."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from typer.core import TyperCommand, TyperGroup

from facedistill.core.regular_files import require_no_device


class Command(TyperCommand):
    """A command whose help ends with examples.

    Attributes:
        examples: Whole command lines.
    """

    examples: Sequence[str] = ()

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Expand `~` in `--option=~/path`, which the shell leaves as it is."""
        return super().parse_args(ctx, [_with_home(word) for word in args])

    def invoke(self, ctx: Any) -> Any:
        """Refuse pipes, devices and sockets in place of files, before anything is opened."""
        for value in ctx.params.values():
            for each in value if isinstance(value, list | tuple) else [value]:
                if isinstance(each, str | Path):
                    require_no_device(each)
        return super().invoke(ctx)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help, then the examples as they are typed, unwrapped."""
        super().format_help(ctx, formatter)
        _write_examples(formatter, self.examples)


class CommandGroup(TyperGroup):
    """The program: the list of its commands, too, ends with examples.

    Attributes:
        examples: Whole command lines.
    """

    examples: Sequence[str] = ()

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help, then the examples as they are typed, unwrapped."""
        super().format_help(ctx, formatter)
        _write_examples(formatter, self.examples)


def _write_examples(formatter: Any, examples: Sequence[str]) -> None:
    formatter.write("Examples:\n" + "".join(f"  {line}\n" for line in examples))


def _with_home(word: str) -> str:
    option, equals, path = word.partition("=")
    if not option.startswith("--") or not path.startswith("~"):
        return word
    return option + equals + os.path.expanduser(path)  # noqa: PTH111 - Path raises for ~nobody


AnyCommand = TypeVar("AnyCommand", Command, CommandGroup)


def command_class(
    examples: Sequence[str],
    base: type[AnyCommand] = Command,  # type: ignore[assignment]
) -> type[AnyCommand]:
    """Return the class of a command, or of the program, that has these examples."""
    return type(base.__name__, (base,), {"examples": tuple(examples)})
