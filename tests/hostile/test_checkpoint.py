import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from facedistill.core.errors import FacedistillError
from facedistill.engine.checkpoint import load_checkpoint, save_checkpoint
from tests.hostile.mutations import MEMORY, attempt, hostile, mutations, tally

STATE = {
    "recipe": "abc",
    "step": 3,
    "best": 0.5,
    "weights": {"a": torch.arange(50.0), "b": torch.ones(2, 3, dtype=torch.bfloat16)},
    "skipped": ["x", None, True],
    "random": torch.arange(40, dtype=torch.uint8),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "checkpoint.pt"
    save_checkpoint(path, STATE)
    return path.read_bytes()


def test_a_tensor_that_is_called_a_folder_is_refused(whole, tmp_path):
    damaged, entry = bytearray(whole), whole.rindex(b"PK\x01\x02", 0, whole.rindex(b"/data/2"))
    damaged[entry + 38] = 0x10
    (tmp_path / "checkpoint.pt").write_bytes(damaged)
    with pytest.raises(FacedistillError, match=r"is damaged .*data/2 is called a folder"):
        load_checkpoint(tmp_path / "checkpoint.pt", "abc")


@hostile
@given(data=st.data())
def test_every_value_is_the_one_saved_or_refused(whole, tmp_path_factory, data):
    # Headers of a ZIP archive: before each file, and in the directory at its end.
    headers = [at + n for at in range(len(whole)) if whole[at : at + 2] == b"PK" for n in range(46)]
    damaged = data.draw(mutations(whole, headers))
    path = tmp_path_factory.getbasetemp() / "damaged.pt"
    path.write_bytes(damaged.content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        state = attempt("checkpoint", path, lambda: load_checkpoint(path, "abc"), MEMORY)
    if state is None:
        return
    assert state.pop("format") == 1
    assert state.keys() == STATE.keys()
    for key, tensor in (STATE["weights"] | {"random": STATE["random"]}).items():
        found = state["random"] if key == "random" else state["weights"][key]
        assert found.dtype == tensor.dtype
        assert torch.equal(found, tensor)
    for key in ("recipe", "step", "best", "skipped"):
        assert state[key] == STATE[key]
    tally["checkpoint", "read right"] += 1
