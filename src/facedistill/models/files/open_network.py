"""Opening a network whatever file it is in."""

from __future__ import annotations

from pathlib import Path

import torch

from facedistill.core.errors import FacedistillError
from facedistill.core.network_suffixes import NETWORKS, is_checkpoint, is_network
from facedistill.core.other_content import check_is_weights
from facedistill.core.regular_files import require_no_device
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.model_file import load_model
from facedistill.models.files.run_weights import best_of
from facedistill.models.files.signed_file import is_plain
from facedistill.models.foreign.foreign_weights import load_foreign
from facedistill.models.onnx_network import OnnxNetwork
from facedistill.runtime.input_spec import InputSpec, StatedInput


def open_network(
    path: str | Path,
    *,
    input: InputSpec | StatedInput | None = None,
    device: torch.device | None = None,
    output: str | None = None,
) -> FaceNetwork | OnnxNetwork:
    """Open a model file, an ONNX file or a foreign checkpoint.

    Args:
        path: .safetensors, .onnx, .pt, .pth, .ckpt or .pth.tar, or a run's folder.
        input: What an ONNX file or checkpoint is fed, where the file does not say; a model file
            always says.
        device: Where torch runs it; the CPU by default. ONNX Runtime chooses for itself.
        output: Name of the embedding among an ONNX file's outputs; found by default.

    Raises:
        FacedistillError: If the suffix is another, or the file is refused by its reader.
    """
    path = best_of(path)
    require_no_device(path)
    suffix = path.suffix.lower()
    if output is not None and suffix != ".onnx":
        raise FacedistillError(
            f"{path} is no ONNX file and has no output {output!r}: leave out --output, or "
            "teacher.output in a recipe"
        )
    if is_network(path):
        check_is_weights(path)
    if suffix == ".onnx":
        return OnnxNetwork(path, input=input, output=output)
    if suffix == ".safetensors" and not is_plain(path):
        network = load_model(path)
        wanted = StatedInput.of(input).over(network.input)
        if wanted != network.input:
            raise FacedistillError(
                f"{path} carries its own input specification {network.input}, which is not {wanted}"
            )
        return network.to(device)
    if suffix == ".safetensors" or is_checkpoint(path):
        return load_foreign(path, input=input).to(device)
    if not suffix and not path.exists():
        raise FacedistillError(f"{path} does not exist")
    raise FacedistillError(f"{path}: a network is a {', '.join(NETWORKS)} file")


def carries_input(path: Path, network: FaceNetwork | OnnxNetwork) -> bool:
    """Whether a file says itself how its network is fed, as all that facedistill writes do.

    Args:
        path: The file, or a run's folder.
        network: What was opened from it.
    """
    if isinstance(network, OnnxNetwork):
        return network.carried is not None
    path = best_of(path)
    return not is_checkpoint(path) and not is_plain(path)
