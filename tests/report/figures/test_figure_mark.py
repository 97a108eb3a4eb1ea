import os

import pytest
from matplotlib.figure import Figure

from facedistill.core.errors import FacedistillError
from facedistill.faces.synthetic.procedural_face import procedural_face
from facedistill.report.figures.curves import save_figure
from facedistill.report.figures.figure_mark import free_figure, is_own_figure
from facedistill.runtime.image_file import encode_png


def test_own_figures_are_told_from_images_of_others(tmp_path):
    own, other, by_hand = (tmp_path / f"{name}.png" for name in ("own", "other", "by_hand"))
    save_figure(Figure(), own)
    other.write_bytes(encode_png(procedural_face(0, 0, 0, 16)[0]))
    Figure().savefig(by_hand)
    assert is_own_figure(own)
    assert not is_own_figure(other)
    assert not is_own_figure(by_hand)


def test_an_image_of_that_name_stays(tmp_path):
    wanted, second = tmp_path / "map.png", tmp_path / "map-2.png"
    assert free_figure(wanted) == wanted
    wanted.write_bytes(b"of the user")
    assert free_figure(wanted) == second
    save_figure(Figure(), second)
    assert free_figure(wanted) == second, "drawn again, it replaces the run's own"
    second.write_bytes(b"of the user too")
    assert free_figure(wanted) == tmp_path / "map-3.png"


def test_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "map.png")
    with pytest.raises(FacedistillError, match="is a pipe, not a file"):
        free_figure(tmp_path / "map.png")
