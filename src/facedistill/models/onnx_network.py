"""A network in an ONNX file, run by ONNX Runtime: raw faces in, Outputs out."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from facedistill.core.errors import FacedistillError
from facedistill.core.process import usable_cpus
from facedistill.models.inference import comparison_embedding
from facedistill.models.outputs import Outputs, check_needs, landmarks_of
from facedistill.models.preprocess import Preprocess, check_images
from facedistill.runtime.engine import carried_document, open_session
from facedistill.runtime.header import stated_thresholds
from facedistill.runtime.input_spec import InputSpec

_SPEC_KEYS = ("size", "color", "mean", "std")
_FLOATS = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_BYTES = "tensor(uint8)"
_PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")


class OnnxNetwork:
    """A frozen network that gives embeddings, and landmarks if facedistill exported it with them.

    The graph's input may be float or half, channels first or last, or raw uint8 RGB channels last
    if the graph normalises for itself. Where its batch is fixed, images run in as many parallel
    calls as there are threads: for small networks twice as fast as parallelism inside an operator.

    Args:
        path: The .onnx file.
        input: Colour order and normalisation; may be left out for facedistill's own exports, which
            carry theirs, and else defaults to RGB, (x - 127.5) / 127.5, with a warning.
        threads: CPU threads; all by default.
        output: Name of the embedding among the graph's outputs; the only (batch, D) float output
            by default.

    Attributes:
        path: The file.
        name: What to call this network in messages.
        input: Size, colour order and normalisation.
        embedding_size: D.
        batch: The graph's fixed batch size, or None if it takes any.

    Raises:
        FacedistillError: If the file does not load, its input or output cannot be used, or `input`
            contradicts it.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        input: InputSpec | None = None,
        threads: int | None = None,
        output: str | None = None,
    ) -> None:
        self.path = Path(path)
        self.name = self.path.stem
        self._threads = threads or usable_cpus()
        self._session = open_session(self.path, self._threads, _PROVIDERS)
        entry = self._only_input()
        self.batch, side, self._channels_last = self._layout(entry)
        if self.batch is not None and self._threads > 1:
            self._session = open_session(self.path, 1, _PROVIDERS)
        self._raw = entry.type == _BYTES
        self._input_name, self._dtype = entry.name, _FLOATS.get(entry.type, np.uint8)
        self.input = self._specify(input, side)
        self._preprocess = Preprocess(self.input)
        self._output_name, size = self._choose_output(output)
        self.landmark_points = self._count_landmarks()
        self.embedding_size = size or self._probe_embedding_size()

    @property
    def gives(self) -> frozenset[str]:
        """Names of the outputs that it can be asked for."""
        return frozenset({"embedding", "landmarks"} if self.landmark_points else {"embedding"})

    @cached_property
    def fingerprint(self) -> str:
        """Hex digest over the file, the external weights it names, and the input."""
        digest = hashlib.blake2b(json.dumps(self.input.to_dict()).encode(), digest_size=16)
        digest.update(self._output_name.encode())
        for path in [self.path, *_external_files(self.path)]:
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        return digest.hexdigest()

    def __call__(self, images: Tensor, needs: Collection[str] = ("embedding",)) -> Outputs:
        """Run a batch.

        Args:
            images: uint8 RGB, (B, H, H, 3); resized if H is not the network's size.
            needs: Names of the outputs wanted, among `gives`.

        Returns:
            Outputs with the embedding (B, D), float32 on the CPU, not normalised; landmarks if
            asked for.

        Raises:
            FacedistillError: If the images are not such a batch, or an output is not had.
        """
        check_needs(self.name, needs, self.gives)
        check_images(images)
        wanted = "landmarks" in needs
        if len(images) == 0:
            empty = torch.empty(0, self.landmark_points or 0, 2)
            return Outputs(torch.empty(0, self.embedding_size), landmarks=empty if wanted else None)
        names = [self._output_name, *(["landmarks"] if wanted else [])]
        embedding, *landmarks = self._run(self._prepare(images.cpu()), names)
        return Outputs(
            torch.from_numpy(embedding),
            landmarks=torch.from_numpy(landmarks[0]) if wanted else None,
        )

    def locate(self, images: Tensor | np.ndarray) -> Tensor:
        """Return the landmarks (B, P, 2) of faces in loose crops, fractions of the image's side.

        Args:
            images: uint8 RGB, (B, H, H, 3).

        Raises:
            FacedistillError: If the network gives none.
        """
        if isinstance(images, np.ndarray):
            images = torch.from_numpy(np.ascontiguousarray(images))
        return landmarks_of(self(images, ("landmarks",)))

    def embed(self, images: Tensor | np.ndarray, flip: bool = True) -> Tensor:
        """Return unit embeddings (B, D) to compare faces by.

        Args:
            images: uint8 RGB, (B, H, H, 3).
            flip: Whether to add the mirrored image's embedding before normalising.
        """
        if isinstance(images, np.ndarray):
            images = torch.from_numpy(np.ascontiguousarray(images))
        return comparison_embedding(self, images, flip=flip)

    def _only_input(self) -> Any:
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            names = ", ".join(entry.name for entry in inputs)
            raise FacedistillError(f"{self.path} must have one input, not {len(inputs)}: {names}")
        if inputs[0].type not in (*_FLOATS, _BYTES):
            raise FacedistillError(
                f"{self.path}: input {inputs[0].name} is {inputs[0].type}, "
                f"which is neither float, half nor uint8"
            )
        return inputs[0]

    def _layout(self, entry: Any) -> tuple[int | None, int | None, bool]:
        """Return the fixed batch, the fixed side and whether channels come last."""
        shape = [size if isinstance(size, int) and size > 0 else None for size in entry.shape]
        channels_last = len(shape) == 4 and shape[3] == 3 and shape[1] != 3
        if len(shape) != 4 or (shape[1] != 3 and not channels_last):
            raise FacedistillError(
                f"{self.path}: input {entry.name} is {entry.shape}, "
                f"neither (B, 3, H, W) nor (B, H, W, 3)"
            )
        if entry.type == _BYTES and not channels_last:
            raise FacedistillError(
                f"{self.path}: uint8 input {entry.name} must be (B, H, W, 3), not {entry.shape}"
            )
        height, width = shape[1:3] if channels_last else shape[2:4]
        if height != width:
            raise FacedistillError(f"{self.path}: input {entry.name} is not square: {entry.shape}")
        return shape[0], height, channels_last

    def _specify(self, stated: InputSpec | None, side: int | None) -> InputSpec:
        carried = self._carried_spec()
        if stated and carried and stated != carried:
            raise FacedistillError(
                f"{self.path} carries its own input specification {carried}, which is not {stated}"
            )
        spec = stated or carried
        if spec is None:
            spec = replace(InputSpec(), size=side or InputSpec.size)
            if not self._raw:
                warnings.warn(
                    f"{self.path} does not say what it is fed: assuming RGB, (x - 127.5) / 127.5, "
                    f"{spec.size} x {spec.size}; state its input if that is wrong",
                    stacklevel=3,
                )
        if side is not None and spec.size != side:
            raise FacedistillError(f"{self.path} takes images of side {side}, not {spec.size}")
        return spec

    def _carried_spec(self) -> InputSpec | None:
        if self.carried is None:
            return None
        try:
            values = self.carried["input"]
            return InputSpec.from_dict({key: values[key] for key in _SPEC_KEYS})
        except (TypeError, KeyError, AttributeError, FacedistillError) as error:
            raise FacedistillError(f"{self.path}: damaged facedistill metadata: {error}") from None

    @cached_property
    def carried(self) -> dict[str, Any] | None:
        """What facedistill's export wrote into the file; None in anyone else's."""
        return carried_document(self._session, self.path)

    @property
    def thresholds(self) -> dict[str, float]:
        """Least cosine similarity that accepts a pair, by false accept rate; empty where unknown.

        Raises:
            FacedistillError: If the file's own are no numbers.
        """
        return stated_thresholds(self.carried or {}, self.path)

    def _choose_output(self, wanted: str | None) -> tuple[str, int | None]:
        """Return the embedding output's name and size (None if the graph does not say)."""
        outputs = {entry.name: entry for entry in self._session.get_outputs()}
        if wanted is not None and wanted not in outputs:
            raise FacedistillError(
                f"{self.path} has no output {wanted!r}; it has {', '.join(outputs)}"
            )
        fitting = [
            name
            for name, entry in outputs.items()
            if entry.type in _FLOATS
            and len(entry.shape or ()) == 2
            and (wanted is None or name == wanted)
        ]
        if len(fitting) != 1:
            described = ", ".join(f"{name} {entry.shape}" for name, entry in outputs.items())
            raise FacedistillError(
                f"{self.path} has {len(fitting)} outputs that could be the (batch, D) embedding; "
                f"name one of {described}"
            )
        size = outputs[fitting[0]].shape[1]
        return fitting[0], size if isinstance(size, int) and size > 0 else None

    def _count_landmarks(self) -> int | None:
        """Return P of facedistill's own output of landmarks; anyone else's may mean other units."""
        stated = (self.carried or {}).get("landmarks")
        if stated is None:
            return None
        shapes = {entry.name: entry.shape for entry in self._session.get_outputs()}
        if type(stated) is not int or shapes.get("landmarks", [])[1:] != [stated, 2]:
            raise FacedistillError(
                f"{self.path}: damaged facedistill metadata: {stated!r} landmarks, and the graph "
                f"has the outputs {', '.join(shapes)}"
            )
        return stated

    def _probe_embedding_size(self) -> int:
        side = self.input.size
        face = self._prepare(torch.zeros(1, side, side, 3, dtype=torch.uint8))
        return self._run(face, [self._output_name])[0].shape[1]

    def _prepare(self, images: Tensor) -> np.ndarray:
        """Return the images as the graph's input wants them."""
        pixels = self._preprocess.resize(images) if self._raw else self._preprocess(images)
        if self._channels_last:
            pixels = pixels.permute(0, 2, 3, 1)
        return np.ascontiguousarray(pixels.numpy(), dtype=self._dtype)

    def _run(self, array: np.ndarray, outputs: list[str]) -> list[np.ndarray]:
        if self.batch is None:
            return self._run_once(array, outputs)
        starts = range(0, len(array), self.batch)
        pieces = [array[start : start + self.batch] for start in starts]
        given = self._pool.map(lambda piece: self._run_piece(piece, outputs), pieces)
        return [np.concatenate(each) for each in zip(*given, strict=True)]

    def _run_piece(self, piece: np.ndarray, outputs: list[str]) -> list[np.ndarray]:
        # np.resize repeats the images of a short last piece until the fixed batch is full.
        full = np.resize(piece, (self.batch or len(piece), *piece.shape[1:]))
        return [each[: len(piece)] for each in self._run_once(full, outputs)]

    def _run_once(self, array: np.ndarray, outputs: list[str]) -> list[np.ndarray]:
        given = self._session.run(outputs, {self._input_name: array})
        return [np.asarray(each, dtype=np.float32) for each in given]

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._threads, thread_name_prefix=self.name)


def _external_files(path: Path) -> list[Path]:
    """Return the files beside `path` in which its graph keeps weights."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    locations: set[str] = set()
    for tensor in model.graph.initializer:
        entries: Mapping[str, str] = {entry.key: entry.value for entry in tensor.external_data}
        if "location" in entries:
            locations.add(entries["location"])
    return [path.parent / location for location in sorted(locations)]
