import shlex

import pytest

from facedistill.core.errors import FacedistillError
from facedistill.data.open import open_dataset
from tests.cli.calling import FACES, call, settings


def next_of(output):
    """The words of the command that a call ends with."""
    return shlex.split(output.strip().splitlines()[-1])[2:]


@pytest.fixture
def listed(tmp_path):
    """A list of faces in a folder elsewhere."""
    faces, lines = open_dataset(FACES), []
    root = tmp_path / "images"
    root.mkdir()
    for index in range(len(faces)):
        (root / f"{index}.png").write_bytes(faces.encoded(index))
        lines.append(f"{index}.png\t{int(faces.labels[index])}\n")
    path = tmp_path / "faces.txt"
    path.write_text("".join(lines))
    return path, root


def test_what_is_whole_of_damaged_images_is_embedded_packed_and_distilled(story, listed, tmp_path):
    path, root = listed
    for index in range(4):  # all of the first identity
        (root / f"{index}.png").write_bytes((root / f"{index}.png").read_bytes()[:-9])
    (root / "7.png").write_bytes(b"")
    bank, of_list = tmp_path / "bank", ("--data", path, "--root", root)
    teacher = ("--teacher", story / "teacher" / "best.safetensors")
    with pytest.raises(FacedistillError, match=r"5 of 48 images are damaged: .* --skip"):
        call("embed", *teacher, *of_list, "--out", bank)
    with pytest.warns(UserWarning, match="left out: "):
        following = next_of(call("embed", *teacher, *of_list, "--skip", "--out", bank))
    assert following[0] == "prepare"
    with pytest.warns(UserWarning, match="left out: "):
        (*_, faces, _, _) = next_of(call(*following, "--workers", "0"))
    assert "43 faces of 11 identities" in call(
        *("distill", "fcd", "--out", tmp_path / "run"),
        *settings(f"data.train={faces}", f"teacher.bank={bank}", "data.validation_identities=0"),
    )
    call("evaluate", tmp_path / "run", faces, "--all-pairs", "--resamples", "0", "--far", "0.1")


def test_after_missing_images_a_student_is_distilled_from_the_same_list(story, listed, tmp_path):
    path, root = listed
    (root / "7.png").unlink()
    teacher = ("--teacher", story / "teacher" / "best.safetensors")
    of_list = ("--data", path, "--root", root, "--out", tmp_path / "bank")
    with pytest.warns(UserWarning, match="7.png"):
        (*following, _, _) = next_of(call("embed", *teacher, *of_list, "--skip"))
    with pytest.warns(UserWarning, match="7.png"):
        call(*following, "--out", tmp_path / "run", *settings("data.validation_identities=0"))


def test_labels_with_holes_embed_train_and_export(story, tmp_path):

    faces = open_dataset(FACES)
    lines = []
    for index in range(len(faces)):
        (tmp_path / f"{index}.png").write_bytes(faces.encoded(index))
        lines.append(f"{index}.png\t{3 * int(faces.labels[index])}\n")
    listed = tmp_path / "faces.txt"
    listed.write_text("".join(lines))
    teacher, bank = story / "teacher" / "best.safetensors", tmp_path / "bank"
    call("embed", "--teacher", teacher, "--data", listed, "--out", bank)
    more = settings(f"data.train={listed}", "data.relabel=true", f"teacher.bank={bank}")
    call("distill", "fcd", "--out", tmp_path / "run", *more)
    student = tmp_path / "run" / "best.safetensors"
    output = call("export", student, "--data", listed, "--out", tmp_path / "student.onnx")
    assert f"parity check with torch on {len(faces)} faces" in output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--teacher", "t.onnx", "--import-flipped", "f.npy"), "--import-flipped goes with --impo"),
        (("--import", "p.npy", "--no-flip"), "--flip/--no-flip is of a network: give --teacher"),
        (("--import", "p.npy", "--color", "BGR"), "--color is of a network"),
        (("--import", "p.npy", "--std", "128"), "--std is of a network"),
        (("--import", "p.npy", "--batch-size", "64"), "--batch-size is of a network"),
    ],
)
def test_options_that_would_change_nothing_are_refused(tmp_path, options, message):
    with pytest.raises(FacedistillError, match=message):
        call("embed", "--data", FACES, "--out", tmp_path / "bank", *options)
    assert not list(tmp_path.iterdir())


def test_a_network_is_not_imported(tmp_path):
    with pytest.raises(FacedistillError, match=r"--import x\.onnx: that is a network"):
        call("embed", "--import", "x.onnx", "--data", "faces", "--out", tmp_path / "bank")
