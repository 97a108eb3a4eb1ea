import json
import math

from facedistill.core.json_text import json_text


def test_numbers_that_are_not_finite_are_null():
    value = {"a": [math.nan, (math.inf, 1.5)], "b": {"c": -math.inf}, "d": "NaN \udcff", "e": True}
    text = json_text(value)
    assert text.isascii()
    expected = {"a": [None, [None, 1.5]], "b": {"c": None}, "d": "NaN \udcff", "e": True}
    assert json.loads(text) == expected
    assert json_text([1], indent=None) == "[1]"
