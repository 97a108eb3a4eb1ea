"""Bad input through the command line: exit code 2, one line that names it, no traceback."""

import json
import os
import pickle
import resource
import shutil
import sys
import warnings
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from facedistill.cli.app import main
from facedistill.data.formats.recordio import RecordIODataset
from facedistill.models.files.model_file import load_model
from facedistill.models.files.signed_file import checksum
from facedistill.runtime.file_digest import write_digest
from facedistill.runtime.header import HEADER_KEY
from tests.engine import standin
from tests.runtime.test_image_file import jpeg_declaring, png_declaring

assert standin.standin
FACES = "procedural:identities=12,images=4,size=32"
TINY = (
    "student.network=standin",
    "student.input.size=32",
    "student.embedding_size=16",
    "data.validation_identities=4",
    "data.validation_pairs=20",
    "data.workers=0",
    "training.steps=2",
    "training.batch_size=8",
    "training.device=cpu",
)
PAIRS = "procedural:identities=12,images=4,size=32,first_identity=900"


@pytest.fixture
def command(monkeypatch, capsys):
    """Run a command in this process: (exit code, lines on stderr without warnings)."""

    def run(*words, settings=()):
        set_words = [word for setting in settings for word in ("--set", setting)]
        monkeypatch.setattr(sys, "argv", ["facedistill", *map(str, words), *set_words])
        monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        lines = capsys.readouterr().err.splitlines()
        return code, [line for line in lines if not line.startswith("warning: ")]

    return run


@pytest.fixture
def refused(command):
    def run(*words, settings=(), names):
        code, lines = command(*words, settings=settings)
        assert code == 2, lines
        assert len(lines) == 1, lines
        assert lines[0].startswith("error: ")
        assert str(names) in lines[0]
        return lines[0]

    return run


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What the main job makes: faces, a teacher, its bank, a student's run, an ONNX file."""
    folder = tmp_path_factory.mktemp("whole")
    faces, teacher, data = "faces", "teacher/best.safetensors", "data.train=faces"
    lines = [
        ["prepare", FACES, "--pack", "--workers", "0", "--out", faces],
        ["train", "arcface", "--out", "teacher", *options(data)],
        ["embed", "--teacher", teacher, "--data", faces, "--out", "bank"],
        ["distill", "fcd", "--out", "run", *options(data, "teacher.bank=bank")],
        ["export", teacher, "--out", "teacher.onnx"],
    ]
    before = sys.argv, warnings.showwarning, Path.cwd()
    os.chdir(folder)
    for line in lines:
        sys.argv = ["facedistill", *map(str, line)]
        with pytest.raises(SystemExit) as stop:
            main()
        assert not stop.value.code
    sys.argv, warnings.showwarning, _ = before
    os.chdir(before[2])
    return folder


def options(*more):
    return [word for setting in (*TINY, *more) for word in ("--set", setting)]


@pytest.fixture
def job(whole, tmp_path, monkeypatch):
    """A copy of it to damage, which is where commands run."""
    shutil.copytree(whole, tmp_path / "job")
    monkeypatch.chdir(tmp_path / "job")
    return tmp_path / "job"


def distilling(*more):
    return {"settings": (*TINY, "data.train=faces", "teacher.bank=bank", *more)}


# Data


def test_truncated_records(job, refused):
    path = job / "faces" / "train.rec"
    path.write_bytes(path.read_bytes()[:-100])
    refused("inspect", job / "faces", names=path)


def test_wrong_magic(job, refused):
    path = job / "faces" / "train.rec"
    path.write_bytes(b"\0\0\0\0" + path.read_bytes()[4:])
    Path("rows.npy").touch()
    refused(
        *("embed", "--data", job / "faces", "--import", "rows.npy", "--out", job / "b"),
        names=path,
    )


def test_flipped_bits_in_images_are_found(job, command):
    faces = RecordIODataset("faces")
    content = bytearray(faces.path.read_bytes())
    damaged = [3, 4, 17]
    for key in damaged:
        # In the middle of the compressed pixels, where most flips decode without complaint.
        content[int(faces.offsets[key - 1]) + 32 + len(faces.encoded(key - 1)) // 2] ^= 4
    faces.path.write_bytes(content)
    code, lines = command("inspect", "faces", "--verify")
    assert code == 2
    assert [line.split(" (offset")[0] for line in lines[:-1]] == [
        f"faces/train.rec key {key}" for key in damaged
    ]
    assert lines[-1] == "error: faces/train.rec: 3 damaged records: pack the data again"


def test_a_flipped_bit_in_a_bank_is_found(job, command, refused):
    assert command("inspect", "bank", "--verify") == (0, [])
    path = job / "bank" / "rows-00000.npy"
    content = bytearray(path.read_bytes())
    content[-300] ^= 1
    path.write_bytes(content)
    assert command("inspect", "bank") == (0, [])
    refused("inspect", "bank", "--verify", names="bank/rows-00000.npy is damaged (row ")


def test_index_of_another_file(job, refused):
    path = job / "faces" / "train.idx"
    path.write_text(path.read_text().replace("\n2\t", "\n2\t1"))
    refused("prepare", job / "faces", "--pack", "--out", job / "new", names=path.stem)


def test_hostile_pickle(job, refused):
    class Hostile:
        def __reduce__(self):
            return Path.touch, (job / "canary",)

    path = job / "pairs.bin"
    path.write_bytes(pickle.dumps(([Hostile()], [True])))
    refused("inspect", path, names=path)
    refused("evaluate", job / "teacher.onnx", path, names=path)
    assert not (job / "canary").exists()


@pytest.mark.parametrize("declaring", [png_declaring, jpeg_declaring])
def test_image_bomb(tmp_path, refused, declaring):
    path = tmp_path / "photos" / "ann" / "a.png"
    path.parent.mkdir(parents=True)
    path.write_bytes(declaring(50_000, 50_000))
    message = refused("inspect", tmp_path / "photos", names=path)
    assert "declares 50000 x 50000" in message
    refused("prepare", tmp_path / "photos", "--pack", "--out", tmp_path / "new", names=path)
    assert not list(tmp_path.glob("new/*"))


def test_label_holes(tmp_path, refused):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "faces.txt").write_text("a.png 0\na.png 2\n")
    message = refused("inspect", tmp_path / "faces.txt", names=tmp_path / "faces.txt")
    assert "--relabel" in message


def test_a_name_too_long_for_the_system(job, refused):
    name = "x" * 300
    refused("inspect", name, names=name)
    refused("inspect", f"{name}.safetensors", names=name)
    refused("evaluate", f"{name}.onnx", PAIRS, names=name)
    refused("evaluate", "teacher.onnx", f"{name}.bin", names=name)
    refused("evaluate", "teacher.onnx", name, names=name)
    refused("train", f"{name}.yaml", names=name)
    refused("train", "arcface", settings=[f"data.train={name}"], names=name)


ZERO = {
    "faces/train.rec": ("inspect", "faces"),
    "faces/train.idx": ("inspect", "faces"),
    "faces/property": ("inspect", "faces"),
    "faces/train.checksums.npy": ("inspect", "faces", "--verify"),
    "bank/bank.json": ("inspect", "bank"),
    "bank/rows-00000.npy": ("inspect", "bank"),
    "teacher/best.safetensors": ("inspect", "teacher/best.safetensors"),
    "teacher.onnx": ("inspect", "teacher.onnx"),
    "pairs.bin": ("inspect", "pairs.bin"),
    "pairs.txt": ("evaluate", "teacher.onnx", "."),
    "list.txt": ("inspect", "list.txt"),
    "weights.pt": ("inspect", "weights.pt"),
    "r.yaml": ("train", "r.yaml"),
    "rows.npy": ("embed", "--data", "faces", "--out", "new", "--import", "rows.npy"),
    "a.png": ("verify", "a.png", "a.png", "--model", "teacher.onnx", "--threshold", "0.3"),
}


@pytest.mark.parametrize("name", sorted(ZERO))
def test_zero_bytes(job, refused, name):
    Path(name).write_bytes(b"")
    refused(*ZERO[name], names=Path(name).name)


@pytest.mark.parametrize("name", ["checkpoint.pt", "recipe.yaml", "summary.json"])
def test_zero_bytes_in_a_run(job, refused, name):
    for made in ("summary.json", "checkpoint.pt")[name == "summary.json" :]:
        if made != name and name != "recipe.yaml":
            (job / "run" / made).unlink()
    (job / "run" / name).write_bytes(b"")
    refused("distill", "fcd", "--out", job / "run", **distilling(), names=name)


# What does not belong together


def test_bank_of_another_teacher(job, refused):
    model = f"teacher.model={job}/run/best.safetensors"
    message = refused("distill", "fcd", "--out", job / "new", **distilling(model), names="bank")
    assert "embed with this teacher" in message


def test_bank_of_another_data_set(job, refused):
    data = "data.train=procedural:identities=12,images=4,size=32,seed=5"
    message = refused("distill", "fcd", "--out", job / "new", **distilling(data), names="bank")
    assert "embed this data first" in message


def test_embedding_into_another_bank(job, refused):
    words = ("--data", job / "faces", "--out", job / "bank")
    refused("embed", "--teacher", job / "run" / "best.safetensors", *words, names=job / "bank")


def test_checkpoint_of_another_architecture(job, refused):
    (job / "run" / "summary.json").unlink()
    other = distilling("student.arguments={norm: false}")
    message = refused("distill", "fcd", "--out", job / "run", **other, names=job / "run")
    assert "student.arguments" in message


def test_start_from_another_architecture(job, refused):
    start = f"student.init={job}/teacher/best.safetensors"
    other = distilling(start, "student.arguments={norm: false}")
    refused("distill", "fcd", "--out", job / "new", **other, names=f"{job}/teacher")


def test_dimensions_without_projection(job, refused):
    other = distilling("student.embedding_size=8", "objectives.fcd.projection=false")
    message = refused("distill", "fcd", "--out", job / "new", **other, names="16")
    assert "8" in message


def test_unknown_recipe_key(refused):
    message = refused(
        "train", "arcface", settings=["training.bach_size=4"], names="training.bach_size"
    )
    assert "did you mean 'batch_size'" in message


# Weights that are no numbers


def write_nan(path):
    """Put a NaN where a diverged training leaves one, with everything else in order."""
    weights = load_file(path)
    with safe_open(path, "pt") as file:
        document = json.loads(file.metadata()[HEADER_KEY])
    del document["checksum"]
    next(w for w in weights.values() if w.is_floating_point()).view(-1)[0] = float("nan")
    document["checksum"] = checksum(document, weights)
    save_file(weights, path, metadata={HEADER_KEY: json.dumps(document)})


def test_nan_in_a_model_file(job, refused):
    path = job / "teacher" / "best.safetensors"
    write_nan(path)
    bank = ("--data", job / "faces", "--out", job / "new")
    for words in (
        ("inspect", path),
        ("evaluate", path, PAIRS),
        ("export", path, "--out", job / "new.onnx"),
        ("embed", "--teacher", path, *bank),
    ):
        message = refused(*words, names=path)
        assert "not finite" in message
    start = distilling(f"student.init={path}")
    refused("distill", "fcd", "--out", job / "new", **start, names=path)
    assert not (job / "new.onnx").exists()


def test_nan_in_a_checkpoint_of_weights(job, refused):
    path = job / "weights.pt"
    torch.save({"layer1.0.prelu.weight": torch.full((4,), float("nan"))}, path)
    refused("inspect", path, names=path)


def test_nan_in_an_onnx_file(job, refused):
    path = job / "teacher.onnx"
    model = onnx.load(path)
    for weights in model.graph.initializer:
        values = onnx.numpy_helper.to_array(weights)
        if values.dtype == np.float32 and values.ndim > 1:
            weights.CopyFrom(
                onnx.numpy_helper.from_array(np.full_like(values, np.nan), weights.name)
            )
    onnx.save(model, path)
    write_digest(path)
    refused("evaluate", path, PAIRS, names="not finite")
    new = ("--data", job / "faces", "--out", job / "new")
    message = refused("embed", "--teacher", path, *new, names="NaN")
    assert "check the teacher's weights" in message
    assert not list(job.glob("new/rows*"))


# A full disk

MODELS = {"best.safetensors", "last.safetensors"}
HEADS = {"best.head.safetensors", "last.head.safetensors"}


@pytest.mark.parametrize(
    ("words", "limit", "place"),
    [
        (("prepare", FACES, "--pack", "--workers", "0", "--out", "new"), 20_000, "new"),
        (("embed", "--teacher", "teacher.onnx", "--data", "faces", "--out", "new"), 2_000, "new"),
        (
            ("export", "teacher/best.safetensors", "--out", "new/net.onnx"),
            2_000,
            "to the temporary folder",
        ),
        (("inspect", "faces", "--sheet", "new/sheet.png"), 2_000, "new"),
        (("train", "arcface", "--out", "new", *options("data.train=faces")), 8_000, "new"),
        (("train", "arcface", "--out", "new", *options("data.train=faces")), 2_500, "new"),
        (("train", "arcface", "--out", "new", *options("data.train=faces")), 200, "new"),
    ],
    ids=["prepare", "embed", "export", "sheet", "train", "model", "train at once"],
)
def test_disk_full(job, refused, words, limit, place):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
    try:
        refused(*words, names=f"cannot write {place}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    # Nothing half-written: what is there is whole, and there is nothing beside it.
    left = {path.name for path in Path("new").iterdir()} if Path("new").exists() else set()
    assert left <= {"bank.json", "recipe.yaml", "metrics.jsonl"} | MODELS | HEADS
    for name in left & MODELS:
        load_model(Path("new", name))
    for name in left & HEADS:
        with safe_open(Path("new", name), framework="pt") as file:
            assert all(torch.isfinite(file.get_tensor(key)).all() for key in file.keys())  # noqa: SIM118
