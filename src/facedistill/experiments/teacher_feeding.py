"""Is a teacher fed as it was trained? Tried on a few faces, before the hours of embedding.

A network that is fed another colour order or scale than it learned with still tells faces apart,
only worse: nothing looks broken. A few hundred faces of labelled identities show it. Each identity
gives one mated pair, whose cosine is compared with those of its two images to all other identities;
the distance in standard deviations of the latter is the identity's *separation*. Two ways of
feeding are compared by the differences of the separations of the same identities.
"""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.data.dataset import FaceDataset
from facedistill.data.labels import UNLABELLED
from facedistill.data.views.selection import evenly_spread
from facedistill.evaluation.metrics.embedding_health import COLLAPSED, embedding_health
from facedistill.evaluation.metrics.similarity import unit_rows
from facedistill.models.face_network import FaceNetwork
from facedistill.models.inference import Network, infer
from facedistill.models.onnx_network import OnnxNetwork
from facedistill.models.outputs import embedding_of
from facedistill.runtime.input_spec import Color, InputSpec

FACES = 500
"""Looked at most, two of an identity."""
CERTAIN = 4.0
"""Standard errors by which another feeding must be better before anything is said: by chance one of
nine does so once in 3,000 times."""

_LIKELY = 2.0
"""Standard errors by which a feeding must be better to be gone on from: scales nearly alike are."""
_SHARE = 4
"""One face in so many of a small set."""
_GLANCE = 128
"""Faces by which a feeding is given up that is worse as surely."""
_FEWEST, _FEWEST_IDENTITIES = 64, 20
_SEED = 0

_Three = tuple[float, float, float]
SCALES: tuple[tuple[_Three, _Three], ...] = (
    ((127.5,) * 3, (127.5,) * 3),
    ((0.0,) * 3, (255.0,) * 3),
    ((128.0,) * 3, (128.0,) * 3),
    ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    ((0.0,) * 3, (1.0,) * 3),
)
"""Mean and std that networks are trained with, for red, green and blue: InsightFace's, 0 to 1,
FaceX-Zoo's, ImageNet's, pixels as they are."""


Tried = FaceNetwork | OnnxNetwork
"""Networks whose input can be fed otherwise for a while."""


def check_teacher(network: Network, faces: FaceDataset, *, fixed: bool) -> str | None:
    """Refuse a teacher that gives all faces one embedding; warn of one that seems fed wrongly.

    Args:
        network: The teacher, as it is about to be used.
        faces: What it is about to embed; a sample is looked at.
        fixed: Whether its file says how it is fed: other ways are then not tried.

    Returns:
        Why other ways of feeding were not tried; None where they were, or need not be.

    Raises:
        FacedistillError: If its embeddings hardly differ, or one is not finite.
    """
    mates = mated_images(faces.labels, min(FACES, max(_FEWEST, len(faces) // _SHARE)) // 2)
    mates, images = _images_of_one_size(faces, mates)
    enough = len(mates) >= _FEWEST_IDENTITIES
    if not enough:
        places = evenly_spread(len(faces), _FEWEST)
        _, images = _images_of_one_size(faces, places[:, None])
    if len(images) < 2:
        return "the teacher was not tried on a sample: hardly an image is whole and square"
    embeddings = _embedded(network, images)
    name = getattr(network, "name", "the teacher")
    if not np.isfinite(embeddings).all():
        raise FacedistillError(
            f"{name} gives an embedding that is NaN or infinite: check the teacher's weights and "
            "input normalisation"
        )
    better = None
    if enough and not fixed and isinstance(network, Tried):
        better = better_feeding(network, images, embeddings)
    remedy = f"state its input, {flags(better)}" if better else ""
    refuse_alike(
        name,
        embeddings,
        remedy or "check its weights, and --color, --mean and --std against its training",
    )
    if better:
        warnings.warn(
            f"{name} separates {len(images):,} faces of {faces.name} better when it is fed "
            f"otherwise: {remedy}",
            stacklevel=2,
        )
    if enough or fixed:
        return None
    return (
        "other ways to feed the teacher were not tried: fewer than "
        f"{_FEWEST_IDENTITIES} identities have two images"
    )


def refuse_alike(name: str, embeddings: np.ndarray, remedy: str) -> None:
    """Refuse embeddings of different faces that are nearly one.

    Raises:
        FacedistillError: If they are.
    """
    length = embedding_health(embeddings).mean_length
    if length**2 > COLLAPSED:
        raise FacedistillError(
            f"{name} gives {len(embeddings)} faces nearly one embedding (mean cosine "
            f"{length**2:.4f}): {remedy}"
        )


def mated_images(labels: np.ndarray, count: int) -> np.ndarray:
    """Draw two images each of identities that have two.

    Args:
        labels: Integers (N,); -1 for images without identity.
        count: Of how many identities at most.

    Returns:
        int64 (I, 2), indices into `labels`.
    """
    rng = np.random.default_rng(_SEED)
    order = rng.permutation(np.flatnonzero(labels != UNLABELLED))
    order = order[np.argsort(labels[order], kind="stable")]
    mates = np.flatnonzero(labels[order][:-1] == labels[order][1:])
    first = mates[np.unique(labels[order][mates], return_index=True)[1]]
    chosen = rng.permutation(first)[:count]
    return np.stack([order[chosen], order[chosen + 1]], axis=1)


def separations(embeddings: np.ndarray) -> np.ndarray:
    """Return how far each identity's mated cosine lies above the others', in deviations.

    Args:
        embeddings: (2 I, D), the two images of an identity one after the other.

    Returns:
        float64 (I,).
    """
    unit = unit_rows(embeddings, np.dtype(np.float64))
    cosines = unit @ unit.T
    identity = np.arange(len(unit)) // 2
    strangers = identity[:, None] != identity
    mated = np.diagonal(cosines, 1)[::2]
    others = cosines[strangers].reshape(len(mated), -1)
    deviation = others.std(axis=1)
    return (mated - others.mean(axis=1)) / np.maximum(deviation, np.finfo(np.float32).eps)


def better_feeding(network: Tried, images: np.ndarray, embeddings: np.ndarray) -> InputSpec | None:
    """Look for a colour order and scale that separate the same faces better.

    Args:
        network: The teacher.
        images: uint8 RGB (2 I, H, H, 3), the two images of an identity one after the other.
        embeddings: (2 I, D), of these images as it is fed now.

    Returns:
        The input that is better beyond chance; None where none is.
    """
    stated = separations(embeddings)
    best, separation = network.input, stated
    first = separations(embeddings[:_GLANCE])
    for spec in _other_inputs(network):
        try:
            with network.fed(spec):
                rows = _embedded(network, images[:_GLANCE])
                if standard_errors(separations(rows) - first) < -_LIKELY:
                    continue
                if len(images) > _GLANCE:
                    rows = np.concatenate([rows, _embedded(network, images[_GLANCE:])])
            found = separations(rows)
        except FacedistillError:
            continue  # Fed so it gives nothing that can be compared.
        if standard_errors(found - separation) > _LIKELY:
            best, separation = spec, found
    return best if standard_errors(separation - stated) > CERTAIN else None


def standard_errors(differences: np.ndarray) -> float:
    """Return how many standard errors a mean lies above 0."""
    error = differences.std(ddof=1) / np.sqrt(len(differences))
    return float(differences.mean() / error) if error else 0.0


def flags(spec: InputSpec) -> str:
    """Return the options that state an input: `--color BGR --mean 127.5 --std 127.5`."""
    scale = f" --mean {_number(spec.mean)} --std {_number(spec.std)}"
    return f"--color {spec.color}{scale}"


def _number(values: _Three) -> str:
    return ",".join(f"{value:g}" for value in (values[:1] if len(set(values)) == 1 else values))


def _other_inputs(network: Tried) -> list[InputSpec]:
    """Return the inputs that networks are trained with, in either colour order, but its own."""
    own = network.input
    bytes_alone = isinstance(network, OnnxNetwork) and network.takes_bytes
    colours: list[Color] = ["RGB", "BGR"]
    scales = [(own.mean, own.std)] if bytes_alone else SCALES
    inputs = [
        replace(own, color=color, mean=_in_order(mean, color), std=_in_order(std, color))
        for color in colours
        for mean, std in scales
    ]
    return [spec for spec in inputs if spec != own]


def _in_order(values: _Three, color: Color) -> _Three:
    """Bring values for red, green and blue into a colour order."""
    return values if color == "RGB" else values[::-1]


def _images_of_one_size(faces: FaceDataset, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Read images, and leave out groups of which one is damaged, not square or of another size.

    Whoever embeds them all names what is wrong with those.

    Returns:
        The groups that are left, int64 (G, K), and their images, uint8 RGB (G K, H, H, 3).
    """
    kept: list[np.ndarray] = []
    images: list[np.ndarray] = []
    for group in groups:
        try:
            own = [faces[int(place)].image for place in group]
        except FacedistillError:
            continue
        height, width, _ = (images or own)[0].shape
        if height == width and all(image.shape[:2] == (height, width) for image in own):
            kept.append(group)
            images += own
    if not kept:
        return groups[:0], np.empty((0, 1, 1, 3), np.uint8)
    return np.stack(kept), np.stack(images)


def _embedded(network: Network, images: np.ndarray) -> np.ndarray:
    """Return float32 (N, D), as the network gives them."""
    batches = infer(
        network,
        iter(images),
        len(images),
        {"embedding"},
        image=lambda pixels: pixels,
        description="how is the teacher fed?",
    )
    return np.concatenate([embedding_of(each.outputs).float().cpu().numpy() for each in batches])
