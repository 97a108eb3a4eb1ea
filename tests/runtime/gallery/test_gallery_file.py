import multiprocessing
import os
import signal
import sqlite3
from contextlib import suppress

import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.runtime.gallery.gallery_file import (
    GalleryFile,
    GallerySettings,
    Template,
    check_name,
)
from tests.runtime.gallery.unit_vectors import unit_vectors

SETTINGS = GallerySettings("fingerprint", "small", 32)


def templates(count, seed=0, crop=None):
    rows = unit_vectors(count, seed=seed)
    return [Template(bytes([seed, number]), row, crop) for number, row in enumerate(rows)]


@pytest.fixture(params=["float16", "int8"])
def path(request, tmp_path):
    """A gallery of two identities with three templates and one."""
    path = tmp_path / "g"
    with GalleryFile(path, GallerySettings("fingerprint", "small", 32, request.param)) as file:
        file.add("anna", templates(3))
        file.add("Jos\u00e9", templates(1, seed=1))
    return path


def test_what_was_enrolled_is_there_when_opened_again(path):
    with GalleryFile(path) as file:
        names = [(each.name, each.templates) for each in file.identities()]
        assert names == [("Jos\u00e9", 1), ("anna", 3)]
        named, owners, stored = file.templates()
        assert [named[owner] for owner in owners] == ["anna"] * 3 + ["Jos\u00e9"]
        expected = np.concatenate([unit_vectors(3), unit_vectors(1, seed=1)])
        np.testing.assert_allclose(stored.embeddings(), expected, atol=0.005)
        assert file.photos_of("anna") == {bytes([0, number]) for number in range(3)}
    assert [each.name for each in path.parent.iterdir()] == ["g"]


def test_a_photo_is_enrolled_once(path):
    with GalleryFile(path) as file:
        file.add("anna", templates(5))
        assert [each.templates for each in file.identities()] == [1, 5]


def test_removing_leaves_neither_name_nor_embeddings_in_any_file(path):
    with GalleryFile(path) as file:
        rows = file.templates()[2].rows()
        before = contents(path)
        assert b"anna" in before
        assert all(row in before for row in rows)
        file.remove(["anna"])
        after = contents(path)
        assert b"anna" not in after
        assert not any(row in after for row in rows[:3])
        assert rows[3] in after
        assert [each.name for each in file.identities()] == ["Jos\u00e9"]


def contents(path):
    return b"".join(each.read_bytes() for each in path.parent.glob(f"{path.name}*"))


def test_removing_an_unknown_identity_removes_none(path):
    with GalleryFile(path) as file:
        with pytest.raises(FacedistillError, match="has no identity bert"):
            file.remove(["anna", "bert"])
        assert len(file.identities()) == 2


def test_what_a_reader_kept_from_being_erased_is_erased_when_next_opened(path):
    with GalleryFile(path) as file:
        reader = sqlite3.connect(path, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM template").fetchone()
        file._connection.execute("PRAGMA busy_timeout = 1")
        with pytest.raises(FacedistillError, match="another process has it open"):
            file.remove(["anna"])
        reader.close()
    with GalleryFile(path):
        assert b"anna" not in contents(path)


def test_a_killed_enrolment_leaves_whole_identities_alone(tmp_path):
    path = tmp_path / "g"
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=enrol_until_killed, args=(path, theirs))
    process.start()
    done = [ours.recv() for _ in range(20)]
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    theirs.close()
    with suppress(EOFError):
        while True:
            done.append(ours.recv())
    with GalleryFile(path) as file:
        found = {each.name: each.templates for each in file.identities()}
        assert set(done) <= set(found)
        assert set(found.values()) == {4}
        assert file._connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def enrol_until_killed(path, told):
    with GalleryFile(path, SETTINGS) as file:
        for number in range(100_000):
            file.add(f"identity {number}", templates(4))
            told.send(f"identity {number}")


def test_killed_between_insertions_nothing_of_the_identity_is_seen(path):
    context = multiprocessing.get_context("fork")
    process = context.Process(target=die_within_a_transaction, args=(path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    with GalleryFile(path) as file:
        assert [each.name for each in file.identities()] == ["Jos\u00e9", "anna"]


def die_within_a_transaction(path):
    file = GalleryFile(path)
    with file._transaction("IMMEDIATE"):
        file._connection.execute("PRAGMA cache_spill = 1")
        file._connection.execute("INSERT INTO identity VALUES (9, 'half', '')")
        os.kill(os.getpid(), signal.SIGKILL)


def test_two_processes_enrol_into_one_new_gallery(tmp_path):
    first = GalleryFile(tmp_path / "g", SETTINGS)
    second = GalleryFile(tmp_path / "g", GallerySettings("another", "large", 64))
    first.add("anna", templates(1))
    assert second.settings == SETTINGS
    assert second.identities() == first.identities()


@pytest.mark.parametrize("name", ["", "  ", "a\x00b", "\x1b[31mred", "a\nb", "x" * 201])
def test_names_that_do_not_print_are_refused(name):
    with pytest.raises(FacedistillError, match="cannot name an identity") as error:
        check_name(name)
    assert str(error.value).isprintable()


DAMAGES = {
    "another file": lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" * 100),
    "an empty file": lambda path: path.write_bytes(b""),
    "a cut file": lambda path: path.write_bytes(path.read_bytes()[:3000]),
    "noise": lambda path: path.write_bytes(path.read_bytes()[:100] + os.urandom(20_000)),
    "a trigger": lambda path: change(
        path, "CREATE TRIGGER t AFTER DELETE ON template BEGIN SELECT 1; END"
    ),
    "a huge blob": lambda path: change(path, "UPDATE template SET embedding = zeroblob(3000000)"),
    "a huge name": lambda path: change(path, "UPDATE identity SET name = zeroblob(3000000)||id"),
    "text": lambda path: change(path, "UPDATE template SET embedding = 'x'"),
    "zeros": lambda path: change(
        path, "UPDATE template SET embedding = zeroblob(length(embedding))"
    ),
    "no owner": lambda path: change(path, "UPDATE template SET identity = identity + 90"),
    "a number for a name": lambda path: change(path, "UPDATE identity SET name = x'ff' || id"),
    "a dimension": lambda path: change(
        path, "UPDATE setting SET value = 1000000000000 WHERE name = 'dimension'"
    ),
    "no setting": lambda path: change(path, "DELETE FROM setting"),
    "another application": lambda path: change(path, "PRAGMA application_id = 7"),
}


def change(path, statement):
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement)
    connection.close()


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_hostile_gallery_is_one_line(path, damage):
    damage(path)
    with pytest.raises(FacedistillError) as error, GalleryFile(path) as file:
        file.templates()
    assert str(path) in str(error.value)


def test_a_foreign_database_stays_as_it_is(tmp_path):
    path = tmp_path / "other.db"
    change(path, "CREATE TABLE other (x)")
    before = path.read_bytes()
    with pytest.raises(FacedistillError, match="another program's SQLite file"):
        GalleryFile(path, SETTINGS)
    assert contents(path) == before


def test_an_absent_gallery_is_named():
    with pytest.raises(FacedistillError, match="no such file"):
        GalleryFile("nowhere.gallery")
    with pytest.raises(FacedistillError, match="there is no folder nowhere"):
        GalleryFile("nowhere/gallery", SETTINGS)
