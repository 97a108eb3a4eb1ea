import json
import os

import numpy as np
import pytest

from facedistill.comparison import load_comparison
from facedistill.errors import FacedistillError
from facedistill.training import comparison as comparison_module
from facedistill.training.comparison import run_comparison
from tests.training.standin import SETTINGS

PAIRS = "procedural:identities=12,images=4,size=16,first_identity=900"
SHORT = [*SETTINGS, "training.steps=2"]


def compare(folder, *rows, seeds=(0, 1), settings=(), say=lambda line: None, **options):
    comparison = load_comparison(
        rows, seeds=seeds, settings=[*SHORT, *settings], pairs=[f"drawn={PAIRS}"], **options
    )
    return run_comparison(comparison, folder, jobs=0, say=say)


def test_two_recipes_two_seeds(tmp_path):
    rows = compare(tmp_path, "plain=arcface", "other=arcface")
    print(rows)
