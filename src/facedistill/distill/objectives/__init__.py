"""Terms of the loss, one method a file.

`base` and `context` are the contract, `registry` knows the methods by name, and `standalone` makes
losses of them for a loop of one's own.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from facedistill.distill.objectives.base import Classifier, Objective
    from facedistill.distill.objectives.context import RunContext
    from facedistill.distill.objectives.registry import (
        create_objective,
        objective,
        objective_names,
    )
    from facedistill.distill.objectives.standalone import StandaloneLoss, loss

__all__ = [
    "Classifier",
    "Objective",
    "RunContext",
    "StandaloneLoss",
    "create_objective",
    "loss",
    "objective",
    "objective_names",
]

_MODULES = {
    "Classifier": "base",
    "Objective": "base",
    "RunContext": "context",
    "StandaloneLoss": "standalone",
    "create_objective": "registry",
    "loss": "standalone",
    "objective": "registry",
    "objective_names": "registry",
}


def __getattr__(name: str) -> Any:
    # Torch takes its time: it is loaded with the first name that needs it.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
