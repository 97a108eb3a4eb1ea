"""What a teacher is: anything that gives Outputs for a batch, and what a network must be for it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from pathlib import Path
from typing import Literal, Protocol

import torch

from facedistill.core.errors import FacedistillError
from facedistill.data.batch import Batch
from facedistill.models.heads.class_head import ClassHead
from facedistill.models.outputs import Outputs
from facedistill.runtime.input_spec import InputSpec

View = Literal["same", "clean"]
"""Which image the teacher sees: the student's own (`same`), or the one before augmentation."""


class Network(Protocol):
    """What an online teacher must be: FaceNetwork and OnnxNetwork are."""

    @property
    def embedding_size(self) -> int:
        """Dimension D of its embedding."""

    @property
    def name(self) -> str:
        """What to call it in messages."""

    @property
    def fingerprint(self) -> str:
        """Hash over weights and input conventions."""

    @property
    def gives(self) -> frozenset[str]:
        """Outputs it can be asked for, e.g. `embedding`, `feature_map`."""

    @property
    def input(self) -> InputSpec:
        """What it is fed."""

    def __call__(self, images: torch.Tensor, needs: Collection[str] = ...) -> Outputs:
        """Return the asked outputs for uint8 RGB (B, H, W, 3)."""


_NO_LOGITS = (
    "; a bank of labelled data gives logits, and so does a run's folder with a class head "
    "(best.head.safetensors)"
)


class Teacher(ABC):
    """Anything that gives Outputs for a batch, in evaluation mode and without margin.

    Attributes:
        name: What to call it in messages.
        fingerprint: Identifies its knowledge.
        embedding_size: Dimension D of its embedding.
        gives: Outputs it can be asked for.
        channels: Channels of its feature map; None where it gives none.
        head: Its class head, if it brings one for logits.
        wants_clean: It reads `batch.clean`, which the loader must then keep.
        plain: The network as it is before anything of it trains here; None where there is none.
    """

    name: str
    fingerprint: str
    embedding_size: int
    gives: frozenset[str]
    channels: int | None = None
    head: ClassHead | None = None
    wants_clean: bool = False
    plain: Network | None = None

    @abstractmethod
    def __call__(self, batch: Batch, needs: Collection[str]) -> Outputs:
        """Return at least the outputs named in `needs` for the batch, on its device."""

    def save(self, folder: Path) -> None:  # noqa: B027 - most have nothing to write
        """Write what has trained of it into a run's folder; by default nothing has."""

    def check(self, needs: Collection[str]) -> None:
        """Refuse a run whose objectives ask for what this teacher cannot give.

        Raises:
            FacedistillError: Naming what is missing.
        """
        missing = sorted(set(needs) - self.gives)
        if missing:
            raise FacedistillError(
                f"the objectives need teacher.{', teacher.'.join(missing)}, but {self.name} gives "
                f"only {', '.join(sorted(self.gives))}"
                + (_NO_LOGITS if "logits" in missing else "")
            )
