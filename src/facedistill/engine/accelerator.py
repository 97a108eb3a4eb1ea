"""Device, precision and processes of a run."""

from __future__ import annotations

import os
import shutil

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState

from facedistill.core.errors import FacedistillError
from facedistill.engine.step import TrainingStep
from facedistill.recipe.schema import Recipe


def open_accelerator(recipe: Recipe) -> Accelerator:
    """Choose device, precision and processes.

    Raises:
        FacedistillError: If the machine has not what the recipe asks for.
    """
    # accelerate keeps one state for the whole process and refuses a second run of other precision
    # or device. It offers no public way to forget the first; its own tests do it like this.
    AcceleratorState._reset_state(reset_partial_state=True)
    cpu = recipe.training.device == "cpu" or not torch.cuda.is_available()
    if recipe.training.device == "cuda" and cpu:
        raise FacedistillError("training.device is cuda and there is none: set it to cpu")
    precision = recipe.training.precision
    if precision == "auto":
        precision = "fp32" if cpu else "bf16"
    if precision == "fp16" and cpu:
        raise FacedistillError("training.precision: fp16 is for accelerators: set it to fp32")
    if recipe.training.compile and cpu and not _has_compiler():
        raise FacedistillError(
            "training.compile needs a C++ compiler on a CPU and there is none: install g++, or set "
            "it to false"
        )
    return Accelerator(cpu=cpu, mixed_precision="no" if precision == "fp32" else precision)


def expect_gradients(accelerator: Accelerator, step: TrainingStep) -> None:
    """Tell what divides the work among processes whether all weights get a gradient each time.

    It would wait for those that never come; looking for them takes time where none are missing.
    """
    accelerator.ddp_handler = DistributedDataParallelKwargs(
        find_unused_parameters=step.leaves_weights_out
    )


def _has_compiler() -> bool:
    return any(map(shutil.which, (os.environ.get("CXX", "c++"), "g++", "clang++")))


def check_micro_batches(recipe: Recipe, accelerator: Accelerator) -> None:
    """Refuse batches that cannot be divided.

    Raises:
        FacedistillError: If a micro-batch would have fewer than 2 images.
    """
    training, world = recipe.training, accelerator.num_processes
    if training.batch_size < 2 * training.accumulate * world:
        raise FacedistillError(
            f"training.batch_size {training.batch_size} among {world} processes in "
            f"{training.accumulate} micro-batches leaves fewer than 2 images at a time: raise it"
        )
