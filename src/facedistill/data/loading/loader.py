"""From samples to batches: shuffled, augmented, in workers, and repeatable from any step."""

from __future__ import annotations

import math
import os
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from facedistill.core.errors import FacedistillError
from facedistill.core.progress import track
from facedistill.data.batch import Batch
from facedistill.data.dataset import FaceDataset
from facedistill.data.loading.reading import read_in_order
from facedistill.data.loading.worker_processes import in_workers
from facedistill.data.sample import KEY_BYTES, Sample
from facedistill.data.views.resized import Resized
from facedistill.data.views.view import View
from facedistill.faces.augmentation import Augmenter, sample_rng
from facedistill.recipe.augmentation_options import Augmentation

Place = tuple[int, int]
"""(epoch, index of the sample): all that a sample's augmentation depends on, beside the seed."""


@dataclass(frozen=True)
class Order:
    """The order in which samples are seen; a pure function of its fields and the step.

    Attributes:
        samples: Number of samples N.
        batch_size: Samples per step over all processes.
        seed: Seed of the run.
        rank: This process.
        world: Number of processes; must divide `batch_size`.
    """

    samples: int
    batch_size: int
    seed: int
    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        if self.batch_size % self.world:
            raise FacedistillError(
                f"training.batch_size {self.batch_size} does not divide among {self.world} "
                "processes: choose a multiple"
            )
        if self.batch_size > self.samples:
            raise FacedistillError(
                f"training.batch_size {self.batch_size} is larger than the training set "
                f"({self.samples} images): lower it"
            )

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in an epoch; the rest of the permutation is left out that time."""
        return self.samples // self.batch_size

    def places(self, start: int, stop: int) -> Iterator[list[Place]]:
        """Give this process's share of the batches of steps `start` to `stop`."""
        share = self.batch_size // self.world
        epoch, permutation = -1, np.empty(0, np.int64)
        for step in range(start, stop):
            if step // self.steps_per_epoch != epoch:
                epoch = step // self.steps_per_epoch
                permutation = np.random.default_rng((self.seed, epoch)).permutation(self.samples)
            first = (step % self.steps_per_epoch) * self.batch_size + self.rank * share
            yield [(epoch, int(i)) for i in permutation[first : first + share]]


class Loader:
    """Batches of a data set by global step, the same whatever the number of workers.

    Args:
        dataset: The faces; all crops of one size, or `image_size` set.
        order: Which samples make which step.
        augmentation: What is done to each image, seeded by (seed, epoch, index).
        workers: Worker processes; 0 decodes in the calling process.
        cache: `none` decodes every time, `ram` holds the decoded set in memory, `device` holds it
            on the accelerator (flip only, no workers).
        image_size: Resize crops to this side when read (area averaging); None keeps them.
        keep_clean: Carry the image before augmentation too, for an online teacher.
        on_error: `stop` raises at a corrupt image, `skip` leaves it out of its batch and names it
            in `Batch.skipped`.
        device: Where `cache: device` puts the images.
    """

    def __init__(
        self,
        dataset: FaceDataset,
        order: Order,
        *,
        augmentation: Augmentation,
        workers: int = 0,
        cache: Literal["none", "ram", "device"] = "none",
        image_size: int | None = None,
        keep_clean: bool = False,
        on_error: Literal["stop", "skip"] = "stop",
        device: torch.device | str = "cpu",
    ) -> None:
        if cache == "device" and not augmentation.flip_only:
            raise FacedistillError(
                "data.cache: device can only mirror images: set data.cache: ram, or leave every "
                "augmentation but flip at 0"
            )
        self.order = order
        self.workers = workers
        self.device = torch.device(device)
        source: FaceDataset = Resized(dataset, image_size) if image_size else dataset
        if cache != "none":
            source = Cached(source, on_error, workers)
        self.on_error = on_error
        self.faces = _AugmentedFaces(source, augmentation, order.seed, keep_clean)
        self.on_device = (
            torch.from_numpy(source.images).to(self.device)
            if cache == "device" and isinstance(source, Cached)
            else None
        )

    def batches(self, start: int, stop: int) -> Generator[Batch, None, None]:
        """Give the batches of steps `start` to `stop`, in order.

        Raises:
            WorkerLost: If a loader process was killed or crashed.
            FacedistillError: If an image cannot be read and `on_error` is not `skip`.
        """
        if self.on_device is not None:
            yield from map(self._from_device, self.order.places(start, stop))
            return
        places = self.order.places(start, stop)
        # Closed here, or an error's traceback would keep the workers for as long as it lives.
        with closing(in_workers(self.faces.batch, places, self.workers)) as batches:
            for batch in batches:
                if batch.skipped and self.on_error == "stop":
                    raise FacedistillError(
                        f"{batch.skipped[0]}; data.on_error: skip leaves damaged images out, "
                        "`facedistill inspect DATA --verify` names all"
                    )
                yield batch

    def _from_device(self, places: list[Place]) -> Batch:
        source = self.faces.source
        assert self.on_device is not None
        assert isinstance(source, Cached)
        good = [place for place in places if place[1] not in source.broken]
        skipped = [source.broken[index] for _, index in places if index in source.broken]
        _check_enough(len(good), skipped)
        indices = np.array([index for _, index in good])
        flipped = torch.tensor([self.faces.flip(place) for place in good], device=self.device)
        images = self.on_device[torch.from_numpy(indices).to(self.device)]
        return Batch(
            images=torch.where(flipped[:, None, None, None], images.flip(2), images),
            labels=torch.from_numpy(source.labels[indices]).to(self.device),
            flipped=flipped,
            keys=source.keys[indices],
            clean=images if self.faces.keep_clean else None,
            landmarks=self._landmarks(source, good) if source.landmarks else None,
            skipped=skipped,
        )

    def _landmarks(self, source: Cached, places: list[Place]) -> torch.Tensor | None:
        moved = [self.faces.landmarks(source[place[1]], place) for place in places]
        stacked = np.stack([points for points in moved if points is not None])
        return torch.from_numpy(stacked).to(self.device)


@dataclass
class AugmentedSample:
    """A sample after augmentation; or, where the image could not be read, the message why."""

    image: np.ndarray | None
    label: int = -1
    key: bytes = b""
    flipped: bool = False
    clean: np.ndarray | None = None
    landmarks: np.ndarray | None = None
    problem: str = ""


def collate(samples: list[AugmentedSample]) -> Batch:
    """Stack samples into a batch, leaving out the unreadable ones.

    Raises:
        FacedistillError: If too few are left, or they differ in size.
    """
    good = [sample for sample in samples if sample.image is not None]
    skipped = [sample.problem for sample in samples if sample.image is None]
    _check_enough(len(good), skipped)
    shapes = {sample.image.shape for sample in good if sample.image is not None}
    if len(shapes) > 1:
        raise FacedistillError(
            f"the crops differ in size ({', '.join(map(str, sorted(shapes)))}): set "
            "data.image_size, or pack aligned crops with `facedistill prepare`"
        )
    clean = [sample.clean for sample in good if sample.clean is not None]
    landmarks = [sample.landmarks for sample in good if sample.landmarks is not None]
    return Batch(
        images=torch.from_numpy(np.stack([s.image for s in good if s.image is not None])),
        labels=torch.tensor([sample.label for sample in good], dtype=torch.int64),
        flipped=torch.tensor([sample.flipped for sample in good]),
        keys=np.frombuffer(b"".join(s.key for s in good), np.uint8).reshape(-1, KEY_BYTES),
        clean=torch.from_numpy(np.stack(clean)) if clean else None,
        landmarks=torch.from_numpy(np.stack(landmarks)) if landmarks else None,
        skipped=skipped,
    )


def _check_enough(good: int, skipped: list[str]) -> None:
    """Batch normalisation has nothing to say of one image alone."""
    if skipped and good < 2:
        raise FacedistillError(
            f"{len(skipped)} of the {good + len(skipped)} images of a batch cannot be read, which "
            f"is too many to go on; first: {skipped[0]}"
        )


class Cached(View):
    """A data set decoded once into memory: uint8 (N, H, W, 3), shared with forked workers.

    Args:
        source: The data set; its crops must be of one size.
        on_error: With `skip` a corrupt image keeps its error, raised when it is asked for.
        workers: Processes that decode.
    """

    def __init__(
        self, source: FaceDataset, on_error: Literal["stop", "skip"] = "stop", workers: int = 0
    ) -> None:
        super().__init__(source)
        self.broken: dict[int, str] = {}
        self.landmarks: dict[int, np.ndarray] = {}
        self.images = np.zeros((0,), np.uint8)
        self.keys = np.zeros((len(source), KEY_BYTES), np.uint8)
        # Closed here, or an error's traceback would keep the workers for as long as it lives.
        with closing(read_in_order(source.__getitem__, range(len(source)), workers)) as everything:
            for index, sample in enumerate(track(everything, "decode", len(source), "images")):
                if not isinstance(sample, FacedistillError):
                    self._store(index, sample)
                elif on_error == "stop":
                    raise sample
                else:
                    self.broken[index] = str(sample)

    def _allocate(self, shape: tuple[int, ...]) -> None:
        need = len(self.source) * math.prod(shape)
        have = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if need > have:
            raise FacedistillError(
                f"data.cache wants {need / 2**30:.1f} GiB and this machine has {have / 2**30:.1f}: "
                "set data.cache: none, or a smaller data.image_size"
            )
        self.images = np.zeros((len(self.source), *shape), np.uint8)

    def _store(self, index: int, sample: Sample) -> None:
        if not len(self.images):
            self._allocate(sample.image.shape)
        if sample.image.shape != self.images.shape[1:]:
            raise FacedistillError(
                f"{self.where(index)} is {sample.image.shape[:2]}, others are "
                f"{self.images.shape[1:3]}: set data.image_size, or pack crops of one size"
            )
        self.images[index] = sample.image
        self.keys[index] = np.frombuffer(sample.key, np.uint8)
        if sample.landmarks is not None:
            self.landmarks[index] = sample.landmarks

    def key(self, index: int) -> bytes:
        """Return the remembered key."""
        return self.keys[index].tobytes()

    def __getitem__(self, index: int) -> Sample:
        """Return the decoded sample; its image is a view into the cache, not to be written to."""
        if index in self.broken:
            raise FacedistillError(self.broken[index])
        landmarks = self.landmarks.get(index)
        return Sample(self.images[index], int(self.labels[index]), self.key(index), landmarks)


class _AugmentedFaces:
    def __init__(
        self,
        source: FaceDataset,
        augmentation: Augmentation,
        seed: int,
        keep_clean: bool,
    ) -> None:
        self.source, self.augment, self.seed = source, Augmenter(augmentation), seed
        self.keep_clean = keep_clean

    def batch(self, places: list[Place]) -> Batch:
        return collate([self[place] for place in places])

    def __getitem__(self, place: Place) -> AugmentedSample:
        epoch, index = place
        try:
            sample = self.source[index]
        except FacedistillError as error:
            return AugmentedSample(image=None, problem=str(error))
        rng = sample_rng(self.seed, epoch, index)
        try:
            image, flipped = self.augment(sample.image, rng, sample.landmarks)
        except FacedistillError as error:
            return AugmentedSample(image=None, problem=f"{self.source.where(index)}: {error}")
        clean = sample.image if self.keep_clean else None
        landmarks = self.landmarks(sample, place)
        return AugmentedSample(image, sample.label, sample.key, flipped, clean, landmarks)

    def landmarks(self, sample: Sample, place: Place) -> np.ndarray | None:
        """Where the landmarks of a sample are once it is augmented."""
        if sample.landmarks is None:
            return None
        rng = sample_rng(self.seed, *place)
        return self.augment.move_landmarks(sample.landmarks, sample.image.shape, rng)

    def flip(self, place: Place) -> bool:
        """Whether augmentation mirrors this image: the first draw of its generator."""
        pixel = np.zeros((1, 1, 3), np.uint8)
        return self.augment(pixel, sample_rng(self.seed, *place))[1]
