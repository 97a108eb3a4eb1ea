"""`--import their.module`, on every command."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, get_type_hints

import typer

from facedistill.core.imported_modules import import_modules

Imports = Annotated[
    list[str] | None,
    typer.Option(
        "--import",
        metavar="MODULE",
        help="Import a Python module first, for what it registers; repeatable.",
    ),
]


def importing(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the option `--import`, which is carried out before anything else."""

    @wraps(command)
    def run(*arguments: Any, modules: list[str] | None = None, **options: Any) -> None:
        import_modules(modules or ())
        command(*arguments, **options)

    hints = get_type_hints(command, include_extras=True)
    parameters = [
        each.replace(annotation=hints[each.name])
        for each in inspect.signature(command).parameters.values()
    ]
    modules = inspect.Parameter(
        "modules", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Imports
    )
    run.__signature__ = inspect.Signature([*parameters, modules])  # type: ignore[attr-defined]
    run.__annotations__ = {**hints, "modules": Imports}
    return run
