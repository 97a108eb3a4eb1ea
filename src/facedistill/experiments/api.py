"""The public functions of `facedistill`: the whole job from Python, one call a command.

Each takes a path wherever a command does, or the object itself, and calls one function of one room.
Whoever needs more options finds them in that room.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from facedistill.core.errors import FacedistillError
from facedistill.core.progress import Say, say_nothing
from facedistill.data.dataset import FaceDataset
from facedistill.data.open import open_dataset
from facedistill.data.pairs.open_pairs import open_pairs
from facedistill.data.pairs.pair_set import PairSet
from facedistill.distill.bank.bank import Bank
from facedistill.distill.bank.making import embed_teacher
from facedistill.distill.teachers.base import Network
from facedistill.evaluation.evaluate import Evaluation, open_protocol
from facedistill.evaluation.evaluate import evaluate as evaluate_protocol
from facedistill.evaluation.options import EvaluationOptions
from facedistill.evaluation.protocols.base import Protocol
from facedistill.experiments.run import run
from facedistill.experiments.summary import Summary
from facedistill.export.export import ExportReport, export_network
from facedistill.export.target import ExportOptions
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.open_network import open_network
from facedistill.models.onnx_network import OnnxNetwork
from facedistill.recipe.loading import load_recipe
from facedistill.recipe.schema import Recipe
from facedistill.runtime.input_spec import InputSpec, StatedInput


def load(
    path: str | Path,
    *,
    input: InputSpec | StatedInput | None = None,
    device: str | torch.device | None = None,
    output: str | None = None,
) -> FaceNetwork | OnnxNetwork:
    """Open a network: a student, or a teacher of whatever origin.

    Args:
        path: A run's folder (its best weights), or a .safetensors, .onnx, .pt, .pth, .ckpt or
            .pth.tar file.
        input: What is known of the size, colour order and normalisation of an ONNX file or
            checkpoint that does not say.
        device: Where torch runs it; the CPU by default. ONNX Runtime chooses for itself.
        output: Name of the embedding among an ONNX file's outputs; found by default.

    Returns:
        A network in evaluation mode. Its `embed` takes uint8 RGB crops (B, H, H, 3) and returns
        float32 embeddings (B, D) of length 1.

    Raises:
        FacedistillError: If there is no such file, or it is damaged or of another kind.
    """
    on = None if device is None else torch.device(device)
    return open_network(path, input=input, device=on, output=output)


def embed(
    teacher: str | Path | Network,
    data: str | Path | FaceDataset,
    out: str | Path,
    *,
    flip: bool = True,
    batch_size: int = 64,
    workers: int = 0,
    licence: str = "unknown",
) -> Bank:
    """Embed a data set with a teacher, once, into a bank; an earlier call's work is continued.

    Args:
        teacher: What `load` opens, or a network.
        data: Aligned crops, as `facedistill embed --data` takes them, or an open data set.
        out: The bank's folder.
        flip: Embed mirrored images too.
        batch_size: Images of a forward pass.
        workers: Processes that read and decode ahead; 0 reads in this one.
        licence: Licence of the teacher's weights, kept in the bank.

    Returns:
        The bank: (N, D) float16 embeddings of each view, by the images' keys.

    Raises:
        FacedistillError: If the folder holds another bank, an image does not decode, or the teacher
            gives NaN.
    """
    return embed_teacher(
        _network(teacher),
        _faces(data),
        out,
        flip=flip,
        batch_size=batch_size,
        workers=workers,
        licence=licence,
    )


def distill(
    recipe: str | Path | Recipe,
    out: str | Path,
    settings: Iterable[str] = (),
    *,
    say: Say = say_nothing,
) -> Summary:
    """Train what a recipe describes; an unfinished run is continued, a finished one is read.

    Recipes without a teacher train from labels alone, as `facedistill train` does.

    Args:
        recipe: Name of a shipped recipe, path of a YAML file, or a `Recipe`.
        out: The run's folder.
        settings: `a.b=value` settings as of `--set`; later ones win.
        say: Takes lines about what goes on, such as `print`.

    Returns:
        What came out: the model file, figures of validation and evaluation, speed.

    Raises:
        FacedistillError: If the recipe, its data, its teacher and the folder do not fit together.
        Interrupted: After SIGTERM, SIGHUP or Ctrl-C; the same call continues the run.
    """
    if isinstance(recipe, Recipe):
        if list(settings):
            raise FacedistillError(
                "settings change a recipe that is read from a file: give its name or path"
            )
        return run(recipe, out, say)
    return run(load_recipe(recipe, settings), out, say)


def evaluate(
    model: str | Path | Network,
    data: str | Path | Protocol,
    options: EvaluationOptions | None = None,
) -> Evaluation:
    """Measure a network by the protocol that the data asks for.

    Args:
        model: What `load` opens, or a network.
        data: `.bin` pairs, a folder with `pairs.txt`, a folder of IJB protocol files, a landmark
            list, or what `facedistill.evaluation.evaluate.open_protocol` opened.
        options: How; by default the protocol's own way.

    Returns:
        The figures with 95 % intervals: `line()` as text, `to_dict()` as plain values, `report`.

    Raises:
        FacedistillError: If the data is unusable, or an option is not for its protocol.
    """
    network: Any = _network(model)
    protocol = open_protocol(data) if isinstance(data, str | Path) else data
    return evaluate_protocol(network, protocol, options)


def export(
    model: str | Path | FaceNetwork,
    out: str | Path,
    target: str | None = None,
    data: str | Path | FaceDataset | None = None,
    *,
    pairs: str | Path | PairSet | None = None,
    options: ExportOptions | None = None,
    overwrite: bool = False,
) -> ExportReport:
    """Write a network as a file for the device, compared with torch before it is kept.

    Args:
        model: A run's folder or model file, or a network.
        out: The file, with the target's suffix.
        target: `onnx`, `onnx-int8`, `openvino`, `ncnn`, `litert` or `coreml`; by default that of
            the suffix of `out`.
        data: Faces to compare on, and to calibrate integers with; random pixels by default.
        pairs: Verification pairs to compare the accuracy on.
        options: What the file takes and gives; the target's own choice by default.
        overwrite: Replace an export of the same name.

    Returns:
        The parity check: cosine similarities face by face, accuracy on the pairs, file size.

    Raises:
        FacedistillError: If the target cannot be had, or the file's mean cosine similarity is below
            the target's least. No file is left then.
    """
    network = _network(model)
    if not isinstance(network, FaceNetwork):
        raise FacedistillError(f"{model} is exported already: give a .safetensors model file")
    return export_network(
        network,
        out,
        target,
        options,
        faces=None if data is None else _faces(data),
        pairs=open_pairs(pairs) if isinstance(pairs, str | Path) else pairs,
        overwrite=overwrite,
    )


def _network(source: str | Path | Network) -> Network:
    return load(source) if isinstance(source, str | Path) else source


def _faces(source: str | Path | FaceDataset) -> FaceDataset:
    # Holes in the labels do not matter here: nothing learns from them.
    return open_dataset(source, relabel=True) if isinstance(source, str | Path) else source
