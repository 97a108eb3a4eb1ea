"""Every n-th frame of a video file, as photographs without labels."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.core.regular_files import require_regular
from facedistill.data.dataset import FaceDataset
from facedistill.data.labels import UNLABELLED
from facedistill.data.sample import Sample, content_key
from facedistill.runtime.image_file import MAX_PIXELS, DamagedImage, encode_png

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg")

_READERS = (cv2.CAP_FFMPEG, cv2.CAP_OPENCV_MJPEG)
"""Never those that take a name with % for a row of files, or a number for a camera."""
_FAR = 300
"""Frames up to which reading on is faster than looking for a place."""

# A list of addresses that is called a video opens no connection: only files are read.
os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "protocol_whitelist;file")


class VideoFrames(FaceDataset):
    """Frames of a video, turned as the camera says.

    Args:
        path: The file.
        every: Take one frame of so many.

    Attributes:
        frames: int64 (N,), the number of each frame, from 0.

    Raises:
        FacedistillError: If it is no file, no video, or has frames above `MAX_PIXELS`.
    """

    kind = "video"

    def __init__(self, path: str | Path, every: int = 1) -> None:
        if every < 1:
            raise FacedistillError(f"--every {every}: take one frame of 1 or more")
        self.path, self.name = Path(path), str(path)
        self._opened: tuple[int, Any] | None = None
        self._next = 0
        require_regular(path)
        if not self.path.is_file():
            raise FacedistillError(f"{path}: no such video")
        capture = self._capture()
        pixels = capture.get(cv2.CAP_PROP_FRAME_WIDTH) * capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
        if pixels > MAX_PIXELS:
            raise FacedistillError(f"{path}: frames of {pixels:,.0f} pixels, over {MAX_PIXELS:,}")
        count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.frames = np.arange(0, count if count > 0 else self._counted(), every, dtype=np.int64)
        if not len(self.frames):
            raise FacedistillError(f"{path}: a video without frames")
        self.labels = np.full(len(self.frames), UNLABELLED, np.int64)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None, "_next": 0}

    def __getitem__(self, index: int) -> Sample:
        """Return a frame.

        Raises:
            DamagedImage: If it cannot be read.
        """
        image = self._frame(self.frames.item(index))
        if image is None:
            raise DamagedImage(f"{self.where(index)}: the frame cannot be read")
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        return Sample(image, UNLABELLED, content_key(image.tobytes()))

    def encoded(self, index: int) -> bytes:
        """Return a frame as a PNG file."""
        return encode_png(self[index].image)

    def where(self, index: int) -> str:
        """Return `file frame N`."""
        return f"{self.name} frame {self.frames.item(index)}"

    def copy_name(self, index: int) -> str:
        """Return the frame's number, with the video's name."""
        return f"{self.path.stem}-{self.frames.item(index):06d}"

    def _frame(self, number: int) -> np.ndarray | None:
        capture = self._capture()
        if not 0 <= number - self._next <= _FAR:
            capture.set(cv2.CAP_PROP_POS_FRAMES, number)
            self._next = number
        while self._next < number:
            if not capture.grab():
                return None
            self._next += 1
        read, image = capture.read()
        self._next += 1
        return image if read else None

    def _capture(self) -> Any:
        """Return this process's own reader."""
        if self._opened is None or self._opened[0] != os.getpid():
            for reader in _READERS:
                capture = cv2.VideoCapture(self.name, reader)
                if capture.isOpened():
                    break
            else:
                raise FacedistillError(f"{self.name}: not a video that OpenCV reads; convert it")
            self._opened, self._next = (os.getpid(), capture), 0
        return self._opened[1]

    def _counted(self) -> int:
        """Count the frames of a file that does not say how many it has."""
        capture, count = self._capture(), 0
        while capture.grab():
            count += 1
        self._opened = None
        return count


def is_video(source: str | Path) -> bool:
    """Whether a name ends as those of videos do."""
    return Path(source).suffix.lower() in VIDEO_SUFFIXES
