"""The loop, optimisers, schedules, checkpoints.

`Fit` is the project's own loop. Every other loop is one around `TrainingStep`, which holds the
student and the objectives and returns the loss of a batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from facedistill.core.lazy_names import lazy_names

if TYPE_CHECKING:
    from facedistill.engine.loop import Fit, LoopOptions
    from facedistill.engine.metrics_log import read_metrics
    from facedistill.engine.optimizer import create_optimizer
    from facedistill.engine.run_teachers import Teachers
    from facedistill.engine.schedule import create_schedule
    from facedistill.engine.step import TrainingStep
    from facedistill.engine.weights import Weight

__all__ = [
    "Fit",
    "LoopOptions",
    "Teachers",
    "TrainingStep",
    "Weight",
    "create_optimizer",
    "create_schedule",
    "read_metrics",
]

_MODULES = {
    "Fit": "loop",
    "LoopOptions": "loop",
    "Teachers": "run_teachers",
    "TrainingStep": "step",
    "Weight": "weights",
    "create_optimizer": "optimizer",
    "create_schedule": "schedule",
    "read_metrics": "metrics_log",
}
"""Where the public names are: importing this room imports no torch."""

__getattr__ = lazy_names(__name__, _MODULES)
