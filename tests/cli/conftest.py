import pytest

from tests.cli.calling import FACES, LOOSE, call, settings


@pytest.fixture(scope="session")
def story(tmp_path_factory):
    """Pack, train a teacher, embed, distil: what the README's main job does."""
    folder = tmp_path_factory.mktemp("story")
    call("prepare", FACES, "--pack", "--workers", "0", "--out", folder / "faces")
    faces = f"data.train={folder / 'faces'}"
    call("train", "arcface", "--out", folder / "teacher", *settings(faces))
    teacher = folder / "teacher" / "best.safetensors"
    call("embed", "--teacher", teacher, "--data", folder / "faces", "--out", folder / "bank")
    bank = f"teacher.bank={folder / 'bank'}"
    call("distill", "fcd", "--out", folder / "student", *settings(faces, bank))
    student = folder / "student" / "best.safetensors"
    call("export", student, "--out", folder / "student.onnx")
    return folder


@pytest.fixture(scope="session")
def finder(tmp_path_factory):
    """Two steps of a landmark network, and its ONNX file."""
    folder = tmp_path_factory.mktemp("finder")
    data = (f"data.train={LOOSE}", "data.validation_identities=2")
    call("train", "landmarks", "--out", folder / "run", *settings(*data))
    call("export", folder / "run" / "best.safetensors", "--out", folder / "finder.onnx")
    return folder
