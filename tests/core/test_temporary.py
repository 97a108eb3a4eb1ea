import errno
import tempfile
from collections import namedtuple

import pytest

from facedistill.core import temporary
from facedistill.core.errors import FacedistillError
from facedistill.core.temporary import temporary_folder

Usage = namedtuple("Usage", "total used free")


@pytest.fixture(autouse=True)
def tmpdir_is(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def leave_with(error):
    with temporary_folder():
        raise error


def test_a_folder_goes_away_with_what_it_holds(tmp_path):
    with temporary_folder() as folder:
        assert folder.parent == tmp_path
        (folder / "a").mkdir()
        (folder / "a" / "file").touch()
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_blamed_on_the_folder_that_is_full(tmp_path):
    full = rf"^cannot write to the temporary folder {tmp_path}: No space .*: set TMPDIR to a folder"
    with pytest.raises(FacedistillError, match=full):
        leave_with(OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(FacedistillError, match=full), temporary_folder() as folder:
        raise OSError(errno.ENOSPC, "No space left on device", str(folder / "network.onnx"))


def test_a_folder_that_cannot_be_made_is_named(tmp_path, monkeypatch):
    def refuse(**_):
        raise OSError(errno.EROFS, "Read-only file system", "facedistill-x")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", refuse)
    with pytest.raises(FacedistillError, match=f"temporary folder {tmp_path}: Read-only"):
        leave_with(ValueError())


def test_trouble_with_other_files_keeps_their_names(tmp_path):
    with pytest.raises(OSError, match="other") as caught:
        leave_with(OSError(errno.ENOSPC, "No space left on device", "other"))
    assert caught.value.filename == "other"


@pytest.mark.parametrize("error", [RuntimeError("sg"), FacedistillError("cannot convert: sg")])
def test_what_a_converter_says_of_a_full_disk_is_made_plain(monkeypatch, error):
    with pytest.raises(type(error), match=r"sg$"):
        leave_with(error)
    monkeypatch.setattr(temporary.shutil, "disk_usage", lambda path: Usage(9, 9, 0))
    with pytest.raises(FacedistillError, match=r"temporary folder .*: No space left on device"):
        leave_with(error)
