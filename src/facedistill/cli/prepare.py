"""`facedistill prepare`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from facedistill.cli.options.arguments import Out, Overwrite, Root, Skip
from facedistill.cli.options.network import opened_network
from facedistill.cli.output import check_sheet, echo_next, print_mapping
from facedistill.cli.stopping import stopped_as, written_or_not
from facedistill.core.errors import FacedistillError
from facedistill.core.missing_files import require_present
from facedistill.core.output_place import require_not_replaced, require_outside

EXAMPLES = (
    "facedistill prepare photos/ --pack --out faces",
    "facedistill prepare photos/ --align --model finder.onnx --out faces --sheet sheet.png",
    "facedistill prepare photos/ --split identities=600 --seed 0 --out faces",
)


def _standing(out: Path, pack: bool, split: str | None, **_: Any) -> Callable[[], str]:
    if split is not None:
        return written_or_not(out, out / "split.json")
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
    split: Annotated[
        str | None,
        typer.Option(
            metavar="identities=N",
            help="Write RecordIO sets train/ and test/ that share no identity; N of the test set, "
            "or a share as 0.1.",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="With --split: which identities; default: 0.")
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
    """Make a training set of photos: align loose crops, pack aligned ones, split by identity."""
    if not pack and not align and split is None:
        raise FacedistillError(
            "say what to do: --align warps loose crops, --pack writes RecordIO, --split two such "
            "sets that share no identity"
        )
    if seed is not None and split is None:
        raise FacedistillError("--seed chooses the identities of --split: give that too")
    if align != (model is not None) or (sheet and not align):
        raise FacedistillError("--align needs --model, a landmark network; --sheet goes with both")
    require_present(source, root, model)
    check_sheet(sheet, overwrite, source)
    require_outside(out, source)
    require_not_replaced(source, out)
    from facedistill.data.damage import naming_all_damaged, without_damaged
    from facedistill.data.identity_split import IdentitySplit, write_split
    from facedistill.data.open import open_dataset
    from facedistill.data.packing import pack as pack_dataset
    from facedistill.data.packing import require_room

    cut = None if split is None else IdentitySplit.parse(split, seed or 0)
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
                split=cut,
                sheet=sheet,
                overwrite=overwrite,
                workers=workers,
            )
        else:
            made: dict[str, Any] = {
                "size": size,
                "quality": quality,
                "overwrite": overwrite,
                "workers": workers,
            }
            if cut is None:
                summary = pack_dataset(dataset, out, **made)
            else:
                summary = write_split(dataset, out, cut, **made)
    print_mapping(summary)
    faces = out if cut is None else out / "train"
    echo_next(("embed", "--teacher", "TEACHER.onnx", "--data", faces, "--out", "bank"))
    if cut is not None:
        echo_next(("evaluate", "runs/student", out / "test", "--all-pairs"))
