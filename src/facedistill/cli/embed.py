"""`facedistill embed`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from facedistill.cli.options.arguments import (
    EmbeddingOutput,
    InputColor,
    InputMean,
    InputSize,
    InputStd,
    Out,
    Prompts,
    Root,
    Skip,
)
from facedistill.cli.options.network import opened_network
from facedistill.cli.output import echo, echo_next
from facedistill.cli.stopping import AGAIN, stopped_as
from facedistill.core.errors import FacedistillError
from facedistill.core.imported_modules import import_modules
from facedistill.core.missing_files import require_present
from facedistill.core.output_place import require_outside

EXAMPLES = (
    "facedistill embed --teacher teacher.onnx --data faces --out bank",
    "facedistill embed --teacher runs/swin/best.safetensors --tokens --data faces --out bank",
    "facedistill embed --import embeddings.npy --data faces --licence MIT --out bank",
)


def _standing(out: Path, **_: Any) -> Callable[[], str]:
    from facedistill.distill.bank.unfinished_shard import kept_images

    def standing() -> str:
        kept, count = kept_images(out)
        if not kept:
            return f"stopped, nothing is saved in {out}: {AGAIN}"
        return f"stopped, {kept:,} of {count:,} images are kept in {out}: {AGAIN} to go on"

    return standing


@stopped_as(_standing)
def embed(
    data: Annotated[str, typer.Option(help="The faces.")],
    out: Out,
    teacher: Annotated[
        Path | None, typer.Option(help=".onnx, .safetensors, .pt, .pth, .ckpt or .pth.tar.")
    ] = None,
    root: Root = None,
    imported: Annotated[
        list[str] | None,
        typer.Option(
            "--import",
            metavar="FILE.npy|MODULE",
            help="Instead of a teacher: .npy (N, D) in record order. Else a Python module to "
            "import first, for what it registers; repeatable.",
        ),
    ] = None,
    flipped: Annotated[
        Path | None, typer.Option("--import-flipped", help=".npy of the mirrored images.")
    ] = None,
    flip: Annotated[
        bool | None,
        typer.Option("--flip/--no-flip", help="Embed mirrored images too; default: yes."),
    ] = None,
    tokens: Annotated[
        bool | None,
        typer.Option(
            "--tokens",
            help="Keep a Transformer's tokens (a CNN's last map) too, for urfm and fitnet without "
            "prompts.",
        ),
    ] = None,
    prompts: Prompts = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, max=4096, help="Images of a forward pass; default: 64.")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read.")] = 2,
    skip: Skip = False,
    licence: Annotated[str, typer.Option(help="Licence of the teacher's weights.")] = "unknown",
    color: InputColor = None,
    size: InputSize = None,
    mean: InputMean = None,
    std: InputStd = None,
    output: EmbeddingOutput = None,
) -> None:
    """A teacher's embeddings of a data set, once, into a bank; continues after a kill."""
    files = [each for each in imported or () if each.lower().endswith(".npy")]
    import_modules(each for each in imported or () if each not in files)
    if (teacher is None) == (not files):
        raise FacedistillError("give either --teacher or --import FILE.npy")
    if len(files) > 1:
        raise FacedistillError(f"--import {files[1]}: one file of embeddings makes a bank")
    _check_partners(
        teacher,
        flipped,
        {
            "--prompts": prompts,
            "--output": output,
            "--color": color,
            "--size": size,
            "--mean": mean,
            "--std": std,
            "--flip/--no-flip": flip,
            "--tokens": tokens,
            "--batch-size": batch_size,
        },
    )
    require_present(data, root, teacher, *files, flipped, prompts)
    require_outside(out, data)
    from facedistill.data.alignment_check import warn_unless_aligned
    from facedistill.data.damage import naming_all_damaged, without_damaged
    from facedistill.data.open import open_dataset
    from facedistill.data.stored_orientation import warn_of_turned
    from facedistill.distill.bank.making import embed_teacher, import_embeddings
    from facedistill.distill.bank.unfinished_shard import kept_images
    from facedistill.experiments.teacher_accuracy import measure_teacher
    from facedistill.experiments.teacher_feeding import check_teacher
    from facedistill.models.files.open_network import carries_input
    from facedistill.models.inference import BATCH

    # Holes in the labels are no matter here: a bank goes by the images' keys.
    dataset = open_dataset(data, relabel=True, root=root, skip=skip)
    warn_of_turned(dataset)
    whole = len(dataset)
    if skip:
        dataset = without_damaged(dataset, workers)
    warn_unless_aligned(dataset)
    if files:
        bank = import_embeddings(Path(files[0]), dataset, out, flipped=flipped, licence=licence)
    else:
        assert teacher is not None
        network = opened_network(teacher, color, size, mean, std, prompts, output)
        kept_before, _ = kept_images(out)
        if not kept_before:
            fixed = prompts is not None or carries_input(teacher, network)
            if untried := check_teacher(network, dataset, fixed=fixed):
                echo(untried)
        with naming_all_damaged(dataset, workers):
            bank = embed_teacher(
                network,
                dataset,
                out,
                flip=flip is not False,
                batch_size=batch_size or BATCH,
                workers=workers,
                licence=licence,
                tokens=bool(tokens),
            )
    pixels = bank.info.pixels
    kept = f" with {pixels.side**2} pixels of {pixels.channels} channels" if pixels else ""
    echo(
        f"{out}: {len(bank):,} embeddings of {bank.info.dimension} dimensions{kept}, "
        f"views {' and '.join(bank.info.views)}, by {bank.info.teacher_name}"
    )
    accuracy = measure_teacher(bank, dataset)
    if accuracy:
        echo(f"teacher's accuracy: {accuracy.text()}")
    else:
        echo("teacher's accuracy: not known, the labels give hardly any pairs of images")
    if len(dataset) < whole:
        echo("the bank is of the images that are whole: pack these to train on them")
        of_list = () if root is None else ("--root", root)
        echo_next(("prepare", data, *of_list, "--pack", "--skip", "--out", f"{out}-faces"))
        return
    keys = [f"data.train={data}", f"teacher.bank={out}"]
    if root is not None:
        keys.append(f"data.root={root}")
    if skip:  # Files that are missing, which the data set has left out when it was opened.
        keys.append("data.on_error=skip")
    words = [word for key in keys for word in ("--set", key)]
    echo_next(("distill", "fcd", *words, "--out", "runs/student"))


def _check_partners(
    teacher: Path | None, flipped: Path | None, of_network: dict[str, object]
) -> None:
    """Refuse options that were given and would change nothing."""
    if teacher is not None and flipped is not None:
        raise FacedistillError("--import-flipped goes with --import FILE.npy, not with --teacher")
    for option, value in of_network.items():
        if teacher is None and value is not None:
            raise FacedistillError(f"{option} is of a network: give --teacher")
