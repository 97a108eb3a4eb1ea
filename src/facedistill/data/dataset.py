"""What a data set promises: random access to samples, their labels, keys and places."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from functools import cached_property
from typing import ClassVar

import numpy as np

from facedistill.data.sample import KEY_BYTES, Sample, content_key
from facedistill.runtime.image_file import decode_image


class FaceDataset(ABC):
    """A set of faces with random access, safe to use in forked and spawned workers.

    A reader says where an image's bytes are (`encoded`), what its label is (`labels`) and how to
    name its place in a message (`where`); decoding, keys and the fingerprint follow from these.
    """

    kind: ClassVar[str] = ""
    """What its format is called in summaries; empty for a view of others."""

    stored: ClassVar[bool] = False
    """Whether the images lie in files as `encoded` gives them, so that reading many is cheap."""

    name: str
    """What to call this data set in messages: usually its path."""

    labels: np.ndarray
    """int64 (N,), 0..M-1 or -1."""

    def __len__(self) -> int:
        return len(self.labels)

    @abstractmethod
    def encoded(self, index: int) -> bytes:
        """Return the image file's bytes (JPEG, PNG, ...) of sample `index`."""

    @abstractmethod
    def where(self, index: int) -> str:
        """Return the place of sample `index` for messages, e.g. `train.rec key 17`."""

    def copy_name(self, index: int) -> str:
        """Return the path, without suffix, of a copy of sample `index` in a folder of its own."""
        label = self.labels.item(index)
        return f"{index:06d}" if label < 0 else f"{label:06d}/{index:06d}"

    def file_name(self, index: int) -> str:
        """Return the path of sample `index` as its owner knows it; empty where it has none."""
        return ""

    def key(self, index: int) -> bytes:
        """Return the 16-byte key of sample `index` without decoding it."""
        return content_key(self.encoded(index))

    def __getitem__(self, index: int) -> Sample:
        """Return sample `index`, decoded.

        Raises:
            FacedistillError: If the image does not decode; the message names its place.
        """
        encoded = self.encoded(index)
        image = decode_image(encoded, self.where(index))
        return Sample(image, self.labels.item(index), content_key(encoded))

    def marks(self, index: int) -> bytes:
        """Return what is written down of sample `index` beside image and label, as landmarks are.

        Without decoding it; empty where there is nothing.
        """
        return b""

    @cached_property
    def fingerprint(self) -> str:
        """Hex digest over size, labels and up to 1,000 evenly spread keys and marks.

        Cheap on data sets that take hours to read, and different for any two that matter.
        """
        digest = hashlib.blake2b(digest_size=KEY_BYTES)
        digest.update(np.ascontiguousarray(self.labels, dtype="<i8").tobytes())
        for index in np.unique(np.linspace(0, len(self) - 1, num=min(1000, len(self))).astype(int)):
            digest.update(self.key(int(index)) + self.marks(int(index)))
        return digest.hexdigest()
