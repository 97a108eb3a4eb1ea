"""A frozen Transformer that prompts adapt: the teacher that meets its student half-way.

Zhao et al., "Cross-Architecture Distillation for Face Recognition", ACM MM 2023 (arXiv 2306.14662),
the adaptable prompting teacher. Every stage of the backbone takes t fresh tokens of its own width
beside the image's; the next stage does not see them. Only they train, by whatever gradient the
objectives send back through the frozen network.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from facedistill.core.errors import FacedistillError
from facedistill.data.batch import Batch
from facedistill.distill.teachers.base import Network, View
from facedistill.distill.teachers.online import NetworkTeacher
from facedistill.models.backbones.base import TokenBackbone, tokens_of
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.signed_file import PROMPTS, open_signed, write_signed
from facedistill.models.outputs import Outputs, check_needs, embedding_of
from facedistill.recipe.schema import MOST_PROMPTS
from facedistill.runtime.input_spec import InputSpec


class PromptedNetwork(nn.Module):
    """A frozen network with trainable prompts. With none it equals the network to the last bit.

    The network is no child module: neither `train()` nor an optimiser nor a checkpoint reaches it,
    and `state_dict()` holds the prompts alone. It follows the prompts from device to device.

    Args:
        network: A FaceNetwork whose backbone is a Transformer (Swin or ViT); it is put in
            evaluation mode and frozen.
        prompts: t, prompts of each stage. The paper's number is not known here; 10 is this
            project's default.
        checkpointing: Compute the network's blocks again in the backward pass instead of keeping
            what they need, whatever the network was made with: gradients to the prompts of the
            first stage go through all of it.

    Attributes:
        network: The frozen network.
        prompts: For each stage (t, C) with the stage's own C, drawn from U(-v, v),
            v = sqrt(6 / (3 patch^2 + C)); empty where t is 0.
        count: t.

    Raises:
        FacedistillError: If the network is not a Transformer, or t is out of range.
    """

    network: FaceNetwork

    def __init__(
        self, network: FaceNetwork, prompts: int = 10, *, checkpointing: bool = False
    ) -> None:
        super().__init__()
        backbone = network.backbone
        if not isinstance(backbone, TokenBackbone):
            raise FacedistillError(
                f"teacher {network.name} is a {network.architecture} and cannot be prompted: "
                "prompts are for this library's own swin and vit networks: set teacher.prompts, "
                "and the objective that preserves them, to null"
            )
        if network.centre is not None:
            raise FacedistillError(
                f"teacher {network.name} has centred embeddings, of a mean that prompts would "
                "change: give the file that it was centred from"
            )
        if not 0 <= prompts <= MOST_PROMPTS:
            raise FacedistillError(f"a stage takes 0 to {MOST_PROMPTS} prompts, not {prompts}")
        object.__setattr__(self, "network", network.eval().requires_grad_(False))
        backbone.checkpointing |= checkpointing
        self.backbone_stages = len(backbone.prompt_widths)
        self.count = prompts
        self.prompts = nn.ParameterList()
        for width in backbone.prompt_widths if prompts else ():
            bound = math.sqrt(6 / (3 * backbone.patch**2 + width))
            values = torch.empty(prompts, width, device=network.device)
            self.prompts.append(nn.Parameter(values.uniform_(-bound, bound)))

    @property
    def name(self) -> str:
        """What to call it in messages."""
        return f"{self.network.name} with prompts"

    @property
    def input(self) -> InputSpec:
        """What it is fed."""
        return self.network.input

    @property
    def embedding_size(self) -> int:
        """D, the length of an embedding."""
        return self.network.embedding_size

    @property
    def gives(self) -> frozenset[str]:
        """Names of the outputs that `forward` can be asked for."""
        return self.network.gives | {"plain_embedding"}

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.network.device

    @property
    def fingerprint(self) -> str:
        """Hex digest over the network and the prompts as they are now; reads all weights."""
        digest = hashlib.blake2b(self.network.fingerprint.encode(), digest_size=16)
        for prompt in self.prompts:
            digest.update(f"{tuple(prompt.shape)}{prompt.dtype}".encode())
            digest.update(prompt.detach().cpu().contiguous().numpy().data)
        return digest.hexdigest()

    def forward(self, images: Tensor, needs: Collection[str] = ("embedding",)) -> Outputs:
        """Run a batch, with gradient to the prompts.

        Args:
            images: uint8 RGB, (B, H, H, 3), on the network's device.
            needs: Names of the outputs wanted, among `gives`.

        Returns:
            Outputs of the prompted network; the tokens are N places, row by row, and behind them
            the last stage's t prompts, and the feature map has the places alone. The plain
            embedding is the unprompted network's, without gradient.

        Raises:
            FacedistillError: If the images are not such a batch, or an output is not had.
        """
        check_needs(self.name, needs, self.gives)
        x = self.network.preprocess(images)
        outputs = self._prompted(x, needs) if set(needs) - {"plain_embedding"} else Outputs()
        if "plain_embedding" in needs:
            with torch.no_grad():
                outputs.plain_embedding = self.network.backbone(x).float()
        return outputs

    def _prompted(self, x: Tensor, needs: Collection[str]) -> Outputs:
        backbone = self.network.backbone
        assert isinstance(backbone, TokenBackbone)
        feature_map, prompts = backbone.forward_prompted(x, self._for_batch(len(x)))
        outputs = Outputs()
        if {"embedding", "landmarks"} & set(needs):
            outputs.embedding = backbone.forward_head(feature_map).float()
        if "landmarks" in needs:
            outputs.landmarks = self.network.landmarks_at(embedding_of(outputs))
        if "feature_map" in needs:
            outputs.feature_map = feature_map
        if "tokens" in needs:
            tokens = tokens_of(feature_map)
            outputs.tokens = tokens if prompts is None else torch.cat([tokens, prompts], dim=1)
        return outputs

    def _for_batch(self, batch: int) -> list[Tensor | None]:
        if not self.count:
            return [None] * self.backbone_stages
        return [prompt.expand(batch, -1, -1) for prompt in self.prompts]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> PromptedNetwork:
        # Whatever moves or casts the prompts moves the network with them.
        self.network._apply(fn, recurse)
        return super()._apply(fn, recurse)


def save_prompts(prompted: PromptedNetwork, path: str | Path) -> None:
    """Write the prompts, and whose they are, to a safetensors file, replacing an old one whole.

    Args:
        prompted: Whose prompts to save; in float32.
        path: Where to.

    Raises:
        FacedistillError: If a value is not finite, the suffix is wrong or the write is refused.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise FacedistillError(f"cannot write {path}: the name of prompts ends in .safetensors")
    tensors = {
        key: value.detach().cpu().float().contiguous()
        for key, value in prompted.state_dict().items()
    }
    document: dict[str, Any] = {
        "format_version": PROMPTS.version,
        "prompts": prompted.count,
        "teacher": prompted.network.fingerprint,
        "teacher_name": prompted.network.name,
    }
    write_signed(path, document, tensors)


def load_prompts(network: FaceNetwork, path: str | Path) -> PromptedNetwork:
    """Give a network the prompts of a file written by `save_prompts`.

    Args:
        network: The teacher that they were trained for.
        path: The file.

    Returns:
        The prompted network.

    Raises:
        FacedistillError: If the file is absent, damaged or of another kind, or holds prompts of
            another teacher.
    """
    path = Path(path)
    with open_signed(path, PROMPTS) as file:
        document = file.document
        if document["teacher"] != network.fingerprint:
            raise FacedistillError(
                f"{path} holds prompts of teacher {document['teacher_name']}, and its weights "
                f"or input are not those of {network.name}: give the teacher they were "
                "trained with"
            )
        prompted = PromptedNetwork(network, document["prompts"])
        file.check_layout(prompted.state_dict(), f"{document['prompts']} prompts")
        tensors = file.read()
    prompted.load_state_dict(tensors)
    return prompted


FILE = "prompts.safetensors"
"""The prompts of a run, in its folder."""


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


class PromptedTeacher(TrainableTeacher):
    """A Transformer that teaches with prompts, which train beside the student.

    Args:
        prompted: The network with its prompts.
        view: Which image it sees.
        precision: As a `NetworkTeacher`'s.
    """

    def __init__(
        self, prompted: PromptedNetwork, view: View = "same", precision: torch.dtype | None = None
    ) -> None:
        super().__init__(prompted, prompted.network, view, precision)
        self.prompted = prompted

    def save(self, folder: Path) -> None:
        """Write the prompts as they are now."""
        save_prompts(self.prompted, folder / FILE)
