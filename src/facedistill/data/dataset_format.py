"""Formats of data sets by name: how each is recognised and opened.

A format is a file of `formats/` that registers a `Format`; other distributions give theirs as an
entry point of the group `facedistill.formats`. `open.open_dataset` tries them in their order and
takes the first that recognises what the user wrote.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from facedistill.core.registry import Registry
from facedistill.data.dataset import FaceDataset


@dataclass(frozen=True)
class FormatOptions:
    """How a data set is to be opened; a format passes over what does not concern it.

    Attributes:
        relabel: Number the identities anew instead of refusing labels with holes.
        five: Reduce larger markups of landmarks to the template's five points.
        root: The folder that the paths in a list are relative to; by default the list's own.
        skip: Leave out, with a warning, what is named and has no image, and images out of place.
    """

    relabel: bool = False
    five: bool = True
    root: Path | None = None
    skip: bool = False


def _never(source: str) -> bool:
    return False


@dataclass(frozen=True)
class Format:
    """One way in which faces lie on disk.

    Example: a format of files that end in `.faces`.

        FORMAT = Format(
            "faces",
            "faces file",
            "A `.faces` file, as our cameras write it.",
            recognises=lambda source: source.endswith(".faces"),
            open=lambda source, options: FacesDataset(source),
        )

    Attributes:
        name: What it is registered as.
        title: What `facedistill inspect` calls such a data set.
        description: What lies where, in one line.
        recognises: Whether what a user wrote is of this format: a path of what is there, or a
            specification, which has a colon, as `procedural:identities=9`; it looks at names and
            first lines, and raises nothing.
        open: Opens it, its labels checked.
        lists: Whether such a source names files by paths, which may be relative to a root.
        landmarks: Whether such a source is there to measure landmarks on.
        order: Formats are tried from the least to the greatest, those of one order by name.
    """

    name: str
    title: str
    description: str
    recognises: Callable[[str], bool]
    open: Callable[[str, FormatOptions], FaceDataset]
    lists: bool = False
    landmarks: Callable[[str], bool] = _never
    order: int = 50


FORMATS: Registry[Format] = Registry(
    "data format", "facedistill.formats", "facedistill.data.formats"
)


def register(data_format: Format) -> Format:
    """Make a format known under its name and return it.

    Raises:
        ValueError: If another format already has that name.
    """
    return FORMATS.add(data_format.name, data_format)


def recognised(source: str) -> Format | None:
    """Return the format of what a user wrote; None where no format takes it."""
    known = sorted((entry for _, entry in FORMATS.items()), key=lambda entry: entry.order)
    return next((entry for entry in known if entry.recognises(source)), None)
