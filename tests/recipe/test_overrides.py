import pytest

from facedistill.core.errors import FacedistillError
from facedistill.recipe.loading import load_recipe
from facedistill.recipe.overrides import Override
from tests.recipe.full_recipe import FULL, refused


@pytest.mark.parametrize(
    "typed",
    [
        "set #2",
        "2024",
        "a: b",
        "yes",
        "1e3",
        "null",
        "~no-such-user/x",
        "- a",
        "0x1f",
        "2020-01-01",
    ],
)
def test_text_keys_take_what_was_typed(typed):
    assert load_recipe("fcd", [f"data.train={typed}"]).data.train == typed
    pairs = load_recipe("fcd", [f"evaluation.test.pairs={typed}"]).evaluation["test"].pairs
    assert pairs == typed
    if typed != "null":
        assert load_recipe("fcd", [f"teacher.bank={typed}"]).teacher.bank == typed
        assert load_recipe("fcd", [f"evaluation.test={typed}"]).evaluation["test"].pairs == typed


def test_quotes_around_a_text_are_yaml():
    assert load_recipe("fcd", ["data.train='a b'"]).data.train == "a b"
    assert load_recipe("fcd", ['data.train="a b"']).data.train == "a b"


def test_a_key_that_may_be_without_a_value_takes_null():
    online = load_recipe("fcd", ["teacher.model=t.onnx", "teacher.bank=null"])
    assert online.teacher.bank is None
    assert load_recipe("fcd", ["student.init=~"]).student.init is None


def test_other_keys_are_yaml():
    assert Override.parse("optimizer.lr=3e-3 # faster").value == 0.003
    assert Override.parse("objectives.fcd.weight=auto:0.3").value == "auto:0.3"
    assert Override.parse("student.arguments.width=0.5").value == 0.5
    assert Override.parse("data.augmentation={flip: 0}").value == {"flip": 0}


def test_the_home_folder_is_expanded_in_paths(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/home/me")
    recipe = load_recipe(
        "fcd",
        [
            "data.train=~/faces",
            "teacher.bank=~/bank",
            "student.init=~/runs/start",
            "evaluation.lfw=~/lfw.bin",
            "evaluation.own={pairs: ~/own.bin, groups: ~/groups.csv}",
        ],
    )
    assert recipe.data.train == "/home/me/faces"
    assert recipe.teacher.bank == "/home/me/bank"
    assert recipe.student.init == "/home/me/runs/start"
    assert recipe.evaluation["lfw"].pairs == "/home/me/lfw.bin"
    assert recipe.evaluation["own"].groups == "/home/me/groups.csv"
    path = tmp_path / "recipe.yaml"
    path.write_text(load_recipe("fcd").to_yaml().replace("bank: bank", "bank: ~/bank"))
    assert load_recipe(path).teacher.bank == "/home/me/bank"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_recipe("~/recipe.yaml").name == "fcd"


def test_rows_are_referred_to_anywhere_in_a_value():
    setting = Override.parse("teacher={model: '${a}/best', licence: '${b}'}")
    assert setting.references() == ["a", "b"]
    resolved = setting.resolved(lambda row: f"out/{row} #1")
    assert resolved.value == {"model": "out/a #1/best", "licence": "out/b #1"}


def test_settings_know_what_they_set():
    whole, part, other = (
        Override.parse(text) for text in ("teacher={}", "teacher.bank=x", "teacher.view=clean")
    )
    assert whole.replaces(part)
    assert not part.replaces(whole)
    assert whole.overlaps(part)
    assert part.overlaps(whole)
    assert not part.overlaps(other)
    gives, takes = Override.parse("objectives.kd={}"), Override.parse("objectives.kd=null")
    assert (gives.gives_objective, gives.of_objective) == (True, None)
    assert (takes.gives_objective, takes.of_objective) == (False, "kd")


@pytest.mark.parametrize("text", ["data.train", "=x", "data.train=\ud800"])
def test_what_is_no_setting_is_refused(text):
    with pytest.raises(FacedistillError):
        Override.parse(text)


def test_a_setting_stays_what_it_was_whatever_later_ones_change_in_a_tree():
    given, changed = (
        Override.parse("objectives.x={scale: 8}"),
        Override.parse("objectives.x.scale=9"),
    )
    first, second = {}, {}
    for each in (given, changed):
        each.apply(first)
    given.apply(second)
    assert (first["objectives"]["x"], second["objectives"]["x"]) == ({"scale": 9}, {"scale": 8})


def test_settings_are_yaml_and_later_ones_win(write_recipe):
    recipe = load_recipe(
        write_recipe(FULL),
        [
            "optimizer.lr=1",
            "optimizer.lr=3e-3",
            "optimizer.weight_decay=1E-4",
            "schedule.milestones=[0.1, 2e-1]",
            "objectives.margin_softmax={head: cosface}",
            "objectives.kd.tau=2",
            "training.ema=null",
            "training.compile=true",
            "teacher=null",
            "objectives.fcd=null",
            "name=3 e",
            "data.train=a=b",
        ],
    )
    assert recipe.optimizer.lr == 0.003
    assert recipe.optimizer.weight_decay == 1e-4
    assert recipe.schedule.milestones == (0.1, 0.2)
    assert recipe.objectives["margin_softmax"].arguments == {"head": "cosface"}
    assert recipe.objectives["kd"].arguments == {"tau": 2}
    assert recipe.training.ema is None
    assert recipe.training.compile is True
    assert recipe.teacher is None
    assert "fcd" not in recipe.objectives
    assert recipe.name == "3 e"
    assert recipe.data.train == "a=b"


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("optimizer.lr", "a.b=value"),
        ("=1", "a.b=value"),
        ("name.first=1", "'name' is a value"),
        ("optimizer.lr=[", "no YAML"),
        ("seed=" + "9" * 6000, "no YAML"),
        ("..=1", "unknown key"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(write_recipe, setting, reason):
    assert reason in refused(write_recipe(FULL), setting)
