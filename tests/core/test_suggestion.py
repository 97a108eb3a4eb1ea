import pytest
from hypothesis import given
from hypothesis import strategies as st

from facedistill.core.suggestion import did_you_mean


@pytest.mark.parametrize(
    ("word", "known", "hint"),
    [
        ("wieght", ["weight", "start", "stop"], "did you mean 'weight'?"),
        ("fdc", {"fcd", "kd"}, "did you mean 'fcd'?"),
        ("zzz", {"kd": 1, "fcd": 2}, "known: fcd, kd"),
        ("", ["b", "a"], "known: a, b"),
        ("zzz", [], "none are known here"),
        ("zzz", (name for name in ["b", "a"]), "known: a, b"),
    ],
)
def test_hint(word, known, hint):
    assert did_you_mean(word, known) == hint


@given(st.lists(st.text(min_size=1), min_size=1))
def test_a_known_word_is_its_own_nearest(known):
    assert did_you_mean(known[0], known) == f"did you mean '{known[0]}'?"
