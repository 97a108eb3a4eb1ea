import pytest

from facedistill.core.errors import FacedistillError
from facedistill.core.output_place import require_not_replaced, require_outside


def test_an_output_among_what_is_read_is_refused_and_one_beside_it_is_not(tmp_path, monkeypatch):
    photos = tmp_path / "photos"
    photos.mkdir()
    with pytest.raises(FacedistillError, match=r"photos/a/b lies in .*photos.*--sheet outside"):
        require_outside(photos / "a" / "b", "procedural:x", photos, give="--sheet")
    with pytest.raises(FacedistillError, match="is the folder that is read"):
        require_outside(photos, photos)
    (tmp_path / "link").symlink_to(photos)
    with pytest.raises(FacedistillError, match="lies in"):
        require_outside(tmp_path / "link" / "out", photos)
    monkeypatch.chdir(photos)
    with pytest.raises(FacedistillError, match="out lies in"):
        require_outside("out", ".")
    require_outside(tmp_path / "photos2", photos, tmp_path / "absent", None)
    require_outside(None, photos)


def test_a_folder_that_holds_what_is_read_is_not_replaced(tmp_path):
    (tmp_path / "photos").mkdir()
    with pytest.raises(FacedistillError, match="photos is read and lies in"):
        require_not_replaced(tmp_path / "photos", tmp_path)
    require_not_replaced(tmp_path / "photos", tmp_path / "out")
    require_not_replaced("procedural:identities=2", tmp_path)
