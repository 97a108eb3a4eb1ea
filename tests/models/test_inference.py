import threading

import numpy as np
import pytest
import torch
from torch import nn

from facedistill.core.errors import FacedistillError
from facedistill.models.inference import embed_images, infer
from facedistill.models.outputs import Outputs

IMAGES = np.random.default_rng(0).integers(256, size=(7, 4, 4, 3), dtype=np.uint8)


class LeftHalf(nn.Module):
    """Embeds an image as the raw pixels of its left half, so mirroring matters."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.norm = nn.BatchNorm1d(24, affine=False)
        self.frozen = nn.Dropout()
        self.batches: list[int] = []
        self.train()
        self.frozen.eval()

    def forward(self, images, needs):
        assert needs == {"embedding"}
        assert images.dtype == torch.uint8
        assert not self.training
        assert not torch.is_grad_enabled()
        self.batches.append(len(images))
        pixels = images[:, :, :2].reshape(len(images), -1).float() * self.weight
        return Outputs(embedding=self.norm(pixels))


def left_half(images):
    return images[:, :, :2].reshape(len(images), -1).astype(np.float32)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 64])
@pytest.mark.parametrize("threads", [0, 1, 4])
def test_embedding_is_the_raw_sum_of_image_and_mirror_image(batch_size, threads):
    embeddings = embed_images(
        LeftHalf(), IMAGES.__getitem__, 7, batch_size=batch_size, threads=threads
    )
    expected = left_half(IMAGES) + left_half(IMAGES[:, :, ::-1])
    np.testing.assert_allclose(embeddings, expected, rtol=1e-5)  # batch norm's eps
    assert embeddings.dtype == np.float32


def test_without_flip_the_image_alone_counts():
    network = LeftHalf()
    embeddings = embed_images(network, IMAGES.__getitem__, 7, batch_size=3, flip=False)
    np.testing.assert_allclose(embeddings, left_half(IMAGES), rtol=1e-5)
    assert network.batches == [3, 3, 1]


def test_modes_are_restored_and_statistics_untouched():
    network = LeftHalf()
    before = network.norm.running_mean.clone()
    embed_images(network, IMAGES.__getitem__, 7)
    assert network.training
    assert network.norm.training
    assert not network.frozen.training
    assert torch.equal(network.norm.running_mean, before)


def test_modes_are_restored_after_a_failure():
    network = LeftHalf()

    def image(index):
        if index == 5:
            raise FacedistillError("faces.bin, pair 2: image does not decode")
        return IMAGES[index]

    with pytest.raises(FacedistillError, match=r"faces\.bin, pair 2"):
        embed_images(network, image, 7, batch_size=2)
    assert network.training
    assert not any(t.name.startswith("read-ahead") for t in threading.enumerate())


def test_plain_function_will_do_as_network():
    def network(images, needs):
        return Outputs(embedding=images.flatten(1).float())

    embeddings = embed_images(network, IMAGES.__getitem__, 2, flip=False)
    np.testing.assert_array_equal(embeddings, IMAGES[:2].reshape(2, -1))


def test_embedding_that_is_not_finite_is_named():
    def network(images, needs):
        embedding = images.flatten(1).float()
        embedding[images[:, 0, 0, 0] == 5] = float("nan")
        return Outputs(embedding=embedding)

    pixels = IMAGES.copy()
    pixels[:, 0, 0, 0] = np.arange(7)
    with pytest.raises(FacedistillError, match="embedding of image 5 is not finite"):
        embed_images(network, pixels.__getitem__, 7, batch_size=2, flip=False)


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (Outputs(), "gives no embedding"),
        (Outputs(embedding=torch.ones(3)), r"shape \(3,\) for 7 images"),
        (Outputs(embedding=torch.ones(3, 2)), r"shape \(3, 2\) for 7 images"),
    ],
)
def test_network_that_gives_no_row_per_image_is_refused(outputs, message):
    with pytest.raises(FacedistillError, match=message):
        embed_images(lambda images, needs: outputs, IMAGES.__getitem__, 7)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros((4, 4, 3)), "image 3 is float64"),
        (np.zeros((4, 4), np.uint8), r"image 3 is uint8 \(4, 4\)"),
        (np.zeros((5, 4, 3), np.uint8), "image 3 is 4x5, image 2 is 4x4"),
    ],
)
def test_images_that_do_not_fit_are_named(bad, message):
    images = [*IMAGES[:3], bad]
    with pytest.raises(FacedistillError, match=message):
        embed_images(LeftHalf(), images.__getitem__, 4, batch_size=2)


@pytest.mark.parametrize("options", [{"count": 0}, {"count": 2, "batch_size": 0}])
def test_nothing_to_do_is_refused(options):
    with pytest.raises(FacedistillError):
        embed_images(LeftHalf(), IMAGES.__getitem__, **options)


def test_items_come_back_with_the_outputs_of_both_views_and_missing_ones_are_left_out():
    def network(images, needs):
        assert needs == {"feature_map"}
        return Outputs(feature_map=images.permute(0, 3, 1, 2))

    items = [("a", 0), None, ("b", 1), ("c", 2)]
    batches = list(
        infer(
            network,
            items,
            4,
            ["feature_map"],
            image=lambda item: IMAGES[item[1]],
            batch_size=2,
            flip=True,
        )
    )
    assert [(batch.start, [item[0] for item in batch.items]) for batch in batches] == [
        (0, ["a"]),
        (1, ["b", "c"]),
    ]
    plain, mirrored = batches[1].outputs.feature_map, batches[1].mirrored.feature_map
    np.testing.assert_array_equal(plain.permute(0, 2, 3, 1), IMAGES[1:3])
    np.testing.assert_array_equal(mirrored.permute(0, 2, 3, 1), IMAGES[1:3, :, ::-1])


def test_an_item_that_is_an_error_ends_the_loop():
    items = [0, FacedistillError("face 1 does not decode")]
    network = LeftHalf()
    with pytest.raises(FacedistillError, match="face 1"):
        list(infer(network, items, 2, {"embedding"}, image=IMAGES.__getitem__, batch_size=1))
    assert network.training
