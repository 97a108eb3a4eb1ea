import errno
import os
import signal
import threading
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.distill.bank.bank import Bank
from facedistill.distill.bank.format import read_info, shard_path, write_info
from facedistill.distill.bank.unfinished_shard import kept_images, parts
from facedistill.distill.bank.writing import import_bank
from tests import child_process
from tests.child_process import Child
from tests.distill.conftest import DIMENSION, Faces, embed, embed_bank, info_of


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def breaking_after(calls):
    """A teacher that is interrupted when it has answered so many times."""
    answers = count(1)

    def fragile(images):
        if next(answers) > calls:
            raise KeyboardInterrupt
        return embed(images)

    return fragile


@pytest.fixture
def unbroken(faces, tmp_path):
    embed_bank(embed, faces, tmp_path / "unbroken", info=info_of(faces), batch_size=2)
    return content(tmp_path / "unbroken")


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("batch_size", [1, 3, 4, 100])
def test_batches_and_workers_change_nothing(faces, tmp_path, unbroken, batch_size, workers):
    info = info_of(faces)
    embed_bank(
        embed, faces, tmp_path / "b", info=info, batch_size=batch_size, workers=workers
    )  # fmt: skip
    assert content(tmp_path / "b") == unbroken


def test_the_teacher_sees_raw_images_and_their_mirrors(faces, tmp_path):
    seen = []

    def watch(images):
        assert images.flags.c_contiguous
        seen.append(images.copy())
        return embed(images)

    embed_bank(watch, faces, tmp_path / "b", info=info_of(faces), batch_size=4)
    assert [len(images) for images in seen] == [4, 4, 4, 4, 2, 2]
    assert seen[0].dtype == np.uint8
    assert np.array_equal(seen[0][1], faces[1].image)
    assert np.array_equal(seen[1], seen[0][:, :, ::-1])


@pytest.mark.parametrize("calls", [0, 1, 3, 4, 7, 9])
def test_a_broken_off_embed_goes_on_to_the_same_bytes(faces, tmp_path, unbroken, calls):
    folder, info = tmp_path / "b", info_of(faces)
    with pytest.raises(KeyboardInterrupt):
        embed_bank(breaking_after(calls), faces, folder, info=info, batch_size=2)
    done = len(list(folder.glob("rows-*")))
    assert done == calls // 4
    asked = []

    def count(images):
        asked.append(len(images))
        return embed(images)

    embed_bank(count, faces, folder, info=info, batch_size=2)
    assert sum(asked) == 2 * (10 - 4 * done)
    assert content(folder) == unbroken


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_rows_of_an_unfinished_shard_are_kept(faces, tmp_path, unbroken, batch_size):
    folder, info = tmp_path / "b", info_of(faces, views=("plain",))
    embed_bank(embed, faces, tmp_path / "whole", info=info, batch_size=batch_size)
    with pytest.raises(KeyboardInterrupt):
        embed_bank(breaking_after(3), faces, folder, info=info, batch_size=batch_size, seconds=0)
    kept = {1: 3, 2: 6, 3: 7}[batch_size]
    assert kept_images(folder) == (kept, 10)
    with pytest.raises(FacedistillError, match="unfinished"):
        Bank(folder)
    asked = []

    def count(images):
        asked.append(len(images))
        return embed(images)

    embed_bank(count, faces, folder, info=info, batch_size=batch_size, seconds=0)
    assert sum(asked) == 10 - kept
    assert content(folder) == content(tmp_path / "whole")
    assert kept_images(folder) == (10, 10)


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "other"])
def test_kept_rows_that_are_damaged_are_embedded_again(faces, tmp_path, unbroken, damage):
    folder, info = tmp_path / "b", info_of(faces)
    with pytest.raises(KeyboardInterrupt):
        embed_bank(breaking_after(3), faces, folder, info=info, batch_size=2, seconds=0)
    (part,) = parts(folder)
    content_of_part = bytearray(part.read_bytes())
    content_of_part[-20] ^= 4
    damaged = {"flipped": content_of_part, "cut": content_of_part[:-9], "empty": b"", "other": b"x"}
    part.write_bytes(damaged[damage])
    with pytest.warns(UserWarning, match=r"part-00000-0000002\.npy.*embedded again"):
        embed_bank(embed, faces, folder, info=info, batch_size=2)
    assert content(folder) == unbroken


def test_a_hostile_count_of_shards_costs_nothing(faces, tmp_path):
    embed_bank(embed, faces, tmp_path / "b", info=info_of(faces), batch_size=2)
    write_info(tmp_path / "b", info_of(faces, count=10**15, rows=4))
    assert kept_images(tmp_path / "b") == (12, 10**15)


def ten_faces():
    return Faces(range(10), labels=[0, 1, 2, 0, 1, 2, 0, 1, 2, 0])


def embed_and_die(folder):
    calls = count(1)

    def killed(images):
        if next(calls) == 7:
            os.kill(os.getpid(), signal.SIGKILL)
        return embed(images)

    faces = ten_faces()
    embed_bank(killed, faces, folder, info=info_of(faces), batch_size=2)


def test_a_killed_process_goes_on_to_the_same_bytes(faces, tmp_path, unbroken):
    folder = tmp_path / "b"
    assert child_process.run(embed_and_die, folder).code == -signal.SIGKILL
    assert len(list(folder.glob("rows-*"))) == 1
    with pytest.raises(FacedistillError, match="unfinished"):
        Bank(folder)
    embed_bank(embed, faces, folder, info=info_of(faces), batch_size=2)
    assert content(folder) == unbroken


def test_two_at_once_do_not_harm_each_other(faces, tmp_path, unbroken):
    start, failures = threading.Barrier(4), []

    def work():
        start.wait()
        try:
            embed_bank(embed, faces, tmp_path / "b", info=info_of(faces), batch_size=2)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert content(tmp_path / "b") == unbroken


def embed_in_step(folder, parent):
    """Send the parent a word before every batch of images, and wait for its own."""

    def in_step(images):
        parent.send("batch")
        parent.recv()
        return embed(images)

    faces = ten_faces()
    embed_bank(in_step, faces, folder, info=info_of(faces), batch_size=2)


@pytest.mark.parametrize("killed_at", [None, 5])
def test_two_processes_at_once_do_not_harm_each_other(tmp_path, unbroken, killed_at):
    folder = tmp_path / "b"
    pipes = [child_process.CONTEXT.Pipe() for _ in range(2)]
    first, second = (Child(embed_in_step, folder, worker_end) for _, worker_end in pipes)
    both = [own_end for own_end, _ in pipes]
    for batch in range(10):  # five, plain and flipped: each waits for the other
        for pipe in both:
            assert pipe.poll(60)
            assert pipe.recv() == "batch"
        if batch == killed_at:
            both.pop()
            second.process.kill()
        for pipe in both:
            pipe.send("go on")
    assert first.end().code == 0
    assert second.end().code == (0 if killed_at is None else -signal.SIGKILL)
    assert content(folder) == unbroken


def test_two_teachers_at_once_never_make_one_bank(faces, tmp_path):
    folder, second = tmp_path / "b", info_of(faces, teacher="0" * 32)

    def overtaken(images):
        # While the first is at its first shard, a second begins and ends.
        embed_bank(embed, faces, folder, info=second)
        return embed(images)

    with pytest.raises(FacedistillError, match=r"holds another bank, .* \(teacher is 0000"):
        embed_bank(overtaken, faces, folder, info=info_of(faces))
    assert Bank(folder).info.teacher == "0" * 32
    embed_bank(embed, faces, tmp_path / "alone", info=second)
    assert content(folder) == content(tmp_path / "alone")


def test_a_temporary_file_of_a_killed_embed_is_no_obstacle(faces, tmp_path):
    (tmp_path / ".bank-0123.json").write_text("{")
    (tmp_path / ".rows-00000-0123.npy").write_text("half")
    assert len(embed_bank(embed, faces, tmp_path, info=info_of(faces))) == 10


@pytest.mark.parametrize(
    ("key", "value"),
    [("teacher", "0" * 32), ("dataset", "1" * 32), ("rows", 5), ("views", ("plain",))],
)
def test_a_folder_with_another_bank_is_refused_by_name(faces, tmp_path, key, value):
    embed_bank(embed, faces, tmp_path, info=info_of(faces))
    before = content(tmp_path)
    with pytest.raises(FacedistillError, match=rf"another bank, of strong.onnx on faces \({key} "):
        embed_bank(embed, faces, tmp_path, info=info_of(faces, **{key: value}))
    assert content(tmp_path) == before


def test_a_first_attempt_that_failed_leaves_the_folder_free(faces, tmp_path):
    def broken(images):
        raise FacedistillError("no")

    with pytest.raises(FacedistillError, match="no"):
        embed_bank(broken, faces, tmp_path / "b", info=info_of(faces, teacher="0" * 32))
    assert not (tmp_path / "b").exists()


def test_a_bank_without_a_shard_binds_nobody(faces, tmp_path):
    write_info(tmp_path, info_of(faces, teacher="0" * 32))
    assert embed_bank(embed, faces, tmp_path, info=info_of(faces)).info.teacher == "f" * 32


def test_a_folder_with_something_else_is_refused(faces, tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(FacedistillError, match="not empty and holds no bank: choose another --out"):
        embed_bank(embed, faces, tmp_path, info=info_of(faces))
    with pytest.raises(FacedistillError, match="cannot write to"):
        embed_bank(embed, faces, tmp_path / "thesis.tex", info=info_of(faces))
    (tmp_path / "thesis.tex").rename(tmp_path / "bank.json")
    with pytest.raises(FacedistillError, match=r"bank\.json is there already and of no bank"):
        embed_bank(embed, faces, tmp_path, info=info_of(faces))
    assert content(tmp_path) == {"bank.json": b""}


def test_names_are_renewed_and_a_stated_licence_stays(faces, tmp_path):
    embed_bank(embed, faces, tmp_path, info=info_of(faces, licence="MIT"))
    embed_bank(embed, faces, tmp_path, info=info_of(faces, teacher_name="moved.onnx"))
    assert read_info(tmp_path).licence == "MIT"
    assert read_info(tmp_path).teacher_name == "moved.onnx"
    embed_bank(embed, faces, tmp_path, info=info_of(faces, licence="BSD"))
    assert read_info(tmp_path).licence == "BSD"


def test_a_damaged_shard_is_named_before_the_work_begins(faces, tmp_path):
    embed_bank(embed, faces, tmp_path, info=info_of(faces))
    shard_path(tmp_path, 0).unlink()
    shard_path(tmp_path, 2).write_bytes(b"half")
    with pytest.raises(FacedistillError, match=r"rows-00002.npy is damaged .* delete it"):
        embed_bank(pytest.fail, faces, tmp_path, info=info_of(faces))


@pytest.mark.parametrize("where", ["save", "replace"])
def test_disk_full_leaves_whole_shards_only(faces, tmp_path, monkeypatch, unbroken, where):
    folder = tmp_path / "b"
    work, left = (np.save, 1) if where == "save" else (Path.replace, 2)

    def full(*arguments, **options):
        nonlocal left
        if left == 0:
            if where == "save":
                arguments[0].write(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left -= 1
        return work(*arguments, **options)

    monkeypatch.setattr(*((np, "save") if where == "save" else (Path, "replace")), full)
    with pytest.raises(FacedistillError, match=r"cannot write .*rows-00001.npy: No space left"):
        embed_bank(embed, faces, folder, info=info_of(faces), batch_size=2)
    assert sorted(content(folder)) == ["bank.json", "rows-00000.npy"]
    monkeypatch.undo()
    embed_bank(embed, faces, folder, info=info_of(faces), batch_size=2)
    assert content(folder) == unbroken


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0, 1e30])
@pytest.mark.parametrize("view", ["plain", "flipped"])
@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_embedding_names_the_sample(faces, tmp_path, value, view, workers):
    victim = faces[6].image if view == "plain" else faces[6].image[:, ::-1]

    def broken(images):
        result = embed(images)
        for row, image in zip(result, images, strict=True):
            if np.array_equal(image, victim):
                row[:] = value * (1e9 if value == 1e30 else 1)
        return result

    with (
        np.errstate(over="ignore"),
        pytest.raises(FacedistillError, match=rf"{view} embedding of sample 6 \(faces image 6\)"),
    ):
        embed_bank(broken, faces, tmp_path, info=info_of(faces), batch_size=3, workers=workers)
    assert sorted(content(tmp_path)) == ["bank.json", "rows-00000.npy"]


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_lengths_far_from_one_are_kept(faces, tmp_path, scale):
    info = info_of(faces, views=("plain",))
    bank = embed_bank(lambda images: scale * embed(images).astype(float), faces, tmp_path,
                      info=info)  # fmt: skip
    plain = embed_bank(embed, faces, tmp_path / "1", info=info)
    rows = np.arange(10)
    np.testing.assert_array_equal(bank.embeddings(rows), plain.embeddings(rows))
    np.testing.assert_allclose(bank.norms(rows), scale * plain.norms(rows).astype(float), rtol=1e-5)


@pytest.mark.parametrize(
    "answer",
    [
        lambda x: embed(x)[:1],
        lambda x: embed(x)[:, :1],
        lambda x: embed(x)[:, :, None],
        lambda x: np.concatenate([embed(x), embed(x)]),
    ],
)
def test_an_answer_of_the_wrong_shape_is_refused(faces, tmp_path, answer):
    with pytest.raises(FacedistillError, match=r"the teacher gave plain embeddings of shape"):
        embed_bank(answer, faces, tmp_path, info=info_of(faces))


def test_images_of_different_sizes_are_refused(tmp_path):
    class Mixed(Faces):
        def encoded(self, index):
            self.size = 8 + index % 2
            return super().encoded(index)

    faces = Mixed(range(4))
    with pytest.raises(FacedistillError, match=r"different sizes \(\(8, 8, 3\), \(9, 9, 3\)\)"):
        embed_bank(embed, faces, tmp_path, info=info_of(faces))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_corrupt_image_is_named(tmp_path, workers):
    class Corrupt(Faces):
        def encoded(self, index):
            return b"no image" if index == 5 else super().encoded(index)

    faces = Corrupt(range(8))
    with pytest.raises(FacedistillError, match="faces image 5: not a JPEG"):
        embed_bank(embed, faces, tmp_path, info=info_of(faces), batch_size=2, workers=workers)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_imported_embeddings_are_those_embedded(faces, tmp_path, dtype):
    images = np.stack([faces[i].image for i in range(10)])
    info = info_of(faces)
    embedded = embed_bank(embed, faces, tmp_path / "a", info=info)
    imported = import_bank(
        embed(images).astype(dtype),
        faces,
        tmp_path / "b",
        info=info,
        flipped=embed(images[:, :, ::-1]).astype(dtype),
    )
    rows, flipped = np.arange(10), np.arange(10) % 2 == 0
    assert np.array_equal(imported.embeddings(rows, flipped), embedded.embeddings(rows, flipped))
    assert np.array_equal(imported.norms(rows), embedded.norms(rows))
    keys = np.stack([np.frombuffer(faces.key(i), np.uint8) for i in range(10)])
    assert imported.find(keys).tolist() == list(range(10))


@pytest.mark.parametrize("shape", [(9, DIMENSION), (11, DIMENSION), (10, 5), (10,)])
@pytest.mark.parametrize("view", ["plain", "flipped"])
def test_imported_embeddings_must_fit_the_data(faces, tmp_path, shape, view):
    good, bad = np.ones((10, DIMENSION)), np.ones(shape)
    plain, flipped = (bad, good) if view == "plain" else (good, bad)
    with pytest.raises(FacedistillError, match=f"{view} embeddings have shape .* has 10 images"):
        import_bank(plain, faces, tmp_path / "b", info=info_of(faces), flipped=flipped)
    assert not (tmp_path / "b").exists()


def test_an_imported_row_that_is_bad_is_named(faces, tmp_path):
    values = np.ones((10, DIMENSION))
    values[7] = 0
    with pytest.raises(FacedistillError, match=r"plain embedding of sample 7 \(faces image 7\)"):
        import_bank(values, faces, tmp_path, info=info_of(faces, views=("plain",)))


def test_contradictory_calls_are_mistakes_of_the_programmer(faces, tmp_path):
    values = np.ones((10, DIMENSION))
    with pytest.raises(ValueError, match="views"):
        import_bank(values, faces, tmp_path, info=info_of(faces))
    with pytest.raises(ValueError, match="11 rows"):
        embed_bank(embed, faces, tmp_path, info=replace(info_of(faces), count=11))
