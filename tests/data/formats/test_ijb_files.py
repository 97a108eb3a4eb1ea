import re

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facedistill.core.errors import FacedistillError
from facedistill.data.formats.ijb_files import is_ijb, read_ijb
from tests.data.formats.ijb_folder import IDENTITIES, write_ijb


@pytest.mark.parametrize("below", ["", "meta"])
def test_all_files_are_read(tmp_path, below):
    wrote = write_ijb(tmp_path)
    assert is_ijb(tmp_path / below)
    files = read_ijb(tmp_path / below)
    assert files.name == "IJBC"
    assert len(files) == len(wrote["templates"])
    assert files.images[3] == "4.jpg"
    np.testing.assert_array_equal(files.templates, wrote["templates"])
    np.testing.assert_array_equal(files.media, wrote["media"])
    np.testing.assert_array_equal(files.landmarks.reshape(-1, 10), wrote["points"])
    np.testing.assert_array_equal(files.detector_scores, wrote["scores"])
    np.testing.assert_array_equal(files.pairs, wrote["pairs"])
    np.testing.assert_array_equal(files.same, wrote["same"])
    assert [g.name for g in files.galleries] == [
        "ijbc_1N_gallery_G1.csv",
        "ijbc_1N_gallery_G2.csv",
    ]
    np.testing.assert_array_equal(files.galleries[1].templates, wrote["gallery"][1::2])
    np.testing.assert_array_equal(files.probes.subjects, np.arange(IDENTITIES) + 500)


def test_ijbb_names_and_a_list_without_header(tmp_path):
    write_ijb(tmp_path, "ijbb")
    meta = tmp_path / "meta"
    for old, new in (("G1", "S1"), ("G2", "S2")):
        text = (meta / f"ijbb_1N_gallery_{old}.csv").read_text()
        (meta / f"ijbb_1N_gallery_{new}.csv").write_text(text.split("\n", 1)[1])
        (meta / f"ijbb_1N_gallery_{old}.csv").unlink()
    files = read_ijb(tmp_path)
    assert files.name == "IJBB"
    assert [len(gallery.templates) for gallery in files.galleries] == [IDENTITIES // 2] * 2


def test_only_templates_and_media_must_be_there(tmp_path):
    write_ijb(tmp_path)
    for path in (tmp_path / "meta").iterdir():
        if "face_tid_mid" not in path.name:
            path.unlink()
    files = read_ijb(tmp_path)
    assert files.pairs is files.landmarks is files.probes is None
    assert files.galleries == ()
    with pytest.raises(FacedistillError, match="cannot be aligned"):
        files.face(0)


def test_faces_are_cut_out_of_photos(tmp_path):
    write_ijb(tmp_path)
    files = read_ijb(tmp_path)
    (tmp_path / "loose_crop").mkdir()
    cv2.imwrite(str(tmp_path / "loose_crop" / "1.jpg"), np.full((150, 150, 3), 90, np.uint8))
    face = files.face(0)
    assert face.shape == (112, 112, 3)
    assert face.max() > 80
    with pytest.raises(FacedistillError, match=r"2\.jpg"):
        files.face(1)


@pytest.mark.parametrize(
    ("name", "pattern", "replacement", "message"),
    [
        ("_face_tid_mid.txt", r"\A1.jpg \d+", "1.jpg x", "damaged: could not convert string 'x'"),
        ("_face_tid_mid.txt", r"\A1.jpg .*", "1.jpg", "damaged"),
        ("_face_tid_mid.txt", r"(?s).*", "", "is empty"),
        ("_name_5pts_score.txt", r"\A1.jpg", "7.jpg", "line 1: image 7.jpg, but"),
        ("_name_5pts_score.txt", r"\A1.jpg .*\n", "", "lists .* faces, but"),
        ("_name_5pts_score.txt", r"\A1.jpg \S+", "1.jpg nan", "line 1: a number is not finite"),
        ("_template_pair_label.txt", r"\A(\d+ \d+) \d", r"\1 2", "line 1: label 2"),
        ("_template_pair_label.txt", r"\A(\d+) ", r"99999999999999999999 ", "damaged"),
        ("_template_pair_label.txt", r"\A\d+ \d+ \d", "\u00e9", "damaged"),
        (
            "_1N_gallery_G1.csv",
            r"\n(\d+),500",
            r"\n\1,9",
            "of identity 9 and of identity 500|of identity",
        ),
        ("_1N_probe_mixed.csv", r"\n(\d+),500", r"\n\1,", "damaged"),
    ],
)
def test_damage_is_named(tmp_path, name, pattern, replacement, message):
    write_ijb(tmp_path)
    path = tmp_path / "meta" / f"ijbc{name}"
    text = path.read_text()
    changed = re.sub(pattern, replacement, text, count=1)
    assert changed != text
    path.write_text(changed)
    with pytest.raises(FacedistillError, match=message) as caught:
        read_ijb(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_folder_of_none_or_two_protocols_is_refused(tmp_path):
    assert not is_ijb(tmp_path)
    with pytest.raises(FacedistillError, match="no file"):
        read_ijb(tmp_path)
    write_ijb(tmp_path)
    (tmp_path / "meta" / "ijbb_face_tid_mid.txt").touch()
    with pytest.raises(FacedistillError, match="holds 2 protocols"):
        read_ijb(tmp_path)


@given(data=st.data())
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_damage_is_anything_but_one_line(tmp_path, data):
    folder = tmp_path / "fuzzed"
    if not folder.exists():
        write_ijb(folder)
    path = data.draw(st.sampled_from(sorted((folder / "meta").iterdir())))
    whole = path.read_bytes()
    start, stop = sorted(data.draw(st.tuples(*[st.integers(0, len(whole))] * 2)))
    junk = data.draw(st.binary(max_size=6) | st.sampled_from([b"nan", b"1e999", b"9" * 30, b'"']))
    path.write_bytes(whole[:start] + junk + whole[stop:])
    message = ""
    try:
        read_ijb(folder)
    except FacedistillError as error:
        message = str(error)
    finally:
        path.write_bytes(whole)
    assert "\n" not in message
