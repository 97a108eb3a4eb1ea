"""Target onnx: ONNX."""

from facedistill.export.target import Runtime, Target, register

TARGET = register(
    Target(
        "onnx",
        "ONNX",
        "facedistill.export.targets.onnx.onnx_file",
        ".onnx",
        Runtime("ONNX Runtime", "onnxruntime", "onnxruntime"),
        description="The file that every engine reads, raw pixels in; also with landmarks.",
        least_cosine=1 - 1e-5,
        landmarks=True,
    )
)
