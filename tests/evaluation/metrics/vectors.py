"""Vectors with exact cosines, and the cosines of all pairs, one at a time."""

import itertools

import numpy as np

# Unit vectors whose products are exact in floating point, so that ties are exact: four entries 1/2.
EXACT = np.array(
    [
        [0.5 * signs[places.index(i)] if i in places else 0 for i in range(5)]
        for places in itertools.combinations(range(5), 4)
        for signs in itertools.product((1, -1), repeat=4)
    ]
)


def cosines_of_all_pairs(probes, gallery, identities):
    """Each pair by itself: ordered where probes and gallery differ, else once."""
    found = []
    for i in range(len(identities)):
        for j in range(len(identities)):
            if i == j or (gallery is None and j < i):
                continue
            other = probes if gallery is None else gallery
            cosine = probes[i] @ other[j] / np.linalg.norm(probes[i]) / np.linalg.norm(other[j])
            found.append((i, j, cosine, identities[i] == identities[j]))
    return found
