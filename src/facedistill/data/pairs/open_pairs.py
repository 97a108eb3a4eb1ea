"""Opening whatever holds pairs: what is given says which reader reads it."""

from __future__ import annotations

from pathlib import Path

from facedistill.core.errors import FacedistillError
from facedistill.data.formats.procedural import PREFIX, parse_procedural
from facedistill.data.pairs.bin_pairs import read_bin
from facedistill.data.pairs.lfw_pairs import PAIRS_FILE, read_lfw
from facedistill.data.pairs.pair_drawing import DEFAULT_PAIRS, most_pairs
from facedistill.data.pairs.pair_set import PairSet


def is_pair_list(source: str | Path) -> bool:
    """Whether it can only be a list of pairs: a `.bin` file, or `FOLDER:LIST`.

    A folder with `pairs.txt` is a data set too.
    """
    folder, _, _ = str(source).rpartition(":")
    return Path(source).suffix.lower() == ".bin" or (bool(folder) and Path(folder).is_dir())


def open_pairs(source: str | Path, *, count: int | None = None, seed: int = 0) -> PairSet:
    """Open whatever holds pairs.

    Args:
        source: A `.bin` file, a folder that holds `pairs.txt`, `FOLDER:LIST` with a list in LFW's
            layout (looked for beside you, then in the folder), or a specification such as
            `procedural:identities=100,images=10,seed=1,size=112`.
        count: Number of pairs to draw where they are drawn; by default 6,000, or as many as the
            faces give.
        seed: Which pairs are drawn.

    Raises:
        FacedistillError: If there is nothing there, it is something else or it is damaged.
    """
    text = str(source)
    if text.startswith(PREFIX):
        faces = parse_procedural(text)
        return PairSet.from_dataset(
            faces, count or min(DEFAULT_PAIRS, most_pairs(faces.labels)), seed
        )
    path = Path(source)
    if path.is_dir():
        return read_lfw(path, path / PAIRS_FILE)
    if path.suffix.lower() == ".bin":
        return read_bin(path)
    folder, _, listed = text.rpartition(":")
    if folder and Path(folder).is_dir():
        beside = Path(listed)
        return read_lfw(folder, beside if beside.is_file() else Path(folder, listed))
    kind = "does not hold pairs" if path.exists() else "no such file or folder"
    raise FacedistillError(
        f"{source}: {kind}; give a .bin file, a folder with {PAIRS_FILE}, FOLDER:{PAIRS_FILE} or "
        f"{PREFIX}identities=100,images=10"
    )
