import numpy as np
import onnx
import pytest
from onnx import TensorProto

from facedistill.core.errors import FacedistillError
from facedistill.models.onnx.embedding_output import find_embedding
from facedistill.models.onnx.graph_input import read_input
from facedistill.runtime.session import Session
from tests.models.onnx.graphs import PIXELS, SIDE, constants, linear, node, save, weights

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.onnx"


def find(path, wanted=None):
    session = Session(path, 1)
    return find_embedding(session, read_input(session), SIDE, wanted)


@pytest.mark.parametrize("sizes", [{"a": 16, "norm": 1}, {"norm": 1, "a": 16}])
def test_a_norm_beside_it_is_no_embedding(path, sizes):
    found = find(linear(path, sizes))
    assert (found.name, found.size, found.batch) == ("a", 16, None)


@pytest.mark.parametrize(
    ("sizes", "name"),
    [
        ({"logits": 64, "embedding": 5}, "embedding"),
        ({"Embedding": 5, "embedding_normalised": 5}, "Embedding"),
        ({"fc1": 5, "features": 7}, "features"),
        ({"head.feature": 5, "head.classes": 7}, "head.feature"),
        ({"683": 64, "684": 101}, "683"),
        ({"1": 4096, "2": 8192}, "1"),
    ],
)
def test_name_or_else_size_tells_the_embedding_aloud(path, sizes, name):
    linear(path, sizes)
    with pytest.warns(UserWarning, match=f"taking {name} for the embedding.*--output"):
        assert find(path).name == name


def test_outputs_that_nothing_tells_apart_must_be_named(path):
    linear(path, {"one": 64, "two": 64})
    with pytest.raises(FacedistillError, match=r"2 outputs.*--output, or teacher\.output.*one \(2"):
        find(path)
    assert find(path, "two").name == "two"
    with pytest.raises(FacedistillError, match="no output 'three'; it has one, two"):
        find(path, "three")


def test_whole_numbers_are_no_embedding(path):
    linear(path, {"m": 16})
    model = onnx.load(path)
    model.graph.node.append(node("Cast", "m", "out", to=TensorProto.INT64))
    model.graph.output[0].name = "out"
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    onnx.save(model, path)
    with pytest.raises(FacedistillError, match="its outputs are none of floats"):
        find(path)


def test_of_many_outputs_a_message_names_some(path):
    linear(path, {f"output{index}": 64 for index in range(13)})
    with pytest.raises(FacedistillError, match=r"output9 \(2, 64\) and 3 more$"):
        find(path)
    with pytest.raises(FacedistillError, match=r"output9 and 3 more$"):
        find(path, "three")


@pytest.mark.parametrize("shape", [(16, 1, 1), (16, 1), (1, 16), (1, 1, 16)])
def test_axes_of_one_are_squeezed(path, shape):
    nodes = [
        node("Flatten", "x", "flat"),
        node("MatMul", "flat w", "rows"),
        node("Reshape", "rows shape", "out"),
    ]
    tensors = constants(w=weights(16), shape=np.array([-1, *shape]))
    found = find(save(path, nodes, tensors, {"out": ["b", *shape]}))
    assert (found.size, found.batch) == (16, None)
    assert found.rows(np.zeros((2, *shape)), 2).shape == (2, 16)


def test_a_feature_map_is_no_embedding(path):
    save(path, [node("Identity", "x", "out")], [], {"out": ["b", 3, SIDE, SIDE]})
    with pytest.raises(FacedistillError, match=r"no output is an embedding.*out \(1, 3, 8, 8\)"):
        find(path)
    with pytest.raises(FacedistillError, match="output 'out' is not an embedding"):
        find(path, "out")


@pytest.mark.parametrize("target", [[1, PIXELS], [PIXELS]])
@pytest.mark.parametrize("declared", [["b", 16], None])
def test_a_batch_of_one_inside_is_seen_and_run_one_at_a_time(path, target, declared):
    nodes = [node("Reshape", "x shape", "flat"), node("MatMul", "flat w", "out")]
    save(path, nodes, constants(w=weights(16), shape=np.array(target)), {"out": declared})
    with pytest.warns(UserWarning, match="takes one face at a time"):
        found = find(path)
    assert (found.size, found.batch) == (16, 1)


def test_faces_that_are_run_together_are_run_one_at_a_time(path):
    nodes = [
        node("ReduceMean", "x axes", "mean", keepdims=1),
        node("Flatten", "mean", "flat"),
        node("MatMul", "flat w", "out"),
    ]
    save(path, nodes, constants(w=weights(16), axes=np.array([0])), {"out": ["b", 16]})
    with pytest.warns(UserWarning, match="takes one face at a time"):
        assert find(path).batch == 1


@pytest.mark.parametrize("batch", [1, 2, 9])
@pytest.mark.parametrize("size", [16, "d"])
def test_a_fixed_batch_is_kept(path, batch, size):
    linear(path, {"out": 16}, declared={"out": [batch, size]}, shape=(batch, 3, SIDE, SIDE))
    found = find(path)
    assert (found.size, found.batch) == (16, batch)


def test_what_does_not_run_is_refused_in_one_line_without_a_word_of_the_runtime(path, capfd):
    nodes = [node("Reshape", "x shape", "flat"), node("MatMul", "flat w", "out")]
    tensors = constants(w=weights(16), shape=np.array([5, PIXELS]))
    save(path, nodes, tensors, {"out": ["b", 16]})
    with pytest.raises(FacedistillError, match=r"net\.onnx does not run on input x \(1, 3, 8, 8\)"):
        find(path)
    assert capfd.readouterr() == ("", "")


def test_a_wrong_size_where_the_graph_says_none_names_the_option(path):
    linear(path, {"out": 16}, shape=("b", 3, "h", "w"))
    session = Session(path, 1)
    with pytest.raises(FacedistillError, match="--size"):
        find_embedding(session, read_input(session), SIDE + 1)
