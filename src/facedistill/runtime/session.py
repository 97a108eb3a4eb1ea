"""An ONNX file open in ONNX Runtime, whose errors are one line that names the file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from facedistill.core.errors import FacedistillError
from facedistill.core.other_content import check_is_weights
from facedistill.runtime.file_digest import check_digest, require_digest
from facedistill.runtime.header import HEADER_KEY, parse_exported

CPU = ("CPUExecutionProvider",)

_LEAST_OF_INTEGERS = (1, 24)
"""ONNX Runtime that runs files of 8-bit integers; earlier ones have no maximum of bytes."""

_SILENT = 4
"""Severity of what ends the process: all else comes as an exception."""

_EXACT_SUMS = ("session.x64quantprecision", "1")
"""On x86 without VNNI sums of bytes saturate in the faster way that is the default there."""

_LONGEST_REASON = 300

_PREFIX = re.compile(
    r"\[ONNXRuntimeError\] : \d+ : \w+ : |\S+\.(cc|h):\d+ ([^()]*::[\w~]+\([^()]*\)( const)? )?"
)
"""What comes before a reason: a code; the place in its source, with or without the function."""


class Session:
    """An ONNX file, open in ONNX Runtime.

    Args:
        path: The file.
        threads: CPU threads inside an operator.
        providers: Names of execution providers in order of preference; those that are not there
            are passed over.

    Attributes:
        path: The file.
        inputs: What the graph takes: each with `name`, `type` and `shape`.
        outputs: What it gives, likewise.
        document: What facedistill's export wrote into the file; None in anyone else's.

    Raises:
        FacedistillError: If it does not load, or facedistill exported it and it is not, to the
            byte, what was written.
    """

    def __init__(self, path: Path, threads: int, providers: Sequence[str] = CPU) -> None:
        self.path = path
        check_is_weights(path)
        # Before the runtime sees it: what is damaged may ask for any memory, or end the process.
        whole = check_digest(path)
        options = exact_options(threads)
        available = onnxruntime.get_available_providers()
        chosen = [name for name in providers if name in available]
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=chosen)
        except Exception as error:  # onnxruntime's own exceptions share no other base
            raise _refused(path, error, onnxruntime.__version__) from None
        self.inputs: Sequence[Any] = self._session.get_inputs()
        self.outputs: Sequence[Any] = self._session.get_outputs()
        text = self._carried()
        self.document: dict[str, Any] | None = None
        if text is not None:
            require_digest(path, whole)
            self.document = parse_exported(text, path)

    def _carried(self) -> str | None:
        try:
            carried: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map
        except UnicodeDecodeError as error:
            raise FacedistillError(
                f"{self.path}: damaged facedistill metadata: {error.reason}"
            ) from None
        return carried.get(HEADER_KEY)

    def run(self, outputs: Sequence[str], batch: np.ndarray) -> list[np.ndarray]:
        """Return outputs by name, for a batch as the graph's only input takes it.

        Raises:
            FacedistillError: If ONNX Runtime fails.
        """
        fed = self.inputs[0].name
        try:
            given: list[np.ndarray] = self._session.run(list(outputs), {fed: batch})
        except Exception as error:  # onnxruntime's own exceptions share no other base
            raise FacedistillError(
                f"{self.path} does not run on input {fed} {batch.shape}: {_reason(error)}"
            ) from None
        return given


def exact_options(threads: int) -> onnxruntime.SessionOptions:
    """Return options of a session that is silent, and whose sums of bytes are exact.

    Args:
        threads: CPU threads inside an operator.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _SILENT
    options.intra_op_num_threads = threads
    options.add_session_config_entry(*_EXACT_SUMS)
    return options


def _refused(path: Path, error: Exception, version: str) -> FacedistillError:
    """Return what to tell of a file that ONNX Runtime of that version does not load."""
    reason = _reason(error)
    old = tuple(map(int, version.split(".")[:2])) < _LEAST_OF_INTEGERS
    if old and type(error).__name__ == "NotImplemented":
        wanted = ".".join(map(str, _LEAST_OF_INTEGERS))
        return FacedistillError(
            f"{path} does not run on ONNX Runtime {version} ({reason}); files of 8-bit integers "
            f"need {wanted}: pip install 'onnxruntime>={wanted}'"
        )
    return FacedistillError(f"{path} is not a usable ONNX file: {reason}")


def _reason(error: Exception) -> str:
    """Return what went wrong, without the places in its own code that ONNX Runtime names first."""
    text = " ".join(str(error).split()) or type(error).__name__
    reason = _PREFIX.sub("", text.rpartition("Status Message: ")[2]) or text
    if len(reason) > _LONGEST_REASON:
        return f"{reason[:_LONGEST_REASON]}..."
    return reason
