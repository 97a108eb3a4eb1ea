import os
import pickle

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facedistill.core.errors import FacedistillError
from facedistill.core.private_copy import private_copy
from facedistill.core.random_access_file import RandomAccessFile

ROW = np.dtype(("<u2", (3,)))
TABLE = np.arange(60, dtype=np.uint16).reshape(20, 3)


@pytest.fixture
def file(tmp_path):
    (tmp_path / "table").write_bytes(b"head" + TABLE.tobytes())
    return RandomAccessFile(tmp_path / "table")


def test_bytes_are_read_by_their_offset(file):
    assert file.size == 124
    assert (file.read(0, 4), file.read(4, 2), file.read(124, 0)) == (b"head", b"\0\0", b"")
    for place, length in ((123, 2), (200, 1), (0, 1 << 40)):
        with pytest.raises(FacedistillError, match="table: the file changed while in use"):
            file.read(place, length)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 19), max_size=30))
def test_rows_come_in_the_order_asked(file, rows):
    wanted = np.array(rows, np.int64)
    read = file.read_rows(4, ROW, wanted)
    assert (read.dtype, read.shape) == (TABLE.dtype, (len(rows), 3))
    assert np.array_equal(read, TABLE[wanted])
    assert np.array_equal(file.read_rows(4, np.dtype("<u2"), wanted), TABLE.ravel()[wanted])


@pytest.mark.parametrize("rows", [[2, 3, 4], [1, 19, 7], [18, 19, 0]])
def test_a_file_that_is_cut_is_one_error(file, rows):
    os.truncate(file.path, 30)
    with pytest.raises(FacedistillError, match="table: the file changed while in use"):
        file.read_rows(4, ROW, np.array(rows))


def test_each_process_opens_it_anew_and_as_long_as_it_was(file):
    assert pickle.loads(pickle.dumps(file)).read(0, 4) == b"head"
    file.close()
    assert file.read(0, 4) == b"head"
    pickled = pickle.dumps(file)
    os.truncate(file.path, 100)
    with pytest.raises(FacedistillError, match="the file changed while in use"):
        pickle.loads(pickled).read(0, 4)


def test_a_private_copy_stays_whole_when_the_file_is_cut(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    with private_copy(tmp_path / "file") as copy:
        os.truncate(tmp_path / "file", 0)
        with open(copy, "rb") as opened:
            assert opened.read() == b"content"
    os.mkfifo(tmp_path / "pipe")
    with (
        pytest.raises(FacedistillError, match="is a pipe, not a file"),
        private_copy(tmp_path / "pipe"),
    ):
        pass
