import json

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from facedistill.core.errors import FacedistillError
from facedistill.models.onnx_network import OnnxNetwork
from facedistill.models.preprocess import Preprocess
from facedistill.runtime.file_digest import write_digest
from facedistill.runtime.input_spec import InputSpec, StatedInput

pytestmark = pytest.mark.filterwarnings("error")

SIDE, D = 8, 5
SPEC = InputSpec(size=SIDE, color="BGR", mean=(10, 20, 30), std=(2, 3, 4))


def write(
    path,
    *,
    shape=("b", 3, SIDE, SIDE),
    dtype=TensorProto.FLOAT,
    size=D,
    outputs=("embedding",),
    metadata=None,
):
    """A linear network: embedding = flatten(input) @ weight."""
    fixed = all(isinstance(axis, int) for axis in shape[1:])
    values = int(np.prod(shape[1:])) if fixed else 3 * SIDE * SIDE
    weight = np.random.default_rng(0).normal(size=(values, D)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["input"], ["cast"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["cast"], ["flat"]),
    ]
    for name in outputs:
        nodes.append(helper.make_node("MatMul", ["flat", "weight"], [name]))
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("input", dtype, shape)],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [shape[0], size]) for n in outputs],
        [numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    if metadata is not None:
        helper.set_model_props(model, {"facedistill": metadata})
    onnx.save(model, path)
    if metadata is not None:
        write_digest(path)
    return weight


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.onnx"


def faces(batch=3, side=SIDE):
    return torch.randint(0, 256, (batch, side, side, 3), dtype=torch.uint8)


@pytest.mark.parametrize("batch", ["b", 1, 2])
@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_any_batch_through_fixed_and_free_graphs(path, batch, count):
    weight = write(path, shape=(batch, 3, SIDE, SIDE))
    network = OnnxNetwork(path, input=SPEC, threads=2)
    images = faces(count)
    expected = Preprocess(SPEC)(images).numpy().reshape(count, 3 * SIDE * SIDE) @ weight
    outputs = network(images)
    assert outputs.embedding.shape == (count, D)
    assert outputs.embedding.dtype == torch.float32
    np.testing.assert_allclose(outputs.embedding.numpy(), expected, rtol=1e-3, atol=1e-2)
    assert network.batch == (None if batch == "b" else batch)
    assert (network.embedding_size, network.name, network.input) == (D, "net", SPEC)


def test_channels_last_graph(path):
    weight = write(path, shape=("b", SIDE, SIDE, 3))
    images = faces()
    expected = Preprocess(SPEC)(images).permute(0, 2, 3, 1).reshape(3, -1).numpy() @ weight
    embedding = OnnxNetwork(path, input=SPEC)(images).embedding
    np.testing.assert_allclose(embedding.numpy(), expected, rtol=1e-3, atol=1e-2)


def test_raw_graph_gets_rgb_bytes_of_its_size(path):
    document = {"input": {"kind": "uint8_nhwc_rgb", **SPEC.to_dict()}, "name": "x"}
    weight = write(
        path, shape=("b", SIDE, SIDE, 3), dtype=TensorProto.UINT8, metadata=json.dumps(document)
    )
    network = OnnxNetwork(path)
    assert network.input == SPEC
    images = faces()
    expected = images.numpy().reshape(3, -1).astype(np.float32) @ weight
    np.testing.assert_allclose(network(images).embedding.numpy(), expected, rtol=1e-3, atol=0.1)
    assert network(faces(2, side=20)).embedding.shape == (2, D)


def test_half_precision_graph(path):
    write(path, dtype=TensorProto.FLOAT16)
    single = path.with_name("single.onnx")
    write(single)
    spec = InputSpec(size=SIDE)
    images = faces()
    torch.testing.assert_close(
        OnnxNetwork(path, input=spec)(images).embedding,
        OnnxNetwork(single, input=spec)(images).embedding,
        rtol=1e-2,
        atol=2e-2,
    )


def test_unstated_input_is_assumed_aloud(path):
    write(path)
    with pytest.warns(UserWarning, match="assuming RGB"):
        network = OnnxNetwork(path)
    assert network.input == InputSpec(size=SIDE)


def test_carried_input_cannot_be_contradicted(path):
    write(path, metadata=json.dumps({"input": SPEC.to_dict()}))
    assert OnnxNetwork(path, input=SPEC).input == SPEC
    with pytest.raises(FacedistillError, match="carries its own"):
        OnnxNetwork(path, input=InputSpec(size=SIDE))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"input": {}}', '{"input": {"size": 8}}'])
def test_damaged_metadata(path, text):
    write(path, metadata=text)
    with pytest.raises(FacedistillError, match="damaged facedistill metadata"):
        OnnxNetwork(path)


def test_free_side_takes_the_stated_size(path):
    write(path, shape=("b", 3, "h", "w"))
    assert OnnxNetwork(path, input=SPEC)(faces()).embedding.shape == (3, D)


def test_embedding_size_is_probed_where_the_graph_does_not_say(path):
    write(path, size="d")
    assert OnnxNetwork(path, input=SPEC).embedding_size == D


def test_embed_is_the_normalised_sum_of_both_views(path):
    write(path)
    network = OnnxNetwork(path, input=SPEC)
    images = faces()
    total = network(images).embedding + network(images.flip(2)).embedding
    expected = total / total.norm(dim=1, keepdim=True)
    torch.testing.assert_close(network.embed(images.numpy()), expected)


def test_fingerprint_follows_file_and_input(path):
    write(path)
    first = OnnxNetwork(path, input=SPEC).fingerprint
    assert OnnxNetwork(path, input=SPEC).fingerprint == first
    assert OnnxNetwork(path, input=InputSpec(size=SIDE)).fingerprint != first
    write(path, outputs=("embedding", "spare"))
    second = OnnxNetwork(path, input=SPEC, output="embedding").fingerprint
    third = OnnxNetwork(path, input=SPEC, output="spare").fingerprint
    assert len({first, second, third}) == 3


def test_fingerprint_follows_external_weights(path):
    write(path)
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    first = OnnxNetwork(path, input=SPEC).fingerprint
    external = path.with_name("weights.bin")
    external.write_bytes(external.read_bytes()[:-4] + bytes(4))
    assert OnnxNetwork(path, input=SPEC).fingerprint != first


def test_the_output_that_is_named_is_the_embedding(path):
    write(path, outputs=("one", "two"))
    network = OnnxNetwork(path, input=SPEC, output="two")
    assert (network.output, network.embedding_size) == ("two", D)
    assert list(network.outputs) == ["one", "two"]


def test_a_batch_of_one_inside_the_graph_gives_what_a_free_one_gives(path):
    weight = write(path)
    images = faces()
    expected = Preprocess(SPEC)(images).numpy().reshape(3, -1) @ weight
    model = onnx.load(path)
    flatten = next(node for node in model.graph.node if node.op_type == "Flatten")
    flatten.op_type = "Reshape"
    flatten.input.append("shape")
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 3 * SIDE**2]), "shape"))
    onnx.save(model, path)
    with pytest.warns(UserWarning, match="one face at a time"):
        network = OnnxNetwork(path, input=SPEC, threads=2)
    np.testing.assert_allclose(network(images).embedding.numpy(), expected, rtol=1e-3, atol=1e-2)


def normalising(path):
    """Write (x - 127.5) / 127.5 before the linear network."""
    weight = write(path)
    model = onnx.load(path)
    constant = numpy_helper.from_array(np.float32(127.5), "half")
    model.graph.initializer.append(constant)
    model.graph.node[0].input[0] = "normalised"
    for node in (
        helper.make_node("Div", ["centred", "half"], ["normalised"]),
        helper.make_node("Sub", ["input", "half"], ["centred"]),
    ):
        model.graph.node.insert(0, node)
    onnx.save(model, path)
    return weight


def test_a_graph_that_normalises_itself_is_fed_raw_pixels(path):
    weight = normalising(path)
    with pytest.warns(UserWarning, match=r"normalises pixels itself \(0..255 becomes -1..1\)"):
        network = OnnxNetwork(path)
    images = faces()
    expected = Preprocess(InputSpec(size=SIDE))(images).numpy().reshape(3, -1) @ weight
    np.testing.assert_allclose(network(images).embedding.numpy(), expected, rtol=1e-3, atol=1e-2)


def test_normalising_twice_takes_a_statement_and_is_warned_of(path):
    normalising(path)
    with pytest.warns(UserWarning, match="the mean and std that are stated do it before"):
        network = OnnxNetwork(path, input=SPEC)
    assert network.input == SPEC
    OnnxNetwork(path, input=InputSpec(SIDE, "RGB", (0, 0, 0), (1, 1, 1)))


@pytest.mark.parametrize(
    ("stated", "expected", "assumed"),
    [
        ({"std": (128, 128, 128)}, {"std": (128, 128, 128)}, "RGB, .x - 127.5. / 127.5;"),
        ({"color": "BGR"}, {"color": "BGR"}, "assuming .x - 127.5"),
        ({"mean": (0, 0, 0), "std": (1, 1, 1)}, {"mean": (0, 0, 0), "std": (1, 1, 1)}, "g RGB;"),
    ],
)
def test_a_part_of_the_input_may_be_stated_and_changes_nothing_else(
    path, stated, expected, assumed
):
    write(path)
    with pytest.warns(UserWarning, match=assumed):
        network = OnnxNetwork(path, input=StatedInput(**stated))
    assert network.input == InputSpec(**{"size": SIDE, **expected})


def test_a_part_that_an_export_states_likewise_is_accepted(path):
    write(path, metadata=json.dumps({"input": SPEC.to_dict()}))
    assert OnnxNetwork(path, input=StatedInput(color="BGR")).input == SPEC
    with pytest.raises(FacedistillError, match="carries its own"):
        OnnxNetwork(path, input=StatedInput(color="RGB"))


@pytest.mark.parametrize("shape", [("b", SIDE, SIDE, 3), ("b", 3, SIDE, SIDE)])
def test_a_foreign_graph_of_bytes_gets_them_in_the_order_stated(path, shape):
    weight = write(path, shape=shape, dtype=TensorProto.UINT8)
    images = faces()
    order = (0, 3, 1, 2) if shape[1] == 3 else (0, 1, 2, 3)
    for color, fed in (("RGB", images), ("BGR", images.flip(3))):
        network = OnnxNetwork(path, input=StatedInput(color=color))
        expected = fed.permute(order).reshape(3, -1).numpy().astype(np.float32) @ weight
        np.testing.assert_allclose(network(images).embedding.numpy(), expected, rtol=1e-3, atol=0.1)
    with pytest.warns(UserWarning, match="assuming RGB"):
        OnnxNetwork(path)


@pytest.mark.parametrize("key", ["mean", "std"])
def test_bytes_cannot_be_normalised_before(path, key):
    write(path, shape=("b", SIDE, SIDE, 3), dtype=TensorProto.UINT8)
    with pytest.raises(FacedistillError, match=f"leave out the {key} of its input .--{key}"):
        OnnxNetwork(path, input=StatedInput(**{key: (1, 1, 1)}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": ("b", 4, SIDE, SIDE)}, "neither"),
        ({"shape": ("b", 3 * SIDE * SIDE)}, "neither"),
        ({"shape": ("b", 3, SIDE, SIDE + 1)}, "not square"),
        ({"shape": ("b", 3, 16, 16)}, "side 16, not 8"),
        ({"dtype": TensorProto.INT64}, "neither float, half, double nor uint8"),
    ],
)
def test_graphs_of_other_shape(path, options, message):
    write(path, **options)
    with pytest.raises(FacedistillError, match=message) as error:
        OnnxNetwork(path, input=SPEC)
    assert str(path) in str(error.value)


def test_damaged_and_absent_files(path):
    with pytest.raises(FacedistillError, match="does not exist"):
        OnnxNetwork(path)
    write(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(FacedistillError, match="not a usable ONNX file"):
        OnnxNetwork(path)


def test_only_embeddings(path):
    write(path)
    network = OnnxNetwork(path, input=SPEC)
    assert network.gives == {"embedding"}
    with pytest.raises(FacedistillError, match="cannot give feature_map"):
        network(faces(), needs=("feature_map",))
    with pytest.raises(FacedistillError, match="uint8"):
        network(torch.zeros(1, SIDE, SIDE, 3))


def test_real_teacher_gives_its_recorded_embeddings(real_data):
    from facedistill.data.formats.recordio import RecordIODataset

    dataset = RecordIODataset(real_data / "celeba112" / "train.rec")
    recorded = np.load(real_data / "celeba112" / "edgeface_s_train.npy", mmap_mode="r")
    with pytest.warns(UserWarning, match="assuming RGB"):
        teacher = OnnxNetwork(real_data / "teacher" / "edgeface_s_int8.onnx")
    images = torch.from_numpy(np.stack([dataset[index].image for index in range(8)]))
    expected = torch.from_numpy(recorded[:8].astype(np.float32))
    cosine = torch.cosine_similarity(teacher(images).embedding, expected)
    assert cosine.min() > 0.999
