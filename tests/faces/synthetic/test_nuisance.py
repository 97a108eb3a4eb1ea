import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from facedistill.faces.synthetic.nuisance import draw_nuisance
from tests.faces.synthetic.head import seeds


@settings(max_examples=25, deadline=None)
@given(seeds, st.floats(0, 1.5))
def test_circumstances_stay_in_their_ranges(seed, difficulty):
    drawn = draw_nuisance(np.random.default_rng(seed), difficulty)
    assert abs(drawn.yaw) <= 65
    assert abs(drawn.pitch) <= 30
    assert drawn.distance >= 3.0
    assert -0.6 <= drawn.smile <= 1
    for name in ("mouth_open", "brow_raise", "eye_closure", "light_strength", "saturation"):
        assert 0 <= getattr(drawn, name) <= 1, name
    assert abs(drawn.gaze_x) <= 1
    assert abs(drawn.gaze_y) <= 1
    assert drawn.blur >= 0
    assert drawn.motion >= 0
    assert drawn.noise >= 0


def test_difficulty_zero_is_frontal_clean_and_uncovered():
    for seed in range(20):
        drawn = draw_nuisance(np.random.default_rng(seed), 0.0)
        assert (drawn.yaw, drawn.pitch, drawn.roll, drawn.smile) == (0, 0, 0, 0)
        assert (drawn.blur, drawn.motion, drawn.noise, drawn.cover) == (0, 0, 0, "none")
