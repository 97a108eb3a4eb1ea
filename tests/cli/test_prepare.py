import inspect
import json

import pytest

from facedistill.cli.prepare import prepare
from facedistill.core.errors import FacedistillError
from facedistill.data.formats.image_file import JPEG_QUALITY
from tests.cli.calling import LOOSE, call


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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "say what to do: --align warps"),
        (["--align"], "--align needs --model"),
        (["--pack", "--model", "x.onnx"], "--align needs --model"),
        (["--pack", "--sheet", "x.png"], "--sheet goes with both"),
    ],
)
def test_prepare_refuses_what_does_not_go_together(tmp_path, options, message):
    with pytest.raises(FacedistillError, match=message):
        call("prepare", LOOSE, "--out", tmp_path / "out", *options)


def test_the_quality_that_help_states_is_the_one_of_the_formats():
    # The command line states it itself: reading the formats to print help would import NumPy.
    assert inspect.signature(prepare).parameters["quality"].default == JPEG_QUALITY
