import json

import pytest

from facedistill.core.errors import FacedistillError
from tests.cli.calling import assert_next, call


@pytest.mark.parametrize("what", ["faces", "bank", "student", "student.onnx"])
def test_inspect_describes_everything_the_job_made(story, what):
    description = json.loads(call("inspect", story / what, "--json"))
    assert description["kind"]
    text = call("inspect", story / what)
    assert text.startswith(next(iter(description)))
    assert not {"{", "["} & {*text}
    assert_next(text)


def test_inspect_writes_a_sheet_and_checks_records(story, tmp_path):
    call("inspect", story / "faces", "--sheet", tmp_path / "sheet.png", "--verify")
    assert (tmp_path / "sheet.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--same", "0.7"), "--same goes with --neighbours"),
        (("--far", "0.2"), "--far goes with --neighbours"),
    ],
)
def test_bounds_that_decide_nothing_are_refused(story, options, message):
    with pytest.raises(FacedistillError, match=message):
        call("inspect", story / "bank", *options)
