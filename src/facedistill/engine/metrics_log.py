"""The metrics of a run while it trains: metrics.jsonl and TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from facedistill.core.atomic import atomic_path
from facedistill.core.errors import FacedistillError, first_line
from facedistill.core.extras import import_extra
from facedistill.core.json_text import json_text
from facedistill.core.regular_files import append_regular, read_regular_text

METRICS = "metrics.jsonl"
"""Its name in a run's folder."""


class Averages:
    """Means of the loss parts since they were last taken.

    Sums stay on the device, so adding costs no synchronisation; they are part of the checkpoint,
    so a resumed run logs the same means.
    """

    def __init__(self) -> None:
        self.sums: dict[str, torch.Tensor] = {}
        self.counts: dict[str, float] = {}

    def add(self, parts: dict[str, torch.Tensor], weight: float = 1.0) -> None:
        """Take in the parts of one step, or of a micro-batch that is the share `weight` of it."""
        for name, value in parts.items():
            value = weight * value.detach().double()
            self.sums[name] = self.sums[name] + value if name in self.sums else value
            self.counts[name] = self.counts.get(name, 0.0) + weight

    def share(self, mean: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Replace the sums by their mean over all processes, each of which saw its own images."""
        if self.sums:
            values = mean(torch.stack(list(self.sums.values())))
            self.sums = dict(zip(self.sums, values.unbind(), strict=True))

    def take(self) -> dict[str, float]:
        """Return the means and start over."""
        means = {name: float(value) / self.counts[name] for name, value in self.sums.items()}
        self.sums, self.counts = {}, {}
        return means

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` takes."""
        return {"sums": {k: v.cpu() for k, v in self.sums.items()}, "counts": dict(self.counts)}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Go on from a checkpoint."""
        self.sums = {name: value.to(device) for name, value in state["sums"].items()}
        self.counts = dict(state["counts"])


class MetricsLog:
    """Appends records to `metrics.jsonl`, and to TensorBoard if asked.

    Args:
        folder: The run's folder.
        step: Step the run goes on from; records of later steps, written by a run that was killed
            after its last checkpoint, are dropped.
        tensorboard: Write event files too.
    """

    def __init__(self, folder: Path, step: int, tensorboard: bool = False) -> None:
        self.path = folder / METRICS
        self._forget_after(step)
        self.file = append_regular(self.path)
        self.board = _summary_writer(folder, step) if tensorboard else None

    def write(self, step: int, values: dict[str, Any]) -> None:
        """Append one record."""
        self.file.write(json_text({"step": step, **values}, indent=None) + "\n")
        if self.board is not None:
            for name, value in values.items():
                if isinstance(value, int | float):
                    self.board.add_scalar(name, value, step)

    def close(self) -> None:
        """Close the files."""
        self.file.close()
        if self.board is not None:
            self.board.close()

    def _forget_after(self, step: int) -> None:
        kept = [record for record in read_metrics(self.path) if record["step"] <= step]
        with atomic_path(self.path) as temporary:
            temporary.write_text("".join(json_text(record, indent=None) + "\n" for record in kept))


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the records of a `metrics.jsonl`; a last line cut off by a kill is left out."""
    if not path.exists():
        return []
    records = []
    for line in read_regular_text(path, "replace").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            break
        if not isinstance(record, dict) or not isinstance(record.get("step"), int):
            break
        records.append(record)
    return records


def _summary_writer(folder: Path, step: int) -> Any:
    try:
        tensorboard = import_extra("torch.utils.tensorboard")
    except ImportError as error:
        raise FacedistillError(
            f"training.tensorboard needs packages that cannot be imported ({first_line(error)}): "
            "pip install 'facedistill[tensorboard]'"
        ) from None
    return tensorboard.SummaryWriter(str(folder / "tensorboard"), purge_step=step)
