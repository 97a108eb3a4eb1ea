import signal
import sys

import numpy as np
import pytest
from onnx import TensorProto, helper

from facedistill.core.errors import FacedistillError
from facedistill.models.onnx import bounded_trial
from facedistill.models.onnx.bounded_trial import try_opening
from facedistill.report.documents.inspection import inspect_source
from tests.models.onnx.graphs import constants, linear, node, save, weights

GIB = 1 << 30


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.onnx"


def hostile(path, *more, **values):
    """Write a linear graph that adds to its embedding `m` what `more` nodes make."""
    nodes = [node("Flatten", "x", "flat"), node("MatMul", "flat w", "m"), *more]
    return save(path, nodes, constants(w=weights(4), **values), {"out": ["b", 4]})


def endless(path):
    value = helper.make_tensor_value_info
    truth, numbers = (TensorProto.BOOL, []), (TensorProto.FLOAT, None)
    body = helper.make_graph(
        [node("Identity", "more", "again"), node("Identity", "v", "next")],
        "body",
        [value("i", TensorProto.INT64, []), value("more", *truth), value("v", *numbers)],
        [value("again", *truth), value("next", *numbers)],
    )
    loop = node("Loop", "times true m", "out", body=body)
    return hostile(path, loop, times=np.array(2**62), true=np.array(True))


def huge(path):
    nodes = (
        node("ConstantOfShape", "shape", "zeros"),
        node("ReduceSum", "zeros", "sum", keepdims=0),
        node("Add", "m sum", "out"),
    )
    return hostile(path, *nodes, shape=np.array([1 << 16, 1 << 16]))


def test_what_opens_within_the_bounds_passes(path):
    try_opening(linear(path, {"one": 64, "two": 64}), "two")


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (endless, r"net\.onnx did not open within 1 seconds: it computes without end"),
        (huge, r"net\.onnx does not run on .* Failed to allocate memory"),
        (lambda path: linear(path, {"one": 64, "two": 64}), "name one with --output"),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other limits")
def test_endless_loops_and_huge_constants_are_refused_in_one_line(path, write, message, capfd):
    write(path)
    with pytest.raises(FacedistillError, match=message):
        try_opening(path, seconds=1, memory=4 * GIB)
    assert capfd.readouterr() == ("", "")


def test_a_process_that_dies_is_told_from_one_without_end(path):
    dead = bounded_trial._refusal(path, 30, -signal.SIGSEGV)
    assert dead.startswith(f"{path} ended the process that opened it (code -11)")
    assert "computes without end" in bounded_trial._refusal(path, 30, -signal.SIGXCPU)


def test_inspect_opens_apart_first(path, monkeypatch):
    def refuse(tried, output):
        raise FacedistillError(f"{tried} was tried for {output}")

    monkeypatch.setattr("facedistill.report.documents.inspection.try_opening", refuse)
    linear(path, {"one": 64})
    with pytest.raises(FacedistillError, match=r"net\.onnx was tried for one"):
        inspect_source(str(path), output="one")
