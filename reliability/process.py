"""A command at work in a process of its own, to be disturbed."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from facedistill.cli import app as cli

FORK = multiprocessing.get_context("forkserver")
LIMIT = 600
"""Seconds after which a command counts as hanging."""

_PRELOADED = [
    "facedistill.cli.app",
    "facedistill.distill.bank.making",
    "facedistill.evaluation.evaluate",
    "facedistill.experiments.comparing",
    "facedistill.experiments.preparation",
    "facedistill.experiments.run",
    "facedistill.export.export",
    "facedistill.export.targets.onnx.onnx_file",
    "facedistill.report.documents.comparison_page",
    "facedistill.report.documents.evaluation_report",
]


@dataclass(frozen=True)
class Command:
    """A command under test.

    Attributes:
        name: Of the command.
        arguments: Its words, all but where it writes.
        output: Option that says where.
        file: File in its folder that the option names; None: the folder itself.
    """

    name: str
    arguments: tuple[str, ...]
    output: str = "--out"
    file: str | None = None

    def words(self, out: Path) -> list[str]:
        """Return the command line that writes into a folder."""
        return [*self.arguments, self.output, str(out / self.file if self.file else out)]


class Process:
    """A command at work, its output in a file beside its folder.

    The process is forked from one that has imported everything and done nothing else, which spares
    the imports, and leads a group of its own, as one started by a shell does.
    """

    def __init__(self, command: Command, out: Path) -> None:
        self.command = command
        self.log, self.begun = (out.with_name(f"{out.name}.{end}") for end in ("log", "begun"))
        self.begun.unlink(missing_ok=True)
        self.child = FORK.Process(
            target=_command_line, args=(command.words(out), self.log, self.begun)
        )
        self.child.start()

    @property
    def code(self) -> int | None:
        """The exit code; None while it runs."""
        return self.child.exitcode

    def wait_for_work(self) -> None:
        """Return when the command has begun."""
        limit = time.monotonic() + LIMIT
        while self.child.is_alive() and not self.begun.exists():
            if time.monotonic() > limit:
                raise RuntimeError(f"{self.command.name} does not begin: {self.output()}")
            time.sleep(0.002)

    def ends_within(self, seconds: float) -> bool:
        """Whether it ends by itself."""
        self.child.join(seconds)
        return not self.child.is_alive()

    def kill(self) -> None:
        """Kill it, and it alone."""
        self.child.kill()
        self.child.join()

    def signal_group(self, number: int) -> None:
        """Send a signal to it and to all that it has started."""
        assert self.child.pid is not None
        os.killpg(self.child.pid, number)

    def left_over(self) -> bool:
        """Whether it has ended and a process that it started has not."""
        assert self.child.pid is not None
        try:
            os.killpg(self.child.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def output(self) -> str:
        """Return the end of its output."""
        return self.log.read_text()[-4000:] if self.log.exists() else ""


def _command_line(words: list[str], log: Path, begun: Path) -> None:
    """Be `facedistill WORDS`, with what it prints in `log`."""
    os.setsid()
    multiprocessing.set_start_method("fork", force=True)  # of loader workers, as by default
    with log.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    app = cli.app

    def begin() -> None:
        begun.touch()
        app()

    cli.app = begin  # type: ignore[assignment]
    sys.argv = ["facedistill", *words]
    cli.main()


def run_unbroken(command: Command, out: Path) -> float:
    """Run a command to its end; return the seconds that its work took."""
    process = Process(command, out)
    process.wait_for_work()
    began = time.monotonic()
    if not process.ends_within(LIMIT):
        process.signal_group(signal.SIGKILL)
        raise RuntimeError(f"{command.name} takes more than {LIMIT} s: {process.output()}")
    if process.code:
        raise RuntimeError(f"{command.name} failed: {process.output()}")
    return time.monotonic() - began


def preload() -> None:
    """Let the process that all are forked from import what they need."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    FORK.set_forkserver_preload(_PRELOADED)


def differences(found: Path, expected: Path) -> list[str]:
    """Return what differs between two folders."""
    names = [_files(folder) for folder in (found, expected)]
    if names[0] != names[1]:
        return [f"files {sorted(names[0] ^ names[1])}"]
    return [name for name in sorted(names[0]) if content(found / name) != content(expected / name)]


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


_TIMINGS = {
    "images_per_second", "seconds_per_step", "step_seconds", "step_ratio",
}  # fmt: skip
_TIMED = {"log.txt", "comparison.md", "comparison.csv", "comparison.html"}
"""Files of a comparison that say how long steps took."""


def content(path: Path) -> Any:
    """A file's content in a form in which equal means equal bit for bit."""
    if path.name in _TIMED:
        return None
    if path.suffix == ".pt":
        # The archive itself bears the name of the temporary file that it was written to.
        return _comparable(torch.load(path, weights_only=True))
    if path.name in ("summary.json", "comparison.json"):
        return _without_timings(json.loads(path.read_text()))
    return path.read_bytes()


def _without_timings(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: None if key in _TIMINGS else _without_timings(each) for key, each in value.items()
        }
    return [_without_timings(each) for each in value] if isinstance(value, list) else value


def _comparable(state: Any) -> Any:
    if isinstance(state, torch.Tensor):
        return str(state.dtype), tuple(state.shape), state.contiguous().numpy().tobytes()
    if isinstance(state, dict):
        return {key: _comparable(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return [_comparable(value) for value in state]
    return state


Place = Callable[[Path], str]
"""Says where a command stands, from its folder."""
