"""The command line: parse, call one function of one room, print. No logic.

Rooms are imported inside the commands, so that `facedistill --help` starts at once; at the top is
only what imports next to nothing.
"""

from __future__ import annotations

import json
import sys
import warnings
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from facedistill.core.errors import FacedistillError, Interrupted
from facedistill.core.process import end_without_teardown
from facedistill.export.target import TARGETS

app = typer.Typer(
    name="facedistill",
    help="Distil a strong face-recognition network into a small one, measure it, export it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="A.B=C", help="Change a key of the recipe.")
]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder or file to write.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


class Color(StrEnum):
    """Order of a network's input channels."""

    RGB = "RGB"
    BGR = "BGR"


class InputKind(StrEnum):
    """What an exported file takes."""

    UINT8 = "uint8"
    FLOAT = "float"


class PairImages(StrEnum):
    """Which images of a pair are altered: the second, or both."""

    ONE = "one"
    BOTH = "both"


InputColor = Annotated[
    Color | None, typer.Option("--color", help="Of a foreign network that does not say.")
]
InputSize = Annotated[int | None, typer.Option("--size", help="Side of its input, in pixels.")]
InputMean = Annotated[float | None, typer.Option("--mean", help="Subtracted, 0..255.")]
InputStd = Annotated[float | None, typer.Option("--std", help="Divided by, 0..255.")]
Prompts = Annotated[
    Path | None,
    typer.Option(
        help="prompts.safetensors, or the folder, of a run whose teacher this Transformer was."
    ),
]


@app.command()
def demo(
    out: Out = Path("demo"),
    quick: Annotated[bool, typer.Option(help="A few steps only, to see that it runs.")] = False,
) -> None:
    """The whole story on built-in procedural faces: teacher, student, table, ONNX file."""
    from facedistill.experiments.demo import run_demo

    if not run_demo(out, quick=quick, say=typer.echo):
        raise typer.Exit(1)


@app.command()
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
        Path | None, typer.Option(help="With --align: write a picture of aligned faces.")
    ] = None,
    relabel: Annotated[bool, typer.Option(help="Close holes in the labels.")] = False,
    size: Annotated[
        int | None,
        typer.Option(min=16, max=1024, help="Resize square crops to this side; with --align 112."),
    ] = None,
    quality: Annotated[int, typer.Option(help="JPEG quality of images encoded anew.")] = 95,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read.")] = 2,
    overwrite: Annotated[bool, typer.Option(help="Replace what is there.")] = False,
) -> None:
    """Make a training set of photos: align loose crops, pack aligned ones into RecordIO."""
    from facedistill.data.open import open_dataset
    from facedistill.data.packing import pack as pack_dataset

    if not pack and not align:
        raise FacedistillError("say what to do: --align warps loose crops, --pack writes RecordIO")
    if align != (model is not None) or (sheet and not align):
        raise FacedistillError("--align needs --model, a landmark network; --sheet goes with both")
    dataset = open_dataset(source, relabel=relabel)
    if align:
        from facedistill.experiments.preparation import prepare_aligned

        summary = prepare_aligned(
            _open_network(model),
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
    _print_mapping(summary)


@app.command()
def inspect(
    source: Annotated[str, typer.Argument(help="Data set, .bin pairs, bank, or model file.")],
    as_json: AsJson = False,
    sheet: Annotated[Path | None, typer.Option(help="Write a picture of sample faces.")] = None,
    verify: Annotated[bool, typer.Option(help="Check every record's checksum.")] = False,
    neighbours: Annotated[
        bool, typer.Option("--neighbours", help="Of a bank: people that its teacher confuses.")
    ] = False,
    data: Annotated[
        str | None, typer.Option(help="With --neighbours: the faces, where they were moved.")
    ] = None,
    same: Annotated[
        float, typer.Option(min=-1, max=1, help="Cosine of two people who are likely one.")
    ] = 0.7,
    far: Annotated[
        float, typer.Option(min=-1, max=1, help="Cosine of an image likely mislabelled.")
    ] = 0.2,
) -> None:
    """What is in this file? Counts, sizes, labels, parameters, metadata, a sheet of samples."""
    if neighbours:
        if verify:
            raise FacedistillError("--neighbours and --verify are two questions: ask one at a time")
        from facedistill.report.documents.confusion import inspect_confusion

        confusion = inspect_confusion(source, data, sheet=sheet, same_above=same, far_below=far)
        typer.echo(json.dumps(confusion.to_dict(), indent=2) if as_json else confusion.text())
        return
    if data is not None:
        raise FacedistillError("--data goes with --neighbours; to inspect faces, name them alone")
    from facedistill.report.documents.inspection import inspect_source

    description = inspect_source(source, sheet=sheet, verify=verify)
    _print_mapping(description, as_json)


@app.command()
def embed(
    data: Annotated[str, typer.Option(help="The faces.")],
    out: Out,
    teacher: Annotated[
        Path | None, typer.Option(help=".onnx, .safetensors, .pt, .pth or .ckpt.")
    ] = None,
    embeddings: Annotated[
        Path | None,
        typer.Option("--import", help="Instead of a teacher: .npy (N, D) in record order."),
    ] = None,
    flipped: Annotated[
        Path | None, typer.Option("--import-flipped", help=".npy of the mirrored images.")
    ] = None,
    flip: Annotated[bool, typer.Option(help="Embed mirrored images too.")] = True,
    prompts: Prompts = None,
    batch_size: Annotated[int, typer.Option(min=1, max=4096)] = 64,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read.")] = 2,
    licence: Annotated[str, typer.Option(help="Licence of the teacher's weights.")] = "unknown",
    color: InputColor = None,
    size: InputSize = None,
    mean: InputMean = None,
    std: InputStd = None,
) -> None:
    """A teacher's embeddings of a data set, once, into a bank; continues after a kill."""
    from facedistill.data.open import open_dataset
    from facedistill.distill.bank.making import embed_teacher, import_embeddings

    # Holes in the labels are no matter here: a bank goes by the images' keys.
    dataset = open_dataset(data, relabel=True)
    if (teacher is None) == (embeddings is None):
        raise FacedistillError("give either --teacher or --import")
    if prompts and teacher is None:
        raise FacedistillError("--prompts are a network's: give --teacher")
    if embeddings is not None:
        bank = import_embeddings(embeddings, dataset, out, flipped=flipped, licence=licence)
    else:
        network = _open_network(teacher, color, size, mean, std, prompts)
        bank = embed_teacher(
            network,
            dataset,
            out,
            flip=flip,
            batch_size=batch_size,
            workers=workers,
            licence=licence,
        )
    typer.echo(
        f"{out}: {len(bank):,} embeddings of {bank.info.dimension} dimensions, "
        f"views {' and '.join(bank.info.views)}, by {bank.info.teacher_name}"
    )


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="Name of a shipped recipe, or a .yaml file.")],
    out: Out = Path("runs/train"),
    settings: Set = None,
) -> None:
    """A network from labels alone: teachers and baselines. Run again to continue."""
    _run(recipe, out, settings, with_teacher=False)


@app.command()
def distill(
    recipe: Annotated[str, typer.Argument(help="Name of a shipped recipe, or a .yaml file.")],
    out: Out = Path("runs/distill"),
    settings: Set = None,
) -> None:
    """A student from a teacher. Run the same command again to continue."""
    _run(recipe, out, settings, with_teacher=True)


class _Seeds(TyperCommand):
    """Takes `--seeds 0 1 2` for `--seeds 0 --seeds 1 --seeds 2`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        spelled: list[str] = []
        taking = False
        for word in args:
            if taking and word.isdigit():
                spelled += ["--seeds", word]
                continue
            taking = word == "--seeds"
            if not taking:
                spelled.append(word)
        if "--seeds" in args and "--seeds" not in spelled:
            spelled.append("--seeds")  # without its number, which is then asked for
        return super().parse_args(ctx, spelled)


@app.command(cls=_Seeds)
def compare(
    recipes: Annotated[
        list[str],
        typer.Argument(
            metavar="RECIPES...",
            help="Recipes, each a row (ROW=RECIPE names it), or one file that describes a "
            "comparison.",
        ),
    ],
    out: Out,
    seeds: Annotated[
        list[int] | None, typer.Option(min=0, metavar="0 1 2", help="Seeds of every row.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="A.B=C",
            help="Change a key of every recipe; teacher.* of those with a teacher, "
            "objectives.NAME.* of those with that objective.",
        ),
    ] = None,
    pairs: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME=]PAIRS", help="What all rows are measured on; repeatable."),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(metavar="ROW", help="Row to compare the others with; repeatable."),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=0, help="Processes at a time; default: one per accelerator, or one."),
    ] = None,
    latency: Annotated[
        bool, typer.Option("--latency", help="Time the rows' networks as ONNX files on one core.")
    ] = False,
) -> None:
    """Many runs, one table: what is missing is run, the rest is read. Run again to continue."""
    from facedistill.experiments.comparing import run_comparison
    from facedistill.recipe.comparison import load_comparison
    from facedistill.report.documents.comparison_page import write_comparison
    from facedistill.report.documents.comparison_table import print_comparison

    comparison = load_comparison(
        recipes,
        seeds=seeds or (),
        settings=settings or (),
        pairs=pairs or (),
        against=against or (),
        latency=latency,
    )
    rows = run_comparison(comparison, out, jobs=jobs, say=lambda line: typer.echo(line, err=True))
    print_comparison(comparison.name, rows)
    for path in write_comparison(comparison.name, rows, out):
        typer.echo(f"wrote {path}")
    if comparison.grids:
        from facedistill.report.documents.grid_tables import write_grids

        grids = write_grids(comparison.grids, rows, out)
        typer.echo(f"{grids.read_text('utf-8')}wrote {grids}")
    if any(row.errors for row in rows):
        raise typer.Exit(1)


@app.command()
def evaluate(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="[MODEL] PAIRS...",
            help="A network (.safetensors, .onnx, .pt, .pth, .ckpt), unless --embeddings is given; "
            "then what to measure on: .bin, folder with pairs.txt, folder of IJB-B or IJB-C "
            "protocol files, or procedural: spec.",
        ),
    ],
    embeddings: Annotated[
        Path | None, typer.Option(help="Instead of a network: .npy (N, D), a row per image.")
    ] = None,
    flipped: Annotated[
        Path | None, typer.Option("--embeddings-flipped", help=".npy of the mirrored images.")
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(help="Another network, or .npy: differences on the same pairs, with tests."),
    ] = None,
    groups: Annotated[
        Path | None,
        typer.Option(help="CSV `identity,sex,...` or `image,...`: errors by group of people."),
    ] = None,
    group_far: Annotated[
        float, typer.Option(help="False match rate at whose threshold groups are compared.")
    ] = 1e-2,
    protocol: Annotated[str, typer.Option(help="insightface or exact.")] = "insightface",
    variant: Annotated[
        list[str] | None,
        typer.Option(help="Of IJB templates: N1D1F1 (norm, detector score, flip), ..., or all."),
    ] = None,
    far: Annotated[
        list[float] | None, typer.Option(help="False accept rate to report; repeat for more.")
    ] = None,
    flip: Annotated[bool, typer.Option(help="Add the mirrored image's embedding.")] = True,
    mask: Annotated[
        PairImages | None,
        typer.Option(help="Draw face masks on the second image of each pair, or on both."),
    ] = None,
    mask_seed: Annotated[int, typer.Option(min=0, help="Seed of the masks.")] = 0,
    robustness: Annotated[
        PairImages | None,
        typer.Option(
            help="The same pairs again, the second image or both at 64 to 16 pixels, masked, "
            "blurred, as JPEG."
        ),
    ] = None,
    all_pairs: Annotated[
        bool,
        typer.Option(
            "--all-pairs",
            help="Compare all images of a labelled data set; with --mask one, each masked with all "
            "others as they are.",
        ),
    ] = False,
    distractors: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Look for each person of a labelled data set among these strangers; .npy: their "
            "embeddings.",
        ),
    ] = None,
    resamples: Annotated[
        int, typer.Option(min=0, help="Bootstrap resamples of the intervals; 0 for none.")
    ] = 1000,
    save_thresholds: Annotated[
        bool,
        typer.Option("--save-thresholds", help="Write the thresholds into the network's file."),
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write report.html, report.md and report.json there."),
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Of landmarks: best, median, worst faces; cumulative curve."
        ),
    ] = None,
    prompts: Prompts = None,
    as_json: AsJson = False,
    color: InputColor = None,
    size: InputSize = None,
    mean: InputMean = None,
    std: InputStd = None,
) -> None:
    """Verification and identification: accuracy, TAR@FAR, AUC, EER, TPIR with 95 % intervals."""
    from facedistill.data.open import is_landmark_set
    from facedistill.data.pairs.group_table import read_groups
    from facedistill.evaluation.evaluate import evaluate as measure
    from facedistill.evaluation.evaluate import open_protocol, save_decision_thresholds
    from facedistill.evaluation.metrics.templates import parse_variants
    from facedistill.evaluation.options import EvaluationOptions
    from facedistill.evaluation.stored_embeddings import open_stored

    model = None if embeddings else Path(sources.pop(0))
    if model and sources and all(map(is_landmark_set, sources)):
        of_pairs = {
            "--against": against,
            "--groups": groups,
            "--group-far": group_far != 1e-2,
            "--protocol": protocol != "insightface",
            "--variant": variant,
            "--far": far,
            "--no-flip": not flip,
            "--mask": mask,
            "--mask-seed": mask_seed,
            "--robustness": robustness,
            "--all-pairs": all_pairs,
            "--distractors": distractors,
            "--save-thresholds": save_thresholds,
            "--prompts": prompts,
        }
        if given := [option for option, value in of_pairs.items() if value]:
            raise FacedistillError(
                f"for pairs, not for landmarks: {', '.join(given)}; leave that out"
            )
        network = _open_network(model, color, size, mean, std)
        _evaluate_landmarks(network, model, sources, resamples, pictures, report, as_json)
        return
    if pictures:
        raise FacedistillError("--pictures are of landmarks: give a landmark list to measure on")
    if not sources:
        raise FacedistillError("say what to measure on: a .bin file, a folder, or procedural:...")
    if flipped and not embeddings:
        raise FacedistillError("--embeddings-flipped needs --embeddings")
    if prompts and (model is None or model.suffix.lower() == ".npy"):
        raise FacedistillError("--prompts are a network's: leave them out for stored embeddings")
    if prompts and save_thresholds:
        raise FacedistillError(
            f"--save-thresholds would write those of the prompted network into {model}, which is "
            "the network without: leave it out"
        )
    options = EvaluationOptions.of(
        fars=far,
        flip=flip if not flip else None,
        resamples=resamples,
        kfold=protocol if protocol != "insightface" else None,
        mask=mask.value if mask else None,
        mask_seed=mask_seed or None,
        robustness=robustness.value if robustness else None,
        groups=read_groups(groups) if groups else None,
        group_far=group_far if group_far != 1e-2 else None,
        variants=parse_variants(variant) if variant else None,
    )
    protocols = [
        open_protocol(source, all_pairs=all_pairs, distractors=distractors) for source in sources
    ]

    def open_faces(path: Path | None, prompts: Path | None = None) -> Any:
        if path and path.suffix.lower() == ".npy":
            return open_stored(path)
        return _open_network(path, color, size, mean, std, prompts)

    faces = open_stored(embeddings, flipped) if embeddings else open_faces(model, prompts)
    other = open_faces(against) if against else None
    done = [measure(faces, opened, options, against=other) for opened in protocols]
    if as_json:
        typer.echo(json.dumps([evaluation.to_dict() for evaluation in done], indent=2))
    else:
        typer.echo("\n".join(evaluation.line() for evaluation in done))
    if report:
        from facedistill.report.documents.evaluation_report import facts_of, write_report

        subject = f"{model} with prompts" if prompts else str(embeddings or model)
        written = write_report(
            report, done, protocols, subject=subject, facts=facts_of(faces), mask_seed=mask_seed
        )
        typer.echo(f"wrote {', '.join(map(str, written))}", err=as_json)
    if save_thresholds:
        thresholds = save_decision_thresholds(model, done)
        typer.echo(f"thresholds of {model}: {json.dumps(thresholds)}", err=as_json)


@app.command()
def export(
    model: Annotated[Path, typer.Argument(help="A .safetensors model file.")],
    out: Out,
    target: Annotated[str, typer.Option(help=f"One of {', '.join(TARGETS.names())}.")] = "onnx",
    input: Annotated[
        InputKind | None,
        typer.Option(help="Take raw uint8 NHWC RGB (default), or float NCHW, normalised."),
    ] = None,
    batch: Annotated[
        str | None,
        typer.Option(
            metavar="dynamic|N",
            help="Faces at a time; default: any number where the target can, else 1.",
        ),
    ] = None,
    normalise: Annotated[bool, typer.Option(help="Give unit embeddings.")] = False,
    opset: Annotated[int | None, typer.Option(help="Of ONNX: 18 or higher.")] = None,
    data: Annotated[
        str | None, typer.Option(help="Faces to compare with torch on, and to calibrate with.")
    ] = None,
    calibration: Annotated[
        int | None, typer.Option(min=1, help="Faces to calibrate integers with; default: 512.")
    ] = None,
    pairs: Annotated[
        str | None, typer.Option(help="Verification pairs to compare the accuracy on.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """A student as a file for the device, compared with torch before it is written."""
    from facedistill.data.open import open_dataset
    from facedistill.data.pairs.pair_set import open_pairs
    from facedistill.export.export import export_network
    from facedistill.export.target import target_named
    from facedistill.models.files.model_file import load_model

    options = target_named(target).options(
        input=input.value if input else None, batch=batch, normalise=normalise, opset=opset
    )
    report = export_network(
        load_model(model),
        out,
        target,
        options,
        faces=open_dataset(data, relabel=True) if data else None,
        calibration=calibration,
        pairs=open_pairs(pairs) if pairs else None,
    )
    typer.echo(json.dumps(report.to_dict(), indent=2) if as_json else report.line())


@app.command()
def bench(
    models: Annotated[
        list[Path],
        typer.Argument(
            metavar="MODELS...",
            help="Model files and checkpoints (PyTorch), ONNX and other exported files; ratios are "
            "over the first.",
        ),
    ],
    threads: Annotated[
        list[int] | None,
        typer.Option(min=1, help="CPU threads; repeatable; default: 1 and as many as CPUs."),
    ] = None,
    batch: Annotated[
        list[int] | None,
        typer.Option(min=1, max=4096, help="Faces of a call; repeatable; default: 1 and 16."),
    ] = None,
    calls: Annotated[
        int, typer.Option(min=1, help="Timed calls of each, after a fifth as many to warm up.")
    ] = 100,
    as_json: AsJson = False,
) -> None:
    """Latency and memory of networks, each in a fresh process, taking turns on pinned CPUs."""
    from facedistill.export.bench.bench import BATCHES
    from facedistill.export.bench.bench import bench as measure
    from facedistill.report.documents.bench_table import bench_dict, bench_text

    report = measure(models, threads=threads or (), batches=batch or BATCHES, calls=calls)
    typer.echo(json.dumps(bench_dict(report), indent=2) if as_json else bench_text(report))


@app.command()
def verify(
    first: Annotated[Path, typer.Argument(help="An aligned crop.")],
    second: Annotated[Path, typer.Argument(help="Another.")],
    model: Annotated[Path, typer.Option(help="Model or ONNX file.")],
    threshold: Annotated[
        float | None, typer.Option(help="Least cosine; default: the model file's own.")
    ] = None,
    color: InputColor = None,
    size: InputSize = None,
    mean: InputMean = None,
    std: InputStd = None,
) -> None:
    """Same person? Two aligned crops, one score, one verdict."""
    from facedistill.evaluation.verify_images import verify_images

    network = _open_network(model, color, size, mean, std)
    typer.echo(verify_images(network, first, second, threshold).line())


def _run(recipe: str, out: Path, settings: list[str] | None, with_teacher: bool) -> None:
    from facedistill.engine.signals import stoppable

    with stoppable(out):  # Importing torch takes its time too.
        _train(recipe, out, settings, with_teacher)


def _train(recipe: str, out: Path, settings: list[str] | None, with_teacher: bool) -> None:
    from facedistill.experiments.run import run
    from facedistill.recipe.schema import load_recipe

    loaded = load_recipe(recipe, settings or [])
    taught = loaded.teacher is not None or bool(loaded.teachers)
    if with_teacher and not taught:
        raise FacedistillError(
            f"recipe {recipe} has no teacher: use `facedistill train`, or give --set teacher.bank="
        )
    if not with_teacher and taught:
        raise FacedistillError(f"recipe {recipe} has a teacher: use `facedistill distill`")
    summary = run(loaded, out, say=typer.echo)
    typer.echo(f"wrote {summary.model}")


def _open_network(
    path: Path | None,
    color: Color | None = None,
    size: int | None = None,
    mean: float | None = None,
    std: float | None = None,
    prompts: Path | None = None,
) -> Any:
    from facedistill.core.process import keep_freed_memory
    from facedistill.models.device import best_device
    from facedistill.models.files.open_network import open_network
    from facedistill.runtime.input_spec import InputSpec

    assert path is not None
    keep_freed_memory()
    given = {
        "color": color.value if color else None,
        "size": size,
        "mean": None if mean is None else (mean,) * 3,
        "std": None if std is None else (std,) * 3,
    }
    stated = {key: value for key, value in given.items() if value is not None}
    spec = InputSpec.from_dict(stated) if stated else None
    network = open_network(path, input=spec, device=best_device())
    if prompts is None:
        return network
    from facedistill.distill.teachers.prompted import load_prompts
    from facedistill.experiments.folder import PROMPTS
    from facedistill.models.face_network import FaceNetwork

    if not isinstance(network, FaceNetwork):
        raise FacedistillError(f"--prompts: {path} is an ONNX file, which takes none")
    return load_prompts(network, prompts / PROMPTS if prompts.is_dir() else prompts)


def _evaluate_landmarks(
    network: Any,
    model: Path,
    sources: list[str],
    resamples: int,
    pictures: Path | None,
    report: Path | None,
    as_json: bool,
) -> None:
    from facedistill.data.open import open_dataset
    from facedistill.evaluation.options import EvaluationOptions
    from facedistill.evaluation.protocols.landmark_localisation import LandmarkProtocol

    sets = [open_dataset(source, five=False) for source in sources]
    options = EvaluationOptions(resamples=resamples)
    reports = [LandmarkProtocol(faces).evaluate_network(network, options) for faces in sets]
    if as_json:
        typer.echo(json.dumps([each.to_dict() for each in reports], indent=2))
    else:
        typer.echo("\n".join(each.line() for each in reports))
    if pictures:
        from facedistill.report.figures.landmark_figures import write_landmark_pictures

        written = write_landmark_pictures(reports, sets, pictures)
        typer.echo(f"wrote {', '.join(map(str, written))}", err=as_json)
    if report:
        from facedistill.evaluation.evaluate import Evaluation
        from facedistill.report.documents.evaluation_report import facts_of, write_report

        done = [Evaluation(each) for each in reports]
        facts = facts_of(network)
        written = write_report(report, done, [None] * len(done), subject=str(model), facts=facts)
        typer.echo(f"wrote {', '.join(map(str, written))}", err=as_json)


def _print_mapping(mapping: dict[str, Any], as_json: bool = False) -> None:
    if as_json:
        typer.echo(json.dumps(mapping, indent=2))
        return
    width = max(map(len, mapping))
    for key, value in mapping.items():
        typer.echo(f"{key:<{width}}  {value}")


def _say_warning(message: Warning | str, *_: Any) -> None:
    """Show a warning as one line, without the source line that issued it."""
    typer.echo(f"warning: {message}", err=True)


def main() -> None:
    """Run the command line; what the user must know is one line, not a traceback."""
    with end_without_teardown():
        _main()


def _main() -> None:
    warnings.showwarning = _say_warning  # type: ignore[assignment]
    try:
        app()
    except FacedistillError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        # A name too long, a folder that may not be searched: the system's word on a file is one.
        if error.filename is None:
            raise
        typer.echo(f"error: {FacedistillError(f'{error.filename}: {error.strerror}')}", err=True)
        sys.exit(FacedistillError.exit_code)
    except Interrupted as stop:
        typer.echo(str(stop), err=True)
        sys.exit(stop.exit_code)


if __name__ == "__main__":
    main()
