"""Writes tables of the code into the pages beside this file: options, methods, networks, ...

python docs/generate.py            between <!-- begin: NAME --> and <!-- end: NAME -->
python docs/generate.py --check    writes nothing; exit code 1 where a page is stale
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from tables import TABLES

from facedistill.core.errors import FacedistillError

PAGES = Path(__file__).parent

_BLOCK = re.compile(r"(<!-- begin: ([\w-]+) -->\n).*?(<!-- end: \2 -->)", re.S)


def written(text: str) -> str:
    """Return a page with its blocks written anew."""

    def block(match: re.Match[str]) -> str:
        name = match[2]
        if name not in TABLES:
            raise FacedistillError(f"no table '{name}': take one of {', '.join(TABLES)}")
        return f"{match[1]}{TABLES[name]()}{match[3]}"

    return _BLOCK.sub(block, text)


def stale_pages(folder: Path) -> dict[Path, str]:
    """Return by page what it should be, of those that are otherwise.

    Raises:
        FacedistillError: If a block has no table, or a table no page.
    """
    pages = {path: path.read_text("utf-8") for path in sorted(folder.glob("*.md"))}
    placed = [match[2] for text in pages.values() for match in _BLOCK.finditer(text)]
    for name in TABLES:
        if placed.count(name) != 1:
            raise FacedistillError(
                f"table '{name}' stands in {placed.count(name)} pages, not in one"
            )
    fresh = {path: written(text) for path, text in pages.items()}
    return {path: text for path, text in fresh.items() if text != pages[path]}


def main() -> None:
    """Write the pages, or name the first that is stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if stale")
    check = parser.parse_args().check
    for path, text in stale_pages(PAGES).items():
        if check:
            sys.exit(f"{path.name} is stale: run `make docs`")
        path.write_text(text, "utf-8")
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
