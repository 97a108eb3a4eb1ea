import pytest

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
