"""How the embeddings of a finished run lie."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from facedistill.core.progress import Say
from facedistill.data.dataset import FaceDataset
from facedistill.data.pairs.pair_set import PairSet
from facedistill.data.views.selection import evenly_spaced
from facedistill.evaluation.metrics.embedding_health import embedding_health
from facedistill.experiments.measurement import TestSet
from facedistill.models.files.model_file import load_model
from facedistill.models.files.run_weights import BEST
from facedistill.models.inference import embed_images

FACES = 2000
"""Faces looked at, at most."""


def run_health(
    folder: Path, validation: TestSet | None, faces: FaceDataset, device: torch.device, say: Say
) -> Mapping[str, Any] | None:
    """Look at the embeddings of a run's best weights, and warn of what is wrong.

    Args:
        folder: Of the run.
        validation: What was split off, whose images are looked at.
        faces: The training faces, of which some are looked at where nothing was split off.
        device: Where to embed.
        say: Takes the line of figures.

    Returns:
        JSON-ready: `faces`, which were looked at, and the figures of `EmbeddingHealth`; None of a
        landmark network, whose embeddings are compared with nothing.
    """
    network = load_model(folder / BEST)
    if network.landmark_head is not None:
        return None
    kind = "training" if validation is None else "validation"
    looked_at = validation.faces if isinstance(validation, PairSet) else faces
    images = evenly_spaced(looked_at, FACES, network.input.size, skip_damaged=True)
    rows = embed_images(
        network, images.__getitem__, len(images), device=device, description="embedding health"
    )
    health = embedding_health(rows)
    say(f"{kind} images, {health.line()}")
    for problem in health.problems():
        warnings.warn(f"{folder}: {problem}", stacklevel=2)
    return {"faces": kind, **health.to_dict()}
