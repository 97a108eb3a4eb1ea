"""The shipped recipe of landmark networks on a few tiny faces."""

from facedistill.recipe.loading import load_recipe

TINY = [
    "data.train=procedural:identities=10,images=3,size=16,loose=1",
    "data.validation_identities=3",
    "data.workers=0",
    "student.arguments=null",
    "student.network=standin",
    "student.embedding_size=8",
    "student.input.size=16",
    "training.batch_size=7",
    "training.log_every=1",
    "training.device=cpu",
]


def landmark_recipe(*settings):
    return load_recipe("landmarks", [*TINY, *settings])
