import re

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facedistill.core.errors import FacedistillError
from facedistill.data.formats.image_list import ListDataset
from tests.hostile.mutations import IMAGE_MEMORY, attempt, hostile, mutations, tally

NAMES = ["ann/1.png", "ann/2.png", "bob/1.png", "bob/with blank.png", "eve, jr/ü.png"]
LABELS = [0, 0, 1, 1, 2]
LISTS = {
    "tabs": "".join(f"{n}\t{i}\n" for n, i in zip(NAMES, LABELS, strict=True)),
    "commas": "path,label\n" + "".join(f'"{n}",{i}\n' for n, i in zip(NAMES, LABELS, strict=True)),
    "blanks": "# faces\n" + "".join(f"{n} {i}\n" for n, i in zip(NAMES, LABELS, strict=True)),
    "names": "".join(f"{n}\tid{i}\n" for n, i in zip(NAMES, LABELS, strict=True)),
    "InsightFace": "".join(f"1\t{n}\t{i}\n" for n, i in zip(NAMES, LABELS, strict=True)),
    "im2rec": "".join(f"{7 + i}\t{i}.0\t{n}\n" for n, i in zip(NAMES, LABELS, strict=True)),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("listed")
    noise = np.random.default_rng(5).integers(0, 256, (len(NAMES), 4, 4, 3), dtype=np.uint8)
    for name, image in zip(NAMES, noise, strict=True):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(cv2.imencode(".png", image)[1].tobytes())
    return folder


@hostile
@given(data=st.data())
def test_every_line_gives_its_file_and_label_or_is_refused(folder, data):
    whole = LISTS[data.draw(st.sampled_from(sorted(LISTS)))].encode()
    damaged = data.draw(mutations(whole, records=lines_of(whole), text=True))
    path = folder / "list.txt"
    path.write_bytes(damaged.content)
    relabel = data.draw(st.booleans())
    opened = attempt("image list", path, lambda: ListDataset(path, relabel=relabel), IMAGE_MEMORY)
    if opened is None:
        return
    # A line begins or ends with the name of its file.
    lines = (
        damaged.content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    )
    labels = []
    for index, number in enumerate(opened.lines):
        line, name = (
            re.sub(r"/(\./|/)+", "/", text)
            for text in (lines[number - 1], opened.files[index].removeprefix(f"{folder}/"))
        )
        assert line.count(name) == 1, (line, name)
        label = line.replace(name, "")
        if opened.identity_names:
            named = opened.identity_names[opened.labels[index]]
            assert line.strip().endswith(named)
        else:
            labels.append(
                int(float([part for part in label.replace(",", "\t").split() if part][-1]))
            )
        file = folder / name
        try:
            sample = opened[index]
        except FacedistillError as error:
            named = str(file), opened.files[index]
            assert any(each in str(error) for each in named)  # noqa: PT017
            continue
        expected = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_COLOR_RGB)
        assert np.array_equal(sample.image, expected)
        assert sample.label == opened.labels[index]
    if opened.identity_names:
        tally["image list", "read right, labels as names"] += 1
        return
    order = np.unique(np.array([label for label in labels if label >= 0]))
    expected = [np.searchsorted(order, label) if label >= 0 else -1 for label in labels]
    assert opened.labels.tolist() == (expected if relabel else labels)
    tally["image list", "read right"] += 1


def lines_of(content):
    stops = np.cumsum([len(line) for line in content.splitlines(keepends=True)]).tolist()
    return list(zip([0, *stops], stops, strict=False))
