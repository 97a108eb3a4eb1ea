"""Milliseconds a face of 8-bit integers against floating point, in one run.

    python benchmarks/int8.py FACES [--model STUDENT] [--rounds 20] [--calibration 64]

MobileFaceNet of two widths, mbf and IResNet-50 are exported to ONNX and to ONNX INT8, raw uint8
pixels in, one face at a time. ONNX Runtime runs them on one thread and on all; the files take
turns of a few calls on real faces. An exported file has max(x, a x) in place of its PReLUs; first
stands the time of one that keeps them, as other exporters write it, which recent ONNX Runtimes are
slow at. INT8's ratio is over the exported file. Weights are fresh unless --model is given, with
batch norm statistics and slopes as in a trained network: only these matter to times.
"""

from __future__ import annotations

import argparse
import copy
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import nn

from facedistill.data.opening import open_dataset
from facedistill.data.selection import evenly_spaced
from facedistill.export import onnx as floating
from facedistill.export import onnx_int8
from facedistill.export.target import ExportOptions
from facedistill.models.face_network import FaceNetwork
from facedistill.models.model_file import load_model
from facedistill.runtime import usable_cpus

NETWORKS = {
    "mobilefacenet 0.5": ("mobilefacenet", {"width": 0.5}),
    "mobilefacenet 1.0": ("mobilefacenet", {"width": 1.0}),
    "mbf": ("mbf", {}),
    "iresnet50": ("iresnet50", {}),
}
CALLS = 8
"""In a row before the next file's turn: of a single call the caches still hold the other file."""


def fresh(name: str, faces: np.ndarray) -> FaceNetwork:
    """Return a network of random weights whose activations are of both signs, as trained ones."""
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


def milliseconds(paths: list[Path], faces: np.ndarray, threads: int, rounds: int) -> list[float]:
    """Return the median time of a face through each file; they take turns."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    providers = ["CPUExecutionProvider"]
    sessions = [onnxruntime.InferenceSession(path, options, providers) for path in paths]
    times: list[list[float]] = [[] for _ in paths]
    for turn in range(rounds + 1):
        for session, taken in zip(sessions, times, strict=True):
            for call in range(CALLS):
                face = faces[(turn * CALLS + call) % len(faces)][None]
                start = time.perf_counter()
                session.run(None, {"image": face})
                if turn:  # the first turn warms up
                    taken.append(time.perf_counter() - start)
    return [1000 * statistics.median(taken) for taken in times]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("faces", help="a data set of aligned crops")
    parser.add_argument("--model", type=Path, help="time this student in place of fresh networks")
    parser.add_argument("--only", choices=list(NETWORKS), help="time one network")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--calibration", type=int, default=64)
    parser.add_argument("--keep", type=Path, help="folder for the files; those there are reused")
    options = parser.parse_args()
    faces = evenly_spaced(open_dataset(options.faces, relabel=True), options.calibration, 112)
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, onnxruntime {onnxruntime.__version__}, "
        f"batch 1, medians of {options.rounds} x {CALLS} calls"
    )
    print(
        f"{'network':20} threads  PReLU ms    exported  ratio      int8  ratio   MB of float, int8"
    )
    names = [str(options.model)] if options.model else [options.only] if options.only else NETWORKS
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        for name in names:
            paths = written(name, folder, faces)
            megabytes = [path.stat().st_size / 1e6 for path in paths]
            for threads in sorted({1, usable_cpus()}):
                prelus, exported, int8 = milliseconds(paths, faces, threads, options.rounds)
                sizes = f"{megabytes[1]:9.2f} {megabytes[2]:9.2f}"
                print(
                    f"{name[-20:]:20} {threads:7} {prelus:9.2f} {exported:11.2f} "
                    f"{exported / prelus:6.2f} {int8:9.2f} {int8 / exported:6.2f} {sizes}",
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
        onnx_int8.write(copy.deepcopy(network), int8, export)
        floating.write(network, exported, export)
    return [prelus, exported, int8]


if __name__ == "__main__":
    main()
