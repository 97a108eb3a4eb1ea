import dataclasses

import pytest

from facedistill.core.errors import FacedistillError
from facedistill.evaluation.options import EvaluationOptions


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fars": (0.1, 0.0)}, "--far 0: a rate is above 0"),
        ({"fars": (2.0,)}, "--far 2: a rate is above 0 and at most 1"),
        ({"group_far": 0.0}, "--group-far 0: a rate"),
        ({"resamples": -1}, "--resamples -1: take at least 0"),
        ({"batch_size": 0}, "batch_size 0: take at least 1"),
        ({"workers": -1}, "workers -1: take at least 0"),
        ({"folds": 1}, "folds 1: take at least 2"),
        ({"kfold": "lfw"}, "--protocol: unknown protocol 'lfw': take insightface or exact"),
        ({"mask": "two"}, "--mask: mask 'two' of pairs: take one or both"),
        ({"mask_seed": -1}, "--mask-seed: seed -1 of masks: give 0 or more"),
        ({"robustness": "all"}, "--robustness 'all': take one or both"),
    ],
)
def test_a_useless_option_is_refused_by_its_flag_or_key(settings, message):
    with pytest.raises(FacedistillError, match=message):
        EvaluationOptions(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"group_far": 0.01}, "--group-far compares groups: give --groups"),
        ({"mask_seed": 0}, "--mask-seed is of masks: give --mask or --robustness"),
    ],
)
def test_an_option_that_changes_nothing_without_another_is_refused(settings, message):
    with pytest.raises(FacedistillError, match=message):
        EvaluationOptions.of(**settings).check_partners()


def test_with_the_other_it_is_taken():
    EvaluationOptions.of(mask_seed=3, mask="one").check_partners()
    EvaluationOptions.of(mask_seed=3, robustness="one").check_partners()
    EvaluationOptions.of(resamples=0).check_partners()


def test_what_was_set_is_known_though_it_be_the_default():
    assert EvaluationOptions().given == frozenset()
    assert EvaluationOptions(flip=False, fars=[0.1]).given == {"flip", "fars"}
    set_to_the_default = EvaluationOptions.of(kfold="insightface", flip=None)
    assert set_to_the_default.given == {"kfold"}
    assert set_to_the_default == EvaluationOptions()
    assert set_to_the_default.refused({"flip"}) == ["--protocol"]
    assert set_to_the_default.refused({"kfold"}) == []


def test_options_stay_as_they_are():
    options = EvaluationOptions(fars=[0.1, 0.01])
    assert options.fars == (0.1, 0.01)
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.flip = False
    assert dataclasses.replace(options, resamples=5).given == {"fars", "resamples"}
