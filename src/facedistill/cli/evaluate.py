"""`facedistill evaluate`."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from facedistill.cli.options.arguments import (
    AsJson,
    EmbeddingOutput,
    InputColor,
    InputMean,
    InputSize,
    InputStd,
    Overwrite,
    Prompts,
)
from facedistill.cli.options.detection import Detect, DetectorFile, opened_detector
from facedistill.cli.options.network import opened_network
from facedistill.cli.output import echo, echo_next
from facedistill.cli.stopping import AGAIN, files_written, stopped_as
from facedistill.core.atomic import require_absent
from facedistill.core.errors import FacedistillError
from facedistill.core.json_text import json_text
from facedistill.core.missing_files import require_present
from facedistill.core.output_place import require_outside

EXAMPLES = (
    "facedistill evaluate runs/student/best.safetensors lfw.bin agedb_30.bin --report report",
    "facedistill evaluate student.onnx lfw.bin --against teacher.onnx --far 1e-3 --far 1e-4",
    "facedistill evaluate --embeddings plain.npy --embeddings-flipped flipped.npy lfw.bin --json",
)


class PairImages(StrEnum):
    """Which images of a pair are altered: the second, or both."""

    ONE = "one"
    BOTH = "both"


def _standing(report: Path | None, figures: Path | None, **_: Any) -> Callable[[], str]:
    written = files_written(*(folder for folder in (figures, report) if folder is not None))

    def standing() -> str:
        names = ", ".join(map(str, written()))
        if not names:
            return f"stopped, nothing is written: {AGAIN}"
        return f"stopped, written so far: {names}: {AGAIN}, with --overwrite"

    return standing


@stopped_as(_standing)
def evaluate(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="[MODEL] PAIRS...",
            help="A network (.safetensors, .onnx, .pt, .ckpt ..., or a run's folder), unless "
            "--embeddings is given; then what to measure on: .bin, folder with pairs.txt, folder "
            "of IJB-B or IJB-C protocol files, landmark list, or procedural: spec.",
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
        typer.Option(help="CSV `identity,sex,...` or `image,...`: errors by group of identities."),
    ] = None,
    group_far: Annotated[
        float | None,
        typer.Option(
            help="False match rate at whose threshold groups are compared; default: 0.01."
        ),
    ] = None,
    protocol: Annotated[
        str | None, typer.Option(help="K-fold rule: insightface (the default) or exact.")
    ] = None,
    variant: Annotated[
        list[str] | None,
        typer.Option(help="Of IJB templates: N1D1F1 (norm, detector score, flip), ..., or all."),
    ] = None,
    far: Annotated[
        list[float] | None, typer.Option(help="False accept rate to report; repeat for more.")
    ] = None,
    flip: Annotated[
        bool | None,
        typer.Option("--flip/--no-flip", help="Add the mirrored image's embedding; default: yes."),
    ] = None,
    mask: Annotated[
        PairImages | None,
        typer.Option(help="Draw face masks on the second image of each pair, or on both."),
    ] = None,
    mask_seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of the masks; default: 0.")
    ] = None,
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
            help="Compare all images of a labelled data set, or those of a .bin across its "
            "folds; with --mask one, each masked with all others as they are.",
        ),
    ] = False,
    distractors: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Look for each identity of a labelled data set among these distractors; .npy: "
            "their embeddings.",
        ),
    ] = None,
    centre: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Also measure with embeddings less their mean over these faces, which are not "
            "tested on; or over a bank of this network or a .npy of its embeddings.",
        ),
    ] = None,
    resamples: Annotated[
        int | None,
        typer.Option(
            min=0, help="Bootstrap resamples of the intervals; 0 for none; default: 1000."
        ),
    ] = None,
    save_thresholds: Annotated[
        bool,
        typer.Option("--save-thresholds", help="Write the thresholds into the network's file."),
    ] = False,
    detect: Detect = False,
    detector: DetectorFile = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write report.html, report.md and report.json there."),
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.csv",
            help="Write the score of every listed pair, with its images and fold.",
        ),
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option(
            "--figures",
            "--pictures",
            metavar="FOLDER",
            help="Of landmarks: best, median, worst faces; cumulative curve.",
        ),
    ] = None,
    overwrite: Overwrite = False,
    prompts: Prompts = None,
    as_json: AsJson = False,
    color: InputColor = None,
    size: InputSize = None,
    mean: InputMean = None,
    std: InputStd = None,
    output: EmbeddingOutput = None,
    against_output: Annotated[
        str | None, typer.Option(metavar="NAME", help="The same of --against.")
    ] = None,
) -> None:
    """Verification, identification, landmarks: TAR@FAR, EER, TPIR, NME with 95 % intervals."""
    model = None if embeddings else Path(sources.pop(0))
    _check_sources(model, sources, flipped, prompts, save_thresholds)
    _check_output("--output", output, model)
    _check_output("--against-output", against_output, against)
    options = _options(
        fars=far,
        flip=flip,
        resamples=resamples,
        kfold=protocol,
        mask=mask and mask.value,
        mask_seed=mask_seed,
        robustness=robustness and robustness.value,
        groups=groups,
        group_far=group_far,
        variants=variant,
    )
    require_present(model, embeddings, flipped, *sources, against, distractors, centre, prompts)
    require_outside(report, *sources, distractors, give="--report")
    require_outside(figures, *sources, distractors, give="--figures")
    require_outside(scores, *sources, distractors, give="--scores")
    if detect and embeddings:
        raise FacedistillError("--detect finds faces for a network: give one, not --embeddings")
    finds = opened_detector(detect, detector)
    # From here on torch is imported.
    _check_written(report, figures, scores, len(sources), overwrite)
    from facedistill.evaluation.centring import find_centre
    from facedistill.evaluation.evaluate import (
        check_saves_thresholds,
        open_protocol,
        save_decision_thresholds,
    )
    from facedistill.evaluation.evaluate import evaluate as measure
    from facedistill.evaluation.photographs import find_faces
    from facedistill.evaluation.stored_embeddings import open_stored

    asked = {
        "against": against,
        "centre": centre,
        "prompts": prompts,
        "save_thresholds": save_thresholds,
        "figures": figures,
        "scores": scores,
    }
    also = [name for name, value in asked.items() if value]
    protocols = [
        open_protocol(source, all_pairs=all_pairs, distractors=distractors) for source in sources
    ]
    for opened in protocols:
        opened.check(options, also)
    options.check_partners()
    if save_thresholds:
        check_saves_thresholds(model, protocols, options)
    found = [find_faces(opened, finds) for opened in protocols] if finds else []

    def open_faces(path: Path | None, output: str | None, prompts: Path | None = None) -> Any:
        if path and path.suffix.lower() == ".npy":
            return open_stored(path)
        return opened_network(path, color, size, mean, std, prompts, output)

    faces = open_stored(embeddings, flipped) if embeddings else open_faces(model, output, prompts)
    other = open_faces(against, against_output) if against else None
    subtracted = find_centre(centre, faces) if centre else None
    done = [
        measure(faces, opened, options, against=other, centre=subtracted) for opened in protocols
    ]
    for photos in found:
        for line in photos.said():
            warnings.warn(line, stacklevel=1)
    if as_json:
        echo(json_text([evaluation.to_dict() for evaluation in done]))
    else:
        echo("\n".join(evaluation.line() for evaluation in done))
    written: list[Path] = []
    if figures:
        from facedistill.report.figures.landmark_figures import write_landmark_figures

        reports: list[Any] = [evaluation.report for evaluation in done]
        sets = [opened.faces for opened in protocols]  # type: ignore[attr-defined]
        written += write_landmark_figures(reports, sets, figures)
    if report:
        from facedistill.report.documents.evaluation_report import facts_of, write_report

        written += write_report(
            report,
            done,
            protocols,
            subject=f"{model} with prompts" if prompts else str(embeddings or model),
            facts=facts_of(faces),
            mask_seed=options.mask_seed,
        )
    if scores:
        from facedistill.report.documents.pair_score_table import write_scores

        measured: list[Any] = [evaluation.report for evaluation in done]
        pair_sets = [opened.pairset for opened in protocols]  # type: ignore[attr-defined]
        write_scores(scores, measured, pair_sets)
        written.append(scores)
    if written:
        echo(f"wrote {', '.join(map(str, written))}", err=as_json)
    if save_thresholds:
        thresholds = save_decision_thresholds(model, done)
        echo(f"thresholds of {model}: {json.dumps(thresholds)}", err=as_json)
    if not as_json:
        echo_next(_next(model, report))


def _next(model: Path | None, report: Path | None) -> tuple[str | Path, ...]:
    """Return what is done with a network, or embeddings, once they are measured."""
    if model is None:
        return ("evaluate", "runs/student", "PAIRS.bin", "--report", report or "report")
    if model.suffix.lower() == ".onnx":
        return ("bench", model)
    return ("export", model, "--out", "student.onnx")


def _check_sources(
    model: Path | None,
    sources: list[str],
    flipped: Path | None,
    prompts: Path | None,
    save_thresholds: bool,
) -> None:
    """Refuse what does not make a network, or embeddings, and something to measure on."""
    if not sources:
        raise FacedistillError("say what to measure on: a .bin file, a folder, or procedural:...")
    if flipped and model is not None:
        raise FacedistillError("--embeddings-flipped needs --embeddings")
    if prompts and (model is None or model.suffix.lower() == ".npy"):
        raise FacedistillError("--prompts are a network's: leave them out for stored embeddings")
    if prompts and save_thresholds:
        raise FacedistillError(
            f"--save-thresholds would write those of the prompted network into {model}, which is "
            "the network without: leave it out"
        )


def _check_output(option: str, output: str | None, path: Path | None) -> None:
    if output and (path is None or path.suffix.lower() == ".npy"):
        raise FacedistillError(f"{option} names an output of a network, and there is none")


def _check_written(
    report: Path | None, figures: Path | None, scores: Path | None, sets: int, overwrite: bool
) -> None:
    """Refuse to write over the files of another evaluation."""
    if scores is not None:
        require_absent(scores, overwrite=overwrite, give="--scores")
    if report is not None:
        from facedistill.report.documents.evaluation_report import report_files

        require_absent(*report_files(report), overwrite=overwrite, give="--report")
    if figures is not None:
        from facedistill.report.figures.landmark_figures import figure_files

        require_absent(*figure_files(figures, sets), overwrite=overwrite, give="--figures")


def _options(groups: Path | None, variants: list[str] | None, **settings: Any) -> Any:
    """Return the options, those that were not given left at their defaults."""
    from facedistill.data.pairs.group_table import read_groups
    from facedistill.evaluation.metrics.template_pooling import parse_variants
    from facedistill.evaluation.options import EvaluationOptions

    return EvaluationOptions.of(
        groups=read_groups(groups) if groups else None,
        variants=parse_variants(variants) if variants else None,
        **settings,
    )
