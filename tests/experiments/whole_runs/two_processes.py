"""A run by two processes, and what each of them did."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from torch.nn.parallel import DistributedDataParallel

from facedistill.engine.gradient_shares import SUFFIX
from facedistill.engine.loop import Fit
from facedistill.experiments.run import Run
from tests import child_process
from tests.engine import standin  # noqa: F401 - a fresh interpreter needs the network

ROOT = Path(__file__).parents[3]


def without_shares(record):
    """Return a record without gradient shares: two processes' micro-batches are of other images."""
    return {key: value for key, value in record.items() if not key.endswith(SUFFIX)}


def train_as_rank(stop, *words):
    """Take part in a run, ask it to stop after a step, and print what was seen."""
    rank = int(os.environ["RANK"])
    seen = {"ddp": False, "evaluated": 0, "images": 0}
    train, validate = Fit._train, Run.validate

    def train_and_count(fit, batch):
        seen["ddp"] = isinstance(fit.step, DistributedDataParallel)
        seen["images"] += len(batch)
        train(fit, batch)
        if rank == 1 and fit.position.step == stop:
            os.kill(os.getpid(), signal.SIGTERM)

    def count(run, network):
        seen["evaluated"] += 1
        return validate(run, network)

    Fit._train, Run.validate = train_and_count, count
    try:
        child_process.call_command(*words)
    finally:
        print("SEEN" + json.dumps(seen))


def launch(stop, words, run_ranks=child_process.run_ranks, **options):
    return [
        (*ended, json.loads(ended.out.rpartition("SEEN")[2]))
        for ended in run_ranks(train_as_rank, stop, *words, **options)
    ]


def run_interpreters(function, *arguments):
    """Do what `child_process.run_ranks` does in interpreters that begin and end as programs do."""
    code = f"from {__name__} import {function.__name__} as f; f(*{arguments!r})"
    children = [
        subprocess.Popen(
            [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, **variables}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for variables in child_process.rank_variables()
    ]  # fmt: skip
    try:
        written = [child.communicate(timeout=120) for child in children]
    finally:
        for child in children:
            child.kill()
    return [
        child_process.Ended(child.returncode, *texts)
        for child, texts in zip(children, written, strict=True)
    ]
