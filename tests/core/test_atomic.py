import errno
import fcntl
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from facedistill.core.atomic import atomic_folder, atomic_path, folder_for, watch
from facedistill.core.errors import FacedistillError


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_writes_into_a_folder_that_it_creates(tmp_path):
    target = tmp_path / "a" / "b" / "file.json"
    with atomic_path(target) as temporary:
        assert temporary.parent == target.parent
        assert temporary.suffix == ".json"
        temporary.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    assert names(target.parent) == ["file.json"]


def fail(block):
    with pytest.raises(RuntimeError), block:
        raise RuntimeError


def test_folders_that_were_made_for_nothing_go_away(tmp_path):
    for begin in (atomic_path, atomic_folder, lambda path: folder_for(path.parent)):
        fail(begin(tmp_path / "a" / "b" / "target"))
        assert names(tmp_path) == []


def test_folders_with_something_in_them_stay(tmp_path):
    def write_and_fail():
        with folder_for(tmp_path / "a" / "b"):
            (tmp_path / "a" / "file").touch()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_and_fail()
    assert names(tmp_path / "a") == ["file"]
    (tmp_path / "own").mkdir()
    fail(folder_for(tmp_path / "own"))
    assert (tmp_path / "own").is_dir()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, FacedistillError])
def test_a_failure_keeps_the_old_file_and_leaves_nothing(tmp_path, error):
    target = tmp_path / "file"
    target.write_text("old")

    def write():
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise error("stop")

    with pytest.raises(error):
        write()
    assert target.read_text() == "old"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_disk_full_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, call):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    owner = os if call == "fsync" else Path
    monkeypatch.setattr(owner, call, full)
    with (
        pytest.raises(
            FacedistillError, match=r"cannot write .*file: No space left.*: free some space"
        ),
        atomic_path(tmp_path / "file") as temporary,
    ):
        temporary.write_text("new")
    assert names(tmp_path) == []


def test_a_folder_in_the_way_is_named(tmp_path):
    (tmp_path / "file").mkdir()
    with (
        pytest.raises(FacedistillError, match="cannot write"),
        atomic_path(tmp_path / "file") as temporary,
    ):
        temporary.write_text("new")
    assert names(tmp_path) == ["file"]


def test_a_file_where_the_folder_should_be_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(FacedistillError, match="cannot write"),
        atomic_path(tmp_path / "file" / "below"),
    ):
        pytest.fail("there is nowhere to write")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(FacedistillError, match="ermission"), atomic_path(tmp_path / "file"):
        pytest.fail("there is nowhere to write")


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_the_file_has_the_mode_of_any_new_file(tmp_path, mask):
    before = os.umask(mask)
    try:
        with atomic_path(tmp_path / "file") as temporary:
            temporary.write_text("new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o666 & ~mask


def test_concurrent_writers_leave_one_whole_file(tmp_path):
    target = tmp_path / "file"
    start = threading.Barrier(8)

    def write(number):
        start.wait()
        for _ in range(10):
            with atomic_path(target) as temporary:
                temporary.write_text(str(number) * 10_000)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    text = target.read_text()
    assert len(text) == 10_000
    assert len(set(text)) == 1
    assert names(tmp_path) == ["file"]


def test_the_mode_is_kept_where_a_writer_puts_a_file_of_its_own(tmp_path):
    plain, target = tmp_path / "plain", tmp_path / "file"
    plain.write_text("")
    with atomic_path(target) as temporary:
        private = tmp_path / "private"
        private.write_text("new")
        private.chmod(0o600)
        private.replace(temporary)
    assert target.read_text() == "new"
    assert target.stat().st_mode == plain.stat().st_mode


def test_a_kill_while_writing_keeps_the_old_file(tmp_path):
    target = tmp_path / "file"
    target.write_text("old")
    program = (
        "import os, signal, sys\n"
        "from facedistill.core.atomic import atomic_path\n"
        "with atomic_path(sys.argv[1]) as temporary:\n"
        "    temporary.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(target)], check=False)
    assert done.returncode == -9
    assert target.read_text() == "old"
    assert all(name.startswith(".") for name in names(tmp_path) if name != "file")
    assert len(names(tmp_path)) == 2
    with atomic_path(tmp_path / "other") as temporary:
        temporary.write_text("new")
    assert len(names(tmp_path)) == 3  # the leftover of another file stays
    with atomic_path(target) as temporary:
        temporary.write_text("new")
    assert names(tmp_path) == ["file", "other"]


def test_the_temporary_file_of_a_writer_at_work_is_no_leftover(tmp_path):
    target = tmp_path / "file"
    with atomic_path(target) as first:
        first.write_text("first")
        with atomic_path(target) as second:
            second.write_text("second")
        assert target.read_text() == "second"
    assert target.read_text() == "first"
    assert names(tmp_path) == ["file"]


def test_a_file_system_without_locks_still_takes_files(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    leftover = tmp_path / ".file-0123456789abcdef"
    leftover.write_text("perhaps in use")
    with atomic_path(tmp_path / "file") as temporary:
        temporary.write_text("new")
    assert names(tmp_path) == [leftover.name, "file"]


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    target = tmp_path / "set"
    (tmp_path / ".set.facedistill-new").mkdir()
    (tmp_path / ".set.facedistill-new" / "left").touch()
    for content in (["a", "b"], ["b"]):
        with atomic_folder(target) as temporary:
            for name in content:
                (temporary / name).touch()
        assert names(target) == content
        assert names(tmp_path) == ["set"]


def test_a_failure_keeps_the_old_folder_and_leaves_nothing(tmp_path):
    target = tmp_path / "set"
    target.mkdir()
    (target / "old").touch()

    def write():
        with atomic_folder(target) as temporary:
            (temporary / "half").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert names(target) == ["old"]
    assert names(tmp_path) == ["set"]


def test_two_do_not_write_one_folder(tmp_path):
    target = tmp_path / "set"
    with atomic_folder(target) as temporary:
        (temporary / "a").touch()
        with pytest.raises(FacedistillError, match="being written by another process"):
            atomic_folder(target).__enter__()
    assert names(target) == ["a"]


def test_a_folder_where_none_can_be_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FacedistillError, match=r"cannot write .*file/set"):
        atomic_folder(tmp_path / "file" / "set").__enter__()


def test_a_watched_file_or_folder_tells_when_it_was_written(tmp_path):
    for path, write in ((tmp_path / "file", Path.touch), (tmp_path / "folder", Path.mkdir)):
        written = watch(path)
        assert not written()
        write(path)
        assert written()


def test_a_watched_file_that_is_replaced_was_written(tmp_path):
    path = tmp_path / "target"
    path.write_text("old")
    written = watch(path)
    with atomic_path(path) as temporary:
        temporary.write_text("new")
        assert not written()
    assert written()
