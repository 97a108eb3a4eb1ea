"""Processes that begin with torch and the package imported.

They are forked from one process that has imported them and done nothing else. A new interpreter
takes seconds of processor time to import as much; where its start or its end is what is tested, a
test starts one itself.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "__main__",
        "pytest",
        "torch._dynamo",  # which the first optimizer imports
        "facedistill.cli.app",
        "facedistill.experiments.comparing",
        "tests.engine.standin",
    ]
)


class Ended(NamedTuple):
    """How a process ended: its exit code, or less the signal's number, and what it wrote."""

    code: int
    out: str
    err: str


class Child:
    """A process that calls a function of a module.

    Args:
        function: Found by its module and name.
        arguments: Of the function.
        environment: Variables beside those of this process.
    """

    def __init__(self, function: Callable[..., Any], *arguments: Any, **environment: str) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._written = [Path(self._folder.name, name) for name in ("out", "err")]
        variables = {**os.environ, **environment}
        like_here = torch.get_num_threads(), multiprocessing.get_start_method()
        self.process = CONTEXT.Process(
            target=_begin,
            args=(self._written, variables, like_here, function, arguments),
        )
        self.process.start()

    def end(self, timeout: float = 120) -> Ended:
        """Wait for its end; a process that has none in time is killed."""
        self.process.join(timeout)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
        with self._folder:
            return Ended(self.process.exitcode, *(path.read_text() for path in self._written))


def run(function: Callable[..., Any], *arguments: Any, **environment: str) -> Ended:
    """Call a function in a process of its own and return how it ended."""
    return Child(function, *arguments, **environment).end()


def run_ranks(function: Callable[..., Any], *arguments: Any, processes: int = 2) -> list[Ended]:
    """Call a function in processes that torch.distributed finds the ranks of a world."""
    variables = rank_variables(processes)
    children = [Child(function, *arguments, **each) for each in variables]
    return [child.end() for child in children]


def rank_variables(processes: int = 2) -> list[dict[str, str]]:
    """Return the environment of each rank on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    world = {
        "WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
    }  # fmt: skip
    return [{**world, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes)]


def call_command(*words: str) -> None:
    """Run the command line with these words, as a program of their own would."""
    from facedistill.cli.app import main

    sys.argv = ["facedistill", *words]
    main()


def _begin(
    written: list[Path],
    variables: dict[str, str],
    like_there: tuple[int, str],
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    for number, path in enumerate(written, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    os.environ.clear()
    os.environ.update(variables)
    threads, start_method = like_there
    torch.set_num_threads(threads)
    multiprocessing.set_start_method(start_method, force=True)
    function(*arguments)
