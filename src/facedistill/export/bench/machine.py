"""What a benchmark ran on: processor, memory, versions, and how busy the machine was."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from facedistill.core.process import usable_cpus
from facedistill.core.version import __version__

_CPU_FACTS, _MEMORY_FACTS = Path("/proc/cpuinfo"), Path("/proc/meminfo")
_BUSY = 0.3
"""Load of a machine, by its processors, that makes times doubtful."""


@dataclass(frozen=True)
class Machine:
    """One machine.

    Attributes:
        processor: Its name, as far as the system tells.
        cpus: Logical processors that this process may use.
        memory: Bytes of main memory; None where the system does not tell.
        system: Operating system, its release, the instruction set.
        load: Processes that ran or waited during the last minute; None where the system does not
            tell.
        versions: Of Python, of facedistill and of packages.
    """

    processor: str
    cpus: int
    memory: int | None
    system: str
    load: float | None
    versions: dict[str, str]

    def line(self) -> str:
        """Return the machine as one line of text."""
        memory = "" if self.memory is None else f", {self.memory / 1e9:.1f} GB"
        count = f"{self.cpus} CPU{'s' if self.cpus > 1 else ''}"
        versions = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        return f"{self.processor}, {count}{memory}, {self.system}; {versions}"

    def doubt(self) -> str | None:
        """Return what the machine's load means for times; None if it was idle."""
        if self.load is None or self.load < _BUSY * self.cpus:
            return None
        return (
            f"the machine was busy before the first call (load {self.load:.1f} on {self.cpus} "
            "CPUs): times are too long and ratios doubtful, measure again when it is idle"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return asdict(self)


def this_machine(packages: Iterable[str] = ()) -> Machine:
    """Describe the machine as it is now.

    Args:
        packages: Distributions whose versions to tell; those that are not installed are left out.
    """
    return Machine(
        processor=_fact(_CPU_FACTS, "model name") or platform.processor() or platform.machine(),
        cpus=usable_cpus(),
        memory=_memory(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        load=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        versions={
            "Python": platform.python_version(),
            "facedistill": __version__,
            **_versions(packages),
        },
    )


def _versions(packages: Iterable[str]) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _memory() -> int | None:
    kilobytes = _fact(_MEMORY_FACTS, "MemTotal")
    return int(kilobytes.split()[0]) * 1024 if kilobytes else None


def _fact(path: Path, name: str) -> str | None:
    """The first value of a name in one of the system's lists of `name: value`."""
    try:
        lines = path.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return None  # Not a Linux machine.
    values = (line.partition(":")[2].strip() for line in lines if line.startswith(name))
    return next(filter(None, values), None)
