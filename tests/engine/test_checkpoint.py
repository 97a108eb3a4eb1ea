import os
import pickle
import resource

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from facedistill.core.errors import FacedistillError
from facedistill.engine.checkpoint import load_checkpoint, save_checkpoint

STATE = {"recipe": "abc", "step": 3, "weights": {"a": torch.arange(50.0), "b": [1, None, "x"]}}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "run" / "checkpoint.pt"
    save_checkpoint(path, STATE)
    return path


def refused(path, recipe="abc"):
    with pytest.raises(FacedistillError) as caught:
        load_checkpoint(path, recipe)
    assert "\n" not in str(caught.value)
    assert str(path.parent) in str(caught.value)
    return str(caught.value)


def test_what_is_saved_is_loaded(path):
    state = load_checkpoint(path, "abc")
    assert torch.equal(state["weights"].pop("a"), STATE["weights"]["a"])
    assert state == {"format": 1, "recipe": "abc", "step": 3, "weights": {"b": [1, None, "x"]}}


def test_another_recipe_is_refused(path):
    assert "holds a run of another recipe (abc, not xyz)" in refused(path, "xyz")


def test_no_cut_passes(path):
    content = path.read_bytes()
    for length in range(0, len(content), 23):
        path.write_bytes(content[:length])
        assert "is damaged" in refused(path)


@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_no_flipped_bit_passes_unseen(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "flipped.pt"
    save_checkpoint(path, STATE)
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    try:
        state = load_checkpoint(path, "abc")
    except FacedistillError:
        return
    # A bit of padding or of a date decides nothing.
    assert torch.equal(state["weights"]["a"], STATE["weights"]["a"])
    assert state["step"] == 3


class Hostile:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("whole", [True, False])
def test_a_hostile_pickle_runs_nothing(path, whole):
    canary = path.parent / "canary"
    hostile = Hostile(f"touch {canary}")
    if whole:
        torch.save({"format": 1, "recipe": "abc", "step": hostile}, path)
    else:
        path.write_bytes(pickle.dumps(hostile))
    assert "is damaged" in refused(path)
    assert not canary.exists()


@pytest.mark.parametrize("content", [[1], {"recipe": "abc"}, {"format": 99, "recipe": "abc"}, 5])
def test_another_content_is_refused(path, content):
    torch.save(content, path)
    assert "no checkpoint of this version" in refused(path)


def test_a_full_disk_leaves_the_old_checkpoint(path):
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(FacedistillError, match="cannot write"):
            save_checkpoint(path, {"recipe": "abc", "weights": torch.zeros(10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["checkpoint.pt"]
