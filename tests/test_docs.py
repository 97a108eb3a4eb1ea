"""The documentation is what the commands do."""

import argparse
import importlib
import importlib.util
import re
import runpy
import shlex
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import cv2
import pytest
from typer.main import get_command
from typer.testing import CliRunner

from facedistill.cli.app import app
from facedistill.core.errors import FacedistillError
from facedistill.core.registry import BACKBONES, FORMATS, LAYOUTS, OBJECTIVES
from facedistill.core.registry import TARGETS as TARGET_GROUP
from facedistill.data.dataset_format import FORMATS as DATA_FORMATS
from facedistill.data.formats.landmark_list import FIVE_NAMES
from facedistill.data.open import open_dataset
from facedistill.data.pairs.bin_pairs import write_bin
from facedistill.data.pairs.pair_set import PairSet
from facedistill.export.export import export_network
from facedistill.export.target import TARGETS
from facedistill.models.face_network import FaceNetwork
from facedistill.recipe.comparison import load_comparison, plan, shipped_comparisons
from facedistill.recipe.loading import load_recipe
from facedistill.runtime.image_file import encode_png
from tests.engine import standin  # noqa: F401 - registers a tiny network

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
GROUPS = (BACKBONES, FORMATS, LAYOUTS, OBJECTIVES, TARGET_GROUP)
"""Entry points, which are named like modules and are none."""

# What makes a run of the README's seconds long; everything else is as it is spelled there.
TINY = [
    "data.validation_identities=2",
    "data.validation_pairs=20",
    "student.embedding_size=16",
    "training.steps=2",
    "training.batch_size=8",
]


def tiny_settings(words: list[str]) -> list[str]:
    """Settings that keep a command short, as far as its network and data take them."""
    transformer = "student.network=swin_nano" in words
    settings = TINY + ["student.network=standin", "student.arguments={}"] * (not transformer)
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
        identity = tmp_path / "photos" / str(faces.labels[index])
        identity.mkdir(parents=True, exist_ok=True)
        (identity / f"{index}.png").write_bytes(faces.encoded(index))
    cv2.imwrite("a.jpg", faces[0].image)
    cv2.imwrite("b.jpg", faces[1].image)
    write_bin(PairSet.from_dataset(faces, 20, seed=0), "lfw.bin")
    write_marked_faces(tmp_path / "marked")
    export_network(FaceNetwork.create("standin", embedding_size=16), "teacher.onnx")
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
        "compare", "bench", "enrol", "identify", "gallery", "cluster",
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
    for code in python_blocks(README):
        names = {"faces": faces}
        exec(code, names)
        assert names["embeddings"].shape == (1, 16)


def python_blocks(text: str) -> list[str]:
    blocks: list[str] = re.findall(r"```python\n(.+?)```", text, re.S)
    assert blocks
    return blocks


@pytest.mark.parametrize(
    "code",
    [
        block
        for page in ("library.md", "evaluation.md", "gallery.md")
        for block in python_blocks((ROOT / "docs" / page).read_text())
    ],
)
def test_examples_of_the_library_run(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(code, {})


def test_readme_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^    make (\w+)", README, re.M)
    assert targets == ["demo", "test"]
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.M)


def benchmark_commands() -> list[list[str]]:
    """Every `python benchmarks/NAME.py ARGS` of the documentation."""
    lines = [
        line
        for document in DOCUMENTS
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


def test_every_extra_of_a_target_can_be_installed():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    assert all(extras[target.extra] for _, target in TARGETS.items() if target.extra)


def test_a_stale_page_is_named_and_written_anew(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(ROOT / "docs")
    generate = importlib.import_module("generate")
    for page in DOCUMENTS[2:]:
        (tmp_path / page.name).write_text(page.read_text())
    page = tmp_path / "export.md"
    right = generate.written(page.read_text())
    page.write_text(right.replace("| `ncnn` |", "| `mcnn` |"))
    monkeypatch.setattr(generate, "PAGES", tmp_path)
    monkeypatch.setattr(sys, "argv", ["generate.py", "--check"])
    with pytest.raises(SystemExit, match=r"\.md is stale: run `make docs`"):
        generate.main()
    monkeypatch.setattr(sys, "argv", ["generate.py"])
    generate.main()
    assert page.read_text() == right
    page.write_text(right.replace("begin: targets", "begin: target"))
    with pytest.raises(FacedistillError, match="'targets' stands in 0 pages"):
        generate.main()


def test_tables_leave_installed_extensions_out(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    tables = importlib.import_module("tables")
    before = tables.format_list(), tables.target_list()
    own_format, own_target = DATA_FORMATS.get("recordio"), TARGETS.get("onnx")
    foreign = replace(own_format, name="foreign", open=lambda source, options: None)
    monkeypatch.setattr(DATA_FORMATS, "_entries", {"recordio": own_format, "foreign": foreign})
    monkeypatch.setattr(
        TARGETS,
        "_entries",
        {"onnx": own_target, "foreign": replace(own_target, name="foreign", module="foreign.file")},
    )
    after = tables.format_list(), tables.target_list()
    for all_rows, rows in zip(before, after, strict=True):
        assert "foreign" not in rows
        assert {*rows.splitlines()} < {*all_rows.splitlines()}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_resolve(document):
    text = document.read_text()
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
        path, _, anchor = target.partition("#")
        page = document if not path else document.parent / path
        assert page.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
            anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
            assert anchor in anchors, target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_modules_and_files_that_are_named_exist(document):
    text = document.read_text()
    for name in re.findall(r"\bfacedistill((?:\.[A-Za-z_]\w*)+)", text):
        if f"facedistill{name}" in GROUPS:
            continue
        *modules, last = f"facedistill{name}".split(".")
        module = importlib.import_module(".".join(modules))
        assert hasattr(module, last) or importlib.util.find_spec(f"facedistill{name}"), name
    for name in re.findall(r"(?<![\w/.])[a-z_]+/[\w/]*\.(?:py|yaml|sh)\b", text):
        assert (ROOT / name).exists() or (ROOT / "src" / "facedistill" / name).exists(), name


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documented_commands_parse(document):
    known = get_command(app).commands
    for words in commands(re.sub(r" \$[A-Z]+\b", "", document.read_text())):
        known[words[0]].make_context(words[0], words[1:])


@pytest.mark.parametrize("document", DOCUMENTS[2:], ids=lambda path: path.name)
def test_documented_runs_are_recipes(document):
    runs = [words for words in commands(document.read_text()) if words[0] in ("train", "distill")]
    for words in runs:
        settings = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
        assert load_recipe(words[1], settings)
