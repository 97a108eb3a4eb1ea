import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from facedistill.data.batch import Batch


def make_batch(size, clean=True):
    images = torch.arange(size * 12, dtype=torch.uint8).reshape(size, 2, 2, 3)
    return Batch(
        images=images,
        labels=torch.arange(size),
        flipped=torch.arange(size) % 2 == 0,
        keys=np.arange(size * 16, dtype=np.uint8).reshape(size, 16),
        clean=images.flip(2) if clean else None,
        landmarks=torch.arange(size * 10.0).reshape(size, 5, 2) if clean else None,
        skipped=["somewhere"],
    )


@given(size=st.integers(1, 9), parts=st.integers(1, 12), clean=st.booleans())
def test_micro_batches_put_together_are_the_batch(size, parts, clean):
    batch = make_batch(size, clean)
    micros = batch.split(parts)
    assert len(micros) == max(1, min(parts, size // 2))
    sizes = [len(micro) for micro in micros]
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) >= min(2, size)
    for name in ("images", "labels", "flipped"):
        joined = torch.cat([getattr(micro, name) for micro in micros])
        assert torch.equal(joined, getattr(batch, name))
    np.testing.assert_array_equal(np.concatenate([micro.keys for micro in micros]), batch.keys)
    if clean:
        assert torch.equal(torch.cat([micro.clean for micro in micros]), batch.clean)
        assert torch.equal(torch.cat([micro.landmarks for micro in micros]), batch.landmarks)
    else:
        assert all(micro.clean is None and micro.landmarks is None for micro in micros)


@pytest.mark.parametrize("clean", [True, False])
def test_moving_takes_the_tensors_and_leaves_the_keys(clean):
    batch = make_batch(3, clean)
    moved = batch.to(torch.device("meta"))
    tensors = [moved.images, moved.labels, moved.flipped] + ([moved.clean] if clean else [])
    assert all(tensor.device.type == "meta" for tensor in tensors)
    assert (moved.clean is not None) == clean
    assert moved.keys is batch.keys
    assert moved.skipped == ["somewhere"]
    assert batch.images.device.type == "cpu"
