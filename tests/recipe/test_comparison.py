import pytest

from facedistill.core.errors import FacedistillError
from facedistill.recipe.comparison import load_comparison, plan
from facedistill.recipe.loading import load_recipe

WITH_TEACHER = """
settings: ["teacher.bank=${teacher}/bank"]
rows:
  teacher: {recipe: arcface, seeds: [0], bank: true, if_needed: true}
  plain: arcface
  fcd: fcd
"""


@pytest.fixture
def write(tmp_path):
    def write(text):
        (tmp_path / "comparison.yaml").write_text(text)
        return [str(tmp_path / "comparison.yaml")]

    return write


def trials_of(comparison, tmp_path):
    return {(trial.row, trial.seed): trial for trial in plan(comparison, tmp_path)}


def test_a_bank_made_in_the_comparison_is_for_rows_with_a_teacher(write, tmp_path):
    trials = trials_of(load_comparison(write(WITH_TEACHER), seeds=[0, 1]), tmp_path)
    assert next(iter(trials)) == ("teacher", 0)
    assert [trial.bank for trial in trials.values()] == [True, False, False, False, False]
    teacher = trials["teacher", 0].folder
    for seed in (0, 1):
        assert trials["fcd", seed].recipe.teacher.bank == str(teacher / "bank")
        assert trials["fcd", seed].after == (teacher,)
        assert trials["plain", seed].recipe.teacher is None
        assert trials["plain", seed].after == ()


@pytest.mark.parametrize("own", ["teacher.bank=other", "teacher={model: m, licence: own}"])
def test_a_row_that_is_no_longer_needed_is_left_out(write, tmp_path, own):
    comparison = load_comparison(write(WITH_TEACHER), settings=[own])
    assert list(comparison.rows) == ["plain", "fcd"]
    trials = trials_of(comparison, tmp_path)
    assert trials["fcd", 0].after == ()
    assert "runs" not in str(trials["fcd", 0].recipe.teacher)


def test_a_row_to_compare_with_is_needed(write):
    comparison = load_comparison(
        write(WITH_TEACHER), settings=["teacher.bank=x"], against=["teacher"]
    )
    assert "teacher" in comparison.rows


def test_what_a_needed_row_needs_is_needed(write):
    text = """
rows:
  start: {recipe: arcface, if_needed: true}
  teacher: {recipe: arcface, settings: ["student.init=${start}"], if_needed: true}
  alone: {recipe: arcface, settings: ["student.init=${teacher}"], if_needed: true}
  student: {recipe: fcd, settings: ["teacher.bank=${teacher}/bank"]}
"""
    assert list(load_comparison(write(text)).rows) == ["start", "teacher", "student"]


def test_an_objectives_option_is_for_the_rows_that_have_it(tmp_path):
    settings = ["objectives.margin_softmax.scale=24", "objectives.fcd.weight=2"]
    comparison = load_comparison(["arcface", "fcd", "shrinkteanet"], settings=settings)
    trials = trials_of(comparison, tmp_path)
    terms = {row: trial.recipe.objectives for (row, _), trial in trials.items()}
    assert {row: list(each) for row, each in terms.items()} == {
        "arcface": ["margin_softmax"],
        "fcd": ["fcd"],
        "shrinkteanet": ["margin_softmax", "fcd"],
    }
    assert terms["arcface"]["margin_softmax"].arguments["scale"] == 24
    assert terms["shrinkteanet"]["margin_softmax"].arguments["scale"] == 24
    assert terms["fcd"]["fcd"].weight == terms["shrinkteanet"]["fcd"].weight == 2


def test_an_objective_given_to_all_rows_can_be_set_further(tmp_path):
    settings = ["objectives.mrd={weight: 2}", "objectives.mrd.start=0.5"]
    trials = trials_of(load_comparison(["fcd", "pkt"], settings=settings), tmp_path)
    assert [trial.recipe.objectives["mrd"].start for trial in trials.values()] == [0.5, 0.5]


def test_an_option_of_an_objective_that_no_row_has_is_refused():
    with pytest.raises(FacedistillError) as caught:
        load_comparison(["arcface", "fcd"], settings=["objectives.margin_sofmax.scale=24"])
    assert "objectives.margin_sofmax.scale=24: did you mean 'margin_softmax'" in str(caught.value)


def test_taking_an_objective_away_is_for_the_rows_that_have_it(write, tmp_path):
    text = """
rows:
  bare: {recipe: shrinkteanet, settings: [objectives.margin_softmax=null]}
  both: shrinkteanet
  fcd: fcd
"""
    comparison = load_comparison(write(text), settings=["objectives.margin_softmax=null"])
    trials = trials_of(comparison, tmp_path)
    assert all(list(trial.recipe.objectives) == ["fcd"] for trial in trials.values())
    with pytest.raises(FacedistillError, match=r"no row has the objective of objectives\.mrd=null"):
        load_comparison(write(text), settings=["objectives.mrd=null"])


def test_a_setting_of_a_teacher_is_refused_where_no_row_has_one():
    with pytest.raises(FacedistillError, match=r"no row has a teacher, so that teacher\.bank=bank"):
        load_comparison(["arcface"], settings=["teacher.bank=bank"])


def test_a_setting_for_all_rows_warns_of_rows_that_set_it_themselves(write, recwarn):
    text = """
rows:
  short: {recipe: arcface, settings: [training.epochs=1]}
  none: {recipe: fcd, settings: [teacher=null, "objectives={margin_softmax: {}}"]}
  wide: {recipe: fcd, settings: ["student.arguments={width: 1.0}"]}
"""
    load_comparison(write(text), settings=["training.batch_size=8", "teacher.bank=bank"])
    assert not recwarn
    with pytest.warns(UserWarning, match="not all, for rows that set it themselves: short$"):
        load_comparison(write(text), settings=["training.epochs=2"])
    with pytest.warns(UserWarning, match="themselves: wide$"):
        load_comparison(write(text), settings=["student.arguments.width=0.5"])


METHODS = [
    "fcd", "shrinkteanet", "embedding_mse", "coupleface", "kd", "gkd", "pkt", "rkd", "sp", "cckd",
    "darkrank", "crd", "ekd", "triplet_distillation", "arcdistill", "margin_distillation",
    "adadistill",
]  # fmt: skip


def test_methods_differ_in_nothing_but_their_method(tmp_path):
    comparison = load_comparison(["methods"], seeds=[0, 1, 2])
    assert list(comparison.rows) == ["teacher", "plain", *METHODS]
    trials = trials_of(comparison, tmp_path)
    assert len(trials) == 1 + 3 * (1 + len(METHODS))
    plain = trials["plain", 1].recipe
    for row in METHODS:
        recipe = trials[row, 1].recipe
        assert recipe.teacher.bank == str(tmp_path / "runs" / "teacher" / "seed-0" / "bank")
        shared = {"init", "images_per_person"}
        for part in ("data", "student", "optimizer", "schedule", "training"):
            options, expected = (
                getattr(each, part).model_dump(exclude=shared) for each in (recipe, plain)
            )
            assert options == expected, row
        assert (recipe.student.init is None) == (row != "triplet_distillation")
        of_its_own = load_recipe("shrinkteanet" if row == "embedding_mse" else row)
        for name, term in recipe.objectives.items():
            if name != "embedding_mse":
                assert term.weight == of_its_own.objectives[name].weight
            options = term.model_extra or {}
            if "scale" in options:
                assert options["scale"] == 24
                assert options.get("m", 0.1) == 0.1


def test_methods_take_a_users_own_bank(tmp_path):
    settings = ["data.train=faces", "teacher.bank=bank", "student.input.size=64"]
    comparison = load_comparison(["methods"], settings=settings, pairs=["test=lfw.bin"])
    assert list(comparison.rows) == ["plain", *METHODS]
    assert [each.pairs for each in comparison.evaluation.values()] == ["lfw.bin"]
    for trial in plan(comparison, tmp_path):
        assert trial.recipe.data.train == "faces"
        assert trial.recipe.student.input.size == 64
        assert trial.row == "plain" or trial.recipe.teacher.bank == "bank"


@pytest.mark.parametrize("name", ["plain.yaml", "my=own.yaml"])
def test_a_row_is_named_before_its_file(tmp_path, name, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / name).write_text(load_recipe("arcface").to_yaml().replace("seed: 0", "seed: 5"))
    for folder in (tmp_path, "~"):
        comparison = load_comparison([f"own={folder}/{name}", "plain=arcface"])
        assert list(comparison.rows) == ["own", "plain"]
        own, plain = plan(comparison, tmp_path)
        assert own.recipe.data == plain.recipe.data


def test_a_whole_comparison_is_no_row(write):
    (path,) = write(WITH_TEACHER)
    for sources in ([f"own={path}"], [path, "arcface"]):
        with pytest.raises(FacedistillError, match="describes a whole comparison: give it alone"):
            load_comparison(sources)


def test_an_unknown_recipe_of_a_row_is_refused_at_once():
    with pytest.raises(FacedistillError, match="did you mean 'arcface'"):
        load_comparison(["plain=arcfase", "fcd"])


def test_arms_of_cross_architecture_distillation_differ_in_what_they_add_alone(tmp_path):
    trials = {t.row: t for t in plan(load_comparison(["cross_architecture"]), tmp_path)}
    assert trials["teacher"].bank
    assert trials["teacher"].tokens
    arms = {row: trials[row].recipe for row in ("fcd", "fitnet", "urfm", "cakd")}
    for recipe in arms.values():
        assert recipe.objectives["fcd"] == arms["fcd"].objectives["fcd"]
        assert recipe.objectives["margin_softmax"] == arms["fcd"].objectives["margin_softmax"]
        for part in ("student", "optimizer", "schedule", "training", "data"):
            assert getattr(recipe, part) == getattr(arms["fcd"], part)
    banks = {row for row, recipe in arms.items() if recipe.teacher.bank}
    assert banks == {"fcd", "fitnet", "urfm"}
    assert arms["cakd"].teacher.prompts is not None
    assert arms["cakd"].objectives["urfm"] == arms["urfm"].objectives["urfm"]
    assert {row for row, recipe in arms.items() if "urfm" in recipe.objectives} == {"urfm", "cakd"}
