"""One network teaches another for another task: several teachers, class heads, starts."""

import pytest
import torch

from facedistill.core.errors import FacedistillError
from facedistill.engine.metrics_log import read_metrics
from facedistill.experiments.run import run
from facedistill.models.files.model_file import load_model
from facedistill.models.heads.class_head import load_head
from facedistill.recipe.loading import load_recipe
from tests.engine.standin import tiny_recipe

QUICK = ["training.steps=2"]


def train(folder, *settings, say=lambda line: None):
    named = {each.partition(".model=")[0] for each in settings if ".model=" in each}
    licences = [f"{teacher}.licence=own" for teacher in sorted(named)]
    return run(tiny_recipe(*QUICK, *settings, *licences), folder, say)


@pytest.fixture
def classifier(tmp_path):
    """The folder of a run that learned the identities of the tiny recipe."""
    train(tmp_path / "classifier", "name=classifier", "student.embedding_size=12")
    return tmp_path / "classifier"


def logged(folder, key):
    return [record[key] for record in read_metrics(folder / "metrics.jsonl") if key in record]


def test_the_folder_of_a_run_teaches_the_classes_it_was_trained_on(tmp_path, classifier):
    for weights in ("best", "last"):
        assert (classifier / f"{weights}.head.safetensors").exists()
    for source in (classifier, classifier / "best.safetensors"):
        folder = tmp_path / f"from-{source.name}"
        train(folder, f"teacher.model={source}", "objectives.kd={}")
        assert len(logged(folder, "kd.agreement")) == 2
    assert logged(tmp_path / "classifier", "kd") == []
    assert load_model(folder / "best.safetensors").metadata.teacher == "classifier-standin"


def test_the_class_head_is_the_one_that_was_trained(classifier):
    weights = torch.load(classifier / "checkpoint.pt", weights_only=True)["weights"]
    head = load_head(
        classifier / "last.head.safetensors", load_model(classifier / "last.safetensors")
    )
    torch.testing.assert_close(
        head.head.weight, weights["objectives.margin_softmax.head.weight"], rtol=0, atol=0
    )
    assert head.head.scale == 8


def test_other_identities_are_refused_unless_kd_has_its_own_head(tmp_path, classifier):
    other = [f"teacher.model={classifier}", "data.train=procedural:identities=9,images=4,size=16"]
    with pytest.raises(FacedistillError, match=r"has the 8 identities of .*ies=8,.* this run"):
        train(tmp_path / "refused", *other, "objectives.kd={}")
    # No objective here uses the classes.
    train(tmp_path / "hidden", *other, "objectives.hidden_layer={}")
    own = ["objectives.kd={own_head: true}", "objectives.margin_softmax=null"]
    train(tmp_path / "own", *other, *own)
    assert not (tmp_path / "own" / "best.head.safetensors").exists()
    assert len(logged(tmp_path / "own", "kd")) == 2


def test_a_teacher_without_class_head_is_refused_with_the_remedy(tmp_path, classifier):
    (classifier / "best.head.safetensors").unlink()
    teacher = f"teacher.model={classifier}"
    with pytest.raises(
        FacedistillError, match=r"need teacher\.logits, .* run's folder with a class"
    ):
        train(tmp_path / "x", teacher, "objectives.kd={}")
    with pytest.raises(FacedistillError, match="the folder of a run that classified"):
        train(tmp_path / "x", teacher, "objectives.kd={own_head: true}")


def test_objectives_learn_from_the_teacher_they_name(tmp_path, classifier):
    train(tmp_path / "other", "seed=1", "student.embedding_size=8")
    two = [f"teacher.model={tmp_path / 'other'}", f"teachers.classes.model={classifier}"]
    lesson = ["objectives.margin_softmax=null", "objectives.fcd={}", "optimizer.lr=1e-12"]
    train(tmp_path / "both", *two, *lesson, "objectives.kd={of: classes, own_head: true}")
    train(tmp_path / "task", two[0], *lesson)
    train(tmp_path / "swap", two[0].replace("other", "classifier"), *lesson)
    both, task, swap = (logged(tmp_path / name, "fcd") for name in ("both", "task", "swap"))
    assert both == task != swap
    assert len(logged(tmp_path / "both", "kd.agreement")) == 2
    about = load_model(tmp_path / "both" / "best.safetensors").metadata
    assert about.teacher == "arcface-standin and classifier-standin"
    assert about.teacher_licence == "own"
    kd = "objectives.kd={of: classes, own_head: true}"
    half = tiny_recipe(*QUICK, *two, *lesson, kd, "teacher.licence=MIT")
    run(half, tmp_path / "half", say=lambda line: None)
    about = load_model(tmp_path / "half" / "best.safetensors").metadata
    assert about.teacher_licence == "MIT and unknown"


def test_teachers_without_objective_or_of_unknown_names_are_refused(tmp_path, classifier):
    with pytest.raises(FacedistillError, match=r"objectives\.fcd\.of: no 'clases' .* 'classes'"):
        train(tmp_path, f"teachers.classes.model={classifier}", "objectives.fcd={of: clases}")
    with pytest.raises(FacedistillError, match=r"no objective learns from teachers\.classes: give"):
        train(tmp_path, f"teachers.classes.model={classifier}")
    with pytest.raises(FacedistillError, match="no 'x' under teachers: there are none"):
        train(tmp_path, "objectives.fcd={of: x}")


def test_batches_of_whole_identities(tmp_path):
    triplet = ["objectives.margin_softmax=null", "objectives.triplet={sampling: all}"]
    train(tmp_path / "whole", *triplet, "data.images_per_person=4")
    # Two identities with four images each: 8 anchors x 3 positives x 4 negatives.
    assert logged(tmp_path / "whole", "triplet.triplets") == [96, 96]
    with pytest.raises(FacedistillError, match="two identities or more with"):
        train(tmp_path / "odd", *triplet, "data.images_per_person=3")


SMALL = [
    "data.train=procedural:identities=24,images=4,size=32",
    "data.validation_identities=8",
    "data.validation_pairs=20",
    "data.workers=0",
    "student.input.size=32",
    "training.batch_size=8",
    "training.steps=2",
    "training.log_every=1",
    "training.device=cpu",
]
LABELS_ALONE = ["teacher=null", "objectives.kd=null", "objectives.hidden_layer=null"]


def test_the_shipped_recipes_follow_each_other(tmp_path):
    def go(name, folder, *settings):
        lines = []
        recipe = load_recipe(name, [*SMALL, *settings])
        summary = run(recipe, tmp_path / folder, lines.append)
        assert 0 <= summary.validation <= 1
        assert len(logged(tmp_path / folder, "loss")) == 2
        return [line for line in lines if line.startswith("student.init")]

    teacher = f"teacher.model={tmp_path / 'teacher'}"
    go("classification", "teacher", *LABELS_ALONE, "student.arguments={width_divisor: 4}")
    assert not go("classification", "label", *LABELS_ALONE)
    (line,) = go("classification", "distilled", teacher, f"student.init={tmp_path / 'label'}")
    assert line == f"student.init: all of 320 weights are those of {tmp_path / 'label'}"
    learned = torch.load(tmp_path / "distilled" / "checkpoint.pt", weights_only=True)["weights"]
    # The student of half the teacher's width has 256 channels at its end, the teacher 512.
    assert learned["objectives.hidden_layer.adapt.weight"].shape == (512, 256)

    start = [f"student.init={tmp_path / 'distilled'}", "student.embedding_size=64"]
    soft = "objectives.kd={own_head: true, weight: 0.1}"
    (line,) = go("verification", "verification", *start, teacher, "teacher.licence=own", soft)
    assert line.startswith("student.init: all but fc.weight, fc.bias of 320 weights are those of")
    assert logged(tmp_path / "verification", "triplet.triplets") == [8 * 3, 8 * 3]
