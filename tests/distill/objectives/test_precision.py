import pytest
import torch

from facedistill.distill.objectives.precision import at_least_float32


@pytest.mark.parametrize(
    ("given", "used"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_halves_are_widened_and_the_rest_stays(given, used):
    assert at_least_float32(torch.ones(2, dtype=given)).dtype == used
