"""Embeddings of many images by one network."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch

from facedistill.core.errors import FacedistillError
from facedistill.core.progress import track
from facedistill.models.device import device_of
from facedistill.models.evaluation_mode import evaluation_mode
from facedistill.models.outputs import Outputs

Network = Callable[[torch.Tensor, set[str]], Outputs]
"""Anything that answers a uint8 RGB batch (B, H, W, 3) and a set of needs with Outputs."""

_BATCHES_AHEAD = 2


def embed_images(
    network: Network,
    image: Callable[[int], np.ndarray],
    count: int,
    *,
    batch_size: int = 64,
    flip: bool = True,
    device: torch.device | str | None = None,
    threads: int = 2,
    description: str = "embedding",
) -> np.ndarray:
    """Return the embeddings of `count` images, in evaluation mode and without gradients.

    Images are read by threads while the network works; a network that is a module gets its
    training mode back afterwards. With `flip` an embedding is f(x) + f(flip x), the raw sum, as
    InsightFace's verification does it.

    Args:
        network: A face network, an ONNX network, or anything that answers like one.
        image: Gives image 0..count-1 as uint8 RGB (H, W, 3), all of one size. A sequence's
            `__getitem__` will do. Its errors pass through.
        count: Number of images.
        batch_size: Images a step.
        flip: Whether to add the embedding of the mirrored image.
        device: Where batches are put; by default where the network's parameters are.
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
    if batch_size < 1:
        raise FacedistillError(f"batch size {batch_size}: take at least 1")
    device = device_of(network) if device is None else torch.device(device)
    batches = _batches(image, count, batch_size, threads)
    steps = -(-count // batch_size)
    embeddings: np.ndarray | None = None
    with evaluation_mode(network), torch.inference_mode():
        start = 0
        for batch in track(batches, description, total=steps, unit="batches"):
            rows = _embed_batch(network, torch.from_numpy(batch).to(device), flip)
            _check_rows(rows, len(batch), start)
            if embeddings is None:
                embeddings = np.empty((count, rows.shape[1]), dtype=np.float32)
            embeddings[start : start + len(rows)] = rows
            start += len(rows)
    assert embeddings is not None
    return embeddings


def _embed_batch(network: Network, images: torch.Tensor, flip: bool) -> np.ndarray:
    total = _embedding(network, images)
    if flip:
        total = total + _embedding(network, images.flip(2))
    return total.float().cpu().numpy()


def _embedding(network: Network, images: torch.Tensor) -> torch.Tensor:
    embedding = network(images, {"embedding"}).embedding
    if embedding is None:
        raise FacedistillError("the network gives no embedding: it cannot be evaluated on pairs")
    return embedding


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


def _batches(
    image: Callable[[int], np.ndarray], count: int, batch_size: int, threads: int
) -> Iterator[np.ndarray]:
    """Yield uint8 (B, H, W, 3), reading a few batches ahead."""
    pool = ThreadPoolExecutor(max_workers=max(1, threads), thread_name_prefix="read-images")
    starts = iter(range(0, count, batch_size))
    ahead: deque[tuple[int, list[Future[np.ndarray]]]] = deque()

    def read_ahead() -> None:
        start = next(starts, None)
        if start is not None:
            indices = range(start, min(start + batch_size, count))
            ahead.append((start, [pool.submit(image, index) for index in indices]))

    try:
        for _ in range(_BATCHES_AHEAD):
            read_ahead()
        while ahead:
            start, futures = ahead.popleft()
            read_ahead()
            yield _stack([future.result() for future in futures], start)
    finally:
        pool.shutdown(cancel_futures=True)


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
