"""The command line put together: one file a command, each with its options and one call.

Commands import the rooms that they need when they run, so that `facedistill --help` starts at once.
"""

from __future__ import annotations

import errno
import sys
import warnings
from typing import Annotated, Any

import typer

from facedistill.cli import (
    bench,
    centre,
    cluster,
    compare,
    demo,
    distill,
    embed,
    enrol,
    evaluate,
    export,
    fetch,
    gallery,
    identify,
    inspect,
    prepare,
    probe,
    train,
    verify,
)
from facedistill.cli import list as listing
from facedistill.cli.command import CommandGroup, command_class
from facedistill.cli.options.imports import importing
from facedistill.core.errors import FacedistillError, Interrupted, printable
from facedistill.core.process import end_without_teardown
from facedistill.core.signals import ended_by_second_interrupt, stoppable
from facedistill.core.version import __version__

EXAMPLES = (
    "facedistill demo",
    "facedistill prepare photos/ --pack --out faces",
    "facedistill embed --teacher teacher.onnx --data faces --out bank",
    "facedistill distill fcd --set data.train=faces --set teacher.bank=bank --out runs/student",
    "facedistill evaluate runs/student lfw.bin --report report",
    "facedistill export runs/student --out student.onnx",
)

app = typer.Typer(
    name="facedistill",
    cls=command_class(EXAMPLES, CommandGroup),
    help="Distil a strong face-recognition network into a small one, measure it, export it.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

app.command(cls=command_class(demo.EXAMPLES))(demo.demo)
app.command(cls=command_class(fetch.EXAMPLES))(fetch.fetch)
app.command(cls=command_class(prepare.EXAMPLES))(importing(prepare.prepare))
app.command(cls=command_class(inspect.EXAMPLES))(importing(inspect.inspect))
app.command(cls=command_class(embed.EXAMPLES))(embed.embed)
app.command(cls=command_class(train.EXAMPLES))(importing(train.train))
app.command(cls=command_class(distill.EXAMPLES))(importing(distill.distill))
app.command(cls=command_class(probe.EXAMPLES))(importing(probe.probe))
app.command(cls=command_class(compare.EXAMPLES, compare.SeedsCommand))(importing(compare.compare))
app.command(cls=command_class(evaluate.EXAMPLES))(importing(evaluate.evaluate))
app.command(cls=command_class(centre.EXAMPLES))(importing(centre.centre))
app.command(cls=command_class(export.EXAMPLES))(importing(export.export))
app.command(cls=command_class(bench.EXAMPLES))(importing(bench.bench))
app.command(cls=command_class(verify.EXAMPLES))(importing(verify.verify))
app.command(cls=command_class(enrol.EXAMPLES))(enrol.enrol)
app.command(cls=command_class(identify.EXAMPLES))(identify.identify)
app.command(cls=command_class(cluster.EXAMPLES))(cluster.cluster)
app.add_typer(gallery.gallery, name="gallery")
app.command("list", cls=command_class(listing.EXAMPLES))(importing(listing.list_names))


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"facedistill {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Distil a strong face-recognition network into a small one, measure it, export it."""


def _say_warning(message: Warning | str, *_: Any) -> None:
    """Show a warning as one line, without the source line that issued it."""
    typer.echo(f"warning: {printable(str(message))}", err=True)


def main() -> None:
    """Run the command line; what the user must know is one line, not a traceback."""
    with end_without_teardown():
        _main()


def _main() -> None:
    warnings.showwarning = _say_warning  # type: ignore[assignment]
    try:
        with ended_by_second_interrupt(), stoppable(lambda: "stopped: run the same command again"):
            app()
    except FacedistillError as error:
        for line in error.details:
            typer.echo(line, err=True)
        typer.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        # A name too long, a folder that may not be searched: the system's word on a file is one.
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        if error.filename is None and not full:
            raise
        place = f"{error.filename}: " if error.filename is not None else ""
        remedy = ": free some space, then run the same command again" if full else ""
        typer.echo(f"error: {FacedistillError(f'{place}{error.strerror}{remedy}')}", err=True)
        sys.exit(FacedistillError.exit_code)
    except Interrupted as stop:
        typer.echo(str(stop), err=True)
        sys.exit(stop.exit_code)


if __name__ == "__main__":
    main()
