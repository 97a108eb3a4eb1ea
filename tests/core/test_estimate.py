import json

import pytest

from facedistill.core.estimate import Estimate, Interval

SHARE = Estimate(0.97352, Interval(0.968, 0.97812, "identities", 40))
GAIN = Estimate(0.0015, Interval(-0.002, 0.005, "pairs", 600))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (SHARE.percent(), "97.35 % (96.80 to 97.81)"),
        (SHARE.percent(1), "97.4 % (96.8 to 97.8)"),
        (SHARE.text(), "0.9735 (0.9680 to 0.9781)"),
        (SHARE.text(2, scale=100), "97.35 (96.80 to 97.81)"),
        (Estimate(3.2, Interval(3, 4, "turns", 9)).text(1, unit=" ms"), "3.2 ms (3.0 to 4.0)"),
        (GAIN.percent(signed=True), "+0.15 % (-0.20 to +0.50)"),
        (Estimate(0.5).percent(), "50.00 %"),
        (SHARE.interval.percent(), "96.80 to 97.81"),
    ],
)
def test_a_figure_is_written_in_one_way(text, expected):
    assert text == expected


@pytest.mark.parametrize("estimate", [SHARE, Estimate(0.25)])
def test_a_figure_survives_json(estimate):
    document = json.loads(json.dumps(estimate.to_dict()))
    assert list(document) == ["value", "interval"]
    assert Estimate.from_dict(document) == estimate
