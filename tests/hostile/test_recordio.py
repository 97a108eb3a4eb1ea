import pytest
from hypothesis import given
from hypothesis import strategies as st

from facedistill.core.errors import FacedistillError
from facedistill.data.formats.recordio import RecordIODataset
from facedistill.data.formats.recordio_verification import checksum_file, verify_records
from facedistill.data.sample import content_key
from tests.hostile.mutations import (
    IMAGE_MEMORY,
    Mutated,
    attempt,
    bounded,
    hostile,
    mutations,
    tally,
)
from tests.hostile.record_files import RecordFile, im2rec, insightface


@pytest.fixture(scope="module")
def layouts(tmp_path_factory):
    return [make(tmp_path_factory.mktemp("layout")) for make in (insightface, im2rec)]


@hostile
@given(data=st.data())
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_sample_is_right_or_refused(layouts, tmp_path, data):
    whole = layouts[data.draw(st.integers(0, 1))]
    indexed = data.draw(st.booleans())
    damaged = data.draw(mutations(whole.rec, whole.fields, whole.frames))
    # A file of its own: the one before may still be mapped.
    for old in tmp_path.iterdir():
        old.unlink()
    path = tmp_path / "train.rec"
    path.write_bytes(damaged.content)
    if indexed:
        (tmp_path / "train.idx").write_bytes(whole.idx)
    opened = attempt("RecordIO", path, lambda: RecordIODataset(path, relabel=False), IMAGE_MEMORY)
    if opened is None:
        return
    with bounded("RecordIO", IMAGE_MEMORY):
        ends = {check_sample(opened, at, whole, damaged, indexed) for at in range(len(opened))}
    assert ends <= {"right", "refused", "altered"}
    tally["RecordIO", "opened, damaged images refused" if "refused" in ends else "read right"] += 1
    if "altered" in ends:
        tally["RecordIO", "(of these with changed pixels or labels)"] += 1


def check_sample(
    opened: RecordIODataset, index: int, whole: RecordFile, damaged: Mutated, indexed: bool
) -> str:
    key, content, label = int(opened.keys[index]), opened.encoded(index), opened.labels.item(index)
    own = whole.images.get(key)
    if own is None or (content, label) != (own.content, own.label):
        kept = any((content, label) == (one.content, one.label) for one in whole.images.values())
        if kept:
            # Without index and record 0, records that moved up look like any others; and ids count
            # as keys only while most of them are.
            assert not (indexed or whole.names) or not most_ids_are_keys(opened, damaged.content)
        elif own is not None and (indexed or whole.names):
            assert not damaged.intact(own.start, own.stop)
            assert label == own.label or not damaged.intact(*own.labels)
    elif opened[index].key == content_key(content):
        return "right"
    try:
        sample = opened[index]
    except FacedistillError as error:
        named = opened.where(index) in str(error)
        return "refused" if named else f"refused without its place: {error}"
    assert sample.label == label
    return "altered"


def most_ids_are_keys(opened: RecordIODataset, content: bytes) -> bool:
    ids = [int.from_bytes(content[at + 16 : at + 24], "little") for at in opened.offsets.tolist()]
    return 2 * sum(map(int.__eq__, ids, opened.keys.tolist())) > len(ids)


def test_verify_finds_every_flipped_bit_of_an_image(tmp_path):
    whole = insightface(tmp_path)
    path = tmp_path / "train.rec"
    assert verify_records(path) == []
    unseen = found = 0
    for key, known in whole.images.items():
        end = known.stop - (-len(known.content) % 4)  # Without the padding.
        for place in range(end - len(known.content), end):
            content = bytearray(whole.rec)
            content[place] ^= 1 << place % 8
            path.unlink()
            path.write_bytes(content)
            (bad,) = verify_records(path)
            assert (bad.key, bad.offset) == (key, known.start)
            found += 1
            try:
                RecordIODataset(path)[key - 1]
            except FacedistillError:
                continue
            unseen += 1
    assert unseen > 0  # Why checksums are needed.
    tally["inspect --verify", "flipped bits found"] += found
    tally["inspect --verify", "(of these decode without complaint)"] += unseen


@hostile
@given(data=st.data())
@pytest.mark.filterwarnings("ignore:Reading `.npy`")
def test_checksums_fit_or_are_refused(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "checksums"
    if not folder.exists():
        insightface(folder)
        (folder / "whole").write_bytes(checksum_file(folder / "train.rec").read_bytes())
    path = checksum_file(folder / "train.rec")
    whole = (folder / "whole").read_bytes()
    damaged = data.draw(mutations(whole, range(128)))
    path.unlink()
    path.write_bytes(damaged.content)
    bad = attempt("checksums", path, lambda: verify_records(folder), IMAGE_MEMORY)
    if bad is None:
        return
    assert bool(bad) == (damaged.content[128:] != whole[128:])
    tally["checksums", "records named" if bad else "read right"] += 1
