import torch

from facedistill.models.backbones.base import DropPath, tokens_of


def test_a_dropped_path_is_left_out_image_by_image_and_keeps_its_mean():
    torch.manual_seed(0)
    x = torch.ones(4000, 2, 3)
    y = DropPath(0.25).train()(x)
    assert (y == y[:, :1, :1]).all()
    stayed = y[:, 0, 0] != 0
    torch.testing.assert_close(y[stayed], x[stayed] / 0.75)
    assert abs(stayed.float().mean().item() - 0.75) < 0.05  # seven standard deviations


def test_no_path_is_dropped_in_evaluation():
    x = torch.randn(8, 3)
    assert DropPath(0.9).eval()(x) is x


def test_tokens_are_the_places_row_by_row():
    features = torch.randn(2, 5, 3, 3)
    assert torch.equal(tokens_of(features)[:, 4], features[:, :, 1, 1])
    assert torch.equal(tokens_of(features)[:, 5], features[:, :, 1, 2])
