"""Unified receptive fields mapping: local features of the same receptive fields for two networks.

A Transformer's tokens and a CNN's pixels see different parts of the face, and there are not as many
of them. Both are mapped to L local features by the same learned questions, so that they can be
compared one by one.
"""

from __future__ import annotations

from collections.abc import Mapping as Named
from pathlib import Path
from typing import Literal

import torch
from torch.nn import functional as F

from facedistill.core.errors import FacedistillError
from facedistill.data.batch import Batch
from facedistill.distill.objectives.base import (
    AskedNetwork,
    Figures,
    Loss,
    MapOfFace,
    MapsOverFaces,
    Objective,
)
from facedistill.distill.objectives.context import RunContext
from facedistill.distill.objectives.cross_architecture.facial_position import Position
from facedistill.distill.objectives.cross_architecture.local_features import Table
from facedistill.distill.objectives.cross_architecture.map_similarity import correlation, map_cosine
from facedistill.distill.objectives.cross_architecture.mapping import Mapping, MappingOptions
from facedistill.distill.objectives.cross_architecture.mapping_stage import MappingStage
from facedistill.distill.objectives.cross_architecture.pixel_features import PixelFeatures
from facedistill.distill.objectives.cross_architecture.standardising import (
    Normalise,
    spread,
    standardised,
)
from facedistill.distill.objectives.gathering import gathered
from facedistill.distill.objectives.precision import at_least_float32
from facedistill.distill.objectives.registry import objective
from facedistill.distill.objectives.teacher_stage import (
    StageLength,
    TeacherStage,
    frozen,
    same_weights,
)
from facedistill.distill.teachers.saliency import TOP
from facedistill.models.outputs import Outputs

Learns = Literal["student", "both", "teacher_first"]
"""Whose mapping from pixels to local features learns, and when."""


@objective("urfm")
class UnifiedReceptiveFields(Objective):
    """lambda_1 L_attn + lambda_2 L_feat, over L local features of the same receptive fields.

    h_s and h_t are the local features of student and teacher (`LocalFeatures`), asked for by the
    same centres (`LocalCentres`). One self-attention over each gives maps A (heads, L, L) and
    features z (L, d): L_attn = L mean (A_s - A_t)^2, the mean over images, heads and queries of the
    squared distance of two rows of attention; L_feat = mean (z_s - z_t)^2 over images, centres and
    channels.

    Where both sides learn, the loss is lowest where h or z no longer say anything. Against that
    both are standardised before they are compared, the mean over centres and what each centre adds
    to it apart, and `learns` says whose mapping learns:

    - `teacher_first`: the teacher's mapping learns first, from the teacher alone (`MappingStage`):
      a head has to give the teacher's embedding from what is mapped, and the cosines of what is
      mapped have to be those of the embeddings. It then stays, and so does all that both share; the
      student's mapping has to meet it. The file that it leaves beside the teacher serves all runs
      with that teacher, those faces and these options; `mapping` names one to take instead.
    - `student`: the teacher's mapping keeps the random weights that it began with, and what both
      share learns from the student's side alone. It loses nothing of what its pixels say, but what
      is compared hardly tells identities: centres that attend to everything alike differ by less
      than a hundredth, and that is what standardising then enlarges.
    - `both` learn at once.

    Gradient reaches the teacher's prompts in each. The parts `*_over_centres` and `*_over_images`
    tell how much h and z vary: near 0 they have collapsed. With `normalise: images` L_feat is about
    2 for features that have nothing to do with each other. `facedistill probe` measures how well
    what is compared tells identities.

    In the method nothing ties a centre's keys to a place on the face, so that one centre may look
    at an eye in the student and at the chin in the teacher. `places` does: fixed features of each
    pixel's place are added to both networks' keys, and those of each centre's own place on its grid
    to its query (`place_features`, one function for all grids), queries and keys being brought to
    mean square 1 before. At the start a pixel of the centre's own place scores `place_scale` more
    than one far away, and content makes a difference of about 1. Prompts have no place. The parts
    `agreement` and `correlation` tell how alike student and teacher look, with or without places.

    Source: cross-architecture distillation (Zhao et al., ACM MM 2023, arXiv 2306.14662). What the
    paper chose for L, d, heads, gamma, lambda_1, lambda_2, the buckets, D_face, what is shared, the
    normalisation, whose mapping learns and when, the shortcut past the self-attention and the scale
    of L_attn is not known here: all of that is this project's, and so are the places, fixed centres
    and the code on keys. (A public note has the encoding's table begin at random, and on the side
    of the queries. The mean over all L x L entries would make L_attn 1/L of what it is here.)

    Pixels may be a CNN's map or a Transformer's tokens, prompts among them, of any number and width
    on either side. With `normalise: images` the loss depends on the micro-batch, of all processes
    together: their local features are gathered, and each process attends to all of them.

    Args:
        context: What it may ask of the run.
        centres: L, a square number: the centres stand on a sqrt(L) x sqrt(L) grid.
        width: d, multiple of `heads`.
        heads: Of the self-attention.
        position: Facial positional encoding b_l: `none`, or by the distance from the face's middle:
            `euclid`, or with D_face `saliency` or `relative` added.
        gamma: Weight of D_face.
        buckets: Learned vectors b_l; 4 are iRPE's default.
        table: They begin as `zeros`, as in iRPE, or at `random`.
        coded_keys: Add them to the pixels' keys too, by each pixel's own distance.
        places: Add features of their places to queries and keys; d is then a multiple of 4.
        place_scale: How much they count.
        fixed_centres: The centres are features of their places on the grid and do not learn; d is
            then a multiple of 4.
        shared: One set of centres, W_q and b_l for both networks; else each has its own.
        shared_attention: One self-attention for both networks; else each has its own. With
            `teacher_first` a student's own begins as the teacher's.
        learns: Whose mapping learns: the `student`'s, `both`, or the teacher's before the student's
            (`teacher_first`).
        mapping: With `teacher_first`, a file of a mapping that has learned, to take instead.
        mapping_epochs: Over the training faces, of the stage in which the teacher's mapping learns.
        mapping_lr: Highest learning rate of that stage (AdamW, one cycle).
        mapping_batch: Its images per step; fewer where the faces are fewer.
        mapping_seed: Of its weights and order; it does not depend on the run's seed.
        mapping_relations: Weight, beside the head's, of how far the cosines of what is mapped are
            from those of the teacher's embeddings.
        normalise: Standardise h and z over `images` (each channel of each local feature over the
            batch, of two images or more), over `channels` (each local feature), or not (`none`).
            Only the first keeps features from becoming the same for all images.
        lambda_1: Weight of L_attn.
        lambda_2: Weight of L_feat.
    """

    def __init__(
        self,
        context: RunContext,
        *,
        centres: int = 49,
        width: int = 512,
        heads: int = 8,
        position: Position = "saliency",
        gamma: float = 1.0,
        buckets: int = 4,
        table: Table = "zeros",
        coded_keys: bool = False,
        places: bool = False,
        place_scale: float = 12.0,
        fixed_centres: bool = False,
        shared: bool = True,
        shared_attention: bool = True,
        learns: Learns = "student",
        mapping: str | None = None,
        mapping_epochs: float = 4.0,
        mapping_lr: float = 2e-3,
        mapping_batch: int = 128,
        mapping_seed: int = 0,
        mapping_relations: float = 1.0,
        normalise: Normalise = "images",
        lambda_1: float = 1.0,
        lambda_2: float = 1.0,
    ) -> None:
        super().__init__()
        self.options = MappingOptions(
            centres, width, heads, position, gamma, buckets, table, coded_keys, places, place_scale,
            fixed_centres, normalise,
        )  # fmt: skip
        _check(lambda_1, lambda_2, mapping_relations, mapping, learns)
        self.student, self.teacher = context.pixel_features
        self.needs = frozenset(
            {
                f"student.{self.student.output}",
                f"teacher.{self.teacher.output}",
                "run.pixel_features",
                *({"run.saliency"} if position == "saliency" else ()),
            }
        )
        self.learns, self.lambda_1, self.lambda_2 = learns, lambda_1, lambda_2
        self.saliency = context.saliency if position == "saliency" else None
        self.student_centres = self.options.new_centres(self.saliency)
        self.teacher_centres = (
            self.student_centres if shared else self.options.new_centres(self.saliency)
        )
        self.student_local = self.options.new_local(self.student, self.saliency)
        self.teacher_local = self.options.new_local(self.teacher, self.saliency)
        self.student_attention = self.options.new_attention()
        self.teacher_attention = (
            self.student_attention if shared_attention else self.options.new_attention()
        )
        self.learned = learns != "teacher_first"
        if learns == "student":
            frozen(self.teacher_local)
            for own in (self.teacher_centres, self.teacher_attention):
                if own not in (self.student_centres, self.student_attention):
                    frozen(own)
        elif learns == "teacher_first":
            for part in self.of_teacher:
                frozen(part)
        self._stage = lambda: MappingStage(
            self.options,
            self.teacher,
            context.require_teacher(),
            self.saliency,
            relations=mapping_relations,
            length=StageLength(mapping_epochs, mapping_lr, mapping_batch, mapping_seed),
            given=Path(mapping).expanduser() if mapping else None,
        )

    def teacher_stage(self) -> TeacherStage | None:
        """Return what learns from the teacher alone; None where nothing does."""
        return self._stage() if self.learns == "teacher_first" else None

    def take_stage(self, stage: TeacherStage) -> None:
        """Take the mapping that has learned for the teacher's, and for all that both share."""
        assert isinstance(stage, MappingStage)
        for own, has_learned in zip(self.of_teacher, stage.mapping, strict=True):
            same_weights(own, has_learned)
        # The student's own begin where the teacher's have ended; shared ones are the same.
        same_weights(self.student_centres, stage.centres)
        same_weights(self.student_attention, stage.attention)
        self.learned = True

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Loss:
        """Return the loss, L_attn, L_feat, and how h and z vary and where the centres look."""
        if not self.learned:
            raise FacedistillError(
                "objective 'urfm' with learns: teacher_first has no mapping of the teacher yet: "
                "train what `teacher_stage` returns and hand it to `take_stage`"
            )
        pixels_s = at_least_float32(self.student.rows(student))
        pixels_t = at_least_float32(self.teacher.rows(teacher))
        # Features may have a hundred times more in common than they differ by, and standardising
        # keeps the difference alone: in half precision that is mostly rounding.
        with torch.autocast(pixels_s.device.type, enabled=False):
            return self._compared(pixels_s, pixels_t)

    def _compared(self, pixels_s: torch.Tensor, pixels_t: torch.Tensor) -> Loss:
        over = self.options.normalise
        held = self.learns != "both"
        of_student = self.of_student(pixels_s, over, gather=self._gathered)
        target = self.of_teacher(pixels_t, over, detached=held, gather=self._gathered)
        maps_s, maps_t = of_student.maps, target.maps
        attn = maps_s.shape[-1] * F.mse_loss(maps_s, maps_t)
        feat = F.mse_loss(of_student.z, target.z)
        parts = {"attn": attn.detach(), "feat": feat.detach()}
        parts |= spread("student", of_student.h) | spread("teacher", target.h)
        parts |= spread("student_z", of_student.mixed) | spread("teacher_z", target.mixed)
        fields = _on_grid(of_student.seen, self.student), _on_grid(target.seen, self.teacher)
        parts |= {"agreement": map_cosine(*fields).mean(), "correlation": correlation(*fields)}
        return self.lambda_1 * attn + self.lambda_2 * feat, parts

    @property
    def of_student(self) -> Mapping:
        """The student's mapping."""
        return Mapping(self.student_centres, self.student_local, self.student_attention)

    @property
    def of_teacher(self) -> Mapping:
        """The teacher's mapping."""
        return Mapping(self.teacher_centres, self.teacher_local, self.teacher_attention)

    @torch.no_grad()
    def target_features(self, teacher: Outputs) -> Named[str, torch.Tensor]:
        """Return h and z of the teacher, a row per image, standardised over the images given."""
        pixels = at_least_float32(self.teacher.rows(teacher))
        with torch.autocast(pixels.device.type, enabled=False):
            mapped = self.of_teacher(pixels, self.options.normalise)
            h = standardised(mapped.h, self.options.normalise)
        return {"h": h.flatten(1), "z": mapped.z.flatten(1)}

    def looks_at(self, student: Outputs, teacher: Outputs) -> tuple[torch.Tensor, torch.Tensor]:
        """Return where the centres look: attention (B, L, side, side) in student and teacher.

        Each side is that network's own grid of pixels. What prompts get is left out, so that a map
        may sum to less than 1.
        """
        sides = (
            (self.of_student, self.student, student),
            (self.of_teacher, self.teacher, teacher),
        )
        of_student, target = (
            _on_grid(mapping.local_features(at_least_float32(pixels.rows(outputs)))[1], pixels)
            for mapping, pixels, outputs in sides
        )
        return of_student, target

    @torch.no_grad()
    def figures(self, student: AskedNetwork, teacher: AskedNetwork, faces: torch.Tensor) -> Figures:
        """Return what each centre looks at, the saliency map, and how alike both networks look."""
        looks = self.looks_at(
            student(faces, {self.student.output}), teacher(faces, {self.teacher.output})
        )
        maps = MapsOverFaces(*(each.float().cpu() for each in looks))
        drawn = {}
        if self.saliency is not None:
            caption = f"mean feature norm, scaled to 0..{TOP:g}"
            drawn["saliency"] = MapOfFace(self.saliency, TOP, caption)
        return Figures(
            maps={"receptive_fields": maps},
            face_maps=drawn,
            numbers={
                "agreement": float(map_cosine(maps.student, maps.teacher).mean()),
                "correlation": float(correlation(maps.student, maps.teacher)),
            },
        )

    def _gathered(self, h: torch.Tensor) -> torch.Tensor:
        if self.options.normalise != "images":
            return h
        (everyone,) = gathered(h)
        _check_batch(len(everyone))
        return everyone


def _on_grid(attention: torch.Tensor, pixels: PixelFeatures) -> torch.Tensor:
    return attention[..., : pixels.side**2].unflatten(2, (pixels.side, pixels.side))


def _check_batch(images: int) -> None:
    if images < 2:
        raise FacedistillError(
            "objective 'urfm' with normalise: images compares the images of a micro-batch with "
            f"each other, and there is {images}: raise training.batch_size, lower "
            "training.accumulate, or set objectives.urfm.normalise to channels"
        )


def _check(
    lambda_1: float, lambda_2: float, relations: float, mapping: str | None, learns: Learns
) -> None:
    if min(lambda_1, lambda_2) < 0 or lambda_1 == lambda_2 == 0:
        raise ValueError(
            "lambda_1 and lambda_2 must not be negative, nor both 0 (to go without it, set "
            "objectives.urfm to null)"
        )
    if relations < 0:
        raise ValueError("mapping_relations must not be negative")
    if mapping and learns != "teacher_first":
        raise ValueError(f"mapping is for learns: teacher_first, and learns is {learns}")
