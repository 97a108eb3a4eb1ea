"""What a run and a comparison are made of and leave behind.

`distill`, `embed`, `evaluate`, `export` and `load` are the functions of `facedistill` itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from facedistill.core.lazy_names import lazy_names

if TYPE_CHECKING:
    from facedistill.experiments.api import distill, embed, evaluate, export, load
    from facedistill.experiments.comparing import run_comparison
    from facedistill.experiments.demo import run_demo
    from facedistill.experiments.summary import Summary

__all__ = [
    "Summary",
    "distill",
    "embed",
    "evaluate",
    "export",
    "load",
    "run_comparison",
    "run_demo",
]

_MODULES = {
    "Summary": "summary",
    "distill": "api",
    "embed": "api",
    "evaluate": "api",
    "export": "api",
    "load": "api",
    "run_comparison": "comparing",
    "run_demo": "demo",
}
"""Where the public names are: importing this room imports no torch."""

__getattr__ = lazy_names(__name__, _MODULES)
