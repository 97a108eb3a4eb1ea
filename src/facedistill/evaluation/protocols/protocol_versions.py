"""Names and versions of the protocols, so that a report states the rules behind its figures.

A version rises when the same scores, or the same images, would give another figure.
"""

from __future__ import annotations

from typing import NamedTuple

from facedistill.faces.synthetic.procedural_face import PROCEDURAL_VERSION


class Rules(NamedTuple):
    """One protocol.

    Attributes:
        name: What it is called.
        version: Of the rules as they are implemented here.
        meaning: The rules in a sentence.
    """

    name: str
    version: int
    meaning: str


RULES = {
    rules.name: rules
    for rules in (
        Rules(
            "insightface",
            1,
            "K-fold accuracy: the first best of 400 squared distances 0, 0.01, ... 3.99 on the "
            "other folds; a pair is of one identity below it",
        ),
        Rules(
            "exact",
            1,
            "K-fold accuracy: the best of the squared distances observed in the other folds; a "
            "pair is of one identity up to it",
        ),
        Rules(
            "tar_at_far",
            1,
            "best true accept rate whose false accept rate does not exceed the target; none below "
            "one impostor pair in all",
        ),
        Rules(
            "ijb_templates",
            1,
            "a template is the sum over its media of the mean over the medium's faces, normalised "
            "once; 1:1 by tar_at_far",
        ),
        Rules(
            "ijb_identification",
            1,
            "rank-k over the mated searches of all galleries; TPIR at rank 1 above a threshold "
            "from the non-mated probes' highest scores, averaged over galleries",
        ),
        Rules(
            "all_pairs",
            2,
            "every image against every other one of the data set, or of a list's other folds, "
            "once; with masks on one, every image masked against every other one as it is; by "
            "tar_at_far",
        ),
        Rules(
            "distractors",
            1,
            "every photo searches for every other photo of its identity among distractors, as in "
            "MegaFace; ties count against the mate",
        ),
        Rules(
            "robustness",
            1,
            "the same pairs, images shrunk, masked, blurred or compressed",
        ),
        Rules(
            "fairness",
            1,
            "false match and non-match rates by group at one threshold for all; false matches "
            "within a group",
        ),
        Rules(
            "landmarks",
            1,
            "mean distance of the points from where they are, over the distance of the eyes; "
            "failures and area up to a limit",
        ),
        Rules("masks", 1, "face masks drawn on aligned crops, by seed and image"),
        Rules("procedural", PROCEDURAL_VERSION, "drawn faces"),
    )
}
"""All protocols by name."""
