"""How long an exported network takes for one face."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import numpy as np
import onnxruntime


def median_milliseconds(path: str | Path, *, threads: int = 1, runs: int = 50) -> float:
    """Return the median time of one face through ONNX Runtime on the CPU, in milliseconds.

    Args:
        path: An ONNX file with one image input of known height, width and channels.
        threads: CPU threads inside the operators.
        runs: Timed calls, after a fifth as many to warm up.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    shape = [side if isinstance(side, int) else 1 for side in entry.shape]
    raw = entry.type == "tensor(uint8)"
    face = np.zeros(shape, np.uint8 if raw else np.float32)
    times = []
    for _ in range(runs + runs // 5):
        start = time.perf_counter()
        session.run(None, {entry.name: face})
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times[runs // 5 :])
