"""Networks' latency and memory, each in a fresh process, timed in turns: what a device will see."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.core.network_suffixes import CHECKPOINTS, is_checkpoint
from facedistill.core.process import usable_processors
from facedistill.core.progress import progress_bar
from facedistill.export.bench.bench_process import Apart, Subject
from facedistill.export.bench.latency import Latency
from facedistill.export.bench.machine import Machine, this_machine
from facedistill.export.bench.network_engine import NetworkEngine, open_timed
from facedistill.export.bench.timing import TURNS, time_in_turns
from facedistill.export.target import Runtime, read_metadata, stored_bytes, suffixes, target_of
from facedistill.models.files.run_weights import model_in
from facedistill.runtime.engine import FileInput

CALLS = 100
BATCHES = (1, 16)


_AS_NETWORK = ("facedistill.export.bench.network_engine", "NetworkEngine")
_AS_ONNX = ("facedistill.runtime.engine", "OnnxEngine")
_AS_TARGET = ("facedistill.export.target", "open_engine")


@dataclass(frozen=True)
class BenchRow:
    """One network with a number of threads and of faces at a time.

    Attributes:
        name: What tells it from the others: the end of its path.
        path: Its file.
        engine: What ran it.
        threads: CPU threads.
        batch: Faces of a call.
        latency: Of a call: raw faces in, embeddings out.
        memory: Bytes by which its process had grown at its peak since before the file was opened;
            None where the system does not tell.
        file_bytes: Of the file, and of what belongs to it.
    """

    name: str
    path: Path
    engine: str
    threads: int
    batch: int
    latency: Latency
    memory: int | None
    file_bytes: int

    @property
    def faces_per_second(self) -> float:
        """Faces of a call over its median time."""
        return 1000 * self.batch / self.latency.milliseconds.value


@dataclass(frozen=True)
class BenchReport:
    """Networks measured on one machine.

    Attributes:
        machine: The machine, as it was before.
        pinned: Whether processes stayed on as many processors as they had threads.
        calls: Timed calls of each row.
        rows: By threads, then batch, then network in the order given.
    """

    machine: Machine
    pinned: bool
    calls: int
    rows: list[BenchRow]

    def tables(self) -> Iterator[list[BenchRow]]:
        """Yield the rows that are alike in threads and batch; ratios are over the first of each."""
        for alike in dict.fromkeys((row.threads, row.batch) for row in self.rows):
            yield [row for row in self.rows if (row.threads, row.batch) == alike]


def bench(
    models: Sequence[str | Path],
    *,
    threads: Sequence[int] = (),
    batches: Sequence[int] = BATCHES,
    calls: int = CALLS,
    output: str | None = None,
    size: int | None = None,
) -> BenchReport:
    """Time networks and measure their memory.

    Every network has a fresh process for each number of threads, pinned to as many processors where
    the system can. It is warmed up with every batch, the smallest first, and then the networks take
    turns, so that a busy moment of the machine meets all of them.

    Args:
        models: Model files, runs' folders and checkpoints, which PyTorch runs, and exported files,
            each in the runtime of its target.
        threads: CPU threads; by default one, and as many as this process may use.
        batches: Faces of a call.
        calls: Timed calls of each network with each batch, rounded up to whole turns, after a fifth
            as many to warm up.
        output: Name of the embedding among the outputs of ONNX files that facedistill did not
            export; found by default.
        size: Side of the input of networks whose files do not say it.

    Raises:
        FacedistillError: If a file is unusable or its runtime is not installed, or a number is out
            of range.
    """
    cpus = usable_processors()
    counts, sizes = sorted(set(threads) or {1, len(cpus)}), sorted(set(batches))
    _check(counts, sizes, calls, len(cpus))
    subjects = [_subject(model_in(model), output, size) for model in models]
    if not subjects:
        raise FacedistillError("nothing to time: name model files or exported files")
    if output and not any(subject.options for subject in subjects):
        raise FacedistillError(
            "--output names the embedding of an ONNX file that facedistill did not export, and "
            "there is none: leave it out"
        )
    machine = this_machine(["numpy", *(runtime_of(each.path).distribution for each in subjects)])
    pinned = hasattr(os, "sched_setaffinity")
    rows: list[BenchRow] = []
    with progress_bar("turns") as progress:
        total = len(counts) * len(sizes) * len(subjects) * min(TURNS, calls)
        bar = progress.add_task("bench", total=total, note="")
        for count in counts:
            # The last ones: systems like to put their own work on the first.
            with _processes(subjects, count, cpus[-count:] if pinned else None) as processes:
                for batch in sizes:
                    measured = _measure(processes, batch, calls, lambda: progress.advance(bar))
                    rows += _rows(subjects, count, batch, measured)
    return BenchReport(machine, pinned, rows[0].latency.seconds.size, rows)


def runtime_of(path: Path) -> Runtime:
    """Return what runs a file.

    Raises:
        FacedistillError: If nothing does.
    """
    if _in_torch(path):
        return Runtime("PyTorch", "torch", "torch")
    exported = sorted(suffixes())
    if path.suffix.lower() not in exported:
        known = ", ".join((".safetensors", *CHECKPOINTS, *exported))
        raise FacedistillError(f"{path}: what can be timed is a {known} file")
    return target_of(path).runtime


def _check(threads: Sequence[int], batches: Sequence[int], calls: int, cpus: int) -> None:
    if not 1 <= threads[0] <= threads[-1] <= cpus:
        raise FacedistillError(
            f"threads {', '.join(map(str, threads))}: this process may use 1 to {cpus}"
        )
    if not batches or batches[0] < 1:
        raise FacedistillError(f"batch {min(batches, default=0)}: take at least one face")
    if calls < 1:
        raise FacedistillError(f"{calls} timed calls: take at least one")


def _subject(path: Path, output: str | None, size: int | None) -> Subject:
    """Find out how a file is run and on what faces; an unusable one is refused here."""
    package = runtime_of(path).package
    if not path.exists():
        raise FacedistillError(f"{path} does not exist")
    if _in_torch(path):
        side = open_timed(path, size).input.size
        return Subject(path, _AS_NETWORK, package, side, {"size": size} if size else {})
    document = read_metadata(path)
    if document is not None:
        opener = _AS_ONNX if path.suffix.lower() == ".onnx" else _AS_TARGET
        return Subject(path, opener, package, FileInput.read(document, path).spec.size)
    if path.suffix.lower() == ".onnx":
        stated = {"output": output, "size": size}
        given = {name: value for name, value in stated.items() if value is not None}
        network = NetworkEngine(path, threads=None, output=output, size=size).network
        return Subject(path, _AS_NETWORK, package, network.input.size, given)
    raise FacedistillError(f"{path} does not say what it is fed: export it with facedistill")


@contextmanager
def _processes(
    subjects: Sequence[Subject], threads: int, cpus: Sequence[int] | None
) -> Iterator[list[Apart]]:
    """A process for every network, each with its file open."""
    with ExitStack() as stack:
        processes = []
        for subject in subjects:
            processes.append(Apart(subject, threads, cpus))
            stack.callback(processes[-1].end)
        for process in processes:
            process.wait()
        yield processes


def _measure(
    processes: Sequence[Apart], batch: int, calls: int, advance: Callable[[], None]
) -> list[tuple[int | None, Latency]]:
    """Memory and latency of each, one at work at a time."""
    memory = [process.warm_up(batch, max(2, calls // 5)) for process in processes]
    turns: dict[Apart, list[list[float]]] = {process: [] for process in processes}
    contestants = {process: partial(process.time, batch) for process in processes}
    for process, seconds in time_in_turns(contestants, calls):
        turns[process].append(seconds)
        advance()
    return [
        (grown, Latency(np.array(turns[process])))
        for grown, process in zip(memory, processes, strict=True)
    ]


def _rows(
    subjects: Sequence[Subject],
    threads: int,
    batch: int,
    measured: Sequence[tuple[int | None, Latency]],
) -> Iterator[BenchRow]:
    paths = [subject.path for subject in subjects]
    for path, name, (memory, latency) in zip(paths, _names(paths), measured, strict=True):
        engine = runtime_of(path).title
        yield BenchRow(name, path, engine, threads, batch, latency, memory, _bytes(path))


def _names(paths: Sequence[Path]) -> list[str]:
    """What tells paths apart: their ends, from where they part."""
    if len(paths) == 1:
        return [paths[0].name]
    folders = [path.absolute().parent for path in paths]
    shared = os.path.commonpath(folders)
    return [path.absolute().relative_to(shared).as_posix() for path in paths]


def _bytes(path: Path) -> int:
    return path.stat().st_size if _in_torch(path) else stored_bytes(path)


def _in_torch(path: Path) -> bool:
    return path.suffix.lower() == ".safetensors" or is_checkpoint(path)
