import warnings
from collections import Counter

import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.data.loading.identity_order import IdentityOrder

LABELS = np.repeat(np.arange(7), [5, 4, 3, 2, 6, 4, 9])[np.random.default_rng(1).permutation(33)]


def made(labels=LABELS, batch_size=12, images=4, seed=3, **options):
    return IdentityOrder(
        labels=labels,
        samples=len(labels),
        batch_size=batch_size,
        images=images,
        seed=seed,
        **options,
    )


def test_a_batch_is_p_identities_with_k_images_each():
    order = made()
    assert order.identities == 3
    assert order.steps_per_epoch == 33 // 12
    for batch in order.places(0, 20):
        identities = Counter(int(LABELS[index]) for _, index in batch)
        assert sorted(identities.values()) == [4, 4, 4]
        for identity in identities:
            shown = [index for _, index in batch if LABELS[index] == identity]
            # All different where the identity has as many.
            assert len(set(shown)) == min(4, int((identity == LABELS).sum()))


def test_a_pass_takes_an_identity_once_and_all_images_come_in_the_end():
    order = made()
    batches = list(order.places(0, 200))
    for first in range(0, 200, 2):  # 7 identities, 3 at a time: 2 batches a pass
        seen = [int(LABELS[i]) for batch in batches[first : first + 2] for _, i in batch[::4]]
        assert len(seen) == len(set(seen)) == 6
        assert {epoch for batch in batches[first : first + 2] for epoch, _ in batch} == {first // 2}
    assert {index for batch in batches for _, index in batch} == set(range(33))
    left_out = [
        set(range(7)) - {int(LABELS[i]) for b in batches[f : f + 2] for _, i in b}
        for f in range(0, 200, 2)
    ]
    assert len({min(identities) for identities in left_out}) == 7


def test_the_order_is_a_function_of_the_step_and_the_seed():
    whole = list(made().places(0, 12))
    assert list(made().places(5, 12)) == whole[5:]
    assert list(made(seed=4).places(0, 12)) != whole


def test_processes_share_the_batch_in_whole_identities():
    whole = list(made(batch_size=16).places(0, 6))
    shares = [list(made(batch_size=16, rank=rank, world=2).places(0, 6)) for rank in (0, 1)]
    assert [a + b for a, b in zip(*shares, strict=True)] == whole
    for share in shares:
        assert all(len({LABELS[i] for _, i in batch}) == 2 for batch in share)


def test_identities_with_one_image_are_left_out_and_counted():
    labels = np.append(LABELS, [7, 8])
    with pytest.warns(UserWarning, match="2 of 9 identities have one image only"):
        order = made(labels)
    assert not {33, 34} & {index for batch in order.places(0, 50) for _, index in batch}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"batch_size": 10}, r"choose a multiple of 4, 8 or more"),
        ({"batch_size": 4}, r"two identities or more"),
        (
            {"batch_size": 8, "world": 2},
            r"in 2 micro-batches of whole identities: choose .* 8, 16 or",
        ),
        ({"batch_size": 16, "accumulate": 3}, r"choose a multiple of 12, 24 or more"),
        (
            {"batch_size": 32},
            r"takes 8 identities with 4 images each, and 7 have two",
        ),
        ({"batch_size": 36}, "larger than the training set"),
        ({"labels": np.full(20, -1)}, "needs labels"),
    ],
)
def test_what_cannot_be_is_refused(options, reason):
    with pytest.raises(FacedistillError, match=reason):
        made(**options)
