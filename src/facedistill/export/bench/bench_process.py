"""One network in a process of its own: pinned to its processors, warmed up, timed on request.

What the process needs is imported after it is pinned, so that the threads that libraries start
stay on its processors too.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facedistill.core.errors import FacedistillError, first_line
from facedistill.core.extras import import_extra
from facedistill.core.process import exit_reason
from facedistill.core.signals import leave_signals_to_parent, start_worker
from facedistill.export.bench.timing import time_calls

if TYPE_CHECKING:
    import numpy as np

    from facedistill.export.target import Engine

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_CLEAR_PEAK = "5"  # proc(5): sets the peak of resident memory to what is resident now


@dataclass(frozen=True)
class Subject:
    """What a process is to run.

    Attributes:
        path: The network's file.
        opener: Module and name of what opens it: takes the path and `threads`, gives an `Engine`.
        package: What Python imports of its runtime.
        size: Side of its faces in pixels.
        options: What else the opener takes, by name.
    """

    path: Path
    opener: tuple[str, str]
    package: str
    size: int
    options: Mapping[str, Any] = field(default_factory=dict)


class Measured:
    """An open network that is timed in this process.

    Args:
        subject: What to run.
        threads: CPU threads.
    """

    def __init__(self, subject: Subject, threads: int) -> None:
        opening = _opening(subject)
        self._size = subject.size
        self._faces: dict[int, np.ndarray] = {}
        with suppress(OSError):
            _CLEAR.write_text(_CLEAR_PEAK)
        self._before = _peak_memory()
        self.engine = opening(subject.path, threads=threads, **subject.options)

    def warm_up(self, batch: int, calls: int) -> int | None:
        """Make untimed calls.

        Returns:
            Bytes by which memory has grown at its peak since before the file was opened; None where
            the system does not tell.
        """
        self.time(batch, calls)
        peak = _peak_memory()
        return None if peak is None or self._before is None else peak - self._before

    def time(self, batch: int, calls: int) -> list[float]:
        """Return the seconds of each of some calls, after one that is not timed."""
        faces = self._batch_of(batch)
        return time_calls(lambda: self.engine.embed(faces), 1 + calls)[1:]

    def _batch_of(self, batch: int) -> np.ndarray:
        """Noise: as costly as faces, for no network looks at what it computes."""
        if batch not in self._faces:
            import numpy as np

            shape = (batch, self._size, self._size, 3)
            noise = np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8)
            self._faces[batch] = noise
        return self._faces[batch]


def _opening(subject: Subject) -> Callable[..., Engine]:
    """What opens the file, its libraries loaded: they are not counted as the network's memory."""
    with suppress(ImportError):  # Opening says what is missing.
        import_extra(subject.package)
    module, name = subject.opener
    opener: Callable[..., Engine] = getattr(import_module(module), name)
    return opener


class Apart:
    """A `Measured` in a fresh process of its own.

    Args:
        subject: What to run.
        threads: CPU threads.
        cpus: Processors to stay on; None where the system cannot pin.
    """

    def __init__(self, subject: Subject, threads: int, cpus: Sequence[int] | None) -> None:
        self._path = subject.path
        self._parent, child = get_context("spawn").Pipe()
        self._process = get_context("spawn").Process(
            target=_serve, args=(child, subject, threads, cpus), daemon=True
        )
        start_worker(self._process)
        child.close()

    def wait(self) -> None:
        """Wait until the file is open.

        Raises:
            FacedistillError: If it cannot be opened or run.
        """
        self._answer()

    def warm_up(self, batch: int, calls: int) -> int | None:
        """See `Measured.warm_up`."""
        return self._ask("warm_up", batch, calls)

    def time(self, batch: int, calls: int) -> list[float]:
        """See `Measured.time`."""
        return self._ask("time", batch, calls)

    def end(self) -> None:
        """End the process."""
        self._parent.close()
        self._process.kill()
        self._process.join()

    def _ask(self, *request: Any) -> Any:
        with suppress(OSError):  # A process that has died is met when its answer is awaited.
            self._parent.send(request)
        return self._answer()

    def _answer(self) -> Any:
        try:
            error, value = self._parent.recv()
        except (EOFError, OSError):
            self._process.join()
            raise FacedistillError(
                f"{self._path}: the process that measures it {exit_reason(self._process.exitcode)}"
            ) from None
        if error is not None:
            raise FacedistillError(error)
        return value


def _serve(pipe: Connection, subject: Subject, threads: int, cpus: Sequence[int] | None) -> None:
    """Answer requests until nobody asks any more."""
    leave_signals_to_parent()
    os.dup2(2, 1)  # What runtimes print is no part of the result.
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # What is timed is the CPU.
    if cpus is not None:
        os.sched_setaffinity(0, cpus)
    try:
        measured = Measured(subject, threads)
        pipe.send((None, None))
        while True:
            name, *arguments = pipe.recv()
            pipe.send((None, getattr(measured, name)(*arguments)))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except FacedistillError as error:
        pipe.send((str(error), None))
    except Exception as error:
        reason = f"{type(error).__name__}: {first_line(error)}"
        pipe.send((f"{subject.path} does not run: {reason}", None))
    sys.exit(1)


def _peak_memory() -> int | None:
    """Bytes of resident memory at their peak; None outside of Linux.

    getrusage's would not do: a process inherits that of the one that started it.
    """
    try:
        lines = _STATUS.read_text("ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return None
