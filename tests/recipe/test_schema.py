import copy

import pytest

from facedistill.recipe.loading import load_recipe, shipped_recipes
from facedistill.recipe.schema import PairsRecipe, Recipe
from tests.recipe.full_recipe import FULL, leaves, refused


def test_a_full_recipe_reads_as_written(write_recipe):
    recipe = load_recipe(write_recipe(FULL))
    assert recipe.optimizer.lr == 0.003
    assert recipe.data.augmentation.jpeg_quality == (30, 90)
    assert recipe.teacher.input.color == "BGR"
    assert recipe.objectives["margin_softmax"].arguments == {"head": "arcface", "m": 0.5}
    assert recipe.objectives["fcd"].weight == 2
    assert recipe.evaluation["lfw"] == PairsRecipe(pairs="lfw.bin")


@pytest.mark.parametrize("name", shipped_recipes())
def test_shipped_recipes_survive_a_round_trip(name, write_recipe):
    recipe = load_recipe(name)
    again = load_recipe(write_recipe(recipe.to_yaml()))
    assert again == recipe
    assert again.hash == recipe.hash


def test_the_full_recipe_survives_a_round_trip(tmp_path, write_recipe):
    recipe = load_recipe(write_recipe(FULL))
    other = tmp_path / "again.yaml"
    other.write_text(recipe.to_yaml())
    assert load_recipe(other) == recipe


@pytest.mark.parametrize(
    "setting",
    [
        "seed=-1",
        "seed=4294967296",
        "seed=1.5",
        "data=7",
        "data.train=[a]",
        "data.cache=disk",
        "data.validation_identities=1.5",
        "data.validation_identities=-1",
        "data.validation_identities=few",
        "data.image_size=4",
        "data.augmentation=1",
        "data.augmentation.flip=2",
        "data.augmentation.jpeg_quality=[90, 30]",
        "student.input.size=0",
        "student.input.std=[0, 1, 1]",
        "student.embedding_size=1e9",
        "objectives={}",
        "objectives=[fcd]",
        "objectives.fcd.weight=-1",
        "objectives.fcd.start=1.5",
        "optimizer.lr=0",
        "optimizer.lr=yes",
        "optimizer.lr=fast",
        "optimizer.betas=[0.9, 1]",
        "schedule.warmup=1",
        "schedule.milestones=[2]",
        "training.device=tpu",
        "training.steps=0",
        "training.epochs=.inf",
        "training.epochs=.nan",
        "training.batch_size=1",
        "training.ema=1",
        "training.compile=2",
        "evaluation=[lfw.bin]",
        "evaluation.lfw={pairs: lfw.bin, mask: two}",
    ],
)
def test_a_wrong_value_is_refused_by_its_place(write_recipe, setting):
    assert setting.split("=")[0].split(".")[-1] in refused(write_recipe(FULL), setting)


def test_values_that_contradict_each_other_are_refused(write_recipe):
    path = write_recipe(FULL)
    assert "nesterov is for sgd" in refused(path, "optimizer.name=adamw")
    assert "has its own rise" in refused(path, "schedule.name=one_cycle")
    assert "lower accumulate" in refused(path, "training.accumulate=65")
    assert "is not before stop" in refused(path, "objectives.fcd.start=0.5")
    masked = ("student.landmarks=5", "evaluation.marked={pairs: list.txt, mask: one}")
    assert "evaluation.marked.mask is for pairs" in refused(path, *masked)
    grouped = ("student.landmarks=5", "evaluation.marked={pairs: list.txt, groups: groups.csv}")
    assert "evaluation.marked.groups is for pairs" in refused(path, *grouped)
    across = ("student.landmarks=5", "evaluation.marked={pairs: list.txt, all_pairs: true}")
    assert "evaluation.marked.all_pairs is for pairs" in refused(path, *across)
    both = "evaluation.own={pairs: own.bin, groups: groups.csv, all_pairs: true}"
    assert "groups are compared on listed pairs: leave all_pairs out" in refused(path, both)


def test_evaluation_pairs_have_a_short_and_a_long_form(write_recipe):
    masked = "evaluation.lfw={pairs: lfw.bin, mask: one}"
    recipe = load_recipe(write_recipe(FULL), [masked])
    assert recipe.evaluation["lfw"] == PairsRecipe(pairs="lfw.bin", mask="one")
    assert load_recipe(write_recipe(recipe.to_yaml())) == recipe
    short, long = (
        load_recipe(write_recipe(FULL), [f"evaluation.lfw={value}"])
        for value in ("a", "{pairs: a}")
    )
    assert short.hash == long.hash != recipe.hash
    typo = refused(write_recipe(FULL), "evaluation.lfw={pairs: lfw.bin, maks: one}")
    assert "unknown key 'evaluation.lfw.maks': did you mean 'mask'?" in typo
    assert "'evaluation.lfw.pairs' is missing" in refused(
        write_recipe(FULL), "evaluation.lfw={mask: one}"
    )


def test_a_missing_key_and_a_teacher_without_source_are_named(write_recipe):
    assert "'data' is missing" in refused(write_recipe("name: a\nobjectives: {fcd: {}}"))
    assert "teacher: give bank or model" in refused(write_recipe(FULL), "teacher.bank=null")


CHOICES = {
    "color": ["RGB", "BGR"],
    "cache": ["none", "ram"],
    "on_error": ["stop", "skip"],
    "view": ["same", "clean"],
    "schedule": ["linear", "cosine"],
    "precision": ["auto", "bf16"],
    "device": ["cpu", "cuda"],
    "bank": ["another"],
    "model": ["a.onnx"],
    "init": ["a.safetensors"],
    "of": ["classes"],
    "jpeg_quality": [[1, 2]],
}


def changed(place, value):
    """Another value that the key takes."""
    if place == ("schedule", "name"):
        return "constant"
    if place == ("data", "root"):
        return "elsewhere"
    if place[0] == "evaluation" and place[-1] == "mask":
        return "one"
    if place[-1] in CHOICES:
        return next(choice for choice in CHOICES[place[-1]] if choice != value)
    if place[-1] in {"mean", "std"} and value is None:
        return [1, 2, 3]
    if isinstance(value, bool):
        return not value
    if isinstance(value, list):
        return [*value[:-1], value[-1] * 0.99]
    if isinstance(value, float):
        return value * 0.9 if value else 0.01
    kinds = {str: lambda: value + "x", int: lambda: value + 1, dict: lambda: {"more": "x"}}
    return kinds.get(type(value), lambda: 32)()


INDIFFERENT = {
    ("data", "workers"),
    ("data", "cache"),
    ("training", "checkpoint_minutes"),
    ("training", "tensorboard"),
}


def test_runs_of_earlier_versions_are_known_by_their_recipes_hash(write_recipe):
    recipe = """
        name: small
        data: {train: faces, licence: own, validation_identities: 3}
        teacher: {bank: bank, licence: own}
        student: {network: mobilefacenet, embedding_size: 64}
        objectives: {fcd: {}, margin_softmax: {weight: 0.01}}
        training: {epochs: 2}
        evaluation: {lfw: lfw.bin}
    """
    assert load_recipe(write_recipe(recipe)).hash == "ffebe1f8e9cf9765"


def test_the_hash_changes_with_every_key_that_decides_the_result(write_recipe):
    recipe = load_recipe(write_recipe(FULL))
    assert load_recipe(write_recipe(FULL + "\n# a comment")).hash == recipe.hash
    whole = recipe.model_dump(mode="json")
    # adamw refuses the nesterov of this recipe; what an online teacher alone has refuses its bank
    checked = [
        leaf
        for leaf in leaves(whole)
        if leaf[0] != ("optimizer", "name")
        and not (
            leaf[0][0].startswith("teacher") and leaf[0][-1] in {"prompts", "precision", "output"}
        )
    ]
    hashes = {recipe.hash}
    for place, value in checked:
        tree = copy.deepcopy(whole)
        below = tree
        for key in place[:-1]:
            below = below[key]
        below[place[-1]] = changed(place, value)
        hash_ = Recipe.model_validate(tree).hash
        assert (hash_ == recipe.hash) == (place in INDIFFERENT), place
        hashes.add(hash_)
    assert len(hashes) == 1 + len(checked) - len(INDIFFERENT) > 50
    online = ["teacher.bank=null", "teacher.model=a.onnx"]
    for more in ("teacher.precision=bf16", "teacher.output=embedding"):
        changed_teacher = load_recipe(write_recipe(FULL), [*online, more])
        assert changed_teacher.hash != load_recipe(write_recipe(FULL), online).hash
    prompted = [*online, "teacher.prompts={count: 3}"]
    assert (
        load_recipe(write_recipe(FULL), online).hash
        != load_recipe(write_recipe(FULL), prompted).hash
    )
    sparing = [*prompted, "teacher.prompts.checkpointing=true"]
    assert (
        load_recipe(write_recipe(FULL), sparing).hash
        == load_recipe(write_recipe(FULL), prompted).hash
    )
