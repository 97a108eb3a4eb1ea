"""Pipes in place of files that commands read: refused at once, as reading would never end."""

import os

import pytest

from facedistill.core.errors import FacedistillError
from facedistill.data.open import open_dataset
from facedistill.distill.bank.format import read_info
from facedistill.engine.checkpoint import load_checkpoint
from facedistill.experiments.folder import claim
from facedistill.experiments.summary import read_summary


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("train.rec", open_dataset),
        ("bank.json", read_info),
        ("checkpoint.pt", lambda folder: load_checkpoint(folder / "checkpoint.pt", "hash")),
        ("summary.json", lambda folder: read_summary(folder, None)),
        (".lock", lambda folder: claim(folder).__enter__()),
    ],
)
def test_a_pipe_is_refused(tmp_path, name, read):
    (tmp_path / "best.safetensors").touch()
    os.mkfifo(tmp_path / name)
    with pytest.raises(FacedistillError, match="is a pipe, not a file"):
        read(tmp_path)
