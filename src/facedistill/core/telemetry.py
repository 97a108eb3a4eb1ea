"""Telemetry of dependencies, switched off: nothing about faces, files or machines leaves unasked.

Some packages that facedistill uses report to their vendors by themselves: ONNX Runtime posts facts
about the machine when a session is made, OpenVINO posts when it is imported and writes an
identifier into the home folder, the hub client of Hugging Face asks for names. Each is switched off
before it can be imported, since `facedistill/__init__.py` calls this first, in every process.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

_VARIABLES = {
    "ORT_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
    "WANDB_ERROR_REPORTING": "false",
    "TRACKIO_DISABLE_TELEMETRY": "1",
}
"""Environment variables that the packages read when they are imported or first used."""

_BLOCKED = ("openvino_telemetry",)
"""Packages whose absence their users stand: OpenVINO then takes a stub that sends nothing."""


def switch_off_telemetry() -> None:
    """Switch off the telemetry of every dependency, in this process and its children.

    Nor are folders made in the home folder, other than the cache.

    A package that the application imported before stays as the application had it.
    """
    os.environ.update(_VARIABLES)
    for package in _BLOCKED:
        # None makes `import` raise ImportError, at once and without looking for the package.
        sys.modules.setdefault(package, None)  # type: ignore[arg-type]
    _keep_matplotlib_in_the_cache()


def _keep_matplotlib_in_the_cache() -> None:
    """Let matplotlib put its files into the cache folder where it has no folder of its own yet."""
    configuration = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    if not (configuration / "matplotlib").is_dir():
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        os.environ.setdefault("MPLCONFIGDIR", str(cache / "matplotlib"))
