"""Target openvino: OpenVINO."""

from facedistill.export.target import Runtime, Target, register

TARGET = register(
    Target(
        "openvino",
        "OpenVINO",
        "facedistill.export.targets.openvino.openvino_file",
        ".xml",
        Runtime("OpenVINO", "openvino", "openvino"),
        description="For Intel CPUs, GPUs and NPUs; weights in float16.",
        companions=(".bin",),
        extra="openvino",
    )
)
