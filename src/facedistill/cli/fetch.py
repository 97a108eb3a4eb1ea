"""`facedistill fetch`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facedistill.cli.output import echo_next, print_mapping
from facedistill.core.errors import FacedistillError
from facedistill.core.missing_files import require_present
from facedistill.core.suggestion import did_you_mean

EXAMPLES = ("facedistill fetch yunet", "facedistill fetch yunet --from yunet_n_640_640.onnx")


def fetch(
    name: Annotated[str, typer.Argument(help="What to get: yunet, a face detector.")],
    source: Annotated[
        Path | None,
        typer.Option("--from", help="Install this local copy instead of downloading."),
    ] = None,
) -> None:
    """Get a file that is not shipped, verified, into the cache folder; the only download there is.

    The folder is FACEDISTILL_CACHE, or facedistill in the user's cache folder.
    """
    require_present(source)
    from facedistill.runtime.detection import YUNET

    if name != YUNET.name:
        raise FacedistillError(f"there is no '{name}' to fetch: {did_you_mean(name, [YUNET.name])}")
    there = source is None and YUNET.present
    if source is not None:
        YUNET.install(source)
    elif not there:
        YUNET.fetch()
    print_mapping(
        {
            "file": f"{YUNET.path}{' (was there already)' if there else ''}",
            "sha256": YUNET.sha256,
            "licence": YUNET.licence,
            "from": str(source or YUNET.address),
        }
    )
    echo_next(("prepare", "photos/", "--detect", "--pack", "--out", "faces"))
