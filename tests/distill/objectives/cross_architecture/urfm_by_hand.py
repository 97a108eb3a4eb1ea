"""URFM derived once more, in plain Python, one number at a time."""

import math

import torch

from facedistill.distill.objectives.cross_architecture.pixel_features import PixelFeatures
from facedistill.distill.objectives.cross_architecture.place_features import place_features
from facedistill.distill.objectives.registry import create_objective
from facedistill.models.outputs import Outputs
from tests.distill.objectives.by_hand import dot, softmax, times
from tests.distill.objectives.contexts import context

CNN, TRANSFORMER = PixelFeatures("feature_map", 3, 3), PixelFeatures("tokens", 5, 2)
SALIENCY = torch.tensor([[0.0, 6.0], [1.0, 2.0]])
SMALL = {"centres": 4, "width": 4, "heads": 2}


def made(student=CNN, teacher=TRANSFORMER, **options):
    run = context(8, 8, pixel_features=(student, teacher), saliency=SALIENCY)
    objective = create_objective("urfm", run, **{**SMALL, **options}).double()
    for name, parameter in objective.named_parameters():
        if name.endswith(("table", "bias")):  # they start at 0
            torch.nn.init.normal_(parameter)
    return objective


def pixels(layout, images=2, prompts=0):
    """Random pixel features in a network's layout, and their rows."""
    rows = torch.randn(images, layout.side**2 + prompts, layout.channels, dtype=torch.float64)
    if layout.output == "tokens":
        return Outputs(tokens=rows), rows
    grid = rows.transpose(1, 2).unflatten(2, (layout.side, layout.side))
    return Outputs(feature_map=grid), rows


def matrix(linear):
    return linear.weight.tolist()


def plus(a, b):
    return [x + y for x, y in zip(a, b, strict=True)]


def queries_by_hand(centres, scale=None):
    found = [times(matrix(centres.query), c) for c in centres.centres.tolist()]
    if centres.table is not None:
        found = [
            plus(q, centres.table[bucket].tolist())
            for q, bucket in zip(found, centres.bucket.tolist(), strict=True)
        ]
    return found if scale is None else placed_by_hand(found, scale, 2)


def placed_by_hand(rows, scale, side):
    """Queries or keys of mean square 1, and the features of their places added to the first."""
    places, placed = place_features(side, 4).tolist(), []
    for number, row in enumerate(rows):
        size = math.sqrt(sum(x * x for x in row) / len(row))
        row = [x / size for x in row]
        if number < side * side:
            row = plus(row, [math.sqrt(scale * math.sqrt(4)) * x for x in places[number]])
        placed.append(row)
    return placed


def mixed_by_hand(weights, rows):
    return [sum(w * row[i] for w, row in zip(weights, rows, strict=True)) for i in range(4)]


def local_by_hand(local, queries, rows, scale=None, side=None, table=None):
    """h and attention of one image."""
    bias = local.project.bias.tolist()
    rows = [plus(times(matrix(local.project), row), bias) for row in rows]
    keys = [times(matrix(local.key), row) for row in rows]
    if local.bucket is not None:
        for place, bucket in enumerate(local.bucket.tolist()):  # prompts have no place
            keys[place] = plus(keys[place], table[bucket].tolist())
    values = [times(matrix(local.value), row) for row in rows]
    keys = keys if scale is None else placed_by_hand(keys, scale, side)
    weights = [softmax([dot(q, key) / math.sqrt(4) for key in keys]) for q in queries]
    return [mixed_by_hand(each, values) for each in weights], weights


def standardised_by_hand(h, normalise):
    """The centres' mean and what each adds to it, both standardised."""
    if normalise == "none":
        return h
    common = [[mixed_by_hand([0.25] * 4, image)] * 4 for image in h]
    own = [
        [[x - y for x, y in zip(*rows, strict=True)] for rows in zip(*images, strict=True)]
        for images in zip(h, common, strict=True)
    ]
    parts = (one_standardised_by_hand(part, normalise) for part in (common, own))
    return [
        [
            [(x + y) / math.sqrt(2) for x, y in zip(*rows, strict=True)]
            for rows in zip(*images, strict=True)
        ]
        for images in zip(*parts, strict=True)
    ]


def one_standardised_by_hand(h, normalise):
    """h[image][centre][channel]; mean 0 and variance 1 over images or channels."""
    h = [[list(row) for row in image] for image in h]
    places = [(n, c) for n in range(4) for c in range(4)]
    groups = {
        "images": [[(b, n, c) for b in range(len(h))] for n, c in places],
        "channels": [[(b, n, c) for c in range(4)] for b in range(len(h)) for n in range(4)],
    }[normalise]
    for group in groups:
        values = [h[b][n][c] for b, n, c in group]
        mean = sum(values) / len(values)
        variance = sum((v - mean) ** 2 for v in values) / len(values)
        for b, n, c in group:
            h[b][n][c] = (h[b][n][c] - mean) / math.sqrt(variance + 1e-5)
    return h


def attended_by_hand(attention, h):
    """z and the two heads' maps of one image."""
    all_parts = [times(matrix(attention.split), row) for row in h]
    maps, mixed = [], [[] for _ in h]
    for head in range(2):
        q, k, v = (
            [row[4 * part + 2 * head : 4 * part + 2 * head + 2] for row in all_parts]
            for part in range(3)
        )
        weights = [softmax([dot(a, b) / math.sqrt(2) for b in k]) for a in q]
        maps.append(weights)
        for place, each in enumerate(weights):
            mixed[place] += [
                sum(w * row[i] for w, row in zip(each, v, strict=True)) for i in (0, 1)
            ]
    merged = [times(matrix(attention.merge), row) for row in mixed]
    return [plus(*both) for both in zip(h, merged, strict=True)], maps


def loss_by_hand(objective, of_student, of_teacher, normalise, scale=None):
    sides = []
    for name, rows in (("student", of_student), ("teacher", of_teacher)):
        centres, local, attention = (
            getattr(objective, f"{name}_{part}") for part in ("centres", "local", "attention")
        )
        queries, side = queries_by_hand(centres, scale), getattr(objective, name).side
        h = [
            local_by_hand(local, queries, image, scale, side, centres.table)[0]
            for image in rows.tolist()
        ]
        attended = [
            attended_by_hand(attention, image) for image in standardised_by_hand(h, normalise)
        ]
        z = standardised_by_hand([z for z, _ in attended], normalise)
        sides.append((z, [maps for _, maps in attended]))
    (z_s, maps_s), (z_t, maps_t) = sides
    attn = feat = 0.0
    for b in range(len(z_s)):
        for n in range(4):
            feat += sum((z_s[b][n][c] - z_t[b][n][c]) ** 2 for c in range(4))
            for head in range(2):
                of_student, of_teacher = maps_s[b][head][n], maps_t[b][head][n]
                attn += sum((x - y) ** 2 for x, y in zip(of_student, of_teacher, strict=True))
    return attn / (len(z_s) * 2 * 4), feat / (len(z_s) * 4 * 4)
