"""A recipe carried out: what `train` and `distill` share."""

from __future__ import annotations

from pathlib import Path

from facedistill.cli.output import echo, echo_next
from facedistill.core.errors import FacedistillError
from facedistill.core.missing_files import require_present
from facedistill.core.signals import stoppable


def run_recipe(recipe: str, out: Path, settings: list[str] | None, with_teacher: bool) -> None:
    """Carry a recipe out and print where the model is; it must have a teacher, or none."""
    # Importing torch takes its time too.
    with stoppable(lambda: "stopped before training began: run the same command again"):
        _train(recipe, out, settings, with_teacher)


def _train(recipe: str, out: Path, settings: list[str] | None, with_teacher: bool) -> None:
    from facedistill.experiments.folder import SUMMARY
    from facedistill.recipe.loading import load_recipe, require_faces, require_known

    loaded = load_recipe(recipe, settings or [])
    has_teacher = loaded.teacher is not None or bool(loaded.teachers)
    if with_teacher and not has_teacher:
        raise FacedistillError(
            f"recipe {recipe} has no teacher: use `facedistill train`, or give --set teacher.bank="
        )
    if not with_teacher and has_teacher:
        raise FacedistillError(f"recipe {recipe} has a teacher: use `facedistill distill`")
    require_known([loaded])
    require_faces([recipe], loaded.data.train, settings or [])
    if not (out / SUMMARY).exists():  # A finished run is read, wherever its faces are now.
        require_present(*loaded.sources())
    from facedistill.experiments.run import run  # only now: it imports torch

    summary = run(loaded, out, say=echo)
    echo(f"wrote {summary.model}")
    pairs = next((each.pairs for each in loaded.evaluation.values()), None)
    landmarks = loaded.student.landmarks is not None
    echo_next(
        ("evaluate", out, pairs or ("LANDMARKS.txt" if landmarks else "PAIRS.bin")),
        ("export", out, "--out", "student.onnx"),
    )
