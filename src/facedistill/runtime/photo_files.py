"""The image files that a user names: single ones, folders, and folders of identities."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from facedistill.core.errors import FacedistillError
from facedistill.core.missing_files import require_present
from facedistill.runtime.image_file import IMAGE_SUFFIXES


def photo_files(sources: Sequence[Path]) -> list[Path]:
    """Return the files that are named, and those in folders, however deep, sorted.

    Hidden files, and folders that are links, are passed over.

    Raises:
        FacedistillError: If one is not there, or a folder has no image.
    """
    require_present(*sources)
    found: list[Path] = []
    for source in sources:
        if not source.is_dir():
            found.append(source)
            continue
        inside = _images_below(source)
        if not inside:
            raise FacedistillError(f"{source}: no images there ({', '.join(IMAGE_SUFFIXES)})")
        found += inside
    return found


def photos_by_identity(
    sources: Sequence[Path], name: str | None = None
) -> list[tuple[str, list[Path]]]:
    """Return whose photos are to be enrolled.

    Args:
        sources: With a name, photos and folders of that identity; else folders that have a folder
            for each identity, called like it.
        name: Of the identity.

    Raises:
        FacedistillError: If there are none, or it is unclear whose they are.
    """
    require_present(*sources)
    if name is not None:
        return [(name, photo_files(sources))]
    photos: dict[str, list[Path]] = {}
    for source in sources:
        folders = _folders(source) if source.is_dir() else []
        own = _images(source) if source.is_dir() else [source]
        if own:
            raise FacedistillError(
                f"{own[0]}: whose photo is it? Give --name NAME, or a folder that has a folder "
                "for each identity, called like it"
            )
        if not folders:
            raise FacedistillError(f"{source}: no folders of identities there, nor images")
        for folder in folders:
            inside = _images_below(folder)
            if not inside:
                raise FacedistillError(
                    f"{folder}: no images there ({', '.join(IMAGE_SUFFIXES)}); remove the folder, "
                    "or add some"
                )
            photos.setdefault(folder.name, []).extend(inside)
    return sorted(photos.items())


def _folders(folder: Path) -> list[Path]:
    return sorted(each for each in _entries(folder) if each.is_dir())


def _images(folder: Path) -> list[Path]:
    return sorted(each for each in _entries(folder) if _is_image(each.name) and each.is_file())


def _entries(folder: Path) -> list[Path]:
    return [each for each in folder.iterdir() if not each.name.startswith(".")]


def _images_below(folder: Path) -> list[Path]:
    found: list[Path] = []
    for place, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        found += [Path(place, each) for each in sorted(files) if _is_image(each)]
    return found


def _is_image(name: str) -> bool:
    return not name.startswith(".") and name.lower().endswith(IMAGE_SUFFIXES)


def _refuse(error: OSError) -> None:
    raise FacedistillError(f"cannot read {error.filename}: {error.strerror}") from error
