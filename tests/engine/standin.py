"""A network small enough to train in milliseconds, with batch norm and dropout only on request."""

import re
from typing import Annotated

from pydantic import Field
from torch import nn

from facedistill.models.backbones.base import Backbone, EmbeddingSize, InputSize
from facedistill.models.registry import register
from facedistill.recipe.loading import load_recipe


class Standin(Backbone):
    feature_channels = 8

    def __init__(self, embedding_size, norm, dropout):
        super().__init__()
        self.embedding_size = embedding_size
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 5, stride=4),
            nn.BatchNorm2d(8) if norm else nn.Identity(),
            nn.PReLU(8),
            nn.AdaptiveAvgPool2d(2),
            nn.Dropout(dropout),
        )
        self.head = nn.Linear(32, embedding_size)

    def forward_features(self, x):
        return self.features(x)

    def forward_head(self, features):
        return self.head(features.flatten(1))


@register
def standin(
    embedding_size: EmbeddingSize = 8,
    input_size: InputSize = 16,
    norm: bool = True,
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
) -> Standin:
    """One convolution and a linear layer."""
    return Standin(embedding_size, norm, dropout)


SETTINGS = [
    "data.train=procedural:identities=8,images=4,size=16",
    "data.validation_identities=0",
    "data.augmentation={flip: 0.5}",
    "data.workers=0",
    "student.network=standin",
    "student.embedding_size=8",
    "student.input.size=16",
    "schedule.warmup=0",
    "objectives.margin_softmax={head: arcface, scale: 8, m: 0.1}",
    "training.batch_size=8",
    "training.steps=6",
    "training.log_every=1",
    "training.device=cpu",
]


def tiny_recipe(*settings):
    teachers = filter(None, (re.match(r"(teacher|teachers\.\w+)\.", each) for each in settings))
    stated = {f"{teacher[1]}.licence=unknown" for teacher in teachers}
    return load_recipe("arcface", [*SETTINGS, *stated, *settings])
