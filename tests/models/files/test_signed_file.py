import json
import os

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save

from facedistill.core.errors import FacedistillError
from facedistill.models.files.signed_file import (
    KINDS,
    MODEL,
    PROMPTS,
    check_finite,
    checksum,
    is_plain,
    open_signed,
    write_signed,
)
from facedistill.runtime.header import HEADER_KEY

TENSORS = {"b": torch.arange(4.0), "a": torch.arange(6).reshape(2, 3)}
DOCUMENT = {"format_version": 1, "prompts": 3}


def test_what_is_written_is_read_with_its_checksum(tmp_path):
    path = tmp_path / "some.safetensors"
    write_signed(path, DOCUMENT, TENSORS)
    with safe_open(path, "pt") as file:
        document = json.loads(file.metadata()[HEADER_KEY])
    stated = document.pop("checksum")
    assert document == DOCUMENT
    assert stated == checksum(DOCUMENT, TENSORS)
    with open_signed(path, PROMPTS) as opened:
        assert opened.document == DOCUMENT
        opened.check_layout(TENSORS, "prompts")
        read = opened.read()
    assert all(torch.equal(read[key], TENSORS[key]) for key in TENSORS)
    assert list(tmp_path.iterdir()) == [path]


def test_one_kind_is_not_taken_for_another(tmp_path):
    path = tmp_path / "some.safetensors"
    for kind in KINDS:
        write_signed(path, {"format_version": kind.version, kind.key: 1}, TENSORS)
        for other in KINDS:
            if other is kind:
                with open_signed(path, kind) as opened:
                    opened.read()
                continue
            message = f"some.safetensors holds {kind.title} and no {other.noun}: {kind.use}"
            with pytest.raises(FacedistillError, match=message), open_signed(path, other):
                pass


def test_files_of_other_programs_are_told_by_their_header(tmp_path):
    ours, other = tmp_path / "ours.safetensors", tmp_path / "other.safetensors"
    write_signed(ours, DOCUMENT, TENSORS)
    assert not is_plain(ours)
    content = save(TENSORS, metadata={"format": "pt"})
    for whole in (content, save(TENSORS)):
        other.write_bytes(whole)
        assert is_plain(other)
    header = b'{"a": 1}'
    for damaged in (
        content[:-1],
        content[:5],
        content[:40],
        b"\xff" * 8 + content,
        len(header).to_bytes(8, "little") + header,
        b"",
    ):
        other.write_bytes(damaged)
        assert not is_plain(other), damaged


def test_of_a_large_file_the_header_alone_is_read(tmp_path):
    """One that is said and seen to hold 1 TiB takes no memory and no time."""
    path, size = tmp_path / "some.safetensors", 1 << 40
    header = json.dumps({"a": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    os.truncate(path, 8 + len(header) + size)
    assert is_plain(path)


def test_what_the_reader_cannot_make_sense_of_is_damage(tmp_path):
    path = tmp_path / "some.safetensors"
    write_signed(path, {"format_version": MODEL.version, "architecture": 1}, TENSORS)
    with (
        pytest.raises(FacedistillError, match=r"is damaged \('size'\): get it again"),
        open_signed(path, MODEL) as opened,
    ):
        opened.document["size"]


def test_equal_tensors_make_equal_files(tmp_path):
    write_signed(tmp_path / "1", DOCUMENT, TENSORS)
    write_signed(tmp_path / "2", DOCUMENT, dict(reversed(TENSORS.items())))
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


@pytest.mark.parametrize(
    "changed",
    [
        {**TENSORS, "b": torch.tensor([0.0, 1, 2, 4])},
        {**TENSORS, "b": torch.arange(4.0).reshape(2, 2)},
        {**TENSORS, "b": torch.arange(4.0).view(torch.int32)},
        {"c": TENSORS["b"], "a": TENSORS["a"]},
        {"a": TENSORS["a"]},
    ],
    ids=["value", "shape", "type", "name", "one less"],
)
def test_every_change_changes_the_checksum(changed):
    assert checksum(DOCUMENT, changed) != checksum(DOCUMENT, TENSORS)
    assert checksum({**DOCUMENT, "prompts": 4}, TENSORS) != checksum(DOCUMENT, TENSORS)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_not_finite_are_refused_by_name(value):
    tensors = {"whole": torch.tensor([1]), "good": torch.ones(2), "bad": torch.tensor([value])}
    with pytest.raises(FacedistillError, match="cannot write it: weight bad has values"):
        check_finite(tensors, "cannot write it")
    check_finite({"whole": torch.tensor([1]), "good": torch.ones(2)}, "cannot write it")
