"""Milliseconds a face of a landmark student against its ResNet-50 teacher, in one run.

    python benchmarks/landmarks.py [--size 112] [--calls 200]

Both networks have a landmark head of five points and are exported to ONNX with raw uint8 pixels
as input, as `facedistill export` does it; ONNX Runtime runs them on one core. Their weights are
fresh: neither time nor parameters depend on training.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch

from facedistill.export.bench.bench import bench
from facedistill.export.export import export_network
from facedistill.models.face_network import FaceNetwork
from facedistill.runtime.input_spec import InputSpec

NETWORKS = {
    "resnet50 (teacher)": ("resnet50", {"width_divisor": 1}),
    "resnet50 /2": ("resnet50", {"width_divisor": 2}),
    "resnet50 /4": ("resnet50", {"width_divisor": 4}),
    "resnet50 /8": ("resnet50", {"width_divisor": 8}),
    "mobilefacenet 0.25": ("mobilefacenet", {"width": 0.25}),
}


def exported(folder: Path, name: str, size: int) -> tuple[Path, int]:
    """Write a landmark network as ONNX; return the file and its number of parameters."""
    torch.manual_seed(0)
    architecture, arguments = NETWORKS[name]
    network = FaceNetwork.create(
        architecture, InputSpec(size=size), landmarks=5, embedding_size=256, **arguments
    )
    with torch.no_grad():  # Statistics that keep fresh activations within range.
        network.train()(torch.randint(256, (8, size, size, 3), dtype=torch.uint8))
    path = folder / f"{name.replace(' ', '_').replace('/', 'by')}.onnx"
    export_network(network, path)
    return path, sum(weight.numel() for weight in network.parameters())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--calls", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = {name: exported(Path(folder), name, options.size) for name in NETWORKS}
        paths = [path for path, _ in files.values()]
        report = bench(paths, threads=[1], batches=[1], calls=options.calls)
    print(f"{report.machine.line()}, {options.size} x {options.size}")
    teacher = report.rows[0].latency
    for (name, (_, parameters)), row in zip(files.items(), report.rows, strict=True):
        print(
            f"{name:<20} {parameters / 1e6:7.3f} M parameters  "
            f"{row.latency.milliseconds.value:7.2f} ms a face  "
            f"{teacher.ratio(row.latency).value:6.2f} times the teacher's speed"
        )


if __name__ == "__main__":
    main()
