"""Device, precision and processes of a run."""

from __future__ import annotations

import os
import shutil
from typing import Literal

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState

from facedistill.core.errors import FacedistillError
from facedistill.engine.step import TrainingStep

Device = Literal["cpu", "cuda"] | None
"""None takes the accelerator where there is one."""

Precision = Literal["auto", "fp32", "bf16", "fp16"]


def runs_on_cpu(device: Device) -> bool:
    """Whether a run of this `training.device` computes on the CPU."""
    return device == "cpu" or not torch.cuda.is_available()


def open_accelerator(
    device: Device = None, precision: Precision = "auto", *, compiled: bool = False
) -> Accelerator:
    """Choose device, precision and processes.

    Args:
        device: Where to compute; None takes the accelerator where there is one.
        precision: `auto` is bf16 on an accelerator, fp32 on a CPU.
        compiled: Whether the student is to be compiled.

    Raises:
        FacedistillError: If the machine does not have what is asked for.
    """
    # accelerate keeps one state for the whole process and refuses a second run of other precision
    # or device. It offers no public way to forget the first; its own tests do it like this.
    AcceleratorState._reset_state(reset_partial_state=True)
    cpu = runs_on_cpu(device)
    if device == "cuda" and cpu:
        raise FacedistillError("training.device is cuda and there is none: set it to cpu")
    if precision == "auto":
        precision = "fp32" if cpu else "bf16"
    if precision == "fp16" and cpu:
        raise FacedistillError("training.precision: fp16 is for accelerators: set it to fp32")
    if compiled and cpu and not _has_compiler():
        raise FacedistillError(
            "training.compile needs a C++ compiler on a CPU and there is none: install g++, or set "
            "it to false"
        )
    return Accelerator(cpu=cpu, mixed_precision="no" if precision == "fp32" else precision)


def expect_gradients(accelerator: Accelerator, step: TrainingStep) -> None:
    """Tell DistributedDataParallel whether all weights get a gradient in each step.

    It would wait for those that never come; looking for them takes time where none are missing.
    """
    accelerator.ddp_handler = DistributedDataParallelKwargs(
        find_unused_parameters=step.leaves_weights_out
    )


def check_micro_batches(batch_size: int, accumulate: int, processes: int) -> None:
    """Refuse batches that cannot be divided.

    Args:
        batch_size: Images per optimiser step.
        accumulate: Micro-batches per optimiser step.
        processes: Among which each micro-batch is divided.

    Raises:
        FacedistillError: If a micro-batch would have fewer than 2 images.
    """
    if batch_size < 2 * accumulate * processes:
        raise FacedistillError(
            f"training.batch_size {batch_size} among {processes} processes in {accumulate} "
            "micro-batches leaves fewer than 2 images at a time: raise it"
        )


def _has_compiler() -> bool:
    return any(map(shutil.which, (os.environ.get("CXX", "c++"), "g++", "clang++")))
