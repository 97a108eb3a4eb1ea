"""Target litert: LiteRT."""

from facedistill.export.target import ExportOptions, Runtime, Target, register

TARGET = register(
    Target(
        "litert",
        "LiteRT",
        "facedistill.export.targets.litert.litert_file",
        ".tflite",
        Runtime("LiteRT", "ai_edge_litert", "ai-edge-litert"),
        description="For Android: what used to be called TensorFlow Lite.",
        extra="litert",
        defaults=ExportOptions(batch=1),
    )
)
