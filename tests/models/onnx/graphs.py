"""Small ONNX graphs, made node by node."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 8
PIXELS = 3 * SIDE * SIDE


def node(operator, inputs, output, **attributes):
    return helper.make_node(operator, inputs.split(), [output], **attributes)


def constants(**values):
    return [numpy_helper.from_array(np.asarray(each), name) for name, each in values.items()]


def weights(size, seed=0):
    return np.random.default_rng(seed).normal(size=(PIXELS, size)).astype(np.float32)


def save(
    path,
    nodes,
    tensors,
    outputs,
    *,
    shape=("b", 3, SIDE, SIDE),
    dtype=TensorProto.FLOAT,
    metadata=None,
):
    """Write a graph of one input `x`; `outputs` are the declared shapes by name."""
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", dtype, shape)],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    if metadata is not None:
        helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path


def linear(path, sizes, *, declared=None, before=(), tensors=(), fed="x", **options):
    """Write a graph whose outputs are flatten(`fed`) times weights, of the sizes given by name."""
    nodes = [*before, node("Flatten", fed, "flat")]
    found = list(tensors)
    for seed, (name, size) in enumerate(sizes.items()):
        nodes.append(node("MatMul", f"flat w_{name}", name))
        found += constants(**{f"w_{name}": weights(size, seed)})
    shapes = declared or {name: ["b", size] for name, size in sizes.items()}
    return save(path, nodes, found, shapes, **options)
