"""Files that bear a network's name and hold something else: web pages, pointers, other formats."""

from __future__ import annotations

import re
from pathlib import Path

from facedistill.core.errors import FacedistillError
from facedistill.core.regular_files import open_regular

_LFS = b"version https://git-lfs.github.com/spec/"
_PAGES = (b"<!doctype html", b"<html", b"<head", b"<!--")
_XML = re.compile(rb"<\?xml[^>]*>\s*(<!--.*?-->\s*)*")
"""What an XML file begins with; OpenVINO's graphs are XML too."""

_KINDS = {
    b"\x89HDF\r\n\x1a\n": "HDF5 (Keras)",
    b"\x1f\x8b": "a gzip archive: unpack it",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive: unpack it",
    b"Rar!\x1a\x07": "a RAR archive: unpack it",
    b"%PDF": "a PDF document",
}


def check_is_weights(path: Path) -> None:
    """Refuse a file that is there, but holds no network of whatever format.

    Args:
        path: The file.

    Raises:
        FacedistillError: If it does not exist, is no regular file, is empty or is something else,
            which is named.
    """
    if not path.exists():
        raise FacedistillError(f"{path} does not exist")
    try:
        with open_regular(path) as file:
            head = file.read(512)
    except OSError as error:
        raise FacedistillError(f"cannot read {path}: {error.strerror or error}") from error
    found = other_content(head)
    if found:
        raise FacedistillError(f"{path} holds no weights: it is {found}")


def other_content(head: bytes) -> str | None:
    """Return what a file is that begins so, and what to do; None where it may be a network.

    Args:
        head: Its first 512 bytes, or all of a shorter one.
    """
    if not head:
        return "empty; get it again"
    if head.startswith(_LFS):
        return "a git-lfs pointer to them; `git lfs pull` fetches the file itself"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(_PAGES) or (
        _XML.match(text) and not _XML.sub(b"", text).startswith(b"<net")
    ):
        return "a web page, which a server sent instead; get the file itself"
    if text.startswith((b'{"error', b'{"message', b"<error")):
        return "a server's error message; get the file itself"
    return next((kind for start, kind in _KINDS.items() if head.startswith(start)), None)
