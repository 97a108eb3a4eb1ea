"""A shard of a bank that is not finished: what has been embedded of it is kept every half minute.

A teacher that takes a twentieth of a second an image needs minutes for a shard. The rows done so
far are kept beside the shards, in `part-SHARD-ROWS.npy`, and a killed `embed` goes on behind them.
"""

from __future__ import annotations

import re
import time
import warnings
import zlib
from pathlib import Path

import numpy as np

from facedistill.core.atomic import atomic_path
from facedistill.core.errors import FacedistillError
from facedistill.data.formats.npy import NpyFile
from facedistill.distill.bank.format import BankInfo, read_info

SECONDS = 30.0
"""Between two times at which rows are kept."""

_NAME = re.compile(r"part-(\d+)-(\d+)\.npy")
_WHOLE = re.compile(r"rows-(\d+)\.npy")


class UnfinishedShard:
    """The rows of one shard while they are embedded.

    Args:
        folder: The bank's folder.
        shard: Number of the shard.
        info: What the bank says of itself.
        seconds: Between two times at which rows are kept.

    Attributes:
        table: One record of the shard's type; its first `done` rows are filled.
        done: How many.
    """

    def __init__(self, folder: Path, shard: int, info: BankInfo, seconds: float = SECONDS) -> None:
        self.folder, self.shard, self.info, self.seconds = folder, shard, info, seconds
        self.table, self.done = self._kept() or (new_table(info, shard), 0)
        self._due = time.monotonic() + seconds

    def advance(self, rows: int) -> bool:
        """Count rows that have been filled; return whether it is time to keep them."""
        self.done += rows
        return self.done < len(self.info.shard_rows(self.shard)) and time.monotonic() >= self._due

    def keep(self) -> None:
        """Write the rows done so far, in the place of those kept before."""
        kept = np.zeros(1, _kept_type(self.info, self.shard))
        kept["shard"], kept["sum"] = self.table, zlib.crc32(self.table.tobytes())
        path = self.folder / f"part-{self.shard:05d}-{self.done:07d}.npy"
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.save(file, kept, allow_pickle=False)
        for earlier in self._parts().values():
            if earlier != path:
                earlier.unlink(missing_ok=True)
        self._due = time.monotonic() + self.seconds

    def _kept(self) -> tuple[np.ndarray, int] | None:
        """Return the table and the number of rows that were kept last, if any are as written."""
        for rows, path in sorted(self._parts().items(), reverse=True):
            try:
                return self._read(path), rows
            except (OSError, ValueError, FacedistillError) as error:
                warnings.warn(f"{path}: {error}; its rows are embedded again", stacklevel=3)
        return None

    def _read(self, path: Path) -> np.ndarray:
        kind = _kept_type(self.info, self.shard)
        opened = NpyFile(path)
        if opened.dtype != kind or opened.shape != (1,):
            raise ValueError("it is of another bank")
        kept = opened.file.read_rows(opened.offset, kind, np.zeros(1, np.int64))
        table = kept["shard"].copy()
        if zlib.crc32(table.tobytes()) != int(kept["sum"][0]):
            raise ValueError("it is damaged")
        if not np.array_equal(table["bank"][0], self.info.mark):
            raise ValueError("it is of another bank")
        return table

    def _parts(self) -> dict[int, Path]:
        """Return the files that hold rows of this shard, by their number of rows."""
        found = parts(self.folder)
        return {rows: path for path, (shard, rows) in found.items() if shard == self.shard}


def parts(folder: Path) -> dict[Path, tuple[int, int]]:
    """Return the files that hold rows of unfinished shards: of which shard, and how many."""
    found = ((path, _NAME.fullmatch(path.name)) for path in folder.glob("part-*.npy"))
    return {path: (int(name[1]), int(name[2])) for path, name in found if name}


def kept_images(folder: Path) -> tuple[int, int]:
    """Return how many images of a bank are kept, and how many it is to have; 0, 0 for no bank.

    Files that are there bound the count, whatever `bank.json` claims.
    """
    try:
        info = read_info(folder)
    except FacedistillError:
        return 0, 0
    rows: dict[int, int] = {}
    for shard, done in parts(folder).values():
        rows[shard] = max(rows.get(shard, 0), done)
    for path in folder.glob("rows-*.npy"):
        if name := _WHOLE.fullmatch(path.name):
            rows[int(name[1])] = len(info.shard_rows(int(name[1])))
    return sum(rows.values()), info.count


def new_table(info: BankInfo, shard: int) -> np.ndarray:
    """Return a shard that bears the bank's mark and has no rows yet: one record."""
    table = np.zeros(1, info.shard_type(shard))
    table["bank"] = info.mark
    return table


def _kept_type(info: BankInfo, shard: int) -> np.dtype:
    return np.dtype([("sum", "<u4"), ("shard", info.shard_type(shard))])
