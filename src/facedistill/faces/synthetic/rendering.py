"""Painting a procedural face: pigments on the chart, light from the normals, covers, lens.

Colours are linear RGB until the lens turns them into bytes, and planar (3, H, W), which NumPy
broadcasts an order of magnitude faster than (H, W, 3).
"""

from __future__ import annotations

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.faces.synthetic.camera_lens import expose
from facedistill.faces.synthetic.chart_layers import dress, sample_layers
from facedistill.faces.synthetic.face_features import paint_features
from facedistill.faces.synthetic.face_light import light_up
from facedistill.faces.synthetic.head_geometry import (
    Features,
    skin_radius,
    surface_points,
)
from facedistill.faces.synthetic.head_sight import Camera, look
from facedistill.faces.synthetic.nuisance import Nuisance
from facedistill.faces.synthetic.pigment import blend
from facedistill.faces.synthetic.skin_and_hair import (
    hair_colour,
    paint_beard,
    paint_moles,
    paint_skin,
)
from facedistill.faces.synthetic.surroundings import background, dye_mask, lay_glasses, lay_hand
from facedistill.faces.synthetic.traits import Identity
from facedistill.runtime.alignment import ARCFACE_SIZE

MIN_SIZE, MAX_SIZE = 16, 1024


def render(
    identity: Identity, nuisance: Nuisance, size: int = ARCFACE_SIZE
) -> tuple[np.ndarray, np.ndarray]:
    """Render one photograph of one identity as a loosely aligned crop.

    Args:
        identity: The traits.
        nuisance: The circumstances of the photograph.
        size: Side of the crop in pixels, 16 to 1024.

    Returns:
        uint8 RGB (size, size, 3), and float32 (5, 2) landmarks (x, y) in its pixels: left eye,
        right eye, nose tip, left and right mouth corner as seen in the image, projected with the
        geometry that made the image, covered or not.

    Raises:
        FacedistillError: If `size` is out of range.
    """
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise FacedistillError(
            f"procedural faces of {size} pixels: give a size of {MIN_SIZE} to {MAX_SIZE}"
        )
    features = Features.of(identity, nuisance)
    skin = skin_radius(identity, nuisance, features)
    points = surface_points(skin, features.landmarks)
    camera = Camera.aligned(nuisance, points, size)
    landmarks = camera.project(points).astype(np.float32)

    radius, layers = dress(identity, nuisance, features, skin)
    sight = look(radius, camera, size)
    normal, hair, beard, cloth, hollow = sample_layers(layers, sight)

    colour = paint_skin(identity, sight, hollow)
    paint_beard(colour, identity, nuisance, sight, beard)
    paint_features(colour, identity, nuisance, features, sight, landmarks, size)
    paint_moles(colour, identity, skin, camera, sight, size)
    blend(colour, hair_colour(identity, sight), hair)
    if nuisance.cover == "mask":
        dye_mask(colour, nuisance, sight, cloth)
    gloss = (1 - hair) * (1 - cloth)
    light_up(colour, nuisance, normal, hollow, gloss)

    scene = background(nuisance, camera, identity, size)
    blend(scene, colour, sight.alpha)
    if nuisance.cover in ("glasses", "sunglasses"):
        lay_glasses(scene, nuisance, points, sight)
    if nuisance.cover == "hand":
        lay_hand(scene, identity, nuisance, landmarks, size)
    return expose(scene, nuisance, size), landmarks
