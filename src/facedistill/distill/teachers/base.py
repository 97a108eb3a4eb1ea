"""Teachers: a bank, or a frozen network, behind one call."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, Protocol, cast

import torch
from torch.nn import functional as F

from facedistill.core.errors import FacedistillError
from facedistill.data.batch import Batch
from facedistill.data.sample import FaceDataset
from facedistill.distill.bank.bank import Bank
from facedistill.models.comparison_embedding import embedding_of
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
    """

    name: str
    fingerprint: str
    embedding_size: int
    gives: frozenset[str]
    channels: int | None = None
    head: ClassHead | None = None
    wants_clean: bool = False

    @abstractmethod
    def __call__(self, batch: Batch, needs: Collection[str]) -> Outputs:
        """Return at least the outputs named in `needs` for the batch, on its device."""

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

    def check_classes(self, faces: FaceDataset) -> None:
        """Refuse a run whose classes are others than those of the teacher's logits.

        Raises:
            FacedistillError: Naming both.
        """
        if self.head is not None:
            self.head.check_people(faces.fingerprint, faces.name, self.name)


class BankTeacher(Teacher):
    """The cached teacher: embeddings come from the bank, in microseconds.

    They are raw, of the length that the network gave them, as an online teacher's are.

    Args:
        bank: The bank.
        view: `same` teaches a mirrored image the flipped view and needs both in the bank;
            `clean` teaches every image the plain view, whatever augmentation did to it.

    Attributes:
        scale: Scale s of its logits s cos(f, prototype), had after `learn_prototypes`. A run sets
            it to that of the student's, so that both mean the same by a temperature.
    """

    def __init__(self, bank: Bank, view: View = "same") -> None:
        self.bank = bank
        self.view = view
        self.name = f"bank {bank.folder}"
        self.fingerprint = bank.info.teacher
        self.embedding_size = bank.info.dimension
        self.gives = frozenset({"embedding"})
        self.scale = 64.0
        self.prototypes: torch.Tensor | None = None

    def learn_prototypes(self, faces: FaceDataset) -> torch.Tensor:
        """Take the mean unit embedding of each identity as its class centre, to give logits.

        Args:
            faces: The training faces, labelled 0..M-1.

        Returns:
            The centres, float32 (M, D), computed on the first call.
        """
        if self.prototypes is None:
            rows = self.bank.rows_of(faces)
            self.prototypes = torch.from_numpy(self.bank.prototypes(rows, faces.labels))
            self.gives = self.gives | {"logits"}
        return self.prototypes

    def __call__(self, batch: Batch, needs: Collection[str]) -> Outputs:
        """Look the batch up by its keys."""
        flipped = batch.flipped.cpu().numpy() if self.view == "same" else None
        rows = self.bank.find(batch.keys)
        raw = self.bank.embeddings(rows, flipped) * self.bank.norms(rows, flipped)[:, None]
        embedding = torch.from_numpy(raw)
        embedding = embedding.to(batch.labels.device, non_blocking=True)
        outputs = Outputs(embedding=embedding)
        if "logits" in needs:
            assert self.prototypes is not None
            self.prototypes = self.prototypes.to(embedding.device)
            with torch.autocast(embedding.device.type, enabled=False):
                outputs.logits = self.scale * F.normalize(embedding, dim=1) @ self.prototypes.T
        return outputs


class NetworkTeacher(Teacher):
    """The online teacher: a frozen network sees every batch.

    Args:
        network: A FaceNetwork or OnnxNetwork; torch modules are put in evaluation mode and their
            parameters frozen, and they follow the batch to its device.
        view: Which image it sees.
        head: Its class head, where it has one, for logits.
        precision: What it computes in, float32 or bfloat16; its answers are float32 then. Left out,
            it computes and answers in what the run computes in.

    Attributes:
        plain: The network as it is before anything of it trains here.
    """

    def __init__(
        self,
        network: Network,
        view: View = "same",
        head: ClassHead | None = None,
        precision: torch.dtype | None = None,
    ) -> None:
        if isinstance(network, torch.nn.Module):
            network.eval().requires_grad_(False)
        self.network = self.plain = network
        self.head = head
        self.precision = precision
        self.wants_clean = view == "clean"
        self.name = network.name
        self.fingerprint = network.fingerprint
        self.embedding_size = network.embedding_size
        self.gives = network.gives | ({"logits"} if head else set())
        if "feature_map" in self.gives:
            self.channels = getattr(network, "feature_channels", None)

    @torch.no_grad()
    def __call__(self, batch: Batch, needs: Collection[str]) -> Outputs:
        """Run the network on the batch."""
        images = self._seen(batch)
        if isinstance(self.network, torch.nn.Module):
            self.network.to(images.device)
        asked = set(needs) if self.head is None else {*needs, "embedding"} - {"logits"}
        outputs = self._ask(images, asked)
        if self.head is not None and "logits" in needs:
            outputs.logits = self.head.to(images.device)(embedding_of(outputs).to(images.device))
        # An ONNX network answers on the CPU whatever the batch is on.
        return _each(outputs, lambda said: said.to(images.device))

    def _ask(self, images: torch.Tensor, needs: Collection[str]) -> Outputs:
        """Run the network in its own precision, or in the run's."""
        with self._own_precision(images.device.type):
            outputs = self.network(images, needs)
        return outputs if self.precision is None else _each(outputs, torch.Tensor.float)

    def _own_precision(self, device: str) -> AbstractContextManager[Any]:
        if self.precision is None:
            return nullcontext()
        half = self.precision != torch.float32
        return torch.autocast(device, self.precision if half else None, enabled=half)

    def _seen(self, batch: Batch) -> torch.Tensor:
        images = batch.clean if self.wants_clean else batch.images
        assert images is not None, "the loader keeps the clean view for a teacher that wants it"
        return images


def _each(outputs: Outputs, change: Callable[[torch.Tensor], torch.Tensor]) -> Outputs:
    """Change every tensor of what a network said."""

    def changed(said: Any) -> Any:
        if isinstance(said, list):
            return [change(each) for each in said]
        return None if said is None else change(said)

    return Outputs(**{key: changed(said) for key, said in vars(outputs).items()})


class TrainableTeacher(NetworkTeacher):
    """An online teacher of which something trains beside the student.

    Whoever trains makes `module` part of what is optimised, moved and saved; gradients reach it.

    Args:
        module: A torch module that is a `Network` too. Its frozen parts need no gradient and stay
            in evaluation mode by themselves; its `state_dict` holds only what trains.
        plain: The network inside it, without what trains.
        view: Which image it sees.
        precision: As a `NetworkTeacher`'s.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        plain: Network,
        view: View = "same",
        precision: torch.dtype | None = None,
    ) -> None:
        super().__init__(plain, view, precision=precision)
        self.module = module.eval()
        self.network = cast(Network, module)
        self.gives = self.network.gives

    def check(self, needs: Collection[str]) -> None:
        """Refuse a run whose objectives ask for what this teacher cannot give.

        Raises:
            FacedistillError: Naming what is missing.
        """
        if "logits" in needs:
            raise FacedistillError(
                f"{self.name} changes while it teaches and gives no logits: leave teacher.prompts "
                "out, or take logits from a second teacher (`teachers`, and `of` in the objective)"
            )
        super().check(needs)

    def __call__(self, batch: Batch, needs: Collection[str]) -> Outputs:
        """Run the module on the batch, which must be on its device."""
        return self._ask(self._seen(batch), needs)
