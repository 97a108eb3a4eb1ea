import json

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from facedistill.cli.app import app
from facedistill.core.errors import FacedistillError
from facedistill.data.formats.image_folder import FolderDataset
from facedistill.distill.bank.format import BankInfo
from facedistill.distill.bank.writing import import_bank
from facedistill.report.documents.confusion import inspect_confusion

# Two folders hold one identity (ann), one image of bob is of cleo, dora has one image.
IDENTITIES = {
    "ann": [0, 5, 355],
    "anna": [2, 3],
    "bob": [90, 92, 179],
    "cleo": [180, 182, 178],
    "dora": [270],
}


@pytest.fixture
def bank(tmp_path):
    angles = []
    for name, degrees in IDENTITIES.items():
        (tmp_path / "faces" / name).mkdir(parents=True)
        for number, angle in enumerate(degrees):
            image = np.full((16, 16, 3), len(angles), np.uint8)
            cv2.imwrite(str(tmp_path / "faces" / name / f"{number}.png"), image)
            angles.append(np.radians(angle))
    faces = FolderDataset(tmp_path / "faces")
    info = BankInfo("f", "strong.onnx", faces.fingerprint, faces.name, len(faces), 2, ("plain",))
    embeddings = np.stack([np.cos(angles), np.sin(angles)], 1)
    return import_bank(embeddings, faces, tmp_path / "bank", info=info)


def test_label_noise_is_found_and_named(bank, tmp_path):
    report = inspect_confusion(bank.folder, far_below=0.5)
    assert (report.identities, report.images, report.single) == (5, 12, 1)
    assert report.same == 1
    assert {report.closest[0]["first"], report.closest[0]["second"]} == {"ann", "anna"}
    assert report.closest[0]["cosine"] == pytest.approx(1, abs=2e-3)
    assert len(report.closest) == 10
    assert report.far == 1
    worst = report.farthest[0]
    assert worst["where"] == str(tmp_path / "faces" / "bob" / "2.png")
    assert (worst["index"], worst["identity"], worst["nearest"]) == (7, "bob", "cleo")
    assert worst["cosine"] == pytest.approx(np.cos(np.radians(88)), abs=2e-3)
    assert worst["nearest_cosine"] == pytest.approx(1, abs=2e-3)
    assert len(report.farthest) == 11
    text = report.text()
    assert "likely one identity: 1 pairs" in text
    assert "ann and anna" in text
    assert "likely mislabelled: 1 images" in text
    assert "bob/2.png of bob; nearest other cleo (1.000)" in text


def test_thresholds_count(bank):
    report = inspect_confusion(bank.folder, same_above=-1, far_below=1.1)
    assert (report.same, report.far) == (10, 11)


def test_the_sheet_shows_both(bank, tmp_path):
    inspect_confusion(bank.folder, sheet=tmp_path / "out.png")
    sheet = cv2.imread(str(tmp_path / "out.png"))
    assert sheet.shape[0] > 16 * (8 + 8)
    shown = {int(value) for value in np.unique(sheet) if value < 12}
    assert shown >= set(range(12))


def test_the_command_line(bank, tmp_path):
    def invoke(*words):
        return CliRunner().invoke(
            app, ["inspect", str(bank.folder), *words], catch_exceptions=False
        )

    assert "ann and anna" in invoke("--neighbours").output
    figures = json.loads(invoke("--neighbours", "--json", "--same", "0.1").output)
    assert figures["same_above"] == 0.1
    assert figures["same"] > 1
    for words in (["--data", "x"], ["--neighbours", "--verify"]):
        with pytest.raises(FacedistillError, match="--neighbours"):
            invoke(*words)


def test_moved_faces_are_refused_with_the_remedy(bank, tmp_path):
    (tmp_path / "faces").rename(tmp_path / "moved")
    with pytest.raises(FacedistillError, match=r"not where they were .*give --data"):
        inspect_confusion(bank.folder)
    report = inspect_confusion(bank.folder, tmp_path / "moved")
    assert report.closest[0]["first"] == "ann"


def test_other_faces_are_refused(bank):
    with pytest.raises(FacedistillError, match="knows nothing of"):
        inspect_confusion(bank.folder, "procedural:identities=2,images=2,size=16")


def test_identities_without_names_are_numbered(tmp_path, bank):
    flat = tmp_path / "list.txt"
    lines = [
        f"faces/{name}/{number}.png\t{label}"
        for label, (name, degrees) in enumerate(IDENTITIES.items())
        for number in range(len(degrees))
    ]
    flat.write_text("\n".join(lines))
    report = inspect_confusion(bank.folder, flat)
    assert {report.closest[0]["first"], report.closest[0]["second"]} == {"0", "1"}


def test_unlabelled_faces_are_refused(tmp_path, bank):
    flat = tmp_path / "flat"
    flat.mkdir()
    for number, path in enumerate(sorted((tmp_path / "faces").rglob("*.png"))):
        (flat / f"{number}.png").write_bytes(path.read_bytes())
    with pytest.raises(FacedistillError, match="no labels"):
        inspect_confusion(bank.folder, flat)
