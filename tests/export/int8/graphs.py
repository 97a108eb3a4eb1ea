"""Small ONNX graphs built by hand, and what they compute."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from facedistill.export.int8.onnx_graph import OnnxGraph


class Builder:
    """Adds nodes one after the other; every method returns its output's name."""

    def __init__(self, *shape: int, kind: int = TensorProto.FLOAT) -> None:
        self.draw = np.random.default_rng(7)
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []
        self.input = helper.make_tensor_value_info("x", kind, ["batch", *shape])

    def tensor(self, values, kind=np.float32) -> str:
        name = f"t{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(np.asarray(values, kind), name))
        return name

    def node(self, operator: str, *inputs: str, **attributes) -> str:
        name = f"{operator.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def conv(self, value: str, outputs: int, inputs: int, kernel=1, group=1, scale=None, **more):
        weight = self.draw.normal(size=(outputs, inputs // group, kernel, kernel))
        if scale is not None:
            weight *= np.reshape(scale, (-1, 1, 1, 1))
        bias = self.draw.normal(size=outputs)
        pads = [kernel // 2] * 4
        return self.node(
            "Conv", value, self.tensor(weight), self.tensor(bias), group=group, pads=pads, **more
        )

    def prelu(self, value: str, slopes) -> str:
        return self.node("PRelu", value, self.tensor(np.reshape(slopes, (-1, 1, 1))))

    def gemm(self, value: str, outputs: int, inputs: int) -> str:
        weight, bias = self.draw.normal(size=(outputs, inputs)), self.draw.normal(size=outputs)
        return self.node("Gemm", value, self.tensor(weight), self.tensor(bias), transB=1)

    def flat(self, value: str, size: int) -> str:
        return self.node("Reshape", value, self.tensor([-1, size], np.int64))

    def model(self, value: str, rank: int = 4) -> onnx.ModelProto:
        output = helper.make_tensor_value_info(value, TensorProto.FLOAT, [None] * rank)
        graph = helper.make_graph(self.nodes, "tiny", [self.input], [output], self.tensors)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        onnx.checker.check_model(model, full_check=True)
        return model

    def graph(self, value: str, rank: int = 4) -> OnnxGraph:
        return OnnxGraph(self.model(value, rank))


def compute(model: onnx.ModelProto | OnnxGraph, x: np.ndarray) -> np.ndarray:
    """Return the output, each node computed as it stands."""
    model = model.model() if isinstance(model, OnnxGraph) else model
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": x})[0]


def operators(graph: OnnxGraph) -> list[str]:
    return [node.op_type for node in graph.nodes]


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).normal(size=shape).astype(np.float32)
