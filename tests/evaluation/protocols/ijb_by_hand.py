"""The IJB protocols as they are described, one template, pair and probe at a time."""

import numpy as np


def unit(rows):
    return rows / np.sqrt((rows**2).sum(axis=-1, keepdims=True))


def face_features(plain, flipped, scores, norm, detector, flip):
    features = plain + flipped if flip else plain
    if not norm:
        features = unit(features)
    return features * scores[:, None] if detector else features


def pooled(features, templates, media):
    """Mean over a medium's faces, sum over media, one normalisation."""
    ids = np.unique(templates)
    rows = []
    for template in ids:
        (members,) = np.where(templates == template)
        total = np.zeros(features.shape[1])
        for medium in np.unique(media[members]):
            total += features[members[media[members] == medium]].mean(axis=0)
        rows.append(total)
    return ids, unit(np.array(rows))


def pair_scores(ids, embeddings, pairs):
    place = {int(template): row for row, template in enumerate(ids)}
    return np.array(
        [(embeddings[place[a]] * embeddings[place[b]]).sum() for a, b in pairs.tolist()]
    )


def identification(probes, probe_identities, gallery, gallery_identities, fars, ranks):
    """The 1:N protocol of ijb_evals; among equals the mate comes last."""
    similarity = probes @ gallery.T
    found = dict.fromkeys(ranks, 0)
    positive, negative, absent = [], [], []
    for scores, identity in zip(similarity, probe_identities, strict=True):
        own = gallery_identities == identity
        if not own.any():
            absent.append(scores.max())
            continue
        positive.append(scores[own][0])
        negative.append(scores[~own].max())
        for rank in ranks:
            found[rank] += (scores[~own] >= scores[own][0]).sum() < rank
    positive, negative = np.array(positive), np.array(negative)
    absent = np.sort(absent)[::-1]
    thresholds = [absent[max(int(len(absent) * far) - 1, 0)] for far in fars]
    tpirs = [((positive > negative) & (positive > t)).mean() for t in thresholds]
    return found, len(positive), thresholds, tpirs
