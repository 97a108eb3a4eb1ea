"""`facedistill evaluate`."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from facedistill.cli.network import opened_network
from facedistill.cli.options import AsJson, InputColor, InputMean, InputSize, InputStd, Prompts
from facedistill.core.errors import FacedistillError

EXAMPLES = (
    "facedistill evaluate runs/student/best.safetensors lfw.bin agedb_30.bin --report report",
    "facedistill evaluate student.onnx lfw.bin --against teacher.onnx --far 1e-3 --far 1e-4",
    "facedistill evaluate --embeddings plain.npy --embeddings-flipped flipped.npy lfw.bin --json",
)


class PairImages(StrEnum):
    """Which images of a pair are altered: the second, or both."""

    ONE = "one"
    BOTH = "both"


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
        network = opened_network(model, color, size, mean, std)
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
        return opened_network(path, color, size, mean, std, prompts)

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
