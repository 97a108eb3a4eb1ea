import os
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facedistill.core.errors import FacedistillError
from facedistill.data.formats.recordio import RecordIODataset
from facedistill.data.formats.recordio_writer import RecordIOWriter
from tests.data.formats.record_bytes import (
    INSIGHTFACE,
    change,
    frame,
    insightface,
    png,
    scalar,
    values,
    vector,
    write_records,
)


def test_insightface_layout(tmp_path: Path) -> None:
    folder = write_records(tmp_path, insightface())
    dataset = RecordIODataset(folder)
    assert values(dataset) == INSIGHTFACE
    assert dataset.encoded(1) == png(20)
    assert dataset.where(2) == f"{folder / 'train.rec'} key 3 (offset {dataset.offsets[2]})"
    assert values(RecordIODataset(folder / "train.rec")) == INSIGHTFACE
    with pytest.raises(IndexError):
        dataset[3]


def test_im2rec_layout_comes_in_order_of_keys(tmp_path: Path) -> None:
    records = [frame(scalar(label, png(value))) for label, value in ((1, 50), (0, 60), (0, 70))]
    assert values(RecordIODataset(write_records(tmp_path, records, [2, 0, 1]))) == [
        (60, 0),
        (70, 0),
        (50, 1),
    ]


def test_holes_are_refused_unless_relabelled(tmp_path: Path) -> None:
    folder = write_records(tmp_path, [frame(scalar(label, png(1))) for label in (5, 0, 9)])
    with pytest.raises(FacedistillError, match=r"no image has label 1 .*--relabel"):
        RecordIODataset(folder)
    assert RecordIODataset(folder, relabel=True).labels.tolist() == [1, 0, 2]


def test_unlabelled_file(tmp_path: Path) -> None:
    dataset = RecordIODataset(write_records(tmp_path, [frame(scalar(-1, png(1)))] * 2))
    assert dataset.labels.tolist() == [-1, -1]


@pytest.mark.parametrize(
    ("records", "message"),
    [
        (change(insightface(), 2, 0, b"\0\0\0\0"), r"key 2 .*no record begins there \(0x00000000"),
        (change(insightface(), 2, 4, b"\xff\xff\xff\x1f"), r"key 2 .*reach beyond"),
        (change(insightface(), 2, 7, b"\x20"), r"key 2 "),
        (change(insightface(), 2, 7, b"\x60"), r"key 2 .*parts of a split record"),
        (change(insightface(), 2, 7, b"\xe0"), r"key 2 .*flag is 7"),
        (change(insightface(), 2, 8, b"\xff\xff\xff\xff"), r"key 2 .*labels do not fit"),
        ([frame(b"short"), *insightface()[1:]], r"key 0 .*hold no header"),
        (insightface()[:1] + insightface()[2:], "record 0 promises 3 images but 2 are there"),
        ([*insightface()[:3], frame(scalar(1, b""))], "record 0 promises 3 images but 2"),
        ([*insightface(), frame(scalar(1, b""))], r"key 6 .*holds no image"),
        ([frame(scalar(0, png(1))), frame(scalar(0, b""))], r"key 1 .*holds no image"),
        ([frame(vector([1, 1]))], "no images"),
    ],
)
def test_damaged_records_are_refused_by_name(tmp_path: Path, records, message: str) -> None:
    with pytest.raises(FacedistillError, match=rf"train\.rec.*{message}"):
        RecordIODataset(write_records(tmp_path, records))


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FacedistillError, match="no such file"):
        RecordIODataset(tmp_path / "none.rec")
    with pytest.raises(FacedistillError, match=r"no train\.rec .*: none"):
        RecordIODataset(tmp_path)
    write_records(tmp_path, [b""])
    with pytest.raises(FacedistillError, match=r"train\.rec: the file has zero bytes"):
        RecordIODataset(tmp_path)
    (tmp_path / "train.idx").unlink()
    (tmp_path / "train.rec").write_bytes(b"not a record file")
    with (
        pytest.warns(UserWarning, match="is missing"),
        pytest.raises(FacedistillError, match=r"train\.rec offset 0: .*no record begins"),
    ):
        RecordIODataset(tmp_path)


@pytest.mark.parametrize("layout", [insightface, lambda: insightface()[1:4]])
@pytest.mark.parametrize("keep_index", [True, False])
@pytest.mark.filterwarnings("ignore:.*is missing")
def test_truncation_at_every_offset(tmp_path: Path, layout, keep_index: bool) -> None:
    folder = write_records(tmp_path, layout())
    whole = (folder / "train.rec").read_bytes()
    expected = values(RecordIODataset(folder))
    if not keep_index:
        (folder / "train.idx").unlink()
    opened = 0
    for length in range(len(whole)):
        (folder / "train.rec").write_bytes(whole[:length])
        try:
            dataset = RecordIODataset(folder, relabel=True)
        except FacedistillError:
            continue
        # Only a file that ends between two records may open; what it gives must be right.
        opened += 1
        assert not keep_index
        assert values(dataset) == expected[: len(dataset)]
    assert opened == (0 if keep_index else 2)


@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 7)), min_size=1, max_size=3),
    st.sampled_from(["train.rec", "train.idx"]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@pytest.mark.filterwarnings("ignore:.*classes")
def test_flipped_bits_never_crash(tmp_path: Path, flips, name: str) -> None:
    folder = write_records(tmp_path, insightface())
    data = bytearray((folder / name).read_bytes())
    for position, bit in flips:
        data[position % len(data)] ^= 1 << bit
    (folder / name).write_bytes(data)
    try:
        samples = values(RecordIODataset(folder, relabel=True))
    except FacedistillError:
        return
    if name == "train.idx":  # Keys may be exchanged at most.
        assert sorted(value for value, _ in samples) == [10, 20, 30]
    else:
        assert len(samples) == 3


def test_image_that_does_not_decode_is_named(tmp_path: Path) -> None:
    dataset = RecordIODataset(write_records(tmp_path, [frame(scalar(0, png(1)[:-3]))]))
    with pytest.raises(FacedistillError, match=r"train\.rec key 0 \(offset 0\): the PNG is cut"):
        dataset[0]


def test_pickled_data_set_reads_in_a_spawned_worker(tmp_path: Path) -> None:
    dataset = RecordIODataset(write_records(tmp_path, insightface()))
    dataset[0]
    assert len(pickle.dumps(dataset)) < 2000
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        sample = pool.submit(dataset.__getitem__, 2).result()
    np.testing.assert_array_equal(sample.image, dataset[2].image)
    assert (sample.label, sample.key) == (1, dataset.key(2))


def test_file_changed_between_processes_is_refused(tmp_path: Path) -> None:
    pickled = pickle.dumps(RecordIODataset(write_records(tmp_path, insightface())))
    write_records(tmp_path, insightface()[:4])
    with pytest.raises(FacedistillError, match="changed while in use"):
        pickle.loads(pickled)[0]


def test_a_file_that_is_cut_while_in_use_is_one_error(tmp_path: Path) -> None:
    folder = write_records(tmp_path, insightface())
    dataset = RecordIODataset(folder)
    assert values(dataset) == INSIGHTFACE
    os.truncate(folder / "train.rec", dataset.offsets[1] + 20)
    assert dataset.encoded(0) == png(10)
    with pytest.raises(FacedistillError, match=r"train\.rec: the file changed while in use"):
        values(dataset)


def test_a_file_that_is_replaced_while_in_use_is_read_to_its_end(tmp_path: Path) -> None:
    folder = write_records(tmp_path, insightface())
    dataset = RecordIODataset(folder)
    (folder / "other").write_bytes(b"shorter")
    (folder / "other").replace(folder / "train.rec")
    assert values(dataset) == INSIGHTFACE


def test_close_holds_until_the_next_read(tmp_path: Path) -> None:
    dataset = RecordIODataset(write_records(tmp_path, insightface()))
    dataset.close()
    dataset.close()
    assert values(dataset) == INSIGHTFACE


def test_real_file(real_data: Path) -> None:
    dataset = RecordIODataset(real_data / "celeba112")
    assert len(dataset) == 28_000
    assert len(set(dataset.labels.tolist())) == 4600
    assert np.array_equal(np.sort(np.bincount(dataset.labels))[[0, -201, -200, -1]], [5, 5, 30, 30])
    assert dataset[27_999].image.shape == (112, 112, 3)
    assert dataset.where(0).endswith("train.rec key 1 (offset 40)")


def test_real_file_is_reproduced_byte_for_byte(real_data: Path, tmp_path: Path) -> None:
    dataset = RecordIODataset(real_data / "celeba112")
    with RecordIOWriter(tmp_path, size=(112, 112)) as writer:
        for index in range(len(dataset)):
            writer.write(dataset.encoded(index), int(dataset.labels[index]))
    for name in ("train.rec", "train.idx", "property"):
        written, reference = (folder / name for folder in (tmp_path, real_data / "celeba112"))
        assert written.read_bytes() == reference.read_bytes(), name
