import pickle
import struct
import warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facedistill.core.errors import FacedistillError
from facedistill.data.formats.recordio import RecordIODataset
from facedistill.data.formats.recordio_writer import RecordIOWriter

MAGIC = struct.pack("<I", 0xCED7230A)


# Files made here byte by byte, independent of the writer.


def png(value: int) -> bytes:
    return cv2.imencode(".png", np.full((4, 4, 3), value, np.uint8))[1].tobytes()


def scalar(label: float, content: bytes, number: int = 0) -> bytes:
    return struct.pack("<IfQQ", 0, label, number, 0) + content


def vector(labels: list[float], content: bytes = b"", number: int = 0) -> bytes:
    head = struct.pack("<IfQQ", len(labels), 0.0, number, 0)
    return head + struct.pack(f"<{len(labels)}f", *labels) + content


def frame(payload: bytes, flag: int = 0) -> bytes:
    head = MAGIC + struct.pack("<I", flag << 29 | len(payload))
    return head + payload + bytes(-len(payload) % 4)


def split(*parts: bytes) -> bytes:
    flags = [1] + [2] * (len(parts) - 2) + [3]
    return b"".join(frame(part, flag) for part, flag in zip(parts, flags, strict=True))


def write(folder: Path, records: list[bytes], keys: list[int] | None = None) -> Path:
    offsets = np.cumsum([0, *map(len, records)]).tolist()
    pairs = zip(keys or range(len(records)), offsets, strict=False)
    folder.mkdir(exist_ok=True)
    (folder / "train.rec").write_bytes(b"".join(records))
    (folder / "train.idx").write_text("".join(f"{key}\t{offset}\n" for key, offset in pairs))
    return folder


def insightface() -> list[bytes]:
    """Three images of two people, then the people."""
    return [
        frame(vector([4, 6])),
        frame(scalar(0, png(10), 1)),
        frame(scalar(0, png(20), 2)),
        frame(scalar(1, png(30), 3)),
        frame(vector([1, 3], number=4)),
        frame(vector([3, 4], number=5)),
    ]


def values(dataset: RecordIODataset) -> list[tuple[int, int]]:
    samples = (dataset[index] for index in range(len(dataset)))
    return [(int(sample.image[0, 0, 0]), sample.label) for sample in samples]


INSIGHTFACE = [(10, 0), (20, 0), (30, 1)]


def test_insightface_layout(tmp_path: Path) -> None:
    folder = write(tmp_path, insightface())
    dataset = RecordIODataset(folder)
    assert values(dataset) == INSIGHTFACE
    assert dataset.encoded(1) == png(20)
    assert dataset.where(2) == f"{folder / 'train.rec'} key 3 (offset {dataset.offsets[2]})"
    assert values(RecordIODataset(folder / "train.rec")) == INSIGHTFACE
    with pytest.raises(IndexError):
        dataset[3]


def test_im2rec_layout_comes_in_order_of_keys(tmp_path: Path) -> None:
    records = [frame(scalar(label, png(value))) for label, value in ((1, 50), (0, 60), (0, 70))]
    assert values(RecordIODataset(write(tmp_path, records, [2, 0, 1]))) == [
        (60, 0),
        (70, 0),
        (50, 1),
    ]


def test_vector_labels_begin_with_the_identity(tmp_path: Path) -> None:
    records = [
        frame(vector([1, 0.5, -3], png(1))),
        frame(vector([0, 7], png(2))),
        frame(vector([2], png(3))),
    ]
    assert values(RecordIODataset(write(tmp_path, records))) == [(1, 1), (2, 0), (3, 2)]


@pytest.mark.parametrize("places", [[8], [8, 12], [0, 40], [92]])
def test_split_records_are_joined_with_the_magic_word(tmp_path: Path, places: list[int]) -> None:
    content = bytearray(range(96))
    for place in places:
        content[place : place + 4] = MAGIC
    parts = scalar(1, bytes(content)).split(MAGIC)
    assert len(parts) == len(places) + 1
    labelled = vector([2, 5], bytes(content)).split(MAGIC)
    folder = write(tmp_path, [frame(scalar(0, png(1))), split(*parts), split(*labelled)])
    dataset = RecordIODataset(folder)
    assert dataset.labels.tolist() == [0, 1, 2]
    assert dataset.encoded(1) == dataset.encoded(2) == bytes(content)
    (folder / "train.idx").unlink()
    with pytest.warns(UserWarning, match="train.idx is missing"):
        assert RecordIODataset(folder).encoded(2) == bytes(content)


def test_magic_word_inside_the_header_is_split_too(tmp_path: Path) -> None:
    payload = struct.pack("<IfQI", 0, 0.0, 1, 7) + MAGIC + png(9)
    folder = write(tmp_path, [split(*payload.split(MAGIC))])
    assert values(RecordIODataset(folder)) == [(9, 0)]


def test_missing_index_is_rebuilt_in_memory(tmp_path: Path) -> None:
    folder = write(tmp_path, insightface())
    (folder / "train.idx").unlink()
    with pytest.warns(UserWarning, match=r"train\.idx is missing"):
        assert values(RecordIODataset(folder)) == INSIGHTFACE
    assert [file.name for file in folder.iterdir()] == ["train.rec"]


def test_holes_are_refused_unless_relabelled(tmp_path: Path) -> None:
    folder = write(tmp_path, [frame(scalar(label, png(1))) for label in (5, 0, 9)])
    with pytest.raises(FacedistillError, match=r"no image has label 1 .*--relabel"):
        RecordIODataset(folder)
    assert RecordIODataset(folder, relabel=True).labels.tolist() == [1, 0, 2]


@pytest.mark.parametrize("label", [-2, 0.5, float("nan"), float("inf"), 2.0**24, -1e30])
@pytest.mark.parametrize("make", [scalar, lambda label, content: vector([label, 0], content)])
def test_labels_that_are_no_identities_are_refused(tmp_path: Path, label, make) -> None:
    folder = write(tmp_path, [frame(scalar(0, png(1))), frame(make(label, png(2)))])
    offset = len(frame(scalar(0, png(1))))
    with pytest.raises(FacedistillError, match=rf"train\.rec key 1 \(offset {offset}\): label"):
        RecordIODataset(folder, relabel=True)


def test_unlabelled_file(tmp_path: Path) -> None:
    dataset = RecordIODataset(write(tmp_path, [frame(scalar(-1, png(1)))] * 2))
    assert dataset.labels.tolist() == [-1, -1]


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("0 0\n", "line 1"),
        ("0\t0\n1\tx\n", "line 2: .*not `key TAB offset`"),
        ("0\t0\n1\n", "line 2"),
        ("0\t0\n\n1\t40\n", "line 2"),
        ("0\t-1\n", "line 1"),
        ("0\t0\n1\t4\t0\n", "line 2"),
        ("", "line 1"),
        ("0\t0\n0\t40\n", "key 0 stands there more than once"),
        ("0\t0\n1\t36\n", r"key 0 \(offset 0\): .* ends at 40 but the next record begins at 36"),
        ("0\t0\n1\t41\n", r"key 0 \(offset 0\)"),
        ("0\t0\n1\t40\n2\t40\n", r"key 1 \(offset 40\)"),
        ("0\t0\n1\t40\n", r"key 1 \(offset 40\).* but the next record begins"),
        ("1\t40\n", "names no record at offset 0"),
        ("0\t0\n1\t99999999\n", r"key 0 \(offset 0\)"),
        ("0\t0\n1\t99999999999999999999999999\n", r"key 0 \(offset 0\)"),
    ],
)
def test_index_that_does_not_fit_is_refused(tmp_path: Path, index: str, message: str) -> None:
    folder = write(tmp_path, insightface())
    (folder / "train.idx").write_text(index)
    with pytest.raises(FacedistillError, match=f"{message}.*remove the .idx to have it rebuilt"):
        RecordIODataset(folder)


def test_index_with_windows_line_ends(tmp_path: Path) -> None:
    folder = write(tmp_path, insightface())
    index = folder / "train.idx"
    index.write_bytes(index.read_bytes().replace(b"\n", b"\r\n"))
    assert values(RecordIODataset(folder)) == INSIGHTFACE


def change(records: list[bytes], row: int, at: int, new: bytes) -> list[bytes]:
    record = records[row]
    return [*records[:row], record[:at] + new + record[at + len(new) :], *records[row + 1 :]]


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
        RecordIODataset(write(tmp_path, records))


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FacedistillError, match="no such file"):
        RecordIODataset(tmp_path / "none.rec")
    with pytest.raises(FacedistillError, match=r"no train\.rec .*: none"):
        RecordIODataset(tmp_path)
    write(tmp_path, [b""])
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
    folder = write(tmp_path, layout())
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
    folder = write(tmp_path, insightface())
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


def test_keys_that_contradict_the_records_are_refused(tmp_path: Path) -> None:
    records = [frame(scalar(0, png(value), value)) for value in range(4)]
    folder = write(tmp_path, records, [0, 2, 1, 3])
    with pytest.raises(FacedistillError, match=r"key 1 \(offset \d+\): .* says that it is 2"):
        RecordIODataset(folder)
    # Half of the ids are the keys, and no two ids are the same.
    with pytest.raises(FacedistillError, match=r"key 2 \(offset \d+\): .* says that it is 3"):
        RecordIODataset(write(tmp_path, records, [0, 1, 7, 2]))
    # Records that bear other numbers than keys, all zero say, contradict nothing.
    records = [frame(scalar(0, png(value))) for value in range(4)]
    assert len(RecordIODataset(write(tmp_path, records, [0, 2, 1, 3]))) == 4


def test_image_that_does_not_decode_is_named(tmp_path: Path) -> None:
    dataset = RecordIODataset(write(tmp_path, [frame(scalar(0, png(1)[:-3]))]))
    with pytest.raises(FacedistillError, match=r"train\.rec key 0 \(offset 0\): the PNG is cut"):
        dataset[0]


def test_property_is_compared_with_the_labels(tmp_path: Path) -> None:
    folder = write(tmp_path, insightface())
    (folder / "property").write_text("3,4,4\n")
    with pytest.warns(UserWarning, match="states 3 classes but the labels .* 2 identities"):
        RecordIODataset(folder)
    (folder / "property").write_text("2,4,4\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RecordIODataset(folder)
    (folder / "property").write_text("two")
    with pytest.raises(FacedistillError, match="property: expected `classes,height,width`"):
        RecordIODataset(folder)


def test_pickled_data_set_reads_in_a_spawned_worker(tmp_path: Path) -> None:
    dataset = RecordIODataset(write(tmp_path, insightface()))
    dataset[0]
    assert len(pickle.dumps(dataset)) < 2000
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        sample = pool.submit(dataset.__getitem__, 2).result()
    np.testing.assert_array_equal(sample.image, dataset[2].image)
    assert (sample.label, sample.key) == (1, dataset.key(2))


def test_file_changed_between_processes_is_refused(tmp_path: Path) -> None:
    pickled = pickle.dumps(RecordIODataset(write(tmp_path, insightface())))
    write(tmp_path, insightface()[:4])
    with pytest.raises(FacedistillError, match="changed while in use"):
        pickle.loads(pickled)[0]


def test_close_unmaps_until_the_next_read(tmp_path: Path) -> None:
    dataset = RecordIODataset(write(tmp_path, insightface()))
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
