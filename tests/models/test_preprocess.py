import cv2
import numpy as np
import pytest
import torch
from torch import nn

from facedistill.core.errors import FacedistillError
from facedistill.models.preprocess import Preprocess
from facedistill.runtime.input_spec import InputSpec


def random_images(batch: int, side: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (batch, side, side, 3), dtype=np.uint8)


def test_preprocess_equals_numpy():
    images = random_images(2, 16)
    spec = InputSpec(size=16, mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0))
    expected = ((images.astype(np.float32) - spec.mean) / spec.std).transpose(0, 3, 1, 2)
    result = Preprocess(spec)(torch.from_numpy(images))
    np.testing.assert_allclose(result.numpy(), expected, rtol=1e-6)
    assert result.dtype == torch.float32
    assert result.is_contiguous(memory_format=torch.channels_last)


def test_bgr_network_gets_blue_first_with_its_own_mean():
    red = np.zeros((1, 16, 16, 3), np.uint8)
    red[..., 0] = 200
    spec = InputSpec(size=16, color="BGR", mean=(0.0, 10.0, 20.0), std=(1.0, 1.0, 2.0))
    result = Preprocess(spec)(torch.from_numpy(red))
    assert result[0, :, 3, 5].tolist() == [0.0, -10.0, 90.0]
    assert result.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("before", "after"), [(112, 64), (64, 112), (48, 16)])
def test_resize_is_an_antialiased_bilinear(before, after):
    smooth = cv2.GaussianBlur(random_images(1, before)[0], (0, 0), 4)
    reference = torch.nn.functional.interpolate(
        torch.from_numpy(smooth).permute(2, 0, 1)[None].double(),
        size=(after, after),
        mode="bilinear",
        antialias=True,
    )
    resized = Preprocess(InputSpec(size=after)).resize(torch.from_numpy(smooth)[None])
    assert resized.dtype == torch.uint8
    assert (resized.double() - reference).abs().max() <= 1.01


def test_resize_averages_a_checkerboard():
    board = np.indices((64, 64)).sum(0) % 2 * 255
    images = torch.from_numpy(np.repeat(board[None, :, :, None], 3, axis=3).astype(np.uint8))
    inner = Preprocess(InputSpec(size=16)).resize(images)[..., 2:-2, 2:-2].int()
    assert (inner - 127).abs().max() <= 2


def test_preprocess_has_nothing_to_train_or_save():
    preprocess = Preprocess(InputSpec())
    assert not list(preprocess.parameters())
    assert not preprocess.state_dict()


def test_preprocess_exports():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.preprocess = Preprocess(InputSpec(size=16, color="BGR"))

        def forward(self, images):
            return self.preprocess(images).mean((2, 3))

    images = torch.from_numpy(random_images(3, 16))
    batch = torch.export.Dim("batch")
    program = torch.export.export(Net(), (images,), dynamic_shapes=({0: batch},))
    torch.testing.assert_close(program.module()(images[:2]), Net()(images[:2]))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(1, 16, 16, 3), "uint8"),
        (torch.zeros(1, 3, 16, 16, dtype=torch.uint8), "channels first"),
        (torch.zeros(16, 16, 3, dtype=torch.uint8), "one image"),
        (torch.zeros(1, 16, 16, 4, dtype=torch.uint8), "B, H, W, 3"),
        (torch.zeros(1, 16, 20, 3, dtype=torch.uint8), "square"),
        (torch.zeros(1, 0, 0, 3, dtype=torch.uint8), "square"),
        (np.zeros((1, 16, 16, 3), np.uint8), "torch tensor"),
    ],
)
def test_wrong_images_are_refused(images, message):
    with pytest.raises(FacedistillError, match=message):
        Preprocess(InputSpec(size=16))(images)
