import pytest

from facedistill.data.open import open_dataset
from facedistill.models.files.model_file import load_model
from tests.experiments.tiny_run import make_bank, train


@pytest.mark.parametrize(
    ("bank", "recipe", "kept"),
    [("MIT", "unknown", "MIT"), ("MIT", "BSD", "BSD"), ("unknown", "unknown", None)],
)
def test_the_model_file_names_the_teacher_behind_a_bank_and_its_licence(
    tmp_path, bank, recipe, kept
):
    data = "procedural:identities=8,images=4,size=16"
    make_bank(tmp_path / "bank", data, licence=bank)
    summary = train(
        tmp_path / "run", "objectives.margin_softmax=null", "objectives.fcd={}",
        f"teacher.bank={tmp_path / 'bank'}", f"teacher.licence={recipe}", "data.licence=own",
        "training.steps=1",
    )  # fmt: skip
    about = load_model(summary.model).metadata
    assert (about.teacher, about.teacher_licence, about.data_licence) == ("standin", kept, "own")
    assert about.training_data == f"{data}: 32 images of 8 identities"


def test_a_model_file_keeps_marks_of_all_that_its_weights_learned_from(tmp_path):
    first, second = (f"procedural:identities=8,images=4,size=16,seed={seed}" for seed in (1, 2))
    start = train(tmp_path / "first", f"data.train={first}", "training.steps=1").model
    for data, images in ((second, [32, 32]), (first, [32])):
        further = (f"data.train={data}", f"student.init={start}", "training.steps=1")
        summary = train(tmp_path / data.replace(",", " "), *further)
        marks = load_model(summary.model).metadata.trained_on
        assert [each.images for each in marks] == images
        assert marks[0].fingerprint == open_dataset(data).fingerprint
