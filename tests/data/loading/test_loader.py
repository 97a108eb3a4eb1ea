import warnings
from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from facedistill.core.errors import FacedistillError
from facedistill.data.formats.procedural import ProceduralDataset
from facedistill.data.loading.loader import Cached, Loader, Order
from facedistill.faces.augmentation import Augmenter, sample_rng
from facedistill.recipe.augmentation_options import Augmentation
from tests.data.images_in_memory import ImagesInMemory, images_in_memory

FLIP = Augmentation()
MUCH = Augmentation(flip=0.5, rotation=20, shift=0.1, brightness=0.3, occlusion=0.5, jpeg=0.5)


def load(faces, start=0, stop=7, batch_size=6, seed=1, rank=0, world=1, **options):
    order = Order(len(faces), batch_size, seed, rank, world)
    options = {"augmentation": FLIP, **options}
    return list(Loader(faces, order, **options).batches(start, stop))


def assert_same(batches, expected):
    assert len(batches) == len(expected)
    for a, b in zip(batches, expected, strict=True):
        for name in ("images", "labels", "flipped"):
            assert torch.equal(getattr(a, name), getattr(b, name)), name
        np.testing.assert_array_equal(a.keys, b.keys)
        assert (a.clean is None) == (b.clean is None)
        if a.clean is not None:
            assert torch.equal(a.clean, b.clean)
        assert a.skipped == b.skipped


@pytest.mark.parametrize("augmentation", [FLIP, MUCH])
def test_batches_do_not_depend_on_workers_cache_or_where_one_starts(augmentation):
    faces = images_in_memory(broken=(4, 5))
    options = {"augmentation": augmentation, "keep_clean": True, "on_error": "skip"}
    expected = load(faces, **options)
    caches = ["none", "ram", "device"] if augmentation.flip_only else ["none", "ram"]
    for cache in caches:
        for workers in (0, 1, 2):
            assert_same(load(faces, cache=cache, workers=workers, **options), expected)
    for start in (1, 3, 4, 7):
        assert_same(load(faces, start=start, workers=start % 2, **options), expected[start:])


def test_a_batch_is_what_its_definition_says():
    faces = images_in_memory()
    batches = load(faces, augmentation=MUCH, keep_clean=True)
    per_epoch = 20 // 6
    for step, batch in enumerate(batches):
        epoch, number = divmod(step, per_epoch)
        chosen = np.random.default_rng((1, epoch)).permutation(20)[6 * number : 6 * number + 6]
        for row, index in enumerate(chosen):
            image, flipped = Augmenter(MUCH)(faces.images[index], sample_rng(1, epoch, int(index)))
            np.testing.assert_array_equal(batch.images[row], image)
            np.testing.assert_array_equal(batch.clean[row], faces.images[index])
            assert batch.flipped[row] == flipped
            assert batch.labels[row] == faces.labels[index]
            assert batch.keys[row].tobytes() == faces.key(index)


def test_seeds_and_epochs_differ():
    faces = images_in_memory()
    one, other = load(faces, stop=6), load(faces, stop=6, seed=2)
    assert not torch.equal(one[0].images, other[0].images)
    assert not torch.equal(one[0].images, one[3].images)


@given(
    samples=st.integers(1, 40),
    share=st.integers(1, 8),
    world=st.integers(1, 4),
    steps=st.tuples(st.integers(0, 12), st.integers(0, 12)),
)
def test_shares_partition_each_batch_and_an_epoch_repeats_no_image(samples, share, world, steps):
    batch_size = share * world
    if batch_size > samples:
        with pytest.raises(FacedistillError, match=r"training\.batch_size .* lower it"):
            Order(samples, batch_size, 0, 0, world)
        return
    start, stop = min(steps), max(steps)
    whole = list(Order(samples, batch_size, 5).places(start, stop))
    shares = [
        list(Order(samples, batch_size, 5, r, world).places(start, stop)) for r in range(world)
    ]
    assert whole == [list(chain(*parts)) for parts in zip(*shares, strict=True)]
    assert len(whole) == stop - start
    seen = [place for places in whole for place in places]
    assert len(set(seen)) == len(seen)
    assert all(0 <= index < samples for _, index in seen)


def test_a_batch_must_divide_among_the_processes():
    with pytest.raises(FacedistillError, match="6 does not divide among 4 processes"):
        Order(20, 6, 0, 0, 4)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("cache", ["none", "ram"])
def test_stop_names_the_corrupt_image_in_one_line(workers, cache):
    with pytest.raises(FacedistillError) as caught:
        load(images_in_memory(broken=(9,)), workers=workers, cache=cache)
    assert "entry 9" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("workers", [0, 2])
def test_skip_leaves_corrupt_images_out_and_names_them(workers):
    batches = load(images_in_memory(broken=(0, 9)), stop=3, workers=workers, on_error="skip")
    named = [place for batch in batches for place in batch.skipped]
    assert all("entry 0" in place or "entry 9" in place for place in named)
    assert sum(len(batch) for batch in batches) == 18 - len(named)
    for batch in batches:
        assert len(batch.images) == len(batch.flipped) == len(batch.keys) == len(batch)


@pytest.mark.parametrize("cache", ["none", "ram", "device"])
@pytest.mark.parametrize("good", [0, 1])
def test_a_batch_without_two_readable_images_ends_the_run(cache, good):
    faces = images_in_memory(broken=range(20 - good))
    with pytest.raises(FacedistillError, match=r"of a batch cannot be read, .*first: entry"):
        load(faces, stop=3, batch_size=20, on_error="skip", cache=cache)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("cache", ["none", "ram"])
def test_crops_of_different_sizes_are_refused_with_the_remedy(workers, cache):
    faces = ImagesInMemory([(8, 8)] * 9 + [(10, 10)] * 3)
    with pytest.raises(FacedistillError, match=r"data\.image_size"):
        load(faces, batch_size=12, stop=1, workers=workers, cache=cache)
    batches = load(faces, batch_size=12, stop=1, workers=workers, cache=cache, image_size=16)
    assert batches[0].images.shape == (12, 16, 16, 3)


def test_a_cache_larger_than_memory_is_refused(monkeypatch):
    monkeypatch.setattr("os.sysconf", lambda name: 10)
    with pytest.raises(FacedistillError, match=r"cache wants .* GiB"):
        Cached(images_in_memory())


def test_the_device_cache_only_mirrors():
    with pytest.raises(FacedistillError, match="can only mirror"):
        load(images_in_memory(), augmentation=MUCH, cache="device")


@pytest.mark.parametrize("cache", ["none", "ram", "device"])
def test_clean_images_come_only_when_asked_for(cache):
    faces = images_in_memory()
    assert load(faces, stop=1, cache=cache)[0].clean is None
    batch = load(faces, stop=1, cache=cache, keep_clean=True)[0]
    for image, clean, flipped in zip(batch.images, batch.clean, batch.flipped, strict=True):
        assert torch.equal(image, clean.flip(1) if flipped else clean)
    assert batch.flipped.any()
    assert not batch.flipped.all()


def test_more_workers_than_cores_are_no_cause_for_a_warning():
    faces = images_in_memory()
    order = Order(20, 6, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        batches = Loader(faces, order, augmentation=FLIP, workers=9).batches(0, 1)
        assert len(next(batches)) == 6


@pytest.mark.parametrize("workers", [0, 1])
def test_loading_draws_nothing_from_torchs_random_numbers(workers):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    load(images_in_memory(), stop=1, workers=workers, cache="ram")
    assert torch.equal(torch.rand(3), expected)


def test_decoding_happens_once_with_a_cache():
    read = []

    class Counting(ImagesInMemory):
        def encoded(self, index):
            read.append(index)
            return super().encoded(index)

    load(Counting([(8, 8)] * 20), cache="ram")
    assert sorted(read) == list(range(20))


def test_the_clean_view_wears_no_mask_and_a_resumed_run_the_same_one():
    faces = images_in_memory(side=32)
    options = {"augmentation": Augmentation(mask=1.0), "keep_clean": True}
    batches = load(faces, **options)
    for batch in batches:
        rows = [faces.images[index] for index in map(key_index(faces), batch.keys)]
        np.testing.assert_array_equal(batch.clean, np.stack(rows))
        for image, clean, flipped in zip(batch.images, batch.clean, batch.flipped, strict=True):
            changed = (image != (clean.flip(1) if flipped else clean)).any(dim=2).numpy()
            assert changed[24:].mean() > 0.5
            assert not changed[:13].any()
    for start in (1, 4):
        assert_same(load(faces, start=start, workers=1, cache="ram", **options), batches[start:])


def key_index(faces):
    """From a key to the index of its image."""
    indices = {faces.key(index): index for index in range(len(faces))}
    return lambda key: indices[key.tobytes()]


def test_landmarks_move_with_the_images_however_they_are_cached():
    faces = ProceduralDataset(3, 2, size=32, loose=1.0)
    turned = Augmentation(flip=0.5, shift=0.1, rotation=20)
    plain, kept = (load(faces, 0, 2, 3, augmentation=turned, cache=c) for c in ("none", "ram"))
    for batch in (*plain, *kept):
        assert batch.landmarks.dtype == torch.float32
        for key, points in zip(batch.keys, batch.landmarks.numpy(), strict=True):
            index = next(i for i in range(6) if faces.key(i) == key.tobytes())
            rng = sample_rng(1, 0, index)
            expected = Augmenter(turned).move_landmarks(faces[index].landmarks, (32, 32), rng)
            np.testing.assert_array_equal(points, expected)
    on_device = load(faces, 0, 2, 3, cache="device")
    for batch, expected in zip(on_device, load(faces, 0, 2, 3), strict=True):
        assert torch.equal(batch.landmarks, expected.landmarks)
    small, large = (load(faces, 0, 2, 3, image_size=side) for side in (16, 64))
    assert torch.equal(small[1].landmarks, large[1].landmarks)
    assert load(images_in_memory())[0].landmarks is None


def test_masks_go_by_the_landmarks_and_what_they_do_not_fit_is_named():
    faces = ProceduralDataset(3, 2, size=48, loose=1.0)
    (batch,) = load(faces, 0, 1, augmentation=Augmentation(flip=0.0, mask=1.0))
    for image, key in zip(batch.images.numpy(), batch.keys, strict=True):
        index = next(i for i in range(6) if faces.key(i) == key.tobytes())
        sample = faces[index]
        rng = sample_rng(1, 0, index)
        worn = Augmenter(Augmentation(flip=0.0, mask=1.0))(sample.image, rng, sample.landmarks)[0]
        np.testing.assert_array_equal(image, worn)

    class Elsewhere(ProceduralDataset):
        def __getitem__(self, index):
            return super().__getitem__(index)._replace(landmarks=faces[index].landmarks + 9)

    with pytest.raises(
        FacedistillError, match=r"first: .*identity .*: the landmarks of a mask show no face"
    ):
        load(Elsewhere(3, 2, size=48), 0, 1, augmentation=Augmentation(flip=0.0, mask=1.0))
