import inspect
import json

import cv2
import numpy as np
import pytest

from facedistill.cli.prepare import prepare
from facedistill.core.errors import FacedistillError
from facedistill.data.alignment_check import eye_contrast
from facedistill.data.open import open_dataset
from facedistill.runtime.image_file import JPEG_QUALITY
from tests.cli.calling import FACES, LOOSE, call, settings


def test_loose_crops_are_aligned_into_records_or_files(finder, tmp_path):
    align = ("prepare", LOOSE, "--align", "--model", finder / "finder.onnx", "--workers", "0")
    sheet = tmp_path / "sheet.png"
    call(*align, "--pack", "--out", tmp_path / "records", "--sheet", sheet)
    assert sheet.exists()
    assert json.loads(call("inspect", tmp_path / "records", "--json"))["images"] == 18
    call(*align, "--out", tmp_path / "files", "--size", "48")
    assert len(list((tmp_path / "files").glob("*/*.jpg"))) == 18
    with pytest.raises(FacedistillError, match="is a folder: name the file in it"):
        call(*align, "--out", tmp_path / "other", "--sheet", tmp_path)
    assert not (tmp_path / "other").exists()
    assert (
        json.loads(call("inspect", finder / "run" / "best.safetensors", "--json"))["landmarks"] == 5
    )


def test_photos_become_a_packed_set_of_aligned_faces(yunet, real_data, tmp_path):
    """Loose crops pasted into larger scenes; one scene is empty."""
    folder = real_data / "landmarks112" / "img"
    rng = np.random.default_rng(0)
    for number, path in enumerate(sorted(folder.iterdir())[:4]):
        scene = cv2.resize(rng.integers(40, 220, (4, 5, 3), np.uint8), (420, 320))
        if number < 3:
            loose = cv2.resize(cv2.imread(str(path)), (200, 200))
            scene[60:260, 20 + 60 * number : 220 + 60 * number] = loose
        place = tmp_path / "photos" / f"person{number // 2}" / f"{number}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(place), scene)
    out, sheet = tmp_path / "faces", tmp_path / "sheet.png"
    command = ("prepare", tmp_path / "photos", "--detect", "--detector", yunet, "--pack")
    said = call(*command, "--out", out, "--sheet", sheet, "--workers", "0", "--min-size", "80")
    assert "dropped, no face found" in said
    assert f"next: facedistill embed --teacher TEACHER.onnx --data {out}" in said
    faces = open_dataset(out)
    assert faces.labels.tolist() == [0, 0, 1]
    assert all(eye_contrast(faces[index].image) > 0 for index in range(3))
    assert sheet.exists()
    rows = (tmp_path / "faces.csv").read_text().splitlines()
    assert len(rows) == 5
    assert rows[0].startswith("photo,face,left,top")


def test_a_list_is_packed_from_another_root_without_its_damaged_images(tmp_path):
    faces = open_dataset("procedural:identities=2,images=2,size=16")
    photos = tmp_path / "photos"
    photos.mkdir()
    for index in range(4):
        (photos / f"{index}.png").write_bytes(faces.encoded(index)[: -index or None])
    rows = ["path,identity", "0.png,ann", "1.png,ann", "2.png,bob", "3.png,bob"]
    (tmp_path / "faces.csv").write_text("\n".join(rows))
    command = ("prepare", tmp_path / "faces.csv", "--pack", "--workers", "0")
    with pytest.raises(FacedistillError, match=r"no such file.*--root"):
        call(*command, "--out", tmp_path / "packed")
    command += ("--root", photos, "--out", tmp_path / "packed")
    with pytest.raises(FacedistillError, match="3 of 4 images are damaged") as error:
        call(*command)
    assert len(error.value.details) == 3
    assert not (tmp_path / "packed").exists()
    with pytest.warns(UserWarning, match=r"left out: .*3\.png.*cut short"):
        assert "images      1" in call(*command, "--skip")


def test_a_set_is_split_by_identity_trained_on_and_measured(finder, tmp_path):
    said = call("prepare", FACES, "--split", "identities=4", "--out", tmp_path / "split")
    assert "train images           32" in said
    assert f"evaluate runs/student {tmp_path / 'split' / 'test'} --all-pairs" in said
    train = settings(f"data.train={tmp_path / 'split' / 'train'}", "data.licence=own")
    call("train", "arcface", "--out", tmp_path / "run", *train)
    found = call(
        "evaluate",
        tmp_path / "run" / "best.safetensors",
        tmp_path / "split" / "test",
        "--all-pairs",
    )
    assert "24 genuine, 96 impostor pairs, 16 images of 4 identities" in found
    align = ("--align", "--model", finder / "finder.onnx", "--workers", "0")
    call("prepare", LOOSE, *align, "--split", "identities=2", "--out", tmp_path / "aligned")
    assert len(open_dataset(tmp_path / "aligned" / "test")) == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "say what to do: --detect finds"),
        (["--align"], "--align needs --model"),
        (["--pack", "--seed", "1"], "--seed chooses the identities of --split"),
        (["--split", "people=3"], "give the number of identities of the test set"),
        (["--pack", "--model", "x.onnx"], "--align needs --model"),
        (["--pack", "--sheet", "x.png"], "--sheet goes with both"),
        (["--detect", "--align", "--model", "x.onnx"], "leave out --align"),
        (["--pack", "--largest"], "go with --detect"),
        (["--pack", "--every", "5"], "go with --detect"),
        (["--detect", "--largest", "--central"], "exclude each other"),
        (["--detect"], "there is none: `facedistill fetch yunet` gets one"),
    ],
)
def test_prepare_refuses_what_does_not_go_together(tmp_path, options, message):
    with pytest.raises(FacedistillError, match=message):
        call("prepare", LOOSE, "--out", tmp_path / "out", *options)


def test_the_quality_that_help_states_is_the_one_of_the_formats():
    # The command line states it itself: reading the formats to print help would import NumPy.
    assert inspect.signature(prepare).parameters["quality"].default == JPEG_QUALITY
