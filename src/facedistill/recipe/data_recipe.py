"""The faces of a recipe, and what is split from them for validation."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, field_validator

from facedistill.recipe.augmentation_options import Augmentation
from facedistill.recipe.recipe_section import PathText, Section

IdentityCount = Annotated[int, Field(ge=0)]
IdentityShare = Annotated[float, Field(gt=0, lt=1)]


class DataRecipe(Section):
    """Which faces, and how they reach the networks."""

    newer = ("root",)

    train: PathText = Field(
        description="RecordIO folder or .rec, image folder, list of labels or of landmarks, folder "
        "with .pts files, or `procedural:identities=400,images=20` (loosely cut with `,loose=1`)"
    )
    root: PathText | None = Field(
        None, description="folder that the paths in a list are relative to; default: the list's own"
    )
    relabel: bool = Field(False, description="close holes in the labels")
    validation_identities: IdentityCount | IdentityShare = Field(
        0,
        description="identities split from training, on which the best weights are chosen: how "
        "many, or a share of all such as 0.1, of a small set 5 at least where half of it are so "
        "many",
    )
    validation_pairs: int = Field(3000, ge=20, description="pairs drawn among them")
    validation_images: int = Field(
        0,
        ge=0,
        description="of a landmark network: images split from training, of any identity, on "
        "which the weights of the least NME are chosen; instead of `validation_identities`",
    )
    augmentation: Augmentation = Augmentation()
    image_size: int | None = Field(
        None,
        ge=16,
        le=1024,
        description="resize crops on reading; default: as stored, of a landmark network the "
        "larger input of its own and its teachers'",
    )
    images_per_person: int | None = Field(
        None,
        ge=2,
        description="batches of whole identities with so many images each, for losses that compare "
        "identities; one with fewer repeats some, one with a single image is left out",
    )
    cache: Literal["none", "ram", "device"] = Field(
        "none",
        description="hold the decoded set in memory, or on the accelerator (flip only)",
    )
    workers: int = Field(2, ge=0, description="loader processes; the result does not depend on it")
    on_error: Literal["stop", "skip"] = Field(
        "stop",
        description="at corrupt or missing images: stop, or skip them and report",
    )
    licence: str = Field(
        min_length=1,
        description="of the training images, `unknown` if you do not know; kept in the model file"
        " and its card",
    )

    @field_validator("validation_identities", mode="wrap")
    @classmethod
    def _count_or_share(cls, value: Any, check: ValidatorFunctionWrapHandler) -> int | float:
        try:
            checked: int | float = check(value)
        except ValidationError:
            raise ValueError(
                f"{value} is neither a number of identities nor a share of them such as 0.1"
            ) from None
        return checked
