import pytest

from facedistill.core.errors import FacedistillError
from facedistill.core.missing_files import require_present


def test_what_is_not_there_is_refused_and_a_similar_name_given(tmp_path):
    (tmp_path / "faces").mkdir()
    passes = [None, tmp_path, f"{tmp_path / 'face'}:pairs.txt", "procedural:identities=2", "nul\0"]
    require_present(*passes)
    with pytest.raises(FacedistillError, match=r"face: no such file .*did you mean 'faces'\?"):
        require_present(*passes, tmp_path / "face")
    (tmp_path / "file").touch()
    with pytest.raises(FacedistillError, match="no such file or folder"):
        require_present(tmp_path / "file" / "x")
