import pytest

from facedistill.core.errors import FacedistillError
from facedistill.engine.loop import Fit
from facedistill.experiments.ownership import standing
from tests.engine.standin import tiny_recipe
from tests.experiments.tiny_run import train


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_another_recipe_is_refused_by_its_first_difference_before_anything_changes(tmp_path):
    train(tmp_path)
    before = content(tmp_path)
    with pytest.raises(FacedistillError, match=r"optimizer\.lr is 0\.1, not 0\.2\): choose anoth"):
        train(tmp_path, "optimizer.lr=0.2")
    with pytest.raises(FacedistillError, match=r"its teacher is null, not \{"):
        train(tmp_path, "teacher.bank=bank")
    assert content(tmp_path) == before


@pytest.mark.parametrize(
    "name",
    ["checkpoint.pt", "best.head.safetensors", "summary.json", "metrics.jsonl", "MODEL_CARD.md"],
)
def test_a_file_of_no_run_is_not_written_over(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(FacedistillError, match=rf"{name} is there already and no recipe\.yaml"):
        train(tmp_path)
    assert content(tmp_path) == {name: b"mine"}


def test_a_recipe_of_the_users_is_not_written_over(tmp_path):
    (tmp_path / "recipe.yaml").write_text("# mine\n" + tiny_recipe().to_yaml())
    with pytest.raises(FacedistillError, match=r"recipe\.yaml is there already and no run beside"):
        train(tmp_path)
    assert (tmp_path / "recipe.yaml").read_text().startswith("# mine")
    (tmp_path / "recipe.yaml").write_text(tiny_recipe().to_yaml())
    assert train(tmp_path).steps == 6


def refuse(fit):
    raise FacedistillError("checkpoint is of another machine")


def test_a_refused_run_leaves_nothing(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Fit, "_resume", refuse)
        for folder in (tmp_path / "a" / "b", tmp_path):
            with pytest.raises(FacedistillError, match="of another machine"):
                train(folder)
            assert not list(tmp_path.iterdir())
    (tmp_path / "notes.txt").write_text("mine")
    assert train(tmp_path).steps == 6
    assert (tmp_path / "notes.txt").exists()


def test_a_run_that_ends_before_its_first_checkpoint_leaves_what_it_has_logged(
    tmp_path, monkeypatch
):
    def refuse_third(fit, batch):
        if fit.position.step == 2:
            raise FacedistillError("no")
        step(fit, batch)

    step = Fit._train
    monkeypatch.setattr(Fit, "_train", refuse_third)
    with pytest.raises(FacedistillError, match="no"):
        train(tmp_path)
    assert sorted(content(tmp_path)) == ["metrics.jsonl", "recipe.yaml"]
    monkeypatch.undo()
    # What has saved nothing yet binds nobody.
    assert train(tmp_path, "optimizer.lr=0.2").steps == 6


def test_where_a_run_stands_is_read_from_its_folder(tmp_path):
    for name, words in (
        ("metrics.jsonl", "no step is saved"),
        ("checkpoint.pt", "keeps its checkpoint"),
        ("summary.json", "keeps its result"),
    ):
        (tmp_path / name).touch()
        assert words in standing(tmp_path)
