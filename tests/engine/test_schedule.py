import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facedistill.engine.schedule import create_schedule


@given(
    kind=st.sampled_from(["constant", "cosine", "step", "one_cycle"]),
    total=st.integers(1, 500),
    share=st.floats(0, 0.99),
    final=st.floats(0, 1),
    step=st.integers(0, 600),
)
def test_every_factor_lies_between_0_and_1(kind, total, share, final, step):
    factor = create_schedule(kind, total, warmup=round(share * total), final=final)(step)
    assert 0 <= factor <= 1


@pytest.mark.parametrize("warmup", [0, 5])
def test_cosine_is_its_closed_form(warmup):
    factor = create_schedule("cosine", 25, warmup=warmup, final=0.1)
    for step in range(warmup, 30):
        done = min((step - warmup) / (25 - warmup), 1)
        assert factor(step) == pytest.approx(0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * done)))


@pytest.mark.parametrize("kind", ["constant", "cosine", "step"])
def test_warmup_rises_by_equal_parts_and_never_stands_still_at_0(kind):
    factor = create_schedule(kind, 20, warmup=4)
    assert [factor(step) for step in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_steps_fall_at_their_milestones():
    factor = create_schedule("step", 100, milestones=(0.5, 0.75), gamma=0.1)
    assert [factor(step) for step in (0, 49)] == [1, 1]
    assert [factor(step) for step in (50, 74)] == pytest.approx([0.1, 0.1])
    assert [factor(step) for step in (75, 99)] == pytest.approx([0.01, 0.01])


def test_one_cycle_starts_at_a_25th_peaks_at_its_warmup_and_ends_at_final():
    factor = create_schedule("one_cycle", 100, peak=0.3, final=0.05)
    assert factor(0) == pytest.approx(1 / 25)
    assert factor(15) == pytest.approx((1 + 1 / 25) / 2)
    assert factor(30) == pytest.approx(1)
    assert factor(65) == pytest.approx((1 + 0.05) / 2)
    assert factor(100) == pytest.approx(0.05)
    factors = [factor(step) for step in range(101)]
    assert factors[:31] == sorted(factors[:31])
    assert factors[30:] == sorted(factors[30:], reverse=True)


def test_constant_stays():
    assert {create_schedule("constant", 10)(step) for step in range(12)} == {1.0}
