"""Faces found in photographs: boxes, five landmarks and scores, by OpenCV's YuNet detector.

YuNet (Wu, Peng and Yu, "YuNet: a tiny millisecond-level face detector", Machine Intelligence
Research 2023) finds faces of about 10 to 300 pixels in what it is shown. So a photograph is shown
several times, scaled so that its longer side is 640, 1,280 or 2,560 pixels: shrunk for large faces,
enlarged, three times at most, for small ones. Each face that is found is looked at a second time,
turned upright and at one size, as it is and mirrored; the mean of both looks' landmarks errs less
than those of the search.

OpenCV is imported when a detector is opened: recognition on a device does without.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from facedistill.core.errors import FacedistillError, first_line, naming
from facedistill.core.other_content import other_content
from facedistill.core.pinned_file import PinnedFile
from facedistill.core.regular_files import read_regular
from facedistill.runtime.alignment import similarity_transform, template, transform_points, warp
from facedistill.runtime.session import Session

YUNET = PinnedFile(
    name="yunet",
    file_name="yunet_n_640_640.onnx",
    address="https://raw.githubusercontent.com/ShiqiYu/libfacedetection.train/"
    "0047ac24afb1a50a0c6105001c89d1b5b805dbf1/onnx/yunet_n_640_640.onnx",
    sha256="25a606a145a5b6d7271ae138fbd00eba91dad8b83222ae3f2c7ecd0f4a7b0e31",
    size=317_466,
    licence="Apache-2.0; trained on WIDER FACE, whose images are CC BY-NC-ND",
)
"""The detector that `facedistill fetch yunet` gets."""

GET_IT = "`facedistill fetch yunet` gets one, --detector FILE names another"

MIN_SCORE = 0.6
"""Least score of a face, 0 to 1."""
MIN_SIZE = 40.0
"""Least side of a face's box in pixels of the photograph: an aligned crop of 112 shows about 80."""

_SIDES = (640, 1280, 2560)
"""Longer sides of what the detector is shown."""
_MOST_ENLARGED = 3.0
_SEEN = 20.0
"""Pixels that the smallest face wanted is to have in some view."""
_LARGE = 160.0
"""Pixels from which on a face is found for certain, if at all."""
_MOST_FACES = 5000
"""Candidates that OpenCV keeps before overlapping ones are dropped."""
_OVERLAP, _WITHIN = 0.4, 0.7
"""Intersection over union, and over the smaller box, above which two boxes are of one face."""
_LOOK_SIDE, _LOOK_FACE = 400, 200.0
"""Side of the second look, and of the face's box in it."""
_TEMPLATE_FACE = 90.0
"""Side of a face's box in an aligned crop of 112 pixels, about."""
_NOSE = 0.65
_MIRRORED = (1, 0, 2, 4, 3)
_MOST_BYTES = 1 << 26
_OUTPUTS = frozenset(f"{kind}_{step}" for kind in ("cls", "obj", "bbox", "kps") for step in (8, 16))


@dataclass(frozen=True, eq=False)
class DetectedFace:
    """A face in a photograph, in its pixels.

    Attributes:
        box: (left, top, width, height).
        landmarks: float64 (5, 2), (x, y) in the template's order.
        score: 0 to 1.
    """

    box: tuple[float, float, float, float]
    landmarks: np.ndarray
    score: float

    @property
    def size(self) -> float:
        """The longer side of its box in pixels."""
        return max(self.box[2:])

    @property
    def middle(self) -> tuple[float, float]:
        """(x, y) of its box's middle."""
        left, top, width, height = self.box
        return left + width / 2, top + height / 2

    @property
    def yaw(self) -> float:
        """By how many degrees the head is turned aside, reckoned from the landmarks.

        The nose stands out from the plane of eyes and mouth, by about 0.65 of the distance of the
        lines that join an eye and its corner of the mouth: where it lies between these lines says
        how far the head is turned. Positive to the image's right; an estimate, good to about ten
        degrees, to leave profiles out by.
        """
        left_eye, right_eye, nose, left_mouth, right_mouth = self.landmarks
        left, right = (left_eye + left_mouth) / 2, (right_eye + right_mouth) / 2
        across = right - left
        width = float(across @ across)
        if not width:
            return 90.0
        aside = float((nose - (left + right) / 2) @ across) / width
        return float(np.degrees(np.arctan(aside / _NOSE)))


class Detector(Protocol):
    """What finds faces: `FaceDetector` does."""

    def detect(self, image: np.ndarray, *, min_score: float, min_size: float) -> list[DetectedFace]:
        """Return the faces of a photograph, uint8 RGB (H, W, 3)."""

    def refine(self, image: np.ndarray, face: DetectedFace) -> DetectedFace:
        """Return a face with better landmarks."""


class FaceDetector:
    """Finds faces in photographs; may be used by several threads, and be sent to processes.

    Args:
        path: A YuNet file (.onnx); by default the one that `facedistill fetch yunet` got.

    Attributes:
        path: The file.

    Raises:
        FacedistillError: If there is no file, it is no YuNet file, or OpenCV is not there.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = detector_file(path)
        _check_file(self.path)
        self._local = threading.local()
        _opencv()

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.path = state["path"]
        self._local = threading.local()

    def detect(
        self, image: np.ndarray, *, min_score: float = MIN_SCORE, min_size: float = MIN_SIZE
    ) -> list[DetectedFace]:
        """Find the faces of a photograph.

        Args:
            image: uint8 RGB (H, W, 3).
            min_score: Least score.
            min_size: Pixels of the smallest face that is wanted: the smaller, the more time it
                takes. Smaller ones that are found on the way are among the faces.

        Returns:
            The faces, those of the best score first.

        Raises:
            FacedistillError: If the detector's file does not run.
        """
        found: list[DetectedFace] = []
        largest = np.inf
        for scale in _scales(image.shape, min_size):
            seen = self._look(_scaled(image, scale), min_score, scale)
            found += [face for face in seen if face.size < largest]
            # A larger face is whole in this view; in the next, parts of it look like faces.
            largest = _LARGE / scale
        return distinct(found)

    def refine(self, image: np.ndarray, face: DetectedFace) -> DetectedFace:
        """Return a face with the landmarks of a second look at it alone, upright, at one size.

        Args:
            image: The photograph, uint8 RGB (H, W, 3).
            face: Found in it.
        """
        middle = (_LOOK_SIDE - 1) / 2
        goal = template() - template().mean(axis=0)
        goal = goal * (_LOOK_FACE / _TEMPLATE_FACE) + middle
        try:
            matrix = similarity_transform(face.landmarks, goal)
            view = warp(image, face.landmarks, _LOOK_SIDE, goal)
        except FacedistillError:
            return face  # Landmarks in one place: nothing can be turned upright by them.
        looks = []
        for mirrored in (False, True):
            seen = self._look(view[:, ::-1] if mirrored else view, MIN_SCORE / 2, 1.0)
            if not seen:
                return face
            nearest = min(seen, key=lambda one: np.hypot(*np.subtract(one.middle, middle)))
            points = nearest.landmarks
            if mirrored:
                points = (np.array([_LOOK_SIDE - 1, 0]) + points * (-1, 1))[list(_MIRRORED)]
            looks.append(points)
        turn, shift = matrix[:, :2], matrix[:, 2]
        back = (np.mean(looks, axis=0) - shift) @ np.linalg.inv(turn).T
        moved = np.linalg.norm(transform_points(back, matrix) - goal, axis=1).max()
        return replace(face, landmarks=back) if moved < _LOOK_FACE / 2 else face

    def _look(self, image: np.ndarray, min_score: float, scale: float) -> list[DetectedFace]:
        """Return the faces of one view, in pixels of what it was scaled from."""
        detector = self._detector()
        try:
            detector.setScoreThreshold(min_score)
            detector.setInputSize((image.shape[1], image.shape[0]))
            _, rows = detector.detect(np.ascontiguousarray(image[..., ::-1]))
        except _opencv().error as error:
            raise FacedistillError(f"{self.path} does not run: {first_line(error)}") from None
        faces = []
        for row in np.zeros((0, 15)) if rows is None else rows.astype(np.float64):
            if not np.isfinite(row).all() or min(row[2:4]) <= 0:
                continue
            left, top, width, height = (row[:4] / scale).tolist()
            # (0, 0) is the middle of the first pixel, in the photograph as in the view.
            landmarks = (row[4:14].reshape(5, 2) + 0.5) / scale - 0.5
            faces.append(DetectedFace((left, top, width, height), landmarks, float(row[14])))
        return faces

    def _detector(self) -> Any:
        """Return this thread's own detector: one cannot serve two at a time."""
        if getattr(self._local, "process", None) != os.getpid():
            cv2 = _opencv()
            with _opencv_quiet(cv2):
                try:
                    made = cv2.FaceDetectorYN.create(
                        str(self.path), "", (320, 320), MIN_SCORE, _OVERLAP, _MOST_FACES
                    )
                except cv2.error as error:
                    raise FacedistillError(
                        f"{self.path} is no detector that OpenCV runs: {first_line(error)}"
                    ) from None
            self._local.detector, self._local.process = made, os.getpid()
        return self._local.detector


def detector_file(path: str | Path | None = None) -> Path:
    """Return the detector's file: the one that is given, or the one that was fetched.

    Raises:
        FacedistillError: If neither is there.
    """
    if path is not None:
        if not Path(path).exists():
            raise FacedistillError(f"{path}: no such detector; {GET_IT}")
        return Path(path)
    if not YUNET.path.is_file():
        raise FacedistillError(f"finding faces takes a detector, and there is none: {GET_IT}")
    return YUNET.path


def largest_face(photo: np.ndarray, detector: Detector) -> tuple[DetectedFace | None, int]:
    """Return the largest face of a photograph, with the landmarks of a second look.

    Args:
        photo: uint8 RGB (H, W, 3).
        detector: Finds faces.

    Returns:
        The face, None where none of `MIN_SIZE` and `MIN_SCORE` is found, and how many there are.
    """
    found = detector.detect(photo, min_score=MIN_SCORE, min_size=MIN_SIZE)
    found = [face for face in found if face.size >= MIN_SIZE]
    if not found:
        return None, 0
    return detector.refine(photo, max(found, key=lambda face: face.size)), len(found)


def distinct(faces: list[DetectedFace]) -> list[DetectedFace]:
    """Return each face once, the best score first: of boxes that overlap, the best stays."""
    kept: list[DetectedFace] = []
    for face in sorted(faces, key=lambda one: -one.score):
        if not any(_same(face, other) for other in kept):
            kept.append(face)
    return kept


def _same(one: DetectedFace, other: DetectedFace) -> bool:
    low = np.maximum(one.box[:2], other.box[:2])
    high = np.minimum(np.add(one.box[:2], one.box[2:]), np.add(other.box[:2], other.box[2:]))
    common = float(np.prod(np.maximum(high - low, 0)))
    areas = [float(np.prod(face.box[2:])) for face in (one, other)]
    return common > _OVERLAP * (sum(areas) - common) or common > _WITHIN * min(areas)


def _scales(shape: tuple[int, ...], min_size: float) -> list[float]:
    """Return by how much a photograph is scaled for each view of it."""
    longer = max(shape[:2])
    scales = [min(_SIDES[0] / longer, _MOST_ENLARGED)]
    for side in _SIDES[1:]:
        enough = scales[-1] * min_size >= _SEEN
        if enough or scales[-1] == _MOST_ENLARGED:
            break
        scales.append(min(side / longer, _MOST_ENLARGED))
    return scales


def _scaled(image: np.ndarray, scale: float) -> np.ndarray:
    if scale == 1:
        return image
    cv2 = _opencv()
    shape = tuple(max(1, round(scale * side)) for side in image.shape[1::-1])
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(image, shape, interpolation=method)


def _check_file(path: Path) -> None:
    """Refuse what is no YuNet file, by its bytes, before OpenCV sees it.

    Raises:
        FacedistillError: Saying what it is instead.
    """
    content = read_regular(path, _MOST_BYTES)
    # The first field of an ONNX file is its version, a small number.
    if path.suffix.lower() != ".onnx" or not content.startswith(b"\x08"):
        other = other_content(content[:512])
        what = f"{path} is no ONNX file (.onnx), so no detector"
        raise FacedistillError(f"{what}{f', but {other}' if other else ''}: {GET_IT}")
    with naming("--detector"):
        names = {output.name for output in Session(path, threads=1).outputs}
    if not names >= _OUTPUTS:
        raise FacedistillError(
            f"{path} is an ONNX file, but no YuNet detector: it gives "
            f"{', '.join(sorted(names)[:4])}; {GET_IT}"
        )


def _opencv() -> Any:
    """Return the cv2 module.

    Raises:
        FacedistillError: If it is not there.
    """
    try:
        import cv2
    except ImportError:
        raise FacedistillError(
            "finding faces takes OpenCV: pip install 'opencv-python-headless>=4.11'"
        ) from None
    return cv2


@contextmanager
def _opencv_quiet(cv2: Any) -> Iterator[None]:
    """Let OpenCV say only what went wrong: version 5 warns of its own defaults."""
    logging = cv2.utils.logging
    before = logging.getLogLevel()
    logging.setLogLevel(logging.LOG_LEVEL_ERROR)
    try:
        yield
    finally:
        logging.setLogLevel(before)
