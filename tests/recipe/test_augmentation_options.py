import dataclasses

import pytest

from facedistill.core.errors import FacedistillError
from facedistill.recipe.augmentation_options import Augmentation


def test_flip_only_knows_every_operation():
    assert Augmentation().flip_only
    assert Augmentation.none().flip_only
    assert Augmentation(affine=0.0, rotation=10).flip_only
    for name in (
        *("shift", "scale", "rotation", "occlusion", "brightness", "contrast"),
        *("mask", "grayscale", "blur", "downscale", "jpeg"),
    ):
        assert not Augmentation(**{name: 0.3}).flip_only, name


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((f.name, -0.1) for f in dataclasses.fields(Augmentation)),
        *((f.name, float("nan")) for f in dataclasses.fields(Augmentation)),
        ("flip", 1.1),
        ("flip", "often"),
        ("flip", True),
        ("shift", 0.6),
        ("rotation", 181),
        ("blur_sigma", (2.0, 1.0)),
        ("blur_sigma", (0.0, 1.0)),
        ("blur_sigma", (1.0,)),
        ("occlusion_size", (0.1, 1.2)),
        ("downscale_factor", (0.0, 0.5)),
        ("jpeg_quality", (0, 50)),
        ("jpeg_quality", (30.5, 50)),
        ("jpeg_quality", (30, 101)),
    ],
)
def test_values_out_of_range_are_refused_by_name(field, value):
    with pytest.raises(FacedistillError, match=rf"augmentation\.{field} is"):
        Augmentation(**{field: value})
