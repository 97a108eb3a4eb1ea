import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facedistill.core.errors import FacedistillError
from facedistill.distill.bank.format import BankInfo, read_info, rows_per_shard, write_info

INFO = BankInfo("t" * 32, "teacher.onnx", "d" * 32, "train.rec", count=10, dimension=6, rows=4)


def test_round_trip(tmp_path):
    for info in (INFO, replace(INFO, views=("plain",), licence="MIT", teacher_name="Ä")):
        write_info(tmp_path / "new", info)
        assert read_info(tmp_path / "new") == info


def test_shards_cover_every_row_once():
    assert INFO.shards == 3
    rows = [row for shard in range(INFO.shards) for row in INFO.shard_rows(shard)]
    assert rows == list(range(10))
    assert INFO.shard_type(2)["plain"].shape == (2, 6)
    assert replace(INFO, count=8).shards == 2


def test_columns_are_contiguous():
    offsets = [INFO.shard_type(0).fields[name][1] for name in INFO.shard_type(0).names]
    assert INFO.shard_type(0).names == (
        *("bank", "key", "plain", "plain_norm", "plain_sum"),
        *("flipped", "flipped_norm", "flipped_sum"),
    )  # fmt: skip
    assert offsets == [0, 16, 80, 128, 144, 160, 208, 224]


def test_the_mark_follows_what_the_rows_hold_and_nothing_else():
    marks = {INFO.mark.tobytes()}
    for change in (
        {"teacher": "u"}, {"dataset": "e"}, {"count": 11}, {"dimension": 7},
        {"views": ("plain",)}, {"rows": 5},
    ):  # fmt: skip
        marks.add(replace(INFO, **change).mark.tobytes())
    assert len(marks) == 7
    named = replace(INFO, teacher_name="a", dataset_name="b", licence="c")
    assert np.array_equal(named.mark, INFO.mark)


@pytest.mark.parametrize("count", [1, 4096, 28_000, 5_800_000, 42_000_000])
def test_large_banks_get_larger_shards_not_more(count):
    rows = rows_per_shard(count)
    assert rows >= 4096
    assert replace(INFO, count=count, rows=rows).shards <= 256
    info = replace(INFO, count=count, rows=rows, dimension=512)
    assert info.shard_type(0).itemsize < 400e6


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("count", 0), ("count", -1), ("count", 1.5), ("count", True), ("count", "10"),
        ("count", None), ("rows", 0), ("dimension", 0), ("dimension", 10**9),
        ("rows", float("nan")),
        ("views", []), ("views", "plain"), ("views", ["flipped"]), ("views", ["plain", "plain"]),
        ("views", 3), ("views", [["plain"]]), ("teacher", 3), ("dataset", None),
        ("licence", ["MIT"]), ("dataset_name", {}), ("format", 0), ("format", "1"), ("other", 1),
    ],
)  # fmt: skip
def test_a_wrong_value_is_damage(tmp_path, key, value):
    write_info(tmp_path, INFO)
    (tmp_path / "bank.json").write_text(json.dumps(asdict(INFO) | {key: value}))
    with pytest.raises(FacedistillError, match=r"bank.json is damaged \(.*\): embed again"):
        read_info(tmp_path)


def test_a_shard_over_two_gigabytes_is_refused_before_it_is_allocated(tmp_path):
    huge = asdict(INFO) | {"count": 10**18, "rows": 10**18, "dimension": 65_536}
    (tmp_path / "bank.json").write_text(json.dumps(huge))
    with pytest.raises(FacedistillError, match="over 2 GB"):
        read_info(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "[" * 60_000, "9" * 60_000, "\xff", " " * 70_000, "{}"]
)
def test_other_text_is_damage(tmp_path, text):
    (tmp_path / "bank.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(FacedistillError, match=r"bank.json is damaged"):
        read_info(tmp_path)


def test_no_bank_is_named_with_the_remedy(tmp_path):
    with pytest.raises(FacedistillError, match=r"is no bank .* `facedistill embed`"):
        read_info(tmp_path)
    with pytest.raises(FacedistillError, match="none: no such file or folder"):
        read_info(tmp_path / "none")
    (tmp_path / "file").write_text("")
    with pytest.raises(FacedistillError, match="is no bank"):
        read_info(tmp_path / "file")


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_any_bytes_are_read_or_refused_in_one_line(tmp_path, data):
    content = bytearray(json.dumps(asdict(INFO)).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + 1] = data.draw(st.binary(max_size=3))
    (tmp_path / "bank.json").write_bytes(content)
    try:
        read_info(tmp_path)
    except FacedistillError as error:
        assert "\n" not in str(error)  # noqa: PT017
