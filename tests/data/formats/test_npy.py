import io
import os
import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facedistill.core.errors import FacedistillError
from facedistill.data.formats.npy import NpyFile


def saved(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


@pytest.mark.parametrize("shape", [(7,), (7, 3), (7, 3, 2)])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", [np.float32, ">f8", np.float16, np.uint8])
def test_rows_are_read_as_they_were_saved(tmp_path, shape, order, kind):
    array = np.arange(np.prod(shape)).reshape(shape).astype(kind, order=order)
    np.save(tmp_path / "a.npy", array)
    opened = NpyFile(tmp_path / "a.npy")
    assert (opened.shape, opened.ndim, len(opened)) == (shape, len(shape), 7)
    assert opened.dtype == array.dtype
    for rows in (slice(None), slice(2, 5), slice(5, 99), slice(6, 6), np.array([6, 0, 1, 1])):
        read = opened[rows]
        assert read.dtype == array.dtype
        assert np.array_equal(read, array[rows])
    with pytest.raises(IndexError, match=r"0\.\.6"):
        opened[np.array([7])]


def test_a_file_that_is_cut_while_in_use_is_one_error(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(6.0))
    opened = NpyFile(tmp_path / "a.npy")
    os.truncate(tmp_path / "a.npy", 140)
    assert opened[:1] == [0]
    with pytest.raises(FacedistillError, match=r"a\.npy: the file changed while in use"):
        opened[:]


def test_a_missing_file_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        NpyFile(tmp_path / "a.npy")


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("code ran",))


HOSTILE = {
    "pickled objects": saved(np.array([{}, 1], dtype=object), allow_pickle=True),
    "bare pickle": pickle.dumps(Bomb()),
    "empty": b"",
    "text": b"1,2,3\n",
    "zip": b"PK\x03\x04" + bytes(50),
    "cut in the header": saved(np.zeros(3))[:40],
    "cut in the data": saved(np.zeros(100))[:-1],
    "too many rows": saved(np.zeros(3)).replace(b"(3,)", b"(10**18,)"[:4]),
    "huge shape": saved(np.zeros(3)).replace(b"(3,), }        ", b"(99999999999,),}"[:15]),
    "negative shape": saved(np.zeros(3)).replace(b"(3,)", b"(-3)"),
    "no dictionary": saved(np.zeros(3)).replace(b"{'descr'", b"['descr'"),
    "nested": b"\x93NUMPY\x01\x00\x00\x20" + b"(" * 8192,
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_array_of_numbers_is_a_value_error(tmp_path, content):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        NpyFile(tmp_path / "a.npy")


def test_an_npz_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npy", "w") as archive:
        archive.writestr("x.npy", saved(np.zeros(3)))
    with pytest.raises(ValueError, match="magic"):
        NpyFile(tmp_path / "a.npy")


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(0, 127), st.integers(0, 255))
def test_any_byte_of_the_header_may_be_wrong(tmp_path, place, value):
    content = bytearray(saved(np.zeros((2, 3), np.float32)))
    content[place] = value
    (tmp_path / "a.npy").write_bytes(content)
    try:
        opened = NpyFile(tmp_path / "a.npy")
    except ValueError:
        return
    assert opened[:].nbytes <= len(content)
