"""Runs of a comparison in processes of their own, one per device."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

import torch

from facedistill.core.errors import Interrupted, escaped
from facedistill.core.process import exit_reason
from facedistill.core.progress import Say, progress_bar
from facedistill.core.regular_files import append_regular
from facedistill.core.signals import (
    STOP_SIGNALS,
    signals_blocked,
    stop_request,
    stoppable,
    take_signals,
)
from facedistill.engine.checkpoint import CHECKPOINT
from facedistill.engine.metrics_log import METRICS, read_metrics
from facedistill.experiments.ownership import standing
from facedistill.experiments.trial import Job, attempt, has_result, note_error, read_error
from facedistill.recipe.comparison import Trial

LOG = "log.txt"
"""What a run printed, in its folder."""

_SECONDS_BETWEEN_LOOKS = 1.0

Running = dict[int, tuple[Job, SpawnProcess]]
"""By the number of their place, jobs and their processes."""


def run_apart(
    jobs: Sequence[Job], places: int | None, say: Say, *, trials: Sequence[Trial]
) -> None:
    """Keep every device busy with one process, until nothing is left to run.

    A run waits for those it needs. A process that dies takes none with it.

    Args:
        jobs: What to do, each after those it needs.
        places: Processes at a time; by default one per accelerator, or one on a CPU. They share
            the threads of this process.
        say: Takes a line when a run ends.
        trials: All runs of the comparison, those of `jobs` and those that an earlier call has
            finished: a stop says how many of them have a result.

    Raises:
        Interrupted: After SIGTERM, SIGHUP or Ctrl-C to this process or to a run; runs that made
            steps have a checkpoint.
    """
    devices = torch.cuda.device_count()
    places = places or max(1, devices)
    threads = max(1, torch.get_num_threads() // places)
    waiting, running = list(jobs), Running()
    with stop_request() as stop, progress_bar("runs") as progress:
        bar = progress.add_task("compare", total=len(jobs), note="")
        while waiting or running:
            for job in _ready(waiting, running)[: places - len(running)]:
                waiting.remove(job)
                place = min(set(range(places)) - set(running))
                running[place] = job, _start(job, threads, place % devices if devices else None)
            wait([process.sentinel for _, process in running.values()], _SECONDS_BETWEEN_LOOKS)
            progress.update(bar, note=", ".join(_where(job) for job, _ in running.values()))
            if stop.received:
                _stop(running)
                raise Interrupted(f"stopped, {_standing(trials)}")
            for place, (job, process) in list(running.items()):
                if not process.is_alive():
                    del running[place]
                    if _was_stopped(process):
                        _stop(running)
                        raise Interrupted(f"{job.trial.title} was stopped, {_standing(trials)}")
                    _end(job, process)
                    say(f"{job.trial.title}: {read_error(job.trial.folder) or 'done'}")
                    progress.advance(bar)


def _ready(waiting: Sequence[Job], running: Running) -> list[Job]:
    """Jobs that need none that is still to come."""
    ahead = {job.trial.folder for job in waiting}
    ahead |= {job.trial.folder for job, _ in running.values()}
    return [job for job in waiting if not ahead.intersection(job.trial.after)]


def _start(job: Job, threads: int, device: int | None) -> SpawnProcess:
    process = multiprocessing.get_context("spawn").Process(
        target=_child, args=(job, threads), name=job.trial.title
    )
    with _visible(device), signals_blocked():
        process.start()
    return process


@contextmanager
def _visible(device: int | None) -> Iterator[None]:
    """Let the processes started meanwhile see one accelerator alone."""
    if device is None:
        yield
        return
    key = "CUDA_VISIBLE_DEVICES"
    before = os.environ.get(key)
    os.environ[key] = before.split(",")[device] if before else str(device)
    try:
        yield
    finally:
        os.environ.pop(key)
        if before is not None:
            os.environ[key] = before


def _child(job: Job, threads: int) -> None:
    """A process of one run, whose output goes to the run's log."""
    _stop_with_parent()
    torch.set_num_threads(threads)
    job.trial.folder.mkdir(parents=True, exist_ok=True)
    with append_regular(job.trial.folder / LOG) as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        try:
            with stoppable(lambda: f"stopped, {standing(job.trial.folder)}"):
                take_signals()
                attempt(job, lambda line: print(escaped(line), flush=True))
        except Interrupted as stop:
            print(stop, flush=True)
            sys.exit(stop.exit_code)


def _stop_with_parent() -> None:
    """Save and stop when the parent is killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=follow, daemon=True).start()


def _was_stopped(process: SpawnProcess) -> bool:
    """Whether a process ended because a signal asked it to, which is no crash."""
    return process.exitcode in (Interrupted.exit_code, *(-number for number in STOP_SIGNALS))


def _end(job: Job, process: SpawnProcess) -> None:
    """Take note of how a process ended that could not write so itself."""
    process.join()
    code, folder = process.exitcode or 0, job.trial.folder
    if code < 0:
        note_error(folder, f"its process {exit_reason(code)}")
    elif code and read_error(folder) is None:
        note_error(folder, f"its process ended with code {code}: see {folder / LOG}")


def _stop(running: Running) -> None:
    """Let all save and end; a second Ctrl-C ends them at once."""
    try:
        for _, process in running.values():
            process.terminate()
        for _, process in running.values():
            process.join()
    except BaseException:
        for _, process in running.values():
            process.kill()
        raise


def _standing(trials: Sequence[Trial]) -> str:
    """Say what runs of a comparison that was stopped have left, and what to do next."""
    folders = [trial.folder for trial in trials]
    done = [folder for folder in folders if has_result(folder)]
    saved = [folder for folder in folders if folder not in done and (folder / CHECKPOINT).exists()]
    return (
        f"runs finished: {len(done)} of {len(folders)}, with a checkpoint: {len(saved)}; run the "
        "same command to go on"
    )


def _where(job: Job) -> str:
    records = read_metrics(Path(job.trial.folder) / METRICS)
    return f"{job.trial.title} at step {records[-1]['step']:,}" if records else job.trial.title
