"""What a model file states about a network besides its shape and weights."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, field_validator

from facedistill.runtime.header import check_thresholds


class TrainingSet(BaseModel):
    """What a file keeps of a set that its network learned from, to know it again.

    Attributes:
        name: What the set is called.
        images: How many it has.
        fingerprint: Of the whole set, `FaceDataset.fingerprint`.
        keys: The first 8 bytes of the keys of evenly spread images, in hex, one after the other.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    images: int = Field(ge=1)
    fingerprint: str
    keys: str = Field(pattern=r"^([0-9a-f]{16})+$")


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
        trained_on: Marks of these images, and of those that its first weights learned from.
        centred_on: The faces whose mean embedding is subtracted; None of embeddings as trained.
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
    trained_on: tuple[TrainingSet, ...] = ()
    centred_on: str | None = None
    recipe_hash: str | None = None
    metrics: dict[str, float] = Field(default_factory=dict)
    notes: str | None = None

    @field_validator("thresholds")
    @classmethod
    def _are_cosines(cls, thresholds: dict[str, float]) -> dict[str, float]:
        check_thresholds(thresholds)
        return thresholds
