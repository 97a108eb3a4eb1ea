"""The one loop that runs a network over many images.

`infer` takes items that were read ahead, by threads (`core.reading_ahead`) or by worker processes
(`data.loading.reading`), and gives them back batch by batch with what the network gave for them.
What a user of it keeps of an item, a key, a label or a place, is the user's own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facedistill.core.errors import FacedistillError
from facedistill.core.progress import progress_bar
from facedistill.core.reading_ahead import read_ahead
from facedistill.models.device import device_of
from facedistill.models.evaluation_mode import evaluation_mode
from facedistill.models.outputs import Outputs, embedding_of

Network = Callable[[Tensor, set[str]], Outputs]
"""Anything that answers a uint8 RGB batch (B, H, W, 3) and a set of needs with Outputs."""

T = TypeVar("T")

BATCH = 64
"""Images a step where nothing else is asked."""


@dataclass(frozen=True)
class Inferred(Generic[T]):
    """A batch and what the network gave for it.

    Attributes:
        start: Place of its first item among all that were run.
        items: The items.
        outputs: Of their images.
        mirrored: Of the mirrored images, where they were asked for.
    """

    start: int
    items: list[T]
    outputs: Outputs
    mirrored: Outputs | None = None


def infer(
    network: Network,
    items: Iterable[T | FacedistillError | None],
    count: int,
    needs: Collection[str],
    *,
    image: Callable[[T], np.ndarray],
    batch_size: int = BATCH,
    flip: bool = False,
    device: torch.device | str | None = None,
    description: str | None = None,
) -> Generator[Inferred[T], None, None]:
    """Run a network over items, in evaluation mode and without gradients.

    A network that is a module gets its training mode back when the last batch was given.

    Args:
        network: A face network, an ONNX network, or anything that answers like one.
        items: What to run it on, in order. An item that is None was left out by its reader; one
            that is an error ends the loop with it.
        count: Number of items, for the progress bar.
        needs: Names of the outputs wanted.
        image: Gives an item's image, uint8 RGB (H, W, 3), all of one size.
        batch_size: Images a step.
        flip: Whether the network sees the mirrored images too.
        device: Where to run; a torch module follows there. By default where its weights are.
        description: What the progress bar says; None for no bar.

    Yields:
        Batch after batch; the last may be smaller.

    Raises:
        FacedistillError: If the batch size is none, images differ in size or are not uint8 RGB, or
            an item is an error.
    """
    if batch_size < 1:
        raise FacedistillError(f"batch size {batch_size}: take at least 1")
    if device is not None and isinstance(network, nn.Module):
        network.to(device)
    place = device_of(network) if device is None else torch.device(device)
    asked = set(needs)
    with evaluation_mode(network), _counting(description, count) as advance:
        start = 0
        for taken, batch in _batches(items, batch_size):
            if batch:
                pixels = torch.from_numpy(_stack([image(item) for item in batch], start)).to(place)
                with torch.inference_mode():
                    outputs = network(pixels, asked)
                    mirrored = network(pixels.flip(2), asked) if flip else None
                yield Inferred(start, batch, outputs, mirrored)
                start += len(batch)
            advance(taken)


def embed_images(
    network: Network,
    image: Callable[[int], np.ndarray],
    count: int,
    *,
    batch_size: int = BATCH,
    flip: bool = True,
    device: torch.device | str | None = None,
    threads: int = 2,
    description: str = "embedding",
) -> np.ndarray:
    """Return the embeddings of `count` images.

    Images are read by threads while the network works. With `flip` an embedding is
    f(x) + f(flip x), the raw sum, as InsightFace's verification does it.

    Args:
        network: See `infer`.
        image: Gives image 0..count-1 as uint8 RGB (H, W, 3), all of one size. A sequence's
            `__getitem__` will do. Its errors pass through.
        count: Number of images.
        batch_size: Images a step.
        flip: Whether to add the embedding of the mirrored image.
        device: See `infer`.
        threads: How many images are read at a time.
        description: What the progress bar says.

    Returns:
        float32 (count, D), not normalised.

    Raises:
        FacedistillError: If there are no images, images differ in size or are not uint8 RGB, or
            the network gives no embedding or one that is not finite.
    """
    if count < 1:
        raise FacedistillError("there are no images to embed")
    embeddings: np.ndarray | None = None
    with closing(read_ahead(image, range(count), threads, 2 * batch_size)) as images:
        for batch in infer(
            network,
            images,
            count,
            {"embedding"},
            image=lambda pixels: pixels,
            batch_size=batch_size,
            flip=flip,
            device=device,
            description=description,
        ):
            rows = _sum_of_views(batch)
            _check_rows(rows, len(batch.items), batch.start)
            if embeddings is None:
                embeddings = np.empty((count, rows.shape[1]), dtype=np.float32)
            embeddings[batch.start : batch.start + len(rows)] = rows
    assert embeddings is not None
    return embeddings


def comparison_embedding(
    network: Callable[[Tensor], Outputs], images: Tensor, *, flip: bool
) -> Tensor:
    """Return unit embeddings; with `flip`, of the raw sum of plain and mirrored image.

    Args:
        network: Gives `embedding` for uint8 RGB images (B, H, W, 3).
        images: uint8 RGB, (B, H, W, 3).
        flip: Whether to add the embedding of the mirrored image before normalising.

    Returns:
        (B, D) float32 of length 1.
    """
    embedding = embedding_of(network(images))
    if flip:
        embedding = embedding + embedding_of(network(torch.flip(images, dims=[2])))
    return F.normalize(embedding)


@contextmanager
def _counting(description: str | None, count: int) -> Iterator[Callable[[int], None]]:
    """Give what counts items on a progress bar; without a description there is no bar."""
    if description is None:
        yield lambda items: None
        return
    with progress_bar("images") as progress:
        task = progress.add_task(description, total=count, note="")
        yield lambda items: progress.advance(task, items)


def _batches(
    items: Iterable[T | FacedistillError | None], size: int
) -> Iterator[tuple[int, list[T]]]:
    """Give how many items were taken, and those of them that are there."""
    rest = iter(items)
    while taken := list(islice(rest, size)):
        for item in taken:
            if isinstance(item, FacedistillError):
                raise item
        there = [item for item in taken if item is not None]
        yield len(taken), there  # type: ignore[misc]  # errors were raised


def _sum_of_views(batch: Inferred[Any]) -> np.ndarray:
    total = _embedding(batch.outputs)
    if batch.mirrored is not None:
        total = total + _embedding(batch.mirrored)
    return total.float().cpu().numpy()


def _embedding(outputs: Outputs) -> Tensor:
    if outputs.embedding is None:
        raise FacedistillError("the network gives no embedding: it cannot be evaluated on pairs")
    return outputs.embedding


def _check_rows(rows: np.ndarray, images: int, start: int) -> None:
    if rows.ndim != 2 or len(rows) != images:
        raise FacedistillError(
            f"the network gave an embedding of shape {rows.shape} for {images} images: "
            "it must be one row per image"
        )
    broken = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(broken):
        raise FacedistillError(
            f"the network's embedding of image {start + int(broken[0])} is not finite: "
            "check its weights, its input and its precision"
        )


def _stack(images: list[np.ndarray], start: int) -> np.ndarray:
    for offset, image in enumerate(images):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise FacedistillError(
                f"image {start + offset} is {image.dtype} {image.shape}, not uint8 RGB (H, W, 3)"
            )
        if image.shape != images[0].shape:
            raise FacedistillError(
                f"image {start + offset} is {image.shape[1]}x{image.shape[0]}, image {start} is "
                f"{images[0].shape[1]}x{images[0].shape[0]}: align all faces to one size first"
            )
    return np.stack(images)
