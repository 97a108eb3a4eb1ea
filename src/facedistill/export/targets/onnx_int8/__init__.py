"""Target onnx-int8: ONNX of 8-bit integers."""

from facedistill.export.target import Runtime, Target, register

TARGET = register(
    Target(
        "onnx-int8",
        "ONNX of 8-bit integers",
        "facedistill.export.targets.onnx_int8.int8_file",
        ".onnx",
        Runtime("ONNX Runtime", "onnxruntime", "onnxruntime"),
        description="A quarter of the bytes, and faster on CPUs; calibrated on faces.",
        opened_by="onnx",
        least_cosine=0.95,
        usual_cosine=0.99,
        calibration=512,
    )
)
