"""What a model file states about a network besides its shape and weights."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, field_validator

from facedistill.runtime.header import check_thresholds


class ModelMetadata(BaseModel):
    """Where a network comes from and how to use it. All fields are optional.

    Attributes:
        name: What to call the network.
        thresholds: Least cosine similarity that accepts a pair, by the false accept rate it was set
            for, e.g. `{"1e-3": 0.31}`.
        teacher: Name of the teacher it was distilled from.
        teacher_licence: Licence of that teacher's weights; it may bind the student.
        training_data: The training images: their name, how many, and of how many identities.
        data_licence: Licence of the training images.
        recipe_hash: Hash of the recipe that made it.
        metrics: Figures measured on it, by name.
        notes: Free text.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str | None = None
    thresholds: dict[str, float] = Field(default_factory=dict)
    teacher: str | None = None
    teacher_licence: str | None = None
    training_data: str | None = None
    data_licence: str | None = None
    recipe_hash: str | None = None
    metrics: dict[str, float] = Field(default_factory=dict)
    notes: str | None = None

    @field_validator("thresholds")
    @classmethod
    def _are_cosines(cls, thresholds: dict[str, float]) -> dict[str, float]:
        check_thresholds(thresholds)
        return thresholds
