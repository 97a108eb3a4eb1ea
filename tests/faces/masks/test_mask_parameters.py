from typing import get_args

import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.faces.masks.mask_parameters import MaskParameters, MaskShape, Texture


def test_every_kind_is_drawn():
    masks = [MaskParameters.draw(np.random.default_rng(seed)) for seed in range(600)]
    assert {mask.shape for mask in masks} == set(get_args(MaskShape))
    assert {mask.texture for mask in masks} == set(get_args(Texture))
    heights = [mask.nose for mask in masks]
    assert min(heights) < 0.05
    assert max(heights) > 0.95
    assert len({mask.colour for mask in masks}) > 100


@pytest.mark.parametrize(
    "field",
    [
        {"shape": "scarf"},
        {"texture": "tartan"},
        {"nose": 1.1},
        {"nose": float("nan")},
        {"width": True},
        {"width": "wide"},
        {"tilt": 20.0},
        {"colour": (0, 0, 256)},
        {"colour": 40},
        {"accent": (0, 0)},
        {"accent": (0, 0, -1)},
        {"chin": (0.0,)},
        {"phase": -0.1},
    ],
)
def test_parameters_out_of_range_are_refused_by_name(field):
    (name,) = field
    with pytest.raises(FacedistillError, match=f"mask {name}"):
        MaskParameters(**field)
