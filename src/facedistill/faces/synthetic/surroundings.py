"""What stands behind a face and before it: background, shoulders, glasses, mask and hand."""

from __future__ import annotations

import cv2
import numpy as np

from facedistill.faces.synthetic.head_chart import (
    bell,
    soft_step,
)
from facedistill.faces.synthetic.head_sight import Camera, Sight
from facedistill.faces.synthetic.noise_texture import TILE, noise_tile
from facedistill.faces.synthetic.nuisance import Nuisance
from facedistill.faces.synthetic.pigment import blend, skin_colour
from facedistill.faces.synthetic.traits import Identity
from facedistill.runtime.alignment import ARCFACE_SIZE


def background(nuisance: Nuisance, camera: Camera, identity: Identity, size: int) -> np.ndarray:
    """Return the scene (3, size, size) behind the head: a wall, neck and shoulders."""
    ramp = np.linspace(0, 1, size, dtype=np.float32)
    top, bottom = (np.array(colour, dtype=np.float32)[:, None] for colour in nuisance.background)
    rows = top * (1 - ramp) + bottom * ramp
    scene = np.repeat(rows[:, :, None], size, axis=2)
    room = TILE - 64
    x, y = nuisance.texture_seed % room, (nuisance.texture_seed // room) % room
    patch = cv2.resize(
        noise_tile(1)[y : y + 48, x : x + 48], (size, size), interpolation=cv2.INTER_LINEAR
    )
    scene *= np.clip(1 + 0.4 * nuisance.clutter * patch, 0.05, 3.0)
    _torso(scene, nuisance, camera, identity, size)
    return scene


def _torso(
    scene: np.ndarray, nuisance: Nuisance, camera: Camera, identity: Identity, size: int
) -> None:
    """Draw neck and shoulders: they stay upright while the head turns."""
    pivot = camera.project(np.array([[0.0, 0.75, -0.25]]))[0]
    unit = camera.pixels_per_unit
    x = (np.arange(size, dtype=np.float32) - np.float32(pivot[0])) / unit
    y = (np.arange(size, dtype=np.float32)[:, None] - np.float32(pivot[1])) / unit
    neck = soft_step(
        0.58 * identity.jaw_width + 0.12 + 0.3 * np.maximum(y - 0.3, 0) - np.abs(x), 0.05
    )
    neck *= soft_step(y + 0.5, 0.3)
    shade = 0.35 + 0.3 * bell(x, 0.4)
    blend(scene, skin_colour(identity)[:, None, None] * shade[None, None, :], neck)
    slope = 0.55 + 0.22 * np.abs(x) + 0.25 * bell(x, 0.25)
    blend(scene, np.array(nuisance.clothes), soft_step(y - slope, 0.06))


def lay_glasses(scene: np.ndarray, nuisance: Nuisance, points: np.ndarray, sight: Sight) -> None:
    """Lay spectacles over the image: a thin sheet before the eyes, with its own parallax."""
    rng = np.random.default_rng(nuisance.cover_seed)
    width, height = rng.uniform(0.20, 0.30), rng.uniform(0.15, 0.26)
    power, thickness = rng.uniform(2.0, 5.0), rng.uniform(0.012, 0.04)
    frame = rng.uniform(0.005, 0.25, 3) * rng.choice([0.1, 1.0])
    eyes = points[:2]
    plane = float(eyes[:, 2].mean()) + 0.16
    lift = (plane - sight.start[2]) / np.where(np.abs(sight.run[2]) < 0.05, 0.05, sight.run[2])
    before = soft_step(lift - sight.lift + 0.04, 0.04)
    before = np.maximum(before, 1 - sight.alpha)
    x = np.abs(sight.start[0] + lift * sight.run[0] - float(eyes[:, 0].mean()))
    y = sight.start[1] + lift * sight.run[1] - float(eyes[:, 1].mean()) - 0.02
    centre = max(0.5 * float(eyes[1, 0] - eyes[0, 0]), width + 0.02)
    ring = np.abs((x - centre) / width) ** power + np.abs(y / height) ** power
    ring = ring ** (1 / power) - 1
    sheet = before * (sight.run[2] > 0.05)
    lens = soft_step(-ring * height, 0.02) * sheet
    if nuisance.cover == "sunglasses":
        blend(scene, frame * 0.2 + 0.01, lens * rng.uniform(0.75, 0.97))
    else:
        glare = np.clip(bell(x - y - rng.uniform(-0.2, 0.6), 0.05), 0, 1)
        blend(scene, np.full(3, 0.8), lens * (0.03 + rng.uniform(0, 0.35) * glare))
    wire = soft_step(thickness - np.abs(ring) * height, 0.025)
    bridge = soft_step(thickness - np.abs(y + 0.3 * height), 0.025) * (x < centre - width)
    arms = (
        soft_step(thickness - np.abs(y + 0.3 * height), 0.025) * (x > centre + width) * (x < 0.80)
    )
    blend(scene, frame, np.clip(wire + bridge + arms, 0, 1) * sheet)


def dye_mask(colour: np.ndarray, nuisance: Nuisance, sight: Sight, cloth: np.ndarray) -> None:
    """Colour the cloth of a face mask in place."""
    rng = np.random.default_rng((nuisance.cover_seed, 1))
    tone = [(0.25, 0.5, 0.7), (0.75, 0.75, 0.75), (0.02, 0.02, 0.025), tuple(rng.random(3))]
    dye = np.array(tone[int(rng.integers(4))], dtype=np.float32)
    pleats = 1 - 0.18 * bell(np.mod(sight.v, 0.16) - 0.08, 0.015)
    blend(colour, dye[:, None, None] * pleats, cloth)


def lay_hand(
    scene: np.ndarray, identity: Identity, nuisance: Nuisance, landmarks: np.ndarray, size: int
) -> None:
    """Lay a hand over a part of the face: rounded fingers on a palm that enters from outside."""
    rng = np.random.default_rng(nuisance.cover_seed)
    pixel = size / ARCFACE_SIZE
    target = landmarks[rng.integers(5)] + rng.normal(0, 6, 2) * pixel
    angle = rng.uniform(-0.2, np.pi + 0.2)
    along = np.array([np.cos(angle), np.sin(angle)])
    aside = np.array([-along[1], along[0]])
    radius = rng.uniform(4.5, 7.0) * pixel
    grid = np.arange(size, dtype=np.float32)
    depth = np.full((size, size), -9.0, dtype=np.float32)
    for finger in range(4):
        tip = target + aside * (finger - 1.5) * 1.8 * radius
        tip += along * radius * (0.8 * abs(finger - 1.6) + rng.normal(0, 0.3))
        x = grid[None, :] - np.float32(tip[0])
        y = grid[:, None] - np.float32(tip[1])
        run = np.maximum(x * np.float32(along[0]) + y * np.float32(along[1]), 0.0)
        distance = np.hypot(x - run * np.float32(along[0]), y - run * np.float32(along[1]))
        widened = radius * (1 + 0.012 * run / pixel)
        depth = np.maximum(depth, 1 - distance / widened)
    cover = soft_step(depth * radius, 1.2)
    lit = 0.55 + 0.55 * np.sqrt(np.clip(depth, 0.0, 1.0))
    blend(scene, skin_colour(identity)[:, None, None] * (0.95 * lit), cover)
