"""What all commands have in common: examples in their help, `~` in paths, mistakes in one line."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from facedistill.core.errors import FacedistillError
from facedistill.core.regular_files import require_no_device
from facedistill.core.suggestion import did_you_mean

_MISTYPED = 0.8
"""Likeness of two options of which one is the other mistyped."""


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

    def main(self, *arguments: Any, standalone_mode: bool = True, **options: Any) -> Any:
        """Run the program, and leave the process with its exit code unless `standalone_mode=False`.

        Raises:
            FacedistillError: If the command line is none that the program knows.
        """
        options["standalone_mode"] = False
        try:
            code = super().main(*arguments, **options)
        except typer.TyperException as error:
            if isinstance(error, typer.Abort):
                sys.exit(1)
            if not hasattr(error, "format_message"):
                raise
            raise FacedistillError(_in_one_line(error)) from None
        if standalone_mode:
            sys.exit(code if isinstance(code, int) else 0)
        return code

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help, then the examples as they are typed, unwrapped."""
        super().format_help(ctx, formatter)
        _write_examples(formatter, self.examples)


def _in_one_line(error: Any) -> str:
    """Return what is wrong with a command line, and where to look it up."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":  # Its help is printed when it is made.
        typer.echo(error.format_message())
        return "name a command"
    message = " ".join(error.format_message().split()).rstrip(".")
    option = getattr(error, "option_name", None)
    if option is not None and context is not None and "No such option" in message:
        message = f"no such option: {option}; {_option_meant(option, context.command)}"
    # Sentences of their own become parts of one.
    message = re.sub(r"(^|: |\. )([A-Z])(?=[a-z])", _continued, message)
    return f"{message} (see `{context.command_path if context else 'facedistill'} --help`)"


def _continued(beginning: re.Match[str]) -> str:
    return beginning[1].replace(". ", "; ") + beginning[2].lower()


def _option_meant(option: str, command: Any) -> str:
    """Say what an unknown option of a command may stand for: another, or a key of the recipe."""
    known = [name for each in command.params for name in each.opts if name.startswith("--")]
    if near := get_close_matches(option, known, n=1, cutoff=_MISTYPED):
        return f"did you mean '{near[0]}'?"
    if "--set" in known:
        from facedistill.recipe.keys import paths_of
        from facedistill.recipe.schema import Recipe

        for path in paths_of(Recipe, option.lstrip("-").replace("-", "_")):
            return f"the recipe has such a key: give --set {path}=VALUE"
    close = did_you_mean(option, known)
    return close if close.startswith("did you mean") else "there is none like it"


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
