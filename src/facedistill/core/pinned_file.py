"""A public file that commands need and the project does not ship, pinned by its SHA-256.

It lies in the user's cache folder once it was fetched or installed, whole and verified.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from facedistill.core.atomic import atomic_path
from facedistill.core.errors import FacedistillError
from facedistill.core.regular_files import read_regular

CACHE_VARIABLE = "FACEDISTILL_CACHE"
"""Environment variable that names another cache folder."""

_PATIENCE = 30.0
"""Seconds to wait for the next bytes of a download."""


def cache_folder() -> Path:
    """Return the user's cache folder: FACEDISTILL_CACHE, or `facedistill` where caches lie."""
    own = os.environ.get(CACHE_VARIABLE)
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "facedistill"


@dataclass(frozen=True)
class PinnedFile:
    """A file with one address and one content.

    Attributes:
        name: What `facedistill fetch` calls it.
        file_name: Its name in the cache folder.
        address: Where it is public.
        sha256: Hex digest of its bytes.
        size: How many bytes it has.
        licence: Its licence, in words.
    """

    name: str
    file_name: str
    address: str
    sha256: str
    size: int
    licence: str

    @property
    def path(self) -> Path:
        """Where it lies once it was fetched."""
        return cache_folder() / self.file_name

    @property
    def present(self) -> bool:
        """Whether it lies there, to the byte."""
        try:
            return hashlib.sha256(read_regular(self.path, self.size)).hexdigest() == self.sha256
        except FacedistillError:
            return False

    def install(self, source: str | Path) -> Path:
        """Copy a local file into the cache folder.

        Args:
            source: The file, got in another way.

        Returns:
            Its path there.

        Raises:
            FacedistillError: If it is another file, or cannot be read or written.
        """
        return self._write(read_regular(source, self.size), str(source))

    def fetch(self) -> Path:
        """Download the file into the cache folder: the only connection that is ever opened.

        Returns:
            Its path there.

        Raises:
            FacedistillError: If the address cannot be reached, gives another file, or the disk
                refuses.
        """
        # Imported here: no other command needs what opens connections.
        import http.client
        from urllib.request import Request, urlopen

        request = Request(self.address, headers={"User-Agent": "facedistill"})
        try:
            with urlopen(request, timeout=_PATIENCE) as response:
                content: bytes = response.read(self.size + 1)
        except (OSError, http.client.HTTPException) as error:
            raise FacedistillError(
                f"{self.address} cannot be fetched ({getattr(error, 'reason', error)}): get the "
                f"file in another way, then `facedistill fetch {self.name} --from FILE`"
            ) from error
        return self._write(content, self.address)

    def _write(self, content: bytes, source: str) -> Path:
        digest = hashlib.sha256(content).hexdigest()
        if len(content) != self.size or digest != self.sha256:
            raise FacedistillError(
                f"{source} is not the {self.name} file that is wanted: {len(content):,} bytes "
                f"read, SHA-256 {digest[:12]}..., expected {self.size:,} bytes and "
                f"{self.sha256[:12]}... (from {self.address})"
            )
        with atomic_path(self.path) as temporary:
            temporary.write_bytes(content)
        return self.path
