"""Terms of the loss, one method a file.

`base` and `context` are the contract, `registry` knows the methods by name, and `standalone` makes
losses of them for a loop of one's own.
"""

from typing import TYPE_CHECKING

from facedistill.core.lazy_names import lazy_names

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

# Torch takes its time: it is loaded with the first name that needs it.
__getattr__ = lazy_names(
    __name__,
    {
        "Classifier": "base",
        "Objective": "base",
        "RunContext": "context",
        "StandaloneLoss": "standalone",
        "create_objective": "registry",
        "loss": "standalone",
        "objective": "registry",
        "objective_names": "registry",
    },
)
