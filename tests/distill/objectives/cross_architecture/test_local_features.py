import pytest
import torch

from facedistill.distill.objectives.cross_architecture.facial_position import (
    bucket_index,
    facial_distance,
)
from tests.distill.objectives.cross_architecture.urfm_by_hand import SALIENCY, made


@pytest.mark.parametrize("position", ["none", "euclid", "saliency", "relative"])
def test_each_encoding_puts_the_centres_into_its_own_buckets(position):
    objective = made(position=position, centres=9, gamma=2.0, buckets=6, width=4)
    centres = objective.student_centres
    if position == "none":
        assert centres.table is None
        wanted = centres.query(centres.centres)
    else:
        distance = facial_distance(3, position, 2.0, SALIENCY)
        assert torch.equal(centres.bucket, bucket_index(distance, 6))
        assert centres.table.shape == (6, 4)
        assert len(set(centres.bucket.tolist())) > 1
        wanted = centres.query(centres.centres) + centres.table[bucket_index(distance, 6)]
    torch.testing.assert_close(centres(), wanted)


def test_a_checkpoint_keeps_the_buckets():
    objective, other = made(position="saliency"), made(position="euclid")
    assert not torch.equal(objective.student_centres.bucket, other.student_centres.bucket)
    other.load_state_dict(objective.state_dict())
    assert torch.equal(objective.student_centres.bucket, other.student_centres.bucket)
