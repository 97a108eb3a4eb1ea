import numpy as np
import pytest
from onnx import TensorProto

from facedistill.core.errors import FacedistillError
from facedistill.models.onnx.graph_input import read_input
from facedistill.runtime.session import Session
from tests.models.onnx.graphs import SIDE, node, save


def read(path, shape, dtype=TensorProto.FLOAT):
    save(
        path,
        [node("Cast", "x", "out", to=TensorProto.FLOAT)],
        [],
        {"out": None},
        shape=shape,
        dtype=dtype,
    )
    return read_input(Session(path, 1))


@pytest.mark.parametrize(
    ("shape", "dtype", "expected"),
    [
        (("b", 3, SIDE, SIDE), TensorProto.FLOAT, (np.float32, None, SIDE, False)),
        (("b", 3, SIDE, SIDE), TensorProto.DOUBLE, (np.float64, None, SIDE, False)),
        ((2, 3, "h", "w"), TensorProto.FLOAT16, (np.float16, 2, None, False)),
        ((1, SIDE, SIDE, 3), TensorProto.UINT8, (np.uint8, 1, SIDE, True)),
        (("b", 3, SIDE, SIDE), TensorProto.UINT8, (np.uint8, None, SIDE, False)),
    ],
)
def test_layouts(tmp_path, shape, dtype, expected):
    entry = read(tmp_path / "net.onnx", shape, dtype)
    assert (entry.dtype, entry.batch, entry.side, entry.channels_last) == expected
    assert entry.raw == (dtype == TensorProto.UINT8)
    assert entry.black(2, SIDE).shape == (2, *((SIDE, SIDE, 3) if expected[3] else (3, SIDE, SIDE)))


def test_a_batch_of_none_is_refused_with_the_remedy(tmp_path):
    with pytest.raises(FacedistillError, match=r"takes no faces at all: export.*dynamic batch"):
        read(tmp_path / "net.onnx", (0, 3, SIDE, SIDE))
