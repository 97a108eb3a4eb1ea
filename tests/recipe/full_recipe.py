"""A recipe that gives most keys, and the keys of any recipe."""

import pytest

from facedistill.core.errors import FacedistillError
from facedistill.recipe.loading import load_recipe

FULL = """
name: everything
seed: 3
data:
  train: faces
  licence: own
  augmentation: {flip: 0.5, rotation: 10, jpeg_quality: [30, 90]}
  image_size: 64
teacher: {bank: bank, input: {size: 112, color: BGR}, view: clean, licence: MIT}
teachers: {classes: {model: b.onnx, licence: MIT, input: {size: 96}}}
student: {network: mobilefacenet, arguments: {width: 0.5}, input: {size: 64}}
objectives:
  fcd: {weight: 2, stop: 0.5, schedule: linear}
  margin_softmax: {head: arcface, m: 5e-1, schedule: cosine}
optimizer: {name: sgd, lr: 3e-3, nesterov: true}
schedule: {name: cosine, warmup: 0.1}
training: {steps: 10, ema: 0.99}
evaluation: {lfw: lfw.bin}
"""


def refused(source, *overrides):
    """Return the one line with which a recipe is refused."""
    with pytest.raises(FacedistillError) as caught:
        load_recipe(source, overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(str(source), "SOURCE")


def leaves(tree, place=()):
    """Yield the place of every key and its value."""
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*place, key))
        else:
            yield (*place, key), value
