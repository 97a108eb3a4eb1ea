"""`facedistill prepare`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from facedistill.cli.options.arguments import Out, Overwrite, Root, Skip
from facedistill.cli.options.network import opened_network
from facedistill.cli.output import check_sheet, print_mapping
from facedistill.cli.stopping import stopped_as, written_or_not
from facedistill.core.errors import FacedistillError
from facedistill.core.missing_files import require_present
from facedistill.core.output_place import require_not_replaced, require_outside

EXAMPLES = (
    "facedistill prepare photos/ --pack --out faces",
    "facedistill prepare photos/ --align --model finder.onnx --out faces --sheet sheet.png",
)


def _standing(out: Path, pack: bool, **_: Any) -> Callable[[], str]:
    return written_or_not(out, out / "train.rec" if pack else out)


@stopped_as(_standing)
def prepare(
    source: Annotated[str, typer.Argument(help="Image folder, list, or any other data set.")],
    out: Out,
    pack: Annotated[bool, typer.Option("--pack", help="Write RecordIO.")] = False,
    align: Annotated[
        bool, typer.Option("--align", help="Warp loose crops to the ArcFace template.")
    ] = False,
    model: Annotated[
        Path | None, typer.Option(help="With --align: a network that finds landmarks.")
    ] = None,
    sheet: Annotated[
        Path | None, typer.Option(help="With --align: write a figure of aligned faces.")
    ] = None,
    root: Root = None,
    skip: Skip = False,
    relabel: Annotated[bool, typer.Option(help="Close holes in the labels.")] = False,
    size: Annotated[
        int | None,
        typer.Option(min=16, max=1024, help="Resize square crops to this side; with --align 112."),
    ] = None,
    quality: Annotated[int, typer.Option(help="JPEG quality of images encoded anew.")] = 95,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read.")] = 2,
    overwrite: Overwrite = False,
) -> None:
    """Make a training set of photos: align loose crops, pack aligned ones into RecordIO."""
    if not pack and not align:
        raise FacedistillError("say what to do: --align warps loose crops, --pack writes RecordIO")
    if align != (model is not None) or (sheet and not align):
        raise FacedistillError("--align needs --model, a landmark network; --sheet goes with both")
    require_present(source, root, model)
    check_sheet(sheet, overwrite, source)
    require_outside(out, source)
    require_not_replaced(source, out)
    from facedistill.data.damage import naming_all_damaged, without_damaged
    from facedistill.data.open import open_dataset
    from facedistill.data.packing import pack as pack_dataset
    from facedistill.data.packing import require_room

    require_room(out, overwrite)
    dataset = open_dataset(source, relabel=relabel, root=root, skip=skip)
    if skip:
        dataset = without_damaged(dataset, workers)
    with naming_all_damaged(dataset, workers):
        if align:
            from facedistill.experiments.preparation import prepare_aligned

            summary = prepare_aligned(
                opened_network(model),
                dataset,
                out,
                size=size,
                quality=quality,
                as_records=pack,
                sheet=sheet,
                overwrite=overwrite,
                workers=workers,
            )
        else:
            summary = pack_dataset(
                dataset, out, size=size, quality=quality, overwrite=overwrite, workers=workers
            )
    print_mapping(summary)
