"""An ONNX file opened in a process of its own first, bounded in time and memory.

A graph is a program: a loop in it may have no end, and a constant may be asked for that no memory
holds. What opens within the bounds here can be opened by whoever looks at it.
"""

from __future__ import annotations

import math
import os
import signal
import time
import warnings
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from facedistill.core.errors import FacedistillError

SECONDS = 30
"""Processor time that opening may take."""
MEMORY = 6 << 30
"""Bytes of addresses that the process may have, beside some for a large file."""
_COPIES = 4
"""Of a file's weights, while it is opened."""


def try_opening(
    path: Path, output: str | None = None, *, seconds: int = SECONDS, memory: int = MEMORY
) -> None:
    """Open an ONNX file and run two faces, in a process that may not take more than the bounds.

    Args:
        path: The file.
        output: Name of the embedding; found by default.
        seconds: Processor time.
        memory: Bytes. Systems other than Linux may not hold to it.

    Raises:
        FacedistillError: If it does not open, or not within the bounds.
    """
    context = get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(
        target=_open, args=(sending, path, output, seconds, memory), daemon=True
    )
    process.start()
    sending.close()
    try:
        # Starting a process takes its time too, on a busy machine more than opening.
        refusal = receiving.recv() if receiving.poll(2 * seconds + 60) else _endless(path, seconds)
    except (EOFError, OSError):
        process.join()
        refusal = _refusal(path, seconds, process.exitcode or 0)
    finally:
        process.kill()
        process.join()
        receiving.close()
    if refusal is not None:
        raise FacedistillError(refusal)


def _open(pipe: Connection, path: Path, output: str | None, seconds: int, memory: int) -> None:
    """Send why the file does not open; None if it does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The process that waits ends this one.
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 2)  # What a library says at its end is no part of the answer.
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # A GPU's driver takes more addresses than the bound.
    # Imported here: the libraries' own time is not the file's.
    from facedistill.models.onnx.embedding_output import find_embedding
    from facedistill.models.onnx.graph_input import read_input
    from facedistill.models.onnx.own_normalisation import find_normalisation
    from facedistill.runtime.input_spec import InputSpec
    from facedistill.runtime.session import Session

    _bound(seconds, memory + _COPIES * path.stat().st_size)
    warnings.simplefilter("ignore")
    try:
        session = Session(path, 1)
        entry = read_input(session)
        side = entry.side or InputSpec.size
        find_normalisation(path, entry, side)
        find_embedding(session, entry, side, output or ("embedding" if session.document else None))
        pipe.send(None)
    except FacedistillError as error:
        pipe.send(str(error))
    except MemoryError:
        pipe.send(f"{path} takes more memory to open than {memory / 1e9:.1f} GB")


def _bound(seconds: int, memory: int) -> None:
    with suppress(ImportError, OSError, ValueError):  # Windows has no such limits.
        import resource

        processor = math.ceil(time.process_time()) + seconds
        resource.setrlimit(resource.RLIMIT_CPU, (processor, processor + 1))
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _endless(path: Path, seconds: int) -> str:
    return (
        f"{path} did not open within {seconds} seconds: it computes without end, or is made for a "
        "larger machine"
    )


def _refusal(path: Path, seconds: int, code: int) -> str:
    if code in (-getattr(signal, "SIGXCPU", 0), -getattr(signal, "SIGKILL", 0)):
        return _endless(path, seconds)
    return f"{path} ended the process that opened it (code {code}): it is damaged, or does harm"
