import pytest
from hypothesis import given
from hypothesis import strategies as st

from facedistill.data.formats.recordio import RecordIODataset
from tests.hostile.mutations import MEMORY, attempt, hostile, mutations, tally
from tests.hostile.record_files import im2rec, insightface


@pytest.fixture(scope="module")
def layouts(tmp_path_factory):
    layouts = []
    for make in (insightface, im2rec):
        folder = tmp_path_factory.mktemp("layout")
        whole = make(folder)
        (folder / "train.rec").write_bytes(whole.rec)
        layouts.append((folder, whole))
    return layouts


@hostile
@given(data=st.data())
def test_every_key_gives_its_own_record_or_the_index_is_refused(layouts, data):
    folder, whole = layouts[data.draw(st.integers(0, 1))]
    lines = whole.idx.splitlines(keepends=True)
    stops = [sum(map(len, lines[: number + 1])) for number in range(len(lines))]
    records = list(zip([0, *stops], stops, strict=False))
    damaged = data.draw(mutations(whole.idx, records=records, text=True))
    (folder / "train.idx").write_bytes(damaged.content)
    opened = attempt(".idx", folder, lambda: RecordIODataset(folder), MEMORY)
    if opened is None:
        return
    found = {
        int(key): (opened.encoded(index), opened.labels.item(index))
        for index, key in enumerate(opened.keys)
    }
    assert found == {key: (known.content, known.label) for key, known in whole.images.items()}
    tally[".idx", "read right"] += 1
