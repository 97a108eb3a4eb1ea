import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facedistill.export.int8.quantisation import Quantisation, quantise_weight


def stored(quantisation: Quantisation, x: float) -> float:
    level = round(x / quantisation.scale) + quantisation.zero_point
    return (min(max(level, 0), 255) - quantisation.zero_point) * quantisation.scale


@given(st.floats(-100, 0), st.floats(0, 100), st.floats(0, 1))
def test_within_its_range_a_value_is_off_by_one_level_at_most(low, high, part):
    quantisation = Quantisation.of_range(low, high)
    value = low + part * (high - low)
    assert abs(stored(quantisation, value) - value) <= quantisation.scale * 1.001
    assert 0 <= quantisation.zero_point <= 255
    assert stored(quantisation, 0.0) == 0


@pytest.mark.parametrize("values", [[1.0, 3.0], [-3.0, -1.0], [0.0, 0.0]])
def test_zero_is_always_a_level(values):
    quantisation = Quantisation.of_samples(np.array([values], np.float32))
    assert stored(quantisation, 0.0) == 0
    assert max(abs(stored(quantisation, value) - value) for value in values) < 0.02


def test_a_far_outlier_does_not_coarsen_everything_else():
    values = np.append(np.random.default_rng(0).normal(size=200_000), 12.0)
    whole = Quantisation.of_range(values.min(), values.max())
    chosen = Quantisation.of_samples(values[None])
    assert chosen.scale < 0.9 * whole.scale
    assert chosen.error(values[None]) < whole.error(values[None])


def test_an_image_of_many_times_the_usual_values_leaves_the_levels_to_the_others():
    samples = np.random.default_rng(0).normal(size=(400, 100))
    samples[7] *= 20
    assert np.square(samples[7]).mean() > 0.4 * np.square(samples).sum(axis=0).mean()
    whole = Quantisation.of_range(samples.min(), samples.max())
    assert Quantisation.of_samples(samples).scale < 0.4 * whole.scale


def test_error_is_what_each_face_loses_of_its_own():
    samples = np.array([[-1.0, 0.03, 0.4, 5.0], [0.2, 0.31, 0.05, 0.0]])
    quantisation = Quantisation(0.1, 5)
    shares = [
        sum((stored(quantisation, value) - value) ** 2 for value in face) / sum(face**2)
        for face in samples
    ]
    assert quantisation.error(samples) == pytest.approx(np.mean(shares))


def test_weights_are_quantised_by_output_channel():
    draw = np.random.default_rng(0)
    weight = draw.normal(size=(3, 4, 2, 2)) * np.array([1, 10, 0.1]).reshape(-1, 1, 1, 1)
    bias = draw.normal(size=3)
    levels, scale, whole = quantise_weight(weight, bias, 0.02)
    assert (levels.dtype, scale.dtype, whole.dtype) == (np.int8, np.float32, np.int32)
    for channel in range(3):
        assert scale[channel] == pytest.approx(np.abs(weight[channel]).max() / 127)
        lost = levels[channel] * scale[channel] - weight[channel]
        assert np.abs(lost).max() <= scale[channel] * 0.501
        assert whole[channel] * scale[channel] * 0.02 == pytest.approx(bias[channel], rel=1e-3)


def test_multiples_of_a_channel_have_the_same_levels():
    weight, bias = np.random.default_rng(0).normal(size=(1, 8, 1, 1)), np.zeros(1)
    levels = quantise_weight(weight, bias, 0.1)[0]
    np.testing.assert_array_equal(quantise_weight(0.3 * weight, bias, 0.1)[0], levels)
    np.testing.assert_array_equal(quantise_weight(-weight, bias, 0.1)[0], -levels)


@pytest.mark.parametrize("largest", [0.0, 1e-30])
def test_a_dead_channel_keeps_its_bias(largest):
    _, scale, whole = quantise_weight(np.full((1, 4), largest), np.array([-3.0]), 1e-3)
    assert whole[0] * float(scale[0]) * 1e-3 == pytest.approx(-3.0, rel=1e-5)
