import pytest

from facedistill.core.errors import FacedistillError
from facedistill.runtime.input_spec import InputSpec, StatedInput


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


def test_what_is_stated_replaces_that_alone():
    spec = InputSpec(size=160, color="BGR")
    assert StatedInput().over(spec) == spec
    stated = StatedInput(std=[128, 128, 128])
    assert stated.over(spec) == InputSpec(160, "BGR", std=(128, 128, 128))
    assert stated.given() == {"std": (128.0, 128.0, 128.0)}


def test_a_whole_specification_states_all_of_it():
    spec = InputSpec(size=160)
    assert StatedInput.of(spec).over(InputSpec(color="BGR")) == spec
    assert StatedInput.of(None) == StatedInput()


@pytest.mark.parametrize("values", [{"size": 0}, {"std": (0, 1, 1)}, {"color": "GBR"}])
def test_wrong_statements_are_refused(values):
    with pytest.raises(FacedistillError, match="input"):
        StatedInput(**values)
