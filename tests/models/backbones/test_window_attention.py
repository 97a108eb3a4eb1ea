import pytest
import torch

from facedistill.models.backbones.window_attention import from_windows, to_windows, window_side


def test_windows_of_one_image_lie_side_by_side_and_go_back():
    x = torch.randn(3, 6, 6, 2)
    windows = to_windows(x, 2)
    assert torch.equal(windows[9], x[1, :2, :2].reshape(4, 2))
    assert torch.equal(windows[10], x[1, :2, 2:4].reshape(4, 2))
    assert torch.equal(windows[12], x[1, 2:4, :2].reshape(4, 2))
    assert torch.equal(from_windows(windows, 2, 6), x)


@pytest.mark.parametrize(
    ("side", "window"), [(56, 7), (28, 7), (14, 7), (7, 7), (64, 8), (24, 8), (12, 6), (4, 4)]
)
def test_window_side_divides_the_map(side, window):
    assert window_side(side) == window
