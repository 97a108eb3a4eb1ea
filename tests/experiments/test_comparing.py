import fcntl
import os
import shutil

import pytest

from facedistill.core.errors import FacedistillError
from facedistill.data.open import open_dataset
from facedistill.data.packing import pack
from facedistill.data.pairs.bin_pairs import write_bin
from facedistill.data.pairs.open_pairs import open_pairs
from facedistill.data.pairs.pair_set import PairSet
from facedistill.engine.metrics_log import MetricsLog, read_metrics
from facedistill.evaluation.statistics.paired_difference import compare_reports
from facedistill.experiments import trial as trial_module
from facedistill.experiments.comparing import run_comparison
from facedistill.models.files.model_file import load_model
from facedistill.recipe.comparison import load_comparison
from facedistill.recipe.schema import PairsRecipe
from facedistill.report.figures.figure_mark import SOFTWARE
from tests import child_process
from tests.child_process import call_command
from tests.evaluation.pair_evaluation import evaluate_pairs
from tests.experiments.tiny_comparison import PAIRS, SHORT, STRONGER, compare, described

pytestmark = pytest.mark.usefixtures("few_resamples")


TWO = f"""
seeds: [0, 1]
rows:
  plain: arcface
  stronger: {{recipe: arcface, settings: [{STRONGER}]}}
"""


def test_two_recipes_of_two_seeds_are_run_once_and_measured_on_the_same_pairs(tmp_path):
    plain, stronger = compare(tmp_path, TWO)
    assert [run.seed for run in stronger.runs] == [0, 1]
    pairs = open_pairs(PAIRS)
    folders = [tmp_path / "out" / "runs" / "stronger" / f"seed-{seed}" for seed in (0, 1)]
    reports = [
        evaluate_pairs(load_model(f / "best.safetensors"), pairs, resamples=0) for f in folders
    ]
    mean = sum(report.accuracy for report in reports) / 2
    assert stronger.figures["drawn"]["accuracy"].value == pytest.approx(mean)
    assert stronger.figures["drawn"]["accuracy"].interval.over == "seeds"
    assert plain.step_ratio == 1
    assert stronger.parameters == 896
    assert "plain" not in plain.differences["drawn"]
    others = [
        evaluate_pairs(
            load_model(tmp_path / "out" / "runs" / "plain" / f"seed-{seed}" / "best.safetensors"),
            pairs,
            resamples=0,
        )
        for seed in (0, 1)
    ]
    differences = [
        compare_reports(report, other, resamples=10).accuracy.difference
        for report, other in zip(reports, others, strict=True)
    ]
    assert stronger.differences["drawn"]["plain"].value == pytest.approx(sum(differences) / 2)

    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "runs").rglob("*.*")}
    drawn = b"tEXtSoftware\0" + SOFTWARE.encode()
    (folders[1] / "saliency.png").write_bytes(drawn)
    (folders[1] / "theirs.png").write_bytes(b"drawn by somebody else")
    lines = []
    again = compare(tmp_path, TWO, lines.append)
    assert lines == ["comparison: 4 runs, 4 are finished"]
    assert [list(run.figure_files.values()) for run in again[1].runs] == [
        [],
        [folders[1] / "saliency.png"],
    ]
    assert again[1].figures == stronger.figures
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_what_is_missing_is_run_and_what_was_cut_off_goes_on(tmp_path, monkeypatch):
    whole = compare(tmp_path, TWO)
    folder = tmp_path / "out" / "runs" / "plain" / "seed-1"
    (folder / "summary.json").unlink()
    (tmp_path / "out" / "runs" / "stronger" / "seed-0" / "measured").rename(tmp_path / "gone")
    ran = []
    run = trial_module.run
    monkeypatch.setattr(trial_module, "run", lambda r, f, say: ran.append(f) or run(r, f, say))
    again = compare(tmp_path, TWO)
    assert ran == [folder, tmp_path / "out" / "runs" / "stronger" / "seed-0"]
    assert [row.figures for row in again] == [row.figures for row in whole]


def test_a_row_that_crashes_is_reported_and_the_rest_goes_on(tmp_path):
    text = """
rows:
  broken: {recipe: arcface, settings: [student.init=nowhere.safetensors]}
  after: {recipe: arcface, settings: ["student.init=${broken}"]}
  plain: arcface
"""
    lines = []
    broken, after, plain = compare(tmp_path, text, lines.append)
    assert "nowhere.safetensors" in broken.errors[0]
    assert "needs" in after.errors[0]
    assert "broken" in after.errors[0]
    assert not plain.errors
    assert not broken.figures
    assert any(line.startswith("broken, seed 0: ") for line in lines)
    assert "plain, seed 0: done" in lines


def test_landmarks_and_pairs_of_one_name_are_refused(tmp_path):
    text = f"""
rows:
  plain: arcface
  finder:
    recipe: landmarks
    settings: ["evaluation={{drawn: '{PAIRS},loose=1'}}", objectives.margin_softmax=null]
"""
    comparison = described(tmp_path, text)
    with pytest.raises(FacedistillError, match="'drawn' is the name of landmarks for some rows"):
        run_comparison(comparison, tmp_path / "out", jobs=0)
    assert not (tmp_path / "out").exists()


def test_stages_come_in_order_each_seed_from_its_own_and_a_teacher_once(tmp_path):
    text = """
seeds: [0, 1]
rows:
  student: {recipe: fcd, settings: [objectives.margin_softmax=null, teacher.bank=null,
            "teacher.model=${teacher}/best.safetensors", "student.init=${start}"]}
  start: arcface
  teacher: {recipe: arcface, seeds: [5], settings: [student.embedding_size=12]}
"""
    done = []
    student, _, teacher = compare(tmp_path, text, done.append)
    order = [line.removesuffix(": done") for line in done if line.endswith(": done")]
    assert order[-2:] == ["student, seed 0", "student, seed 1"]
    assert sorted(order[:-2]) == ["start, seed 0", "start, seed 1", "teacher, seed 5"]
    assert not student.errors
    assert "runs/start/seed-0" in student.recipe
    assert "runs/teacher/seed-5" in student.recipe
    assert [run.seed for run in teacher.runs] == [5]


def test_folders_of_another_comparison_are_refused_before_anything_runs(tmp_path):
    compare(tmp_path, "rows: {plain: arcface}")
    with pytest.raises(FacedistillError, match=r"scale is 8, not 16\): choose another --out"):
        compare(
            tmp_path,
            f"rows: {{first: arcface, plain: {{recipe: arcface, settings: [{STRONGER}]}}}}",
        )
    assert not (tmp_path / "out" / "runs" / "first").exists()


CHAINED = """
rows:
  start: {recipe: arcface, settings: [objectives.margin_softmax.scale=%d]}
  student: {recipe: arcface, settings: ["student.init=${start}"]}
"""


def test_a_row_that_began_with_another_start_is_no_result_of_this_one(tmp_path):
    compare(tmp_path, CHAINED % 8)
    runs, lines = tmp_path / "out" / "runs", []
    shutil.rmtree(runs / "start")
    again = compare(tmp_path, CHAINED % 8, lines.append)
    assert "comparison: 2 runs, 0 are finished" in lines
    assert not any(row.errors for row in again), "the same start is made anew"
    shutil.rmtree(runs / "start")
    _, student = compare(tmp_path, CHAINED % 16)
    assert "seed-0 is finished, but what its student.init names has changed" in student.errors[0]
    shutil.rmtree(runs / "student")
    assert not any(row.errors for row in compare(tmp_path, CHAINED % 16))


def test_one_comparison_at_a_time_has_a_folder(tmp_path):
    (tmp_path / "out").mkdir()
    with (tmp_path / "out" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(FacedistillError, match="out is in use by another facedistill"):
            compare(tmp_path, TWO)
    assert not (tmp_path / "out" / "runs").exists()


def test_a_network_that_cannot_be_built_is_found_before_any_run(tmp_path):
    text = "rows: {first: arcface, last: {recipe: arcface, settings: [student.arguments.wdth=1]}}"
    with pytest.raises(FacedistillError, match=r"row last: .*wdth"):
        compare(tmp_path, text)
    assert not (tmp_path / "out" / "runs").exists()


def test_nothing_to_measure_on_is_refused(tmp_path):
    comparison = load_comparison(["arcface"], settings=SHORT)
    with pytest.raises(FacedistillError, match="nothing to measure all rows on"):
        run_comparison(comparison, tmp_path, jobs=0)


def test_without_pairs_the_validation_identities_are_taken(tmp_path):
    faces = "data.train=procedural:identities=14,images=4,size=16"
    settings = [*SHORT, faces, "data.validation_identities=6", "data.validation_pairs=20"]
    (row,) = run_comparison(
        load_comparison(["arcface"], settings=settings), tmp_path, jobs=0, say=lambda line: None
    )
    assert list(row.figures) == ["validation people"]


def compare_and_die(signal, *words):
    """Send the process a signal after some steps of its second run."""
    write, seen = MetricsLog.write, []

    def write_and_die(log, step, values):
        write(log, step, values)
        seen.append(step)
        if len(seen) == 5:
            os.kill(os.getpid(), signal)

    MetricsLog.write = write_and_die
    call_command("compare", *words)


@pytest.mark.parametrize(("signal", "code"), [(9, -9), (15, 75)])
def test_a_comparison_cut_off_goes_on_to_the_same_table(tmp_path, signal, code):
    described(tmp_path, TWO)
    words = [str(tmp_path / "comparison.yaml"), "--out", str(tmp_path / "out"), "--jobs", "0"]
    cut = child_process.run(compare_and_die, signal, *words)
    assert cut.code == code, cut.err
    runs = tmp_path / "out" / "runs"
    assert len(list(runs.rglob("summary.json"))) == 1
    logged = [len(read_metrics(path)) for path in sorted(runs.rglob("metrics.jsonl"))]
    assert sum(logged) == 5
    compare(tmp_path, TWO)
    assert len(list(runs.rglob("summary.json"))) == 4


def test_a_damaged_result_is_its_own_rows_crash(tmp_path):
    text = "rows: {plain: arcface, other: {recipe: arcface, seeds: [0, 1]}, third: arcface}"
    compare(tmp_path, text)
    runs = tmp_path / "out" / "runs"
    (runs / "plain" / "seed-0" / "summary.json").write_text("[1]")
    (runs / "other" / "seed-0" / "best.safetensors").write_bytes(b"no network")
    plain, other, third = compare(tmp_path, text)
    assert "summary.json is damaged" in plain.errors[0]
    assert "delete it to measure" in plain.errors[0]
    assert list(other.errors) == [0]
    assert "best.safetensors" in other.errors[0]
    assert other.figures["drawn"]
    assert not third.errors
    (runs / "plain" / "seed-0" / "summary.json").unlink()
    assert not compare(tmp_path, text)[0].errors


def test_masks_are_not_drawn_on_landmarks(tmp_path):
    comparison = described(
        tmp_path, "rows: {finder: {recipe: landmarks, settings: [objectives.margin_softmax=null]}}"
    )
    masked = {"drawn": PairsRecipe(pairs=f"{PAIRS},loose=1", mask="one")}
    comparison = comparison.model_copy(update={"evaluation": masked})
    with pytest.raises(FacedistillError, match=r"evaluation.drawn.mask is for pairs"):
        run_comparison(comparison, tmp_path / "out", jobs=0)
    assert not (tmp_path / "out").exists()


def test_landmarks_of_several_markups_are_not_compared(tmp_path):
    text = """
rows:
  five: {recipe: landmarks, settings: [objectives.margin_softmax=null]}
  all: {recipe: landmarks, settings: [objectives.margin_softmax=null, student.landmarks=68]}
"""
    with pytest.raises(FacedistillError, match="these rows find 5 and 68 landmarks"):
        run_comparison(described(tmp_path, text), tmp_path / "out", jobs=0)
    assert not (tmp_path / "out").exists()


def test_every_method_of_the_shipped_comparison_runs(tmp_path):
    faces = open_dataset("procedural:identities=10,images=4,size=32")
    pack(faces, tmp_path / "faces", reencode=True)
    write_bin(PairSet.from_dataset(faces, 20, seed=0), tmp_path / "test.bin")
    settings = [
        f"data.train={tmp_path / 'faces'}",
        "data.validation_identities=2",
        "data.validation_pairs=20",
        "student.network=standin",
        "student.arguments={}",
        "training.batch_size=8",
        "training.steps=2",
        "training.device=cpu",
    ]
    pairs = [f"test={tmp_path / 'test.bin'}"]
    comparison = load_comparison(["methods"], settings=settings, pairs=pairs)
    small = {"settings": ["student.network=standin", "student.embedding_size=12"]}
    teacher = comparison.rows["teacher"].model_copy(update=small)
    comparison = comparison.model_copy(update={"rows": {**comparison.rows, "teacher": teacher}})
    rows = run_comparison(comparison, tmp_path / "out", jobs=0, say=lambda line: None)
    assert {row.name: row.errors for row in rows} == {name: {} for name in comparison.rows}
    assert all("accuracy" in row.figures["test"] for row in rows)
    assert {*rows[-1].differences["test"]} == {"plain", "fcd"}
