import copy

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from facedistill.core.errors import FacedistillError
from facedistill.recipe.loading import load_recipe, shipped_recipes
from facedistill.recipe.plain_yaml import MAX_BYTES
from facedistill.recipe.schema import PairsRecipe, Recipe

FULL = """
name: everything
seed: 3
data:
  train: faces
  licence: own
  augmentation: {flip: 0.5, rotation: 10, jpeg_quality: [30, 90]}
  image_size: 64
teacher: {bank: bank, input: {size: 112, color: BGR}, view: clean, licence: MIT}
teachers: {classes: {model: b.onnx, licence: MIT, input: {size: 96}}}
student: {network: mobilefacenet, arguments: {width: 0.5}, input: {size: 64}}
objectives:
  fcd: {weight: 2, stop: 0.5, schedule: linear}
  margin_softmax: {head: arcface, m: 5e-1, schedule: cosine}
optimizer: {name: sgd, lr: 3e-3, nesterov: true}
schedule: {name: cosine, warmup: 0.1}
training: {steps: 10, ema: 0.99}
evaluation: {lfw: lfw.bin}
"""


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "recipe.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def refused(source, *overrides):
    with pytest.raises(FacedistillError) as caught:
        load_recipe(source, overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(str(source), "SOURCE")


def test_a_full_recipe_reads_as_written(write):
    recipe = load_recipe(write(FULL))
    assert recipe.optimizer.lr == 0.003
    assert recipe.data.augmentation.jpeg_quality == (30, 90)
    assert recipe.teacher.input.color == "BGR"
    assert recipe.objectives["margin_softmax"].arguments == {"head": "arcface", "m": 0.5}
    assert recipe.objectives["fcd"].weight == 2
    assert recipe.evaluation["lfw"] == PairsRecipe(pairs="lfw.bin")


@pytest.mark.parametrize("name", shipped_recipes())
def test_shipped_recipes_survive_a_round_trip(name, write):
    recipe = load_recipe(name)
    again = load_recipe(write(recipe.to_yaml()))
    assert again == recipe
    assert again.hash == recipe.hash


def test_the_full_recipe_survives_a_round_trip(tmp_path, write):
    recipe = load_recipe(write(FULL))
    other = tmp_path / "again.yaml"
    other.write_text(recipe.to_yaml())
    assert load_recipe(other) == recipe


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("optimiser", "optimizer"),
        ("data.trian", "train"),
        ("data.augmentation.rotatoin", "rotation"),
        ("teacher.banck", "bank"),
        ("teacher.input.colour", "color"),
        ("student.input.sise", "size"),
        ("student.argument", "arguments"),
        ("optimizer.lrr", "lr"),
        ("schedule.warm_up", "warmup"),
        ("training.batchsize", "batch_size"),
    ],
)
def test_an_unknown_key_names_its_place_and_the_nearest(write, key, nearest):
    message = refused(write(FULL), f"{key}=1")
    assert f"unknown key '{key}'" in message
    assert f"did you mean '{nearest}'" in message


@pytest.mark.parametrize(
    "setting",
    [
        "seed=-1",
        "seed=4294967296",
        "seed=1.5",
        "data=7",
        "data.train=[a]",
        "data.cache=disk",
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
def test_a_wrong_value_is_refused_by_its_place(write, setting):
    assert setting.split("=")[0].split(".")[-1] in refused(write(FULL), setting)


def test_values_that_contradict_each_other_are_refused(write):
    path = write(FULL)
    assert "nesterov is for sgd" in refused(path, "optimizer.name=adamw")
    assert "has its own rise" in refused(path, "schedule.name=one_cycle")
    assert "lower accumulate" in refused(path, "training.accumulate=65")
    assert "is not before stop" in refused(path, "objectives.fcd.start=0.5")
    masked = ("student.landmarks=5", "evaluation.marked={pairs: list.txt, mask: one}")
    assert "evaluation.marked.mask is for pairs" in refused(path, *masked)
    grouped = ("student.landmarks=5", "evaluation.marked={pairs: list.txt, groups: people.csv}")
    assert "evaluation.marked.groups is for pairs" in refused(path, *grouped)


def test_evaluation_pairs_have_a_short_and_a_long_form(write):
    masked = "evaluation.lfw={pairs: lfw.bin, mask: one}"
    recipe = load_recipe(write(FULL), [masked])
    assert recipe.evaluation["lfw"] == PairsRecipe(pairs="lfw.bin", mask="one")
    assert load_recipe(write(recipe.to_yaml())) == recipe
    short, long = (
        load_recipe(write(FULL), [f"evaluation.lfw={value}"]) for value in ("a", "{pairs: a}")
    )
    assert short.hash == long.hash != recipe.hash
    typo = refused(write(FULL), "evaluation.lfw={pairs: lfw.bin, maks: one}")
    assert "unknown key 'evaluation.lfw.maks': did you mean 'mask'?" in typo
    assert "'evaluation.lfw.pairs' is missing" in refused(write(FULL), "evaluation.lfw={mask: one}")


def test_a_missing_key_and_a_teacher_without_source_are_named(write):
    assert "'data' is missing" in refused(write("name: a\nobjectives: {fcd: {}}"))
    assert "teacher: give bank or model" in refused(write(FULL), "teacher.bank=null")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no mapping"),
        ("- a\n- b", "no mapping"),
        ("a: b: c", "no YAML"),
        ("a: [1", "no YAML"),
        ("\x00", "no YAML"),
        ("a: 1\na: 2", "'a' is given twice"),
        ("1: 2", "key 1 is no text"),
        ("? [a, b]\n: 1", "no YAML"),
        ("a: 2020-01-01", "neither text nor a number"),
        ("a: !!set {x, y}", "neither text nor a number"),
        ("a: !!python/object/apply:os.system [exit]", "no YAML"),
        ("a: 0x" + "f" * 6000, "too large"),
        ("a: " + "9" * 6000, "no YAML"),
        ("a: " + "[" * 3000 + "]" * 3000, "no YAML"),
        ("a: " + "[" * 60 + "]" * 60, "deeper"),
        ('a: "\\ud800"', "surrogates"),
        ("a: &x [*x]", "aliases"),
        (b"\xff\xfe\xfd", "UTF-8"),
        (b"a: " + b"b" * MAX_BYTES, "bytes"),
    ],
)
def test_what_is_no_recipe_is_refused_in_one_line(write, text, reason):
    assert reason in refused(write(text))


def test_alias_and_merge_bombs_are_refused_unexploded(write):
    lists = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    merges = ["a0: &a0 {k: v}"]
    for level in range(1, 30):
        below = ", ".join([f"*a{level - 1}"] * 9)
        lists.append(f"a{level}: &a{level} [{below}]")
        merges.append(f"a{level}: &a{level} {{<<: [{below}]}}")
    for lines in (lists, merges):
        assert "aliases" in refused(write("\n".join(lines)))


def test_missing_files_and_unknown_names(tmp_path):
    assert "No such file" in refused(tmp_path / "none.yaml")
    assert "Is a directory" in refused(make_folder(tmp_path / "folder.yaml"))
    assert "did you mean 'arcface'" in refused("arcfase")
    assert "cannot read" in refused("nul\0.yaml")


def make_folder(path):
    path.mkdir()
    return path


def test_settings_are_yaml_and_later_ones_win(write):
    recipe = load_recipe(
        write(FULL),
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
def test_a_setting_that_cannot_be_is_refused(write, setting, reason):
    assert reason in refused(write(FULL), setting)


def leaves(tree, place=()):
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*place, key))
        else:
            yield (*place, key), value


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
    if place[0] == "evaluation" and place[-1] == "mask":
        return "one"
    if place[-1] in CHOICES:
        return next(choice for choice in CHOICES[place[-1]] if choice != value)
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


def test_the_hash_changes_with_every_key_that_decides_the_result(write):
    recipe = load_recipe(write(FULL))
    assert load_recipe(write(FULL + "\n# a comment")).hash == recipe.hash
    whole = recipe.model_dump(mode="json")
    # adamw refuses the nesterov of this recipe; prompts and a teacher's precision refuse its bank
    everything = [
        leaf
        for leaf in leaves(whole)
        if leaf[0] != ("optimizer", "name")
        and not (leaf[0][0].startswith("teacher") and leaf[0][-1] in {"prompts", "precision"})
    ]
    hashes = {recipe.hash}
    for place, value in everything:
        tree = copy.deepcopy(whole)
        below = tree
        for key in place[:-1]:
            below = below[key]
        below[place[-1]] = changed(place, value)
        hash_ = Recipe.model_validate(tree).hash
        assert (hash_ == recipe.hash) == (place in INDIFFERENT), place
        hashes.add(hash_)
    assert len(hashes) == 1 + len(everything) - len(INDIFFERENT) > 50
    online = ["teacher.bank=null", "teacher.model=a.onnx"]
    halved = [*online, "teacher.precision=bf16"]
    assert load_recipe(write(FULL), online).hash != load_recipe(write(FULL), halved).hash
    prompted = [*online, "teacher.prompts={count: 3}"]
    assert load_recipe(write(FULL), online).hash != load_recipe(write(FULL), prompted).hash
    sparing = [*prompted, "teacher.prompts.checkpointing=true"]
    assert load_recipe(write(FULL), sparing).hash == load_recipe(write(FULL), prompted).hash


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=4,
)
places = [place for place, _ in leaves(yaml.safe_load(FULL))]


@settings(max_examples=150, deadline=None)
@given(place=st.sampled_from(places), depth=st.integers(1, 4), value=values)
def test_any_value_at_any_place_gives_a_recipe_or_one_error(tmp_path_factory, place, depth, value):
    tree = yaml.safe_load(FULL)
    below = tree
    for key in place[:depth][:-1]:
        below = below[key]
    below[place[:depth][-1]] = value
    read_or_refuse(tmp_path_factory, yaml.safe_dump(tree, allow_unicode=True))


@settings(max_examples=150, deadline=None)
@given(start=st.integers(0, len(FULL)), length=st.integers(0, 12), text=st.text(max_size=6))
def test_any_edit_of_the_text_gives_a_recipe_or_one_error(tmp_path_factory, start, length, text):
    read_or_refuse(tmp_path_factory, FULL[:start] + text + FULL[start + length :])


def read_or_refuse(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "mutated.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        recipe = load_recipe(path)
    except FacedistillError:
        return
    path.write_text(recipe.to_yaml(), "utf-8")
    again = load_recipe(path)
    assert again == recipe
    assert again.hash == recipe.hash


@pytest.mark.parametrize("number", ["0" + "9" * 30, "'" + "9" * 30 + "'", "9" * 30])
def test_numbers_too_large_to_be_read_again_are_refused(tmp_path, number):
    path = tmp_path / "large.yaml"
    path.write_text(load_recipe("fcd").to_yaml().replace("images: 0", f"images: {number}"), "utf-8")
    with pytest.raises(FacedistillError, match=r"large\.yaml.*a number is too large"):
        load_recipe(path)
