"""Target coreml: Core ML."""

from facedistill.export.target import ExportOptions, Runtime, Target, register

TARGET = register(
    Target(
        "coreml",
        "Core ML",
        "facedistill.export.targets.coreml.coreml_file",
        ".mlpackage",
        Runtime("Core ML", "coremltools", "coremltools"),
        description="For iPhones and Macs: a package for Apple's Neural Engine.",
        extra="coreml",
        defaults=ExportOptions(batch=1),
    )
)
