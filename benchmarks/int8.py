"""Milliseconds a face of 8-bit integers against floating point, in one run.

    python benchmarks/int8.py FACES [--model STUDENT] [--calls 200] [--calibration 64]

MobileFaceNet of two widths, mbf and IResNet-50 are exported to ONNX and to ONNX INT8, raw uint8
pixels in, one face at a time. ONNX Runtime runs them on one thread and on all; each file has a
process of its own (see `facedistill bench`), and they take turns. An exported file has max(x, a x)
in place of its PReLUs; first stands the time of one that keeps them, as other exporters write it,
which recent ONNX Runtimes are slow at. INT8's ratio is over the exported file, with the 95 %
interval of the turns. Weights are fresh unless --model is given, with batch norm statistics and
slopes as in a trained network: only these matter to times.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn

from facedistill.data.open import open_dataset
from facedistill.data.views.selection import evenly_spaced
from facedistill.export.bench.bench import bench
from facedistill.export.target import ExportOptions
from facedistill.export.targets.onnx import onnx_file as floating
from facedistill.export.targets.onnx_int8 import int8_file
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.model_file import load_model

NETWORKS = {
    "mobilefacenet 0.5": ("mobilefacenet", {"width": 0.5}),
    "mobilefacenet 1.0": ("mobilefacenet", {"width": 1.0}),
    "mbf": ("mbf", {}),
    "iresnet50": ("iresnet50", {}),
}


def fresh(name: str, faces: np.ndarray) -> FaceNetwork:
    """Return a network of random weights with activations of both signs, as after training."""
    torch.manual_seed(0)
    architecture, arguments = NETWORKS[name]
    network = FaceNetwork.create(architecture, **arguments)
    for part in network.modules():
        if isinstance(part, nn.PReLU):
            nn.init.uniform_(part.weight, -0.1, 0.4)
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.momentum = 1.0
    with torch.no_grad():
        network.train()(torch.from_numpy(faces[:16]))
    return network.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("faces", help="a data set of aligned crops")
    parser.add_argument("--model", type=Path, help="time this student in place of fresh networks")
    parser.add_argument("--only", choices=list(NETWORKS), help="time one network")
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--calibration", type=int, default=64)
    parser.add_argument("--keep", type=Path, help="folder for the files; those there are reused")
    options = parser.parse_args()
    faces = evenly_spaced(open_dataset(options.faces, relabel=True), options.calibration, 112)
    names = [str(options.model)] if options.model else [options.only] if options.only else NETWORKS
    with tempfile.TemporaryDirectory() as temporary:
        for name in names:
            compare(name, written(name, options.keep or Path(temporary), faces), options.calls)


def compare(name: str, paths: list[Path], calls: int) -> None:
    """Print the times of a network's files on one thread and on all."""
    report = bench(paths, batches=[1], calls=calls)
    print(f"\n{name}: {report.machine.line()}")
    print(*filter(None, [report.machine.doubt()]), sep="\n")
    megabytes = [path.stat().st_size / 1e6 for path in paths]
    print(f"{megabytes[1]:.2f} MB as exported, {megabytes[2]:.2f} MB of integers, batch 1")
    print("threads  PReLU ms    exported  ratio      int8  ratio (95 %)")
    for rows in report.tables():
        prelus, exported, int8 = (row.latency for row in rows)
        ratio = int8.ratio(exported)
        print(
            f"{rows[0].threads:7} {prelus.milliseconds.value:9.2f} "
            f"{exported.milliseconds.value:11.2f} {exported.ratio(prelus).value:6.2f} "
            f"{int8.milliseconds.value:9.2f} {ratio.text(2)}",
            flush=True,
        )


def written(name: str, folder: Path, faces: np.ndarray) -> list[Path]:
    """Return the files of a network: with its PReLUs, as exported, and of integers."""
    stem = name.replace(" ", "_").replace("/", "_")
    prelus, exported, int8 = (folder / f"{stem}{end}.onnx" for end in ("-prelu", "", "-int8"))
    if not int8.exists():
        network = fresh(name, faces) if name in NETWORKS else load_model(name).eval()
        export = ExportOptions(calibration=faces)
        floating.write_as_built(network, prelus, export)
        int8_file.write(copy.deepcopy(network), int8, export)
        floating.write(network, exported, export)
    return [prelus, exported, int8]


if __name__ == "__main__":
    main()
