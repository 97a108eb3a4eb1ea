"""A network in an ONNX file, run by ONNX Runtime: raw faces in, Outputs out."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from facedistill.core.errors import FacedistillError
from facedistill.core.process import usable_cpus
from facedistill.core.regular_files import open_regular
from facedistill.models.inference import comparison_embedding
from facedistill.models.onnx.embedding_output import find_embedding
from facedistill.models.onnx.external_weights import external_weights
from facedistill.models.onnx.graph_input import read_input
from facedistill.models.onnx.own_normalisation import OwnNormalisation, find_normalisation
from facedistill.models.outputs import Outputs, check_needs, landmarks_of
from facedistill.models.preprocess import Preprocess, check_images
from facedistill.runtime.header import stated_thresholds
from facedistill.runtime.input_spec import InputSpec, StatedInput
from facedistill.runtime.session import Session

_SPEC_KEYS = ("size", "color", "mean", "std")
_PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")
_NOTHING, _ONE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)


class OnnxNetwork:
    """A frozen network that gives embeddings, and landmarks if facedistill exported it with them.

    The graph's input may be float or half, or bytes if the graph normalises for itself, channels
    first or last. Where its batch is fixed, images run in as many parallel calls as there are
    threads: for small networks twice as fast as parallelism inside an operator.

    Args:
        path: The .onnx file.
        input: What is known of its size, colour order and normalisation. facedistill's own exports
            carry theirs. Of others the rest is assumed, with a warning: RGB, (x - 127.5) / 127.5,
            or pixels as they are for a graph that is seen to normalise them.
        threads: CPU threads; all by default.
        output: Name of the embedding among the graph's outputs; found by name and shape by default.

    Attributes:
        path: The file.
        name: What to call this network in messages.
        input: Size, colour order and normalisation.
        embedding_size: D.
        batch: How many faces the graph takes at once, or None if it takes any number.

    Raises:
        FacedistillError: If the file does not load or run, its input or output cannot be used, or
            `input` contradicts it.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        input: InputSpec | StatedInput | None = None,
        threads: int | None = None,
        output: str | None = None,
    ) -> None:
        self.path = Path(path)
        self.name = self.path.stem
        self._threads = threads or usable_cpus()
        self._session = Session(self.path, self._threads, _PROVIDERS)
        self._entry = read_input(self._session)
        self.input = self._specify(StatedInput.of(input))
        self._preprocess = Preprocess(self.input)
        own = "embedding" if self.carried else None
        self._output = find_embedding(self._session, self._entry, self.input.size, output or own)
        self.embedding_size, self.batch = self._output.size, self._output.batch
        self.landmark_points = self._count_landmarks()
        if self.batch is not None and self._threads > 1:
            self._session = Session(self.path, 1, _PROVIDERS)

    @property
    def gives(self) -> frozenset[str]:
        """Names of the outputs that it can be asked for."""
        return frozenset({"embedding", "landmarks"} if self.landmark_points else {"embedding"})

    @property
    def output(self) -> str:
        """Name of the output that is the embedding."""
        return self._output.name

    @property
    def outputs(self) -> dict[str, list[int | str]]:
        """The shapes that the graph declares of its outputs, by name."""
        return {entry.name: list(entry.shape or ()) for entry in self._session.outputs}

    @cached_property
    def fingerprint(self) -> str:
        """Hex digest over the file, the external weights it names, and the input."""
        digest = hashlib.blake2b(json.dumps(self.input.to_dict()).encode(), digest_size=16)
        digest.update(self.output.encode())
        for path in [self.path, *external_weights(self.path)]:
            with open_regular(path) as file:
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
        names = [self.output, *(["landmarks"] if wanted else [])]
        embedding, *landmarks = self._run(self._prepare(images.cpu()), names)
        return Outputs(
            torch.from_numpy(embedding),
            landmarks=torch.from_numpy(landmarks[0]) if wanted else None,
        )

    @contextmanager
    def fed(self, input: InputSpec) -> Iterator[None]:
        """Feed it otherwise for a while: in another colour order or normalisation."""
        own = self.input, self._preprocess
        self.input, self._preprocess = input, Preprocess(input)
        try:
            yield
        finally:
            self.input, self._preprocess = own

    @property
    def takes_bytes(self) -> bool:
        """Whether the graph takes pixels as they are, which nothing can normalise before it."""
        return self._entry.raw

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

    def _specify(self, stated: StatedInput) -> InputSpec:
        carried = self._carried_spec()
        if carried is None:
            spec = stated.over(self._assumed(stated))
        else:
            spec = carried
            if stated.over(carried) != carried:
                raise FacedistillError(
                    f"{self.path} carries its own input specification {carried}, which is not "
                    f"{stated.over(carried)}"
                )
        if self._entry.side not in (None, spec.size):
            raise FacedistillError(
                f"{self.path} takes images of side {self._entry.side}, not {spec.size}"
            )
        return spec

    def _assumed(self, stated: StatedInput) -> InputSpec:
        """Return what a foreign graph is fed where the user does not state it, with a warning."""
        size = stated.size or self._entry.side or InputSpec.size
        if self._entry.raw:
            self._refuse_normalisation(stated)
            self._warn_of_assumptions(stated, None)
            return InputSpec(size=size, mean=_NOTHING, std=_ONE)
        own = find_normalisation(self.path, self._entry, size)
        self._warn_of_assumptions(stated, own)
        return InputSpec(size, mean=_NOTHING, std=own.std) if own else InputSpec(size)

    def _refuse_normalisation(self, stated: StatedInput) -> None:
        useless = [key for key in ("mean", "std") if key in stated.given()]
        if useless:
            raise FacedistillError(
                f"{self.path} takes bytes, which cannot be normalised before: leave out the "
                f"{' and '.join(useless)} of its input (--{', --'.join(useless)})"
            )

    def _warn_of_assumptions(self, stated: StatedInput, own: OwnNormalisation | None) -> None:
        given = stated.given()
        assumed = [] if "color" in given else [str(InputSpec.color)]
        if not self._entry.raw and not {"mean", "std"} <= given.keys():
            assumed.append(own.feed if own else "(x - 127.5) / 127.5")
        elif own and (stated.mean, stated.std) != (_NOTHING, own.std):
            warnings.warn(
                f"{self.path} seems to normalise pixels itself ({own}), and the mean and std that "
                "are stated do it before: leave them out if that is not meant",
                stacklevel=5,
            )
        if self._entry.side is None and stated.size is None:
            assumed.append(f"{InputSpec.size} x {InputSpec.size}")
        if assumed:
            itself = f", and normalises pixels itself ({own})" if own else ""
            warnings.warn(
                f"{self.path} does not say what it is fed{itself}: assuming {', '.join(assumed)}; "
                "state its input if that is wrong",
                stacklevel=5,
            )

    def _carried_spec(self) -> InputSpec | None:
        if self.carried is None:
            return None
        try:
            values = self.carried["input"]
            return InputSpec.from_dict({key: values[key] for key in _SPEC_KEYS})
        except (TypeError, KeyError, AttributeError, FacedistillError) as error:
            raise FacedistillError(f"{self.path}: damaged facedistill metadata: {error}") from None

    @property
    def carried(self) -> dict[str, Any] | None:
        """What facedistill's export wrote into the file; None in anyone else's."""
        return self._session.document

    @property
    def thresholds(self) -> dict[str, float]:
        """Least cosine similarity that accepts a pair, by false accept rate; empty where unknown.

        Raises:
            FacedistillError: If the file's own are no numbers.
        """
        return stated_thresholds(self.carried or {}, self.path)

    def _count_landmarks(self) -> int | None:
        """Return P of facedistill's own output of landmarks; anyone else's may mean other units."""
        stated = (self.carried or {}).get("landmarks")
        if stated is None:
            return None
        if type(stated) is not int or self.outputs.get("landmarks", [])[1:] != [stated, 2]:
            raise FacedistillError(
                f"{self.path}: damaged facedistill metadata: {stated!r} landmarks, and the graph "
                f"has the outputs {', '.join(self.outputs)}"
            )
        return stated

    def _prepare(self, images: Tensor) -> np.ndarray:
        """Return the images as the graph's input wants them."""
        if self._entry.raw:
            pixels = self._preprocess.resize(images)
            if self.input.color == "BGR" and self.carried is None:
                pixels = pixels.flip(1)
        else:
            pixels = self._preprocess(images)
        if self._entry.channels_last:
            pixels = pixels.permute(0, 2, 3, 1)
        return np.ascontiguousarray(pixels.numpy(), dtype=self._entry.dtype)

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
        embedding, *others = self._session.run(outputs, array)
        rows = self._output.rows(embedding, len(array))
        return [rows, *(np.asarray(each, np.float32) for each in others)]

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._threads, thread_name_prefix=self.name)
