"""A gallery on disk: one SQLite file, whose changes are whole or absent.

Journal and locks are SQLite's own (write-ahead log, flushed to disk with each transaction): a
process that is killed loses nothing that was enrolled, and leaves nothing half-enrolled. Removing
an identity overwrites it, rewrites the file and empties the log.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.core.missing_files import missing
from facedistill.core.regular_files import open_regular, require_regular
from facedistill.runtime.gallery.stored_templates import (
    PRECISIONS,
    Precision,
    StoredTemplates,
    row_bytes,
)

_APPLICATION = 0x66644731
"""What SQLite's header names as the application whose file it is: "fdG1"."""
_SCHEMA = (
    "CREATE TABLE setting (name TEXT PRIMARY KEY, value NOT NULL)",
    "CREATE TABLE identity (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, "
    "enrolled TEXT NOT NULL)",
    "CREATE TABLE template (id INTEGER PRIMARY KEY, "
    "identity INTEGER NOT NULL REFERENCES identity (id), photo BLOB NOT NULL, "
    "embedding BLOB NOT NULL, crop BLOB, UNIQUE (identity, photo))",
)
_START = b"SQLite format 3\0"
_WAIT = 20.0
"""Seconds for another process to end its transaction."""
_LARGEST_VALUE = 1 << 20
"""Bytes of a value that are read: a crop of 112 x 112 has about 25,000."""
_LARGEST_DIMENSION = 1 << 16
_LONGEST_NAME = 200
_ROWS_AT_ONCE = 4096
_ERASE = "erase"
"""Setting while bytes of what was removed may still be in the file."""


@dataclass(frozen=True)
class GallerySettings:
    """What a gallery is of; it never changes but by embedding its crops anew.

    Attributes:
        model: Fingerprint of the network (`network_fingerprint`).
        model_name: What it is called.
        dimension: Of its embeddings.
        precision: In which they are stored.
        crops: Whether the aligned crops are kept beside them.
    """

    model: str
    model_name: str
    dimension: int
    precision: Precision = "float16"
    crops: bool = False


@dataclass(frozen=True)
class Enrolled:
    """An identity of a gallery.

    Attributes:
        name: Its name.
        templates: How many templates it has.
        enrolled: When it was first enrolled, ISO 8601 in UTC.
    """

    name: str
    templates: int
    enrolled: str


@dataclass(frozen=True)
class Template:
    """A face to be enrolled.

    Attributes:
        photo: Digest of the photograph, by which it is known again.
        embedding: float32 (D,), of length 1.
        crop: A PNG file; None where crops are not kept.
    """

    photo: bytes
    embedding: np.ndarray
    crop: bytes | None = None


class GalleryFile:
    """A gallery's file, open; close it, or use it in a `with` statement.

    Args:
        path: The file.
        new: Settings of the gallery that is made where there is none; None to refuse that.

    Attributes:
        path: The file.
        settings: Of the gallery.

    Raises:
        FacedistillError: If there is no gallery, or the file is something else or damaged.
    """

    def __init__(self, path: str | Path, new: GallerySettings | None = None) -> None:
        self.path = Path(path)
        _check_start(self.path, new is not None)
        with self._told():
            mode = "rw" if new is None else "rwc"
            address = f"file:{quote(str(self.path.absolute()))}?mode={mode}"
            self._connection = sqlite3.connect(
                address, uri=True, isolation_level=None, timeout=_WAIT
            )
        try:
            with self._told():
                self._prepare(new)
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> GalleryFile:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def identities(self) -> list[Enrolled]:
        """Return the identities, ordered by name."""
        rows = self._rows(
            "SELECT name, (SELECT count(*) FROM template WHERE identity = identity.id), enrolled "
            "FROM identity ORDER BY name"
        )
        return [Enrolled(*row) for row in rows]

    def photos_of(self, name: str) -> set[bytes]:
        """Return the digests of the photographs that an identity was enrolled from."""
        rows = self._rows(
            "SELECT photo FROM template JOIN identity ON identity.id = identity WHERE name = ?",
            name,
        )
        return {photo for (photo,) in rows}

    def templates(self) -> tuple[list[str], np.ndarray, StoredTemplates]:
        """Return all templates, those of an identity next to each other.

        Returns:
            Names of the identities, the number of each template's identity among them, int64 (N,)
            ascending, and the templates.

        Raises:
            FacedistillError: If the file is damaged.
        """
        with self._told(), self._transaction("DEFERRED"):
            return self._templates()

    def crops(self) -> Iterator[tuple[int, bytes | None]]:
        """Yield the number of each template in the file and its crop, None where none was kept."""
        yield from self._rows("SELECT id, crop FROM template ORDER BY id")

    def add(self, name: str, templates: Sequence[Template]) -> None:
        """Enrol templates of an identity: all of them, or none where this fails.

        Args:
            name: The identity, new or not.
            templates: At least one; a photograph that the identity has already is passed over.

        Raises:
            FacedistillError: If the name cannot be one, or the operating system refuses.
        """
        check_name(name)
        embeddings = np.stack([each.embedding for each in templates])
        stored = StoredTemplates.of(embeddings, self.settings.precision).rows()
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with self._told(), self._transaction("IMMEDIATE"):
            execute = self._connection.execute
            execute("INSERT OR IGNORE INTO identity (name, enrolled) VALUES (?, ?)", (name, now))
            (identity,) = execute("SELECT id FROM identity WHERE name = ?", (name,)).fetchone()
            self._connection.executemany(
                "INSERT OR IGNORE INTO template (identity, photo, embedding, crop) "
                "VALUES (?, ?, ?, ?)",
                [
                    (identity, each.photo, embedding, each.crop)
                    for each, embedding in zip(templates, stored, strict=True)
                ],
            )

    def remove(self, names: Sequence[str]) -> None:
        """Remove identities, so that neither names nor embeddings remain in the gallery's files.

        Raises:
            FacedistillError: If one is not there, in which case none is removed; or if another
                process has the file open: what is removed is then erased when it is next opened.
        """
        with self._told(), self._transaction("IMMEDIATE"):
            execute = self._connection.execute
            for name in names:
                row = execute("SELECT id FROM identity WHERE name = ?", (name,)).fetchone()
                if row is None:
                    raise FacedistillError(
                        f"{self.path} has no identity {name}: `facedistill gallery list "
                        f"{self.path}` has their names"
                    )
                execute("DELETE FROM template WHERE identity = ?", row)
                execute("DELETE FROM identity WHERE id = ?", row)
            self._set(_ERASE, 1)
        self.erase()

    def replace(self, settings: GallerySettings, embeddings: dict[int, np.ndarray]) -> None:
        """Put embeddings of another network in the place of all that are there, or of none.

        Args:
            settings: With the network.
            embeddings: float32 (D,) of length 1, by number as `crops` yields it.

        Raises:
            FacedistillError: If templates were enrolled meanwhile.
        """
        stacked = np.reshape(list(embeddings.values()), (len(embeddings), settings.dimension))
        rows = StoredTemplates.of(stacked.astype(np.float32), settings.precision).rows()
        with self._told(), self._transaction("IMMEDIATE"):
            numbers = {row[0] for row in self._connection.execute("SELECT id FROM template")}
            if numbers != set(embeddings):
                raise FacedistillError(
                    f"{self.path} was changed by another process meanwhile: run the same again"
                )
            self._connection.executemany(
                "UPDATE template SET embedding = ? WHERE id = ?",
                zip(rows, embeddings, strict=True),
            )
            for key, value in asdict(settings).items():
                self._set(key, value)
            self._set(_ERASE, 1)
        self.settings = settings
        self.erase()

    def erase(self) -> None:
        """Write the file anew without what was removed, and empty the log.

        Raises:
            FacedistillError: If another process has the file open.
        """
        with self._told():
            execute = self._connection.execute
            execute("VACUUM")
            (busy, _, _) = execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if busy:
                raise FacedistillError(
                    f"{self.path}: what was removed is found no more, but its bytes stay in the "
                    "file as long as another process has it open: close that, then run "
                    f"`facedistill gallery list {self.path}`"
                )
            execute("DELETE FROM setting WHERE name = ?", (_ERASE,))

    def _prepare(self, new: GallerySettings | None) -> None:
        connection = self._connection
        if hasattr(connection, "setlimit"):
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LARGEST_VALUE)
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        if new is not None and not pages:
            self._create(new)
        elif application != _APPLICATION:
            raise FacedistillError(
                f"{self.path} is no gallery of facedistill"
                + (
                    ": it is empty, and enrolling makes one of it"
                    if not pages
                    else ", but another program's SQLite file"
                )
            )
        for pragma in (
            "trusted_schema = OFF",
            "cell_size_check = ON",
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
            "secure_delete = ON",
            "temp_store = MEMORY",
        ):
            connection.execute(f"PRAGMA {pragma}")
        self.settings = self._settings()
        if self._value(_ERASE):
            self.erase()

    def _create(self, settings: GallerySettings) -> None:
        """Make the tables, unless another process has made them meanwhile."""
        with self._transaction("EXCLUSIVE"):
            (made,) = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if made:
                return
            for statement in _SCHEMA:
                self._connection.execute(statement)
            for key, value in asdict(settings).items():
                self._set(key, value)
            self._connection.execute(f"PRAGMA application_id = {_APPLICATION}")

    def _settings(self) -> GallerySettings:
        """Read what the gallery is of, and that it has the tables of one and nothing else."""
        tables = {row[0] for row in self._rows("SELECT sql FROM sqlite_master") if row[0]}
        if tables != set(_SCHEMA):
            raise self._damaged("its tables are not those of a gallery")
        keys = GallerySettings.__dataclass_fields__
        values = {key: self._value(key) for key in keys}
        texts = values["model"], values["model_name"]
        dimension = values["dimension"]
        if (
            not all(isinstance(text, str) for text in texts)
            or values["precision"] not in PRECISIONS
            or not isinstance(dimension, int)
            or not 0 < dimension <= _LARGEST_DIMENSION
        ):
            raise self._damaged("its settings are not those of a gallery")
        return GallerySettings(**{**values, "crops": bool(values["crops"])})

    def _templates(self) -> tuple[list[str], np.ndarray, StoredTemplates]:
        execute, settings = self._connection.execute, self.settings
        wide = row_bytes(settings.dimension, settings.precision)
        query = "SELECT count(*) FROM template WHERE typeof(embedding) <> 'blob' OR "
        (other,) = execute(f"{query} length(embedding) <> ?", (wide,)).fetchone()
        (count,) = execute("SELECT count(*) FROM template").fetchone()
        named = dict(execute("SELECT id, name FROM identity ORDER BY id"))
        if other or not all(isinstance(name, str) for name in named.values()):
            raise self._damaged("a template has another length, or an identity no name")
        rows = np.empty((count, wide), np.uint8)
        owners = np.empty(count, np.int64)
        # By identity, then by age: the index of both columns has the order.
        found = execute("SELECT identity, embedding FROM template ORDER BY identity, id")
        place = 0
        while some := found.fetchmany(_ROWS_AT_ONCE):
            end = place + len(some)
            owners[place:end] = [identity for identity, _ in some]
            joined = b"".join(embedding for _, embedding in some)
            rows[place:end] = np.frombuffer(joined, np.uint8).reshape(-1, wide)
            place = end
        numbers = np.array(list(named), np.int64)
        if not np.isin(owners, numbers).all():
            raise self._damaged("a template is of no identity")
        stored = StoredTemplates.from_rows(rows, settings.precision)
        stored.check(str(self.path))
        return list(named.values()), np.searchsorted(numbers, owners), stored

    def _rows(self, query: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        with self._told(), closing(self._connection.execute(query, values)) as found:
            while some := found.fetchmany(_ROWS_AT_ONCE):
                yield from some

    def _value(self, key: str) -> Any:
        for (value,) in self._rows("SELECT value FROM setting WHERE name = ?", key):
            return value
        return None

    def _set(self, key: str, value: Any) -> None:
        self._connection.execute("INSERT OR REPLACE INTO setting VALUES (?, ?)", (key, value))

    @contextmanager
    def _transaction(self, kind: str) -> Iterator[None]:
        self._connection.execute(f"BEGIN {kind}")
        try:
            yield
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn SQLite's errors into one line that names the file and the remedy."""
        try:
            yield
        except (sqlite3.Error, UnicodeError, OverflowError) as error:
            text = str(error)
            if "locked" in text:
                raise FacedistillError(
                    f"{self.path} is being written by another process: wait for it, then run the "
                    "same again"
                ) from None
            if "disk is full" in text or "readonly" in text or "unable to open" in text:
                raise FacedistillError(
                    f"cannot write {self.path}: {text}: give a gallery in a folder that you may "
                    "write to and that has space"
                ) from None
            raise self._damaged(text) from None

    def _damaged(self, reason: str) -> FacedistillError:
        return FacedistillError(
            f"{self.path} is damaged, or no gallery: {reason}: take it from a backup, or enrol "
            "into a new one"
        )


def check_name(name: str) -> None:
    """Refuse what cannot name an identity.

    Raises:
        FacedistillError: If it is empty, longer than 200 characters, or has some that do not
            print.
    """
    if not name.strip() or len(name) > _LONGEST_NAME or not name.isprintable():
        raise FacedistillError(
            f"{name!r} cannot name an identity: give 1 to {_LONGEST_NAME} characters that print"
        )


def _check_start(path: Path, may_be_new: bool) -> None:
    """Refuse what is no SQLite file, before anything opens it."""
    if not path.exists():
        if not may_be_new:
            raise missing(path)
        if not path.absolute().parent.is_dir():
            raise FacedistillError(f"{path}: there is no folder {path.parent}: make it first")
        return
    require_regular(path)
    with open_regular(path) as file:
        start = file.read(len(_START))
    if start not in (b"", _START):
        raise FacedistillError(f"{path} is no gallery: it is no SQLite file; give another name")
