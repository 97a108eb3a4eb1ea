"""Whether two runs are the same, bit for bit."""

import torch

from facedistill.models.files.model_file import load_model


def assert_equal(ours, theirs, place="state"):
    """Compare nested state bit for bit."""
    assert type(ours) is type(theirs), place
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys(), place
        for key in ours:
            assert_equal(ours[key], theirs[key], f"{place}.{key}")
    elif isinstance(ours, list | tuple):
        assert len(ours) == len(theirs), place
        for number, pair in enumerate(zip(ours, theirs, strict=True)):
            assert_equal(*pair, f"{place}.{number}")
    elif isinstance(ours, torch.Tensor):
        assert torch.equal(ours, theirs), place
    else:
        assert ours == theirs, place


def assert_same_run(ours, theirs):
    assert (ours / "metrics.jsonl").read_bytes() == (theirs / "metrics.jsonl").read_bytes()
    states = [torch.load(f / "checkpoint.pt", weights_only=True) for f in (ours, theirs)]
    assert_equal(*({k: v for k, v in s.items() if k != "recipe"} for s in states))
    for name in ("last", "best"):
        models = [load_model(f / f"{name}.safetensors") for f in (ours, theirs)]
        assert_equal(*(dict(model.backbone.state_dict()) for model in models))
