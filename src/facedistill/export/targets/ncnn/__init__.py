"""Target ncnn: ncnn."""

from facedistill.export.target import ExportOptions, Runtime, Target, register

TARGET = register(
    Target(
        "ncnn",
        "ncnn",
        "facedistill.export.targets.ncnn.ncnn_file",
        ".param",
        Runtime("ncnn", "ncnn", "ncnn"),
        description="For phones of either kind, in C++; one face at a time.",
        companions=(".bin", ".param.json"),
        extra="ncnn",
        defaults=ExportOptions(batch=1),
    )
)
