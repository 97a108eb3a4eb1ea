import numpy as np

from facedistill.export.int8.bias_correction import mean_shift


def test_shift_of_a_fully_connected_layer_is_that_of_its_mean_input():
    draw = np.random.default_rng(0)
    error, x = draw.normal(size=(3, 5)), draw.normal(1, 2, size=(40, 5))
    np.testing.assert_allclose(mean_shift(error, x.mean(axis=0)), (x @ error.T).mean(axis=0))


def test_shift_of_a_convolution_sums_over_its_taps():
    draw = np.random.default_rng(0)
    error, x = draw.normal(size=(3, 2, 2, 2)), draw.normal(1, 2, size=(7, 2))
    wanted = [
        sum(
            error[o, c, i, j] * x[:, c].mean() for c in range(2) for i in range(2) for j in range(2)
        )
        for o in range(3)
    ]
    np.testing.assert_allclose(mean_shift(error, x.mean(axis=0)), wanted)


def test_shift_of_a_depthwise_convolution_sees_its_own_channel():
    draw = np.random.default_rng(0)
    error, mean = draw.normal(size=(4, 1, 3, 3)), draw.normal(size=4)
    wanted = [error[c].sum() * mean[c] for c in range(4)]
    np.testing.assert_allclose(mean_shift(error, mean, depthwise=True), wanted)
