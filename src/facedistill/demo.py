"""The whole story in minutes: faces, teacher, bank, two students, one table, one picture."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facedistill.atomic import atomic_path
from facedistill.data.opening import open_dataset
from facedistill.data.packing import pack
from facedistill.data.pairs import PairSet
from facedistill.distill.embed import embed_teacher
from facedistill.evaluation.pairs import PairReport, evaluate_pairs
from facedistill.evaluation.statistics import compare_paired
from facedistill.export.exporting import export_network
from facedistill.export.latency import median_milliseconds
from facedistill.models.cost import count_macs, count_parameters
from facedistill.models.model_file import load_model
from facedistill.progress import Say
from facedistill.recipe import Recipe, load_recipe
from facedistill.report.story import plot_story
from facedistill.report.table import markdown_table
from facedistill.training.metrics import read_metrics
from facedistill.training.run import run


@dataclass(frozen=True)
class Scale:
    """How much of everything.

    Attributes:
        people: Identities to train on, validation people included.
        images: Images of each.
        test_people: Identities of the test, never seen in training.
        pairs: Test pairs.
        teacher_epochs: Of the teacher's training.
        student_epochs: Of each student's.
    """

    people: int = 440
    images: int = 24
    test_people: int = 250
    pairs: int = 8000
    teacher_epochs: float = 5
    student_epochs: float = 3


QUICK = Scale(
    people=60, images=6, test_people=30, pairs=200, teacher_epochs=0.5, student_epochs=0.5
)
"""Enough to see that every part runs; the figures mean nothing."""

FOLDERS = {"teacher": "teacher", "plain student": "plain", "distilled student": "distilled"}
"""Where each network's run is, in the demo's folder."""

_TEST_FROM = 1_000_000
"""First identity of the test people: far from every training identity."""


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
        interval = self.report.result.interval
        accuracy = f"{100 * self.report.accuracy:.2f}"
        if interval is not None:
            accuracy += f" ({100 * interval.low:.2f} to {100 * interval.high:.2f})"
        return {
            "network": self.name,
            "accuracy %, 95 % interval": accuracy,
            "parameters": f"{self.parameters / 1e6:.2f} M",
            "MACs": f"{self.macs / 1e6:.1f} M",
            "ONNX file": f"{self.bytes / 1e6:.2f} MB",
            "ms a face": f"{self.milliseconds:.2f}",
        }


def run_demo(out: str | Path, *, quick: bool = False, say: Say = print) -> None:
    """Run the whole story; a second call goes on where the first was cut off.

    Procedural faces -> a teacher from labels -> its bank -> two students alike, one from labels,
    one from the bank -> verification on unseen people -> ONNX -> `table.md`, `demo.png`.

    Args:
        out: Folder for everything.
        quick: A few steps of everything only.
        say: Takes a line about what goes on.
    """
    out, scale, started = Path(out), QUICK if quick else Scale(), time.monotonic()
    say(f"faces: {scale.images} pictures of each of {scale.people} invented people")
    faces = _draw(out / "faces", scale.people, scale.images)
    recipes = _recipes(out, faces, scale)

    say("teacher: an IResNet learns people from labels")
    teacher = load_model(run(recipes["teacher"], out / "teacher", _quiet).model)
    say("bank: what the teacher says of every face")
    embed_teacher(teacher, open_dataset(faces), out / "bank", flip=False, batch_size=128)
    say("plain student: learns from the same labels")
    run(recipes["plain student"], out / "plain", _quiet)
    say("distilled student: the same network learns from the bank")
    run(recipes["distilled student"], out / "distilled", _quiet)

    say("test: pairs of people nobody has seen")
    pairs = _test_pairs(out, scale)
    rows = [_measure(name, out / folder, pairs) for name, folder in FOLDERS.items()]
    _publish(out, rows, pairs, say)
    say(f"{(time.monotonic() - started) / 60:.1f} minutes; everything is in {out}")


def _draw(folder: Path, people: int, images: int, first: int = 0) -> Path:
    """Draw and pack invented people, unless an earlier call has; the name says how many."""
    folder = folder.with_name(f"{folder.name}-{people}x{images}")
    spec = f"procedural:identities={people},images={images},first_identity={first},size=64,seed=1"
    if not (folder / "train.rec").exists():
        pack(open_dataset(spec), folder, reencode=True, workers=2)
    return folder


def _recipes(out: Path, faces: Path, scale: Scale) -> dict[str, Recipe]:
    """The demo's student recipe, and the same run from labels; the teacher is a larger one."""
    student = [f"data.train={faces}", f"training.epochs={scale.student_epochs}"]
    if scale is QUICK:
        student += ["data.validation_identities=10", "data.validation_pairs=40"]
    labels = [
        "teacher=null",
        "objectives.fcd=null",
        "objectives.margin_softmax={head: arcface, scale: 24, m: 0.1}",
    ]
    teacher = [
        "name=teacher",
        "student.network=iresnet18",
        "training.batch_size=64",
        f"training.epochs={scale.teacher_epochs}",
    ]
    return {
        "teacher": load_recipe("demo", student + labels + teacher),
        "plain student": load_recipe("demo", [*student, *labels, "name=plain"]),
        "distilled student": load_recipe("demo", [*student, f"teacher.bank={out / 'bank'}"]),
    }


def _test_pairs(out: Path, scale: Scale) -> PairSet:
    faces = open_dataset(_draw(out / "test", scale.test_people, 12, _TEST_FROM))
    return PairSet.from_dataset(faces, scale.pairs, seed=0)


def _measure(name: str, folder: Path, pairs: PairSet) -> Row:
    network = load_model(folder / "best.safetensors")
    exported = export_network(network, folder / "model.onnx")
    return Row(
        name,
        evaluate_pairs(network, pairs),
        count_parameters(network.backbone),
        count_macs(network.backbone, network.input.size),
        exported.bytes,
        median_milliseconds(exported.path),
    )


def _publish(out: Path, rows: list[Row], pairs: PairSet, say: Say) -> None:
    """Write and say the table and the verdict, and draw the picture."""
    _, plain, distilled = (row.report for row in rows)
    identities = None if pairs.identities is None else pairs.identities[pairs.pairs]
    gain = compare_paired(distilled.result.correct, plain.result.correct, pairs.same, identities)
    verdict = (
        f"distilled less plain: {100 * gain.difference:+.2f} points on the same pairs, 95 % "
        f"interval {100 * gain.interval.low:+.2f} to {100 * gain.interval.high:+.2f}"
    )
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
    say(f"picture: {out / 'demo.png'}")


def _quiet(line: str) -> None:
    """Take a run's own lines; the story has said what they say."""
