import warnings
from pathlib import Path

import pytest

from facedistill.core.errors import FacedistillError
from facedistill.data.formats.recordio import RecordIODataset
from tests.data.formats.record_bytes import (
    frame,
    insightface,
    png,
    scalar,
    values,
    vector,
    write_records,
)


def test_vector_labels_begin_with_the_identity(tmp_path: Path) -> None:
    records = [
        frame(vector([1, 0.5, -3], png(1))),
        frame(vector([0, 7], png(2))),
        frame(vector([2], png(3))),
    ]
    assert values(RecordIODataset(write_records(tmp_path, records))) == [(1, 1), (2, 0), (3, 2)]


@pytest.mark.parametrize("label", [-2, 0.5, float("nan"), float("inf"), 2.0**24, -1e30])
@pytest.mark.parametrize("make", [scalar, lambda label, content: vector([label, 0], content)])
def test_labels_that_are_no_identities_are_refused(tmp_path: Path, label, make) -> None:
    folder = write_records(tmp_path, [frame(scalar(0, png(1))), frame(make(label, png(2)))])
    offset = len(frame(scalar(0, png(1))))
    with pytest.raises(FacedistillError, match=rf"train\.rec key 1 \(offset {offset}\): label"):
        RecordIODataset(folder, relabel=True)


def test_keys_that_contradict_the_records_are_refused(tmp_path: Path) -> None:
    records = [frame(scalar(0, png(value), value)) for value in range(4)]
    folder = write_records(tmp_path, records, [0, 2, 1, 3])
    with pytest.raises(FacedistillError, match=r"key 1 \(offset \d+\): .* says that it is 2"):
        RecordIODataset(folder)
    # Half of the ids are the keys, and no two ids are the same.
    with pytest.raises(FacedistillError, match=r"key 2 \(offset \d+\): .* says that it is 3"):
        RecordIODataset(write_records(tmp_path, records, [0, 1, 7, 2]))
    # Records that bear other numbers than keys, all zero say, contradict nothing.
    records = [frame(scalar(0, png(value))) for value in range(4)]
    assert len(RecordIODataset(write_records(tmp_path, records, [0, 2, 1, 3]))) == 4


def test_property_is_compared_with_the_labels(tmp_path: Path) -> None:
    folder = write_records(tmp_path, insightface())
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
