"""The whole story in minutes: faces, teacher, bank, students, tables, one figure."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facedistill.core.atomic import atomic_path
from facedistill.core.errors import FacedistillError
from facedistill.core.progress import Say
from facedistill.data.open import open_dataset
from facedistill.data.packing import pack
from facedistill.data.pairs.bin_pairs import write_bin
from facedistill.data.pairs.pair_set import PairSet
from facedistill.distill.bank.making import embed_teacher
from facedistill.engine.metrics_log import read_metrics
from facedistill.evaluation.options import EvaluationOptions
from facedistill.evaluation.protocols.pair_report import PairReport
from facedistill.evaluation.protocols.pair_verification import PairProtocol
from facedistill.evaluation.statistics.bootstrap import compare_paired
from facedistill.experiments.comparing import run_comparison
from facedistill.experiments.run import run
from facedistill.export.bench.bench import bench
from facedistill.export.export import export_network
from facedistill.models.cost import count_macs, count_parameters
from facedistill.models.files.model_file import load_model
from facedistill.recipe.comparison import Comparison, Trial, plan
from facedistill.recipe.loading import load_recipe
from facedistill.recipe.schema import Recipe
from facedistill.report.documents.comparison_page import write_comparison
from facedistill.report.documents.comparison_table import cells_of, columns_of, crashes
from facedistill.report.figures.demo_story import plot_story
from facedistill.report.table import markdown_table


@dataclass(frozen=True)
class Scale:
    """How much of everything.

    Attributes:
        identities: To train on, those for validation included.
        images: Of each identity.
        test_identities: Of the test, never seen in training.
        pairs: Test pairs.
        teacher_epochs: Of the teacher's training.
        student_epochs: Of each student's.
    """

    identities: int = 260
    images: int = 16
    test_identities: int = 200
    pairs: int = 5000
    teacher_epochs: float = 6
    student_epochs: float = 2


QUICK = Scale(
    identities=60, images=6, test_identities=30, pairs=200, teacher_epochs=0.5, student_epochs=0.5
)
"""Enough to see that every part runs; the figures mean nothing."""

FOLDERS = {
    "teacher": "teacher",
    "plain student": "runs/plain/seed-0",
    "distilled student": "runs/fcd/seed-0",
}
"""Where each network's run is, in the demo's folder: students' where the comparison has them."""

SIZE = 48
"""Side of the faces."""

_LABELS = "objectives.margin_softmax={head: arcface, scale: 24, m: 0.1}"
"""What is learned from labels alone."""

_TEST_FROM = 1_000_000
"""First identity of the test: far from every training identity."""


@dataclass(frozen=True)
class Row:
    """One network of the table.

    Attributes:
        name: Teacher, plain student or distilled student.
        report: Its figures on the test pairs.
        parameters: Of the backbone.
        macs: Multiply-adds per face.
        bytes: Size of its ONNX file.
        milliseconds: Median time per face in ONNX Runtime, one thread.
    """

    name: str
    report: PairReport
    parameters: int
    macs: int
    bytes: int
    milliseconds: float

    def cells(self) -> dict[str, Any]:
        """Return the row as the table shows it."""
        return {
            "network": self.name,
            "accuracy %, 95 % interval": self.report.result.estimate.text(2, scale=100),
            "parameters": f"{self.parameters / 1e6:.2f} M",
            "MACs": f"{self.macs / 1e6:.1f} M",
            "ONNX file": f"{self.bytes / 1e6:.2f} MB",
            "ms a face": f"{self.milliseconds:.2f}",
        }


def run_demo(out: str | Path, *, quick: bool = False, say: Say = print) -> bool:
    """Run the whole story; a second call goes on where the first was cut off.

    Procedural faces -> a Transformer from labels -> the bank of its embeddings and tokens -> two
    students alike, one from labels, one from the bank -> verification on unseen identities -> ONNX
    -> `table.md`, `demo.png` -> the two beside the three methods of this library, trained alike ->
    `comparison.html`.

    Args:
        out: Folder for everything.
        quick: A few steps of everything only.
        say: Takes a line about what goes on.

    Returns:
        Whether every row of the comparison has a result; one that crashed is named.
    """
    out, scale, started = Path(out), QUICK if quick else Scale(), time.monotonic()
    _check_folder(out)
    say(f"faces: {scale.images} images of each of {scale.identities} synthetic identities")
    faces = _draw(out / "faces", scale.identities, scale.images)
    settings = _settings(faces, scale)
    comparison = _comparison(out, settings, scale)
    students = {trial.row: trial for trial in plan(comparison, out)}

    say("teacher: a Swin Transformer learns identities from labels")
    teacher = load_model(run(_teacher(settings, scale), out / "teacher", _quiet).model)
    say("bank: the teacher's embedding and tokens of every face")
    embed_teacher(
        teacher, open_dataset(faces), out / "bank", flip=False, batch_size=128, tokens=True
    )
    say("plain student: learns from the same labels")
    _train(students["plain"])
    say("distilled student: the same network learns from the bank")
    _train(students["fcd"])

    say("test: pairs of identities that no network was trained on")
    pairs = _test_pairs(out, scale)
    rows = _measure(out, pairs)
    _publish(out, rows, pairs, say)

    say("comparison: CoupleFace, cross-architecture distillation, transfer from the plain student")
    whole = _compare(comparison, out, pairs, say)
    say(f"{(time.monotonic() - started) / 60:.1f} minutes; everything is in {out}")
    return whole


def _check_folder(out: Path) -> None:
    """Refuse a folder that holds something, and no faces of a demo."""
    if any(out.glob("[!.]*")) and not any(out.glob("faces-*/train.rec")):
        raise FacedistillError(f"{out} is not empty and holds no demo: choose another --out")


def _draw(folder: Path, identities: int, images: int, first: int = 0) -> Path:
    """Draw and pack synthetic identities, unless an earlier call has; the name holds how many."""
    folder = folder.with_name(f"{folder.name}-{identities}x{images}")
    spec = (
        f"procedural:identities={identities},images={images},first_identity={first},"
        f"size={SIZE},seed=1"
    )
    if not (folder / "train.rec").exists():
        pack(open_dataset(spec), folder, reencode=True, workers=2)
    return folder


def _settings(faces: Path, scale: Scale) -> list[str]:
    """What all runs share."""
    settings = [f"data.train={faces}", f"training.epochs={scale.student_epochs}"]
    if scale is QUICK:
        settings += ["data.validation_identities=10", "data.validation_pairs=40"]
    return settings


def _teacher(settings: list[str], scale: Scale) -> Recipe:
    """A Transformer, longer, from labels: without a margin, which it takes long to begin with."""
    larger = [
        "name=teacher",
        "student.network=swin_nano",
        "student.arguments={}",
        "objectives.margin_softmax={head: softmax, scale: 16}",
        "optimizer={name: adamw, lr: 7.0e-4, weight_decay: 0.05}",
        f"training.epochs={scale.teacher_epochs}",
        f"training.evaluate_every={scale.teacher_epochs / 4}",
    ]
    return load_recipe("demo", [*settings, "teacher=null", "objectives.fcd=null", *larger])


def _comparison(out: Path, settings: list[str], scale: Scale) -> Comparison:
    """Students of the demo's recipe: from labels, from the bank, and by the three methods.

    CoupleFace adds mined relations; cross-architecture distillation unified receptive fields, over
    the teacher's tokens from the bank and therefore without prompts; the transferred student starts
    where the plain one ended, and has soft targets and the teacher's hidden layer.
    """
    fields = (
        "objectives.urfm={weight: 'auto:0.2', centres: 16, width: 64, heads: 4, places: true, "
        "position: relative, learns: teacher_first, mapping_epochs: 2}"
    )
    rows = {
        "plain": ["name=plain", "teacher=null", "objectives.fcd=null", _LABELS],
        "fcd": [],
        "coupleface": [
            "name=coupleface",
            "objectives.rad={start: 0.5}",
            _LABELS,
            "objectives.margin_softmax.weight=0.01",
        ],
        "cakd": ["name=cakd", fields, _LABELS, "objectives.margin_softmax.weight=auto:0.2"],
        "transfer": [
            "name=transfer",
            "student.init=${plain}",
            "objectives.fcd=null",
            _LABELS,
            "objectives.kd={weight: 1.0, tau: 4.0}",
            "objectives.hidden_layer={weight: 0.01}",
        ],
    }
    return Comparison.model_validate(
        {
            "name": "five students of one teacher",
            "settings": [*settings, f"teacher.bank={out / 'bank'}"],
            "evaluation": {"unseen": str(out / "unseen.bin")},
            "rows": {row: {"recipe": "demo", "settings": own} for row, own in rows.items()},
        }
    )


def _train(trial: Trial) -> None:
    run(trial.recipe, trial.folder, _quiet)


def _compare(comparison: Comparison, out: Path, pairs: PairSet, say: Say) -> bool:
    """Run what is missing, and print and write the comparison; whether no row has crashed."""
    (tests,) = comparison.evaluation.values()
    if not Path(tests.pairs).exists():
        write_bin(pairs, tests.pairs)
    rows = run_comparison(comparison, out, jobs=0, say=_quiet)
    shown = re.compile(r"row|step_ratio|.*\|(accuracy|-.*)")  # The first table has the rest.
    columns = [column for column in columns_of(rows) if shown.fullmatch(column.key)]
    lines = [markdown_table([cells_of(row) for row in rows], columns), *crashes(rows)]
    say("\n" + "\n".join(lines) + "\n")
    page = next(p for p in write_comparison(comparison.name, rows, out) if p.suffix == ".html")
    say(f"curves, recipes and a table that sorts: {page}")
    return not any(row.errors for row in rows)


def _test_pairs(out: Path, scale: Scale) -> PairSet:
    faces = open_dataset(_draw(out / "test", scale.test_identities, 8, _TEST_FROM))
    return PairSet.from_dataset(faces, scale.pairs, seed=0)


def _measure(out: Path, pairs: PairSet) -> list[Row]:
    """Evaluate and export every network, and time the files in turns."""
    folders = [out / folder for folder in FOLDERS.values()]
    networks = [load_model(folder / "best.safetensors") for folder in folders]
    files = [
        export_network(network, folder / "model.onnx", overwrite=True)
        for network, folder in zip(networks, folders, strict=True)
    ]
    timed = bench([file.path for file in files], threads=[1], batches=[1]).rows
    return [
        Row(
            name,
            PairProtocol(pairs).evaluate_network(network, EvaluationOptions()),
            count_parameters(network.backbone),
            count_macs(network.backbone, network.input.size),
            file.bytes,
            row.latency.milliseconds.value,
        )
        for name, network, file, row in zip(FOLDERS, networks, files, timed, strict=True)
    ]


def _publish(out: Path, rows: list[Row], pairs: PairSet, say: Say) -> None:
    """Write and print the table and the verdict, and draw the figure."""
    _, plain, distilled = (row.report for row in rows)
    identities = None if pairs.identities is None else pairs.identities[pairs.pairs]
    gain = compare_paired(distilled.result.correct, plain.result.correct, pairs.same, identities)
    points = gain.estimate.text(2, scale=100, unit=" points", signed=True)
    verdict = f"distilled less plain: {points} of accuracy on the same pairs, 95 % interval"
    cells = [row.cells() for row in rows]
    table = markdown_table(cells, list(cells[0]))
    with atomic_path(out / "table.md") as temporary:
        temporary.write_text(f"{table}\n\n{verdict}\n")
    say(f"\n{table}\n\n{verdict}\n")
    plot_story(
        out / "demo.png",
        {row.name: read_metrics(out / FOLDERS[row.name] / "metrics.jsonl") for row in rows},
        {row.name: row.report for row in rows},
        pairs,
        shown=rows[-1].name,
    )
    say(f"figure: {out / 'demo.png'}")


def _quiet(line: str) -> None:
    """Take a run's own lines; the story has a line of its own for each."""
