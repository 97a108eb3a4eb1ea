import pytest

from facedistill.core.errors import FacedistillError
from facedistill.data.open import open_dataset
from tests.cli.calling import FACES, call, settings


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
