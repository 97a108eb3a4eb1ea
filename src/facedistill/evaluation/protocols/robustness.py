"""What do bad images cost? The same pairs again, shrunk, masked, blurred and compressed.

Every condition is one alteration of aligned crops, the same one in each run:

- `64 px`, `32 px`, `24 px`, `16 px`: shrunk by area averaging until the longer side has so many
  pixels, and enlarged bilinearly to the size it had, as crops of small faces are;
- `masked`: a face mask is drawn (see `masked`);
- `blurred`: a Gaussian whose standard deviation is 2.5 % of the longer side (2.8 of 112 pixels);
- `JPEG`: compressed at quality 10 of 100 and decoded.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, NamedTuple

import cv2
import numpy as np

from facedistill.evaluation.image_pairs import ImagePairs, pair_identities
from facedistill.evaluation.metrics.roc import FARS
from facedistill.evaluation.metrics.similarity import pair_similarities
from facedistill.evaluation.options import EvaluationOptions
from facedistill.evaluation.perturbations.altered import Alteration, AlteredPairs, Which
from facedistill.evaluation.perturbations.masked import put_on_mask
from facedistill.evaluation.protocols.base import embed_faces
from facedistill.evaluation.protocols.pair_report import PairReport
from facedistill.evaluation.protocols.pair_scores import report_scores
from facedistill.evaluation.statistics.bootstrap import PairedComparison, compare_paired
from facedistill.faces.augmentation import jpeg_compressed
from facedistill.models.inference import Network

SIDES = (64, 32, 24, 16)
"""Pixels that are left of an image's longer side."""

BLUR = 0.025
"""Standard deviation of the blur, in sides of the image."""

LOW_JPEG_QUALITY = 10


class Condition(NamedTuple):
    """One way of altering an image for the worse."""

    name: str
    meaning: str
    alter: Alteration


@dataclass(frozen=True)
class RobustnessRow:
    """What is left under one condition.

    Attributes:
        name: The condition, `as they are` for the pairs themselves.
        meaning: What was done to images, in words.
        report: The figures.
        loss: Accuracy less that on the pairs as they are, pair by pair; None for these themselves
            and without resamples.
    """

    name: str
    meaning: str
    report: PairReport
    loss: PairedComparison | None = None


@dataclass(frozen=True)
class RobustnessReport:
    """The same pairs under several conditions.

    Attributes:
        name: The set of pairs.
        which: Which images of a pair were altered: the second (`one`), or `both`.
        mask_seed: Seed of the masks.
        rows: The pairs as they are, then each condition.
        left_out: Conditions that would change nothing: sides no smaller than the images'.
    """

    name: str
    which: Which
    mask_seed: int
    rows: list[RobustnessRow]
    left_out: list[str]

    def line(self) -> str:
        """Return the figures as text, one line per condition."""
        altered = "both images" if self.which == "both" else "second image"
        lines = []
        for row in self.rows[1:]:
            loss = ""
            if row.loss is not None:
                difference = row.loss.estimate.percent(signed=True)
                loss = f", accuracy {difference} against the pairs as they are"
            figures = row.report.line().removeprefix(f"{row.report.title}: ")
            lines.append(f"{self.name}, {altered} {row.name}: {figures}{loss}")
        if self.left_out:
            lines.append(
                f"{self.name}: left out {', '.join(self.left_out)}, for the images are no larger"
            )
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain values for JSON."""
        return {
            "which": self.which,
            "mask_seed": self.mask_seed,
            "left_out": self.left_out,
            "conditions": [
                {
                    "condition": row.name,
                    "meaning": row.meaning,
                    "loss": None if row.loss is None else asdict(row.loss),
                    **row.report.to_dict(),
                }
                for row in self.rows
            ],
        }


def conditions(mask_seed: int = 0) -> list[Condition]:
    """Return all conditions.

    Args:
        mask_seed: Seed of the masks.
    """
    return [
        *(
            Condition(f"{side} px", f"shrunk to {side} pixels and enlarged again", shrink)
            for side, shrink in ((side, partial(_shrink, side)) for side in SIDES)
        ),
        Condition(
            "masked",
            f"a face mask drawn, seed {mask_seed}",
            lambda image, index: put_on_mask(image, index, mask_seed),
        ),
        Condition("blurred", f"Gaussian blur of {100 * BLUR:g} % of the side", _blur),
        Condition("JPEG", f"JPEG of quality {LOW_JPEG_QUALITY}", _compress),
    ]


def robustness(
    network: Network, pairset: ImagePairs, plain: PairReport, options: EvaluationOptions
) -> RobustnessReport:
    """Measure verification on the same pairs under every condition.

    Args:
        network: See `models.inference.embed_images`.
        pairset: The pairs; their images are aligned crops.
        plain: The report on the pairs as they are, by the same options.
        options: Which images of a pair are altered, `robustness`: the second (a bad probe against
            a good gallery image), or both (the default); the seed of the masks, and how pairs are
            measured.

    Raises:
        FacedistillError: If pairs, choice or seed are unusable.
    """
    which: Which = options.robustness or "both"
    side = max(pairset.image(int(pairset.pairs[0, 0])).shape[:2])
    untouched = np.unique(pairset.pairs[:, 0]) if which == "one" else np.empty(0, np.int64)
    known = _embed(network, pairset, untouched, f"{pairset.name} as they are", options)
    rows, left_out = [RobustnessRow("as they are", "nothing done to the images", plain)], []
    for condition in conditions(options.mask_seed):
        if condition.name in {f"{small} px" for small in SIDES if small >= side}:
            left_out.append(condition.name)
            continue
        altered = AlteredPairs(pairset, condition.alter, which)
        used, places = np.unique(altered.pairs, return_inverse=True)
        changed = _embed(
            network,
            altered,
            used[len(untouched) :],
            f"{pairset.name} {condition.name}",
            options,
        )
        assert changed is not None
        embeddings = changed if known is None else np.concatenate([known, changed])
        report = report_scores(
            pairset.name,
            pair_similarities(embeddings, places.reshape(-1, 2)),
            pairset.same,
            protocol=options.kfold,
            folds=options.folds if pairset.folds is None else pairset.folds,
            identities=pair_identities(pairset),
            fars=options.fars or FARS,
            flip=options.flip,
            resamples=options.resamples,
            seed=options.seed,
        )
        loss = _loss(report, plain, options.resamples, options.seed)
        rows.append(RobustnessRow(condition.name, condition.meaning, report, loss))
    return RobustnessReport(pairset.name, which, options.mask_seed, rows, left_out)


def _embed(
    network: Network,
    pairset: ImagePairs,
    images: np.ndarray,
    description: str,
    options: EvaluationOptions,
) -> np.ndarray | None:
    if not len(images):
        return None
    return embed_faces(
        network,
        lambda place: pairset.image(int(images[place])),
        len(images),
        options,
        description=description,
    )


def _loss(
    report: PairReport, plain: PairReport, resamples: int, seed: int
) -> PairedComparison | None:
    if not resamples:
        return None
    return compare_paired(
        report.result.correct,
        plain.result.correct,
        report.same,
        report.identities,
        resamples=resamples,
        seed=seed,
    )


def _shrink(side: int, image: np.ndarray, index: int) -> np.ndarray:
    height, width = image.shape[:2]
    scale = side / max(height, width)
    small = (max(1, round(width * scale)), max(1, round(height * scale)))
    small_image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    return cv2.resize(small_image, (width, height), interpolation=cv2.INTER_LINEAR)


def _blur(image: np.ndarray, index: int) -> np.ndarray:
    return cv2.GaussianBlur(image, (0, 0), BLUR * max(image.shape[:2]))


def _compress(image: np.ndarray, index: int) -> np.ndarray:
    return jpeg_compressed(image, LOW_JPEG_QUALITY)
