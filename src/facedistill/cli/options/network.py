"""The network that a command names, open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from facedistill.cli.options.arguments import Channels, Color
from facedistill.core.errors import FacedistillError


def opened_network(
    path: Path | None,
    color: Color | None = None,
    size: int | None = None,
    mean: Channels | None = None,
    std: Channels | None = None,
    prompts: Path | None = None,
    output: str | None = None,
) -> Any:
    """Open a network, with what the user states of its input and output, and prompts if any."""
    from facedistill.core.process import keep_freed_memory
    from facedistill.models.device import best_device
    from facedistill.models.files.open_network import open_network
    from facedistill.runtime.input_spec import StatedInput

    assert path is not None
    keep_freed_memory()
    stated = StatedInput(
        size=size,
        color=color.value if color else None,
        mean=mean,
        std=std,
    )
    network = open_network(path, input=stated, device=best_device(), output=output)
    if prompts is None:
        return network
    from facedistill.distill.teachers.prompted import FILE, load_prompts
    from facedistill.models.face_network import FaceNetwork

    if not isinstance(network, FaceNetwork):
        raise FacedistillError(f"--prompts: {path} is an ONNX file, which takes none")
    return load_prompts(network, prompts / FILE if prompts.is_dir() else prompts)
