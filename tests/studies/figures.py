"""A study of two arms, with figures made up."""

from studies.study import Study

STUDY = Study(
    name="made_up",
    question="Does it help?",
    arms={"without": "nothing", "with_it": "the thing"},
    primary="test TAR@1e-3",
    measures=("test TAR@1e-3", "test accuracy"),
    contrasts=(("with_it", "without"), ("without+centred", "without")),
    validation_identities=2,
    network="none",
)
GAINS = (3.0, 5.0, 4.0, 4.0)


def made_up_runs():
    """Four seeds; `with_it` has a fifth that no other arm has."""
    without = {
        str(seed): {"test TAR@1e-3": 20.0 + seed, "test accuracy": 80.0} for seed in range(4)
    }
    with_it = {
        str(seed): {"test TAR@1e-3": 20.0 + seed + gain, "test accuracy": 80.0 - gain}
        for seed, gain in enumerate(GAINS)
    }
    centred = {
        seed: {name: value + 1 for name, value in figures.items()}
        for seed, figures in without.items()
    }
    return {
        "without": without,
        "without+centred": centred,
        "with_it": with_it | {"4": {"test TAR@1e-3": 99.0, "test accuracy": 99.0}},
        "with_it+centred": with_it,
    }
