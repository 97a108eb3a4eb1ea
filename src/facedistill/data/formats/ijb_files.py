"""The protocol files of IJB-B and IJB-C, as they are passed around.

A folder, usually called `meta`, holds plain lists (the `ijbc_` before each name is free):

    ijbc_face_tid_mid.txt          image, template and medium of every face
    ijbc_name_5pts_score.txt       image, ten coordinates of five landmarks, detector score
    ijbc_template_pair_label.txt   two templates and 1 (same identity) or 0: the 1:1 protocol
    ijbc_1N_gallery_G1.csv, _G2    template, identity, ...: the two galleries of the 1:N protocol
    ijbc_1N_probe_mixed.csv        template, identity, ...: its probes

Photos lie in `loose_crop` beside `meta`. Face i is line i of the first two files, and row i of any
embeddings. (IJB-B calls its galleries S1 and S2.)
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.core.regular_files import open_regular
from facedistill.runtime.alignment import align
from facedistill.runtime.image_file import decode_image, read_image_file

MEDIA_FILE = "_face_tid_mid.txt"
LANDMARKS_FILE = "_name_5pts_score.txt"
PAIRS_FILE = "_template_pair_label.txt"
GALLERY_FILES = (
    ("_1N_gallery_G1.csv", "_1N_gallery_S1.csv"),
    ("_1N_gallery_G2.csv", "_1N_gallery_S2.csv"),
)
PROBE_FILE = "_1N_probe_mixed.csv"


@dataclass(frozen=True)
class TemplateList:
    """Templates and their identities: a gallery, or the probes.

    Attributes:
        name: The file.
        templates: int64 (T,), ascending, each once.
        subjects: int64 (T,), each template's identity.
    """

    name: str
    templates: np.ndarray
    subjects: np.ndarray


@dataclass(frozen=True)
class IjbFiles:
    """What a folder of IJB protocol files says.

    Attributes:
        name: `IJBB`, `IJBC`, or whatever the files' names begin with.
        photos: Folder of the photos; it need not exist when embeddings are there already.
        images: File names of the N faces.
        templates: int64 (N,), each face's template.
        media: int64 (N,), each face's medium: a photo, or a video many faces are from.
        landmarks: float64 (N, 5, 2), (x, y) in pixels of the photo; None without their file.
        detector_scores: float64 (N,), how sure the detector was; None without their file.
        pairs: int64 (P, 2), templates compared 1:1; None without their file.
        same: bool (P,), whether they are one identity's; None without their file.
        galleries: The 1:N protocol's galleries; empty without their files.
        probes: Its probes; None without their file.
    """

    name: str
    photos: Path
    images: np.ndarray
    templates: np.ndarray
    media: np.ndarray
    landmarks: np.ndarray | None
    detector_scores: np.ndarray | None
    pairs: np.ndarray | None
    same: np.ndarray | None
    galleries: tuple[TemplateList, ...]
    probes: TemplateList | None

    def __len__(self) -> int:
        """Return the number of faces."""
        return len(self.images)

    def face(self, index: int, size: int = 112) -> np.ndarray:
        """Return the aligned crop of face `index`, uint8 RGB (size, size, 3).

        Raises:
            FacedistillError: If landmarks are not known, or the photo is absent or damaged.
        """
        if self.landmarks is None:
            raise FacedistillError(
                f"{self.name}: no landmarks, so faces cannot be aligned: put *{LANDMARKS_FILE} "
                "beside the other files, or give embeddings"
            )
        path = self.photos / str(self.images[index])
        return align(decode_image(read_image_file(path), str(path)), self.landmarks[index], size)


def is_ijb(folder: str | Path) -> bool:
    """Return whether a folder, or `meta` in it, holds IJB protocol files."""
    return _find_media_file(Path(folder)) is not None


def read_ijb(folder: str | Path) -> IjbFiles:
    """Read a folder of IJB protocol files.

    Args:
        folder: The folder of the lists, or the one that holds it as `meta`.

    Raises:
        FacedistillError: If the list of templates and media is absent, a file is damaged, or files
            do not speak of the same faces.
    """
    folder = Path(folder)
    found = _find_media_file(folder)
    if found is None:
        raise FacedistillError(f"{folder}: no file *{MEDIA_FILE} here or in {folder / 'meta'}")
    meta, prefix = found.parent, found.name.removesuffix(MEDIA_FILE)
    images = _column(found, str, (0,))[:, 0]
    templates, media = _column(found, np.int64, (1, 2)).T.copy()
    landmarks, scores = _read_landmarks(meta / (prefix + LANDMARKS_FILE), images)
    pairs, same = _read_template_pairs(meta / (prefix + PAIRS_FILE))
    galleries = [
        _read_templates(path)
        for names in GALLERY_FILES
        for path in (meta / (prefix + name) for name in names)
        if path.exists()
    ]
    probes = meta / (prefix + PROBE_FILE)
    return IjbFiles(
        name=prefix.upper(),
        photos=meta.parent / "loose_crop",
        images=images,
        templates=templates,
        media=media,
        landmarks=landmarks,
        detector_scores=scores,
        pairs=pairs,
        same=same,
        galleries=tuple(galleries),
        probes=_read_templates(probes) if probes.exists() else None,
    )


def _find_media_file(folder: Path) -> Path | None:
    found = [*folder.glob("*" + MEDIA_FILE), *folder.glob("meta/*" + MEDIA_FILE)]
    if len(found) > 1:
        raise FacedistillError(
            f"{folder} holds {len(found)} protocols ({found[0].name}, {found[1].name}): "
            "keep each in a folder of its own"
        )
    return found[0] if found else None


def _read_landmarks(path: Path, images: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
    if not path.exists():
        return None, None
    names = _column(path, str, (0,))[:, 0]
    if len(names) != len(images):
        raise FacedistillError(
            f"{path} lists {len(names):,} faces, but *{MEDIA_FILE} lists {len(images):,}"
        )
    differs = np.flatnonzero(names != images)
    if len(differs):
        raise FacedistillError(
            f"{path} line {differs[0] + 1}: image {names[differs[0]]}, but *{MEDIA_FILE} has "
            f"{images[differs[0]]} there: both must list the same faces in the same order"
        )
    values = _column(path, np.float64, tuple(range(1, 12)))
    broken = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(broken):
        raise FacedistillError(f"{path} line {broken[0] + 1}: a number is not finite")
    return values[:, :10].reshape(-1, 5, 2).copy(), values[:, 10].copy()


def _read_template_pairs(path: Path) -> tuple[np.ndarray | None, np.ndarray | None]:
    if not path.exists():
        return None, None
    values = _column(path, np.int64, (0, 1, 2))
    wrong = np.flatnonzero((values[:, 2] < 0) | (values[:, 2] > 1))
    if len(wrong):
        raise FacedistillError(
            f"{path} line {wrong[0] + 1}: label {values[wrong[0], 2]} is neither 0 nor 1"
        )
    return values[:, :2].copy(), values[:, 2].astype(np.bool_)


def _read_templates(path: Path) -> TemplateList:
    """Read a list that names a template once for each of its images."""
    rows = _column(path, np.int64, (0, 1), delimiter=",", skiprows=_header_lines(path))
    templates, first, inverse = np.unique(rows[:, 0], return_index=True, return_inverse=True)
    subjects = rows[first, 1]
    torn = np.flatnonzero(subjects[inverse] != rows[:, 1])
    if len(torn):
        template, other = rows[torn[0]]
        raise FacedistillError(
            f"{path}: template {template} is stated to be of identity "
            f"{subjects[inverse[torn[0]]]} and of identity {other}"
        )
    return TemplateList(path.name, templates, subjects)


def _header_lines(path: Path) -> int:
    with _readable(path, "replace") as file:
        return 0 if file.readline().split(",")[0].strip().lstrip("-").isdigit() else 1


def _readable(path: Path, errors: str = "strict") -> TextIO:
    try:
        return io.TextIOWrapper(open_regular(path), "utf-8-sig", errors)
    except OSError as error:
        raise FacedistillError(f"cannot read {path}: {error.strerror or error}") from error


def _column(path: Path, kind: Any, columns: tuple[int, ...], **layout: Any) -> np.ndarray:
    """Return columns of a text file as an array (lines, columns)."""
    try:
        with warnings.catch_warnings(), _readable(path) as file:
            warnings.simplefilter("ignore", UserWarning)  # of an empty file: refused below
            values = np.loadtxt(
                file,
                dtype=kind,
                usecols=columns,
                ndmin=2,
                comments=None,
                **layout,
            )
    except ValueError as error:
        reason = " ".join(str(error).split()).split("; ")[0]
        raise FacedistillError(f"{path} is damaged: {reason}") from None
    if not len(values):
        raise FacedistillError(f"{path} is empty")
    return values
