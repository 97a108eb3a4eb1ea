"""What the documentation says is what the commands do."""

import argparse
import inspect
import re
import runpy
import shlex
import sys
import tomllib
import typing
from pathlib import Path

import cv2
import pytest
from pydantic import BaseModel
from typer.testing import CliRunner

from facedistill.cli.app import app
from facedistill.core.errors import FacedistillError
from facedistill.data.formats.image_file import encode_png
from facedistill.data.formats.landmark_list import FIVE_NAMES
from facedistill.data.open import open_dataset
from facedistill.data.pairs.bin_pairs import write_bin
from facedistill.data.pairs.pair_set import PairSet
from facedistill.distill.objectives.context import RunContext
from facedistill.distill.objectives.registry import create_objective, objectives
from facedistill.export.export import export_network
from facedistill.export.target import TARGETS
from facedistill.models.face_network import FaceNetwork
from facedistill.models.heads.margin import HEADS, MarginHead
from facedistill.recipe.augmentation import Augmentation
from facedistill.recipe.comparison import load_comparison, plan, shipped_comparisons
from facedistill.recipe.loading import load_recipe, shipped_recipes
from facedistill.recipe.schema import Recipe
from facedistill.runtime.input_spec import InputSpec
from tests.distill.objectives.contexts import everything

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()

# What makes a run of the README's seconds long; everything else is as it is spelled there.
TINY = [
    "data.validation_identities=2",
    "data.validation_pairs=20",
    "student.arguments.width=0.25",
    "student.embedding_size=16",
    "training.steps=2",
    "training.batch_size=8",
]


def tiny_settings(words: list[str]) -> list[str]:
    """What keeps a command short, as far as its network and data know of it."""
    transformer = "student.network=swin_nano" in words
    settings = [each for each in TINY if not (transformer and "width" in each)]
    drawn = any(word.startswith("data.train=procedural:") for word in words)
    return settings + ["data.train=procedural:identities=6,images=4,size=64"] * drawn


def commands(text: str) -> list[list[str]]:
    """Every `facedistill ...` line of a document's indented code, joined where it is continued."""
    joined = text.replace("\\\n", " ")
    return [shlex.split(line) for line in re.findall(r"^    facedistill (.+)$", joined, re.M)]


@pytest.fixture
def users_folder(tmp_path, monkeypatch):
    """What the README's reader has: photos, a teacher, pairs and two images."""
    monkeypatch.chdir(tmp_path)
    faces = open_dataset("procedural:identities=6,images=4,size=112")
    for index in range(len(faces)):
        person = tmp_path / "photos" / str(faces.labels[index])
        person.mkdir(parents=True, exist_ok=True)
        (person / f"{index}.png").write_bytes(faces.encoded(index))
    cv2.imwrite("a.jpg", faces[0].image)
    cv2.imwrite("b.jpg", faces[1].image)
    write_bin(PairSet.from_dataset(faces, 20, seed=0), "lfw.bin")
    write_marked_faces(tmp_path / "marked")
    teacher = FaceNetwork.create("mobilefacenet", InputSpec(), embedding_size=16, width=0.25)
    export_network(teacher, "teacher.onnx")
    return tmp_path


def write_marked_faces(folder: Path) -> None:
    """Photographs of faces with landmarks, in CelebA's layout."""
    faces = open_dataset("procedural:identities=3,images=4,size=64,loose=1")
    lines = [str(len(faces)), " ".join(FIVE_NAMES)]
    (folder / "img").mkdir(parents=True)
    for index in range(len(faces)):
        image, points = faces.face(index)
        image = cv2.copyMakeBorder(image, 0, 0, 10 * index, 90, cv2.BORDER_REPLICATE)
        points[:, 0] += 10 * index
        (folder / "img" / f"{index}.png").write_bytes(encode_png(image))
        lines.append(f"{index}.png " + " ".join(f"{value:.2f}" for value in points.ravel()))
    (folder / "list.txt").write_text("\n".join(lines) + "\n")


def test_readme_commands_run_in_its_order(users_folder):
    grids = [words for words in commands(README) if words[:2][-1] in shipped_comparisons()]
    assert len(grids) == len(shipped_comparisons())
    for words in grids:  # Hours of runs: what they are is read, and run in other tests.
        assert plan(load_comparison([words[1]]), users_folder)
    spelled = [words for words in commands(README) if words not in grids]
    assert {words[0] for words in spelled} == {
        "prepare", "inspect", "embed", "distill", "evaluate", "export", "verify", "train",
        "compare", "bench",
    }  # fmt: skip
    for words in spelled:
        tiny = [word for setting in tiny_settings(words) for word in ("--set", setting)]
        extra = tiny if words[0] in ("train", "distill", "compare") else []
        if words[0] == "compare":
            words = [word for word in words if word not in ("1", "2")]  # one seed
            extra += ["--jobs", "0"]
        if words[0] == "bench":
            extra = ["--threads", "1", "--batch", "1", "--calls", "2"]
        result = CliRunner().invoke(app, [*words, *extra], catch_exceptions=False)
        assert result.exit_code == 0, f"{' '.join(words)}: {result.output}"
    for made in ("faces/train.rec", "faces.png", "bank/bank.json", "student.onnx", "aligned.png"):
        assert (users_folder / made).exists()

    faces = open_dataset("faces")[0].image[None]
    for code in python_blocks():
        names = {"faces": faces}
        exec(code, names)
        assert names["embeddings"].shape == (1, 16)


def python_blocks() -> list[str]:
    blocks: list[str] = re.findall(r"```python\n(.+?)```", README, re.S)
    assert len(blocks) == 2
    return blocks


def test_readme_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^    make (\w+)", README, re.M)
    assert targets == ["demo", "test"]
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.M)


def benchmark_commands() -> list[list[str]]:
    """Every `python benchmarks/NAME.py ARGS` of the documentation."""
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    lines = [
        line
        for document in documents
        for line in re.findall(r"\bpython (benchmarks/[^`\n]+)", document.read_text())
    ]
    return [shlex.split(line) for line in dict.fromkeys(lines)]


def test_there_are_commands_of_benchmarks():
    assert len(benchmark_commands()) > 10


@pytest.mark.parametrize("words", benchmark_commands(), ids=" ".join)
def test_benchmarks_take_what_their_commands_give_them(words, monkeypatch):
    class Understood(Exception):
        pass

    parse = argparse.ArgumentParser.parse_args

    def parse_only(parser):
        parse(parser)
        raise Understood

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_only)
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    with pytest.raises(Understood):
        runpy.run_path(str(ROOT / words[0]), run_name="__main__")


def test_every_target_is_documented_and_its_extra_can_be_installed():
    text = (ROOT / "docs" / "export.md").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for _, target in TARGETS.items():
        (row,) = re.findall(rf"^\| `{target.name}` \| .+$", text, re.M)
        assert all(f"`{suffix}`" in row for suffix in (target.suffix, *target.companions))
        if target.extra:
            assert f"facedistill[{target.extra}]" in row
            assert project["optional-dependencies"][target.extra]


def keys(section: type[BaseModel], prefix: str = "") -> list[str]:
    """Every key of a recipe that holds a value."""
    found = []
    for name, field in section.model_fields.items():
        inner = [field.annotation, *typing.get_args(field.annotation)]
        below = [kind for kind in inner if isinstance(kind, type) and issubclass(kind, BaseModel)]
        found += keys(below[0], f"{prefix}{name}.") if below else [prefix + name]
    return found


def shipped_objectives() -> list[str]:
    """Names of the package's own objectives: other tests register some too."""
    registered = dict(objectives.items())
    return [name for name, kind in registered.items() if kind.__module__.startswith("facedistill")]


def refused(name: str, context: RunContext) -> bool:
    try:
        create_objective(name, context)
    except FacedistillError:
        return True
    return False


def test_what_a_method_needs_is_documented():
    table, whole = (ROOT / "docs" / "methods.md").read_text(), everything(8, 8, 3)
    no_pixels = everything(8, 8, 3, pixel_features=None, channels=None, saliency=None)
    plain = {"embedding", "logits"}
    for name in shipped_objectives():
        (needs,) = re.findall(rf"^\| `{name}` \|(.*?)\|", table, re.M)
        reads = create_objective(name, whole).needs
        asked = {need.removeprefix("teacher.") for need in reads if need.startswith("teacher.")}
        wanted = {
            "labels": refused(name, everything(8, 8, 0)),
            "landmarks": "batch.landmarks" in reads,
            "bank": refused(name, everything(8, 8, 3, neighbours=None)),
            "online": refused(name, no_pixels) or bool(asked - plain),
            "logits": "logits" in asked,
            "class loss": "student.logits" in reads,
        }
        always = [need.strip() for need in needs.partition(";")[0].split(",")]
        told = {need for need in always if " with `" not in need}
        assert told - {"", "whole people"} == {need for need in wanted if wanted[need]}, name


def test_the_recipes_weights_and_options_of_a_method_are_documented():
    table = (ROOT / "docs" / "methods.md").read_text()
    recipes = [load_recipe(name) for name in shipped_recipes()]
    for name in shipped_objectives():
        (cell,) = re.findall(rf"^\| `{name}` (?:\|[^|]*){{2}}\|([^|]*)\|", table, re.M)
        terms = [recipe.objectives[name] for recipe in recipes if name in recipe.objectives]
        weights = {f"{t.weight:g}" if isinstance(t.weight, float) else t.weight for t in terms}
        weight, _, options = cell.strip().partition(",")
        assert weight.partition(" (")[0] in (weights or {""}), name
        for option, value in re.findall(r"(\w+) ([\d.]+)", options):
            assert {term.arguments[option] for term in terms} == {float(value)}, (name, option)


def test_every_option_of_an_objective_is_documented():
    text = (ROOT / "docs" / "recipes.md").read_text()
    for name in shipped_objectives():
        (row,) = re.findall(rf"^\| `objectives\.{name}` .*$", text, re.M)
        makers = [type(create_objective(name, everything(8, 8, 3)))]
        if name == "margin_softmax":
            makers += [MarginHead, *HEADS.values()]
        for maker in makers:
            for option in inspect.signature(maker).parameters.values():
                if option.kind is option.KEYWORD_ONLY:
                    assert f"`{option.name}`" in row, f"{option.name} of {name}"


def test_every_key_of_a_recipe_is_documented():
    text = (ROOT / "docs" / "recipes.md").read_text()
    rows = re.findall(r"^\| `?\**`?(.+?) \|", text, re.M)
    documented = set()
    for row in rows:
        first, *others = re.findall(r"[\w.]+", row) or [""]
        documented |= {first, *(f"{first.rpartition('.')[0]}.{other}" for other in others)}
    augmentation = [f"data.augmentation.{name}" for name in Augmentation.__dataclass_fields__]
    objectives = [f"objectives.{name}" for name in shipped_objectives()]
    common = {
        f"objectives.{name}"
        for name in ("weight", "of", "start", "stop", "warmup", "schedule", "final")
    }
    assert "`weight` (1), `start` (0) and `stop` (1)" in text
    assert "`warmup` (0)" in text
    assert "with the keys of `teacher`" in text
    recipe = {key.replace("teachers.", "teacher.") for key in keys(Recipe)}
    wanted = {*recipe, *augmentation, *objectives} - {"data.augmentation"} - common
    assert wanted <= documented
    for recipe in shipped_recipes():
        assert f"`{recipe}`" in README


@pytest.mark.parametrize("document", sorted((ROOT / "docs").glob("*.md")), ids=lambda p: p.name)
def test_documented_runs_are_recipes(document):
    runs = [words for words in commands(document.read_text()) if words[0] in ("train", "distill")]
    for words in runs:
        settings = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
        assert load_recipe(words[1], settings)
