"""Comparisons of runs that take a fraction of a second."""

import json

from facedistill.experiments.comparing import run_comparison
from facedistill.recipe.comparison import load_comparison
from tests.engine.standin import SETTINGS

PAIRS = "procedural:identities=12,images=4,size=16,first_identity=900"
SHORT = [*SETTINGS, "training.steps=3"]
STRONGER = "objectives.margin_softmax.scale=16"


def described(tmp_path, text):
    path = tmp_path / "comparison.yaml"
    shared = "".join(f"  - {json.dumps(setting)}\n" for setting in SHORT)
    path.write_text(f"settings:\n{shared}evaluation: {{drawn: '{PAIRS}'}}\n{text}")
    return load_comparison([str(path)])


def compare(tmp_path, text, say=lambda line: None):
    return run_comparison(described(tmp_path, text), tmp_path / "out", jobs=0, say=say)
