"""Whether two runs are the same, bit for bit."""

import torch

from facedistill.models.files.model_file import load_model


def assert_equal(one, other, place="state"):
    """Compare nested state bit for bit."""
    assert type(one) is type(other), place
    if isinstance(one, dict):
        assert one.keys() == other.keys(), place
        for key in one:
            assert_equal(one[key], other[key], f"{place}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), place
        for number, pair in enumerate(zip(one, other, strict=True)):
            assert_equal(*pair, f"{place}.{number}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), place
    else:
        assert one == other, place


def assert_same_run(one, other):
    assert (one / "metrics.jsonl").read_bytes() == (other / "metrics.jsonl").read_bytes()
    states = [torch.load(f / "checkpoint.pt", weights_only=True) for f in (one, other)]
    assert_equal(*({k: v for k, v in s.items() if k != "recipe"} for s in states))
    for name in ("last", "best"):
        models = [load_model(f / f"{name}.safetensors") for f in (one, other)]
        assert_equal(*(dict(model.backbone.state_dict()) for model in models))
