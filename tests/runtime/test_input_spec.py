import pytest

from facedistill.core.errors import FacedistillError
from facedistill.runtime.input_spec import InputSpec


def test_spec_round_trip():
    spec = InputSpec(size=64, color="BGR", mean=(1, 2, 3), std=(4, 5, 6))
    assert InputSpec.from_dict(spec.to_dict()) == spec
    assert InputSpec.from_dict({}) == InputSpec()


@pytest.mark.parametrize(
    "values",
    [
        {"size": 0},
        {"size": 112.5},
        {"size": True},
        {"size": 10**9},
        {"color": "rgb"},
        {"mean": (1, 2)},
        {"mean": 127.5},
        {"mean": (1, 2, float("nan"))},
        {"std": (1, 1, 0)},
        {"std": ("a", 1, 1)},
        {"colour": "RGB"},
    ],
)
def test_wrong_specs_are_refused(values):
    with pytest.raises(FacedistillError, match="input"):
        InputSpec.from_dict(values)
