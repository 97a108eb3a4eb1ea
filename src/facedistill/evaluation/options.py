"""How something is measured: all settings of an evaluation in one object."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import MISSING, dataclass, field, fields
from typing import TYPE_CHECKING, Any, get_args

from facedistill.core.errors import FacedistillError, naming
from facedistill.data.pairs.group_table import GroupTable
from facedistill.evaluation.metrics.kfold import KFoldRule, check_kfold_rule
from facedistill.evaluation.metrics.template_pooling import Variant
from facedistill.evaluation.perturbations.altered import Which
from facedistill.evaluation.perturbations.masked import Masked, check_mask, check_mask_seed

if TYPE_CHECKING:
    import torch

FLAGS = {
    "fars": "--far",
    "flip": "--flip/--no-flip",
    "resamples": "--resamples",
    "kfold": "--protocol",
    "mask": "--mask",
    "mask_seed": "--mask-seed",
    "robustness": "--robustness",
    "groups": "--groups",
    "group_far": "--group-far",
    "variants": "--variant",
    "against": "--against",
    "centre": "--centre",
    "save_thresholds": "--save-thresholds",
    "prompts": "--prompts",
    "figures": "--figures",
    "scores": "--scores",
}
"""What the command line calls the options, and what else can be asked of a protocol."""


def flag(name: str) -> str:
    """Return what messages call an option: its flag, or its key where it has none."""
    return FLAGS.get(name, name)


@dataclass(frozen=True)
class EvaluationOptions:
    """How something is measured.

    Attributes:
        fars: False accept rates at which to report; None for the protocol's own.
        flip: Whether a network's embeddings are f(x) + f(flip x); stored ones are or are not.
        resamples: Bootstrap resamples of the intervals; 0 for none. A comparison of two networks
            then takes 1,000.
        seed: Seed of the bootstrap.
        kfold: The K-fold rule whose accuracy of pairs is the headline; both are computed.
        folds: Number of contiguous folds where a set of pairs names none.
        mask: Draw a face mask on the second image of each pair (of all pairs, on the probe), or on
            both; None for none.
        mask_seed: Seed of the masks.
        robustness: Measure pairs again under each condition of `protocols.robustness`, with the
            second image altered, or both; None does not.
        groups: Groups of identities whose errors are compared, on pairs.
        group_far: False match rate over all pairs at whose threshold groups are compared.
        variants: What faces contribute to IJB templates; empty for all that is known of them.
        batch_size: Images a step.
        workers: How many images are read at a time.
        device: Where batches are put; None for where the network is.
        given: Names of the options that were set, whether or not to what they are anyway. What is
            not the default counts as set.

    Raises:
        FacedistillError: If an option is unusable; the message names its flag or key.
    """

    fars: tuple[float, ...] | None = None
    flip: bool = True
    resamples: int = 1000
    seed: int = 0
    kfold: KFoldRule = "insightface"
    folds: int = 10
    mask: Masked | None = None
    mask_seed: int = 0
    robustness: Which | None = None
    groups: GroupTable | None = None
    group_far: float = 1e-2
    variants: tuple[Variant, ...] = ()
    batch_size: int = 64
    workers: int = 2
    device: torch.device | str | None = None
    given: frozenset[str] = field(default=frozenset(), compare=False)

    def __post_init__(self) -> None:
        """Check every option, and note which were set."""
        if self.fars is not None:
            object.__setattr__(self, "fars", tuple(self.fars))
        object.__setattr__(self, "variants", tuple(self.variants))
        changed = {
            each.name
            for each in fields(self)
            if each.default is not MISSING and getattr(self, each.name) != each.default
        }
        object.__setattr__(self, "given", frozenset(self.given) | changed - {"given"})
        for far in self.fars or ():
            _check_rate("fars", far)
        _check_rate("group_far", self.group_far)
        for name, least in (("resamples", 0), ("folds", 2), ("batch_size", 1), ("workers", 0)):
            if getattr(self, name) < least:
                raise FacedistillError(f"{flag(name)} {getattr(self, name)}: take at least {least}")
        with naming(flag("kfold")):
            check_kfold_rule(self.kfold)
        with naming(flag("mask")):
            check_mask(self.mask)
        with naming(flag("mask_seed")):
            check_mask_seed(self.mask_seed)
        if self.robustness not in (None, *get_args(Which)):
            raise FacedistillError(
                f"{flag('robustness')} {self.robustness!r}: take {' or '.join(get_args(Which))}"
            )

    def check_partners(self) -> None:
        """Refuse options that were set and change nothing without another one.

        Raises:
            FacedistillError: Naming both.
        """
        if "group_far" in self.given and self.groups is None:
            raise FacedistillError(f"{flag('group_far')} compares groups: give {flag('groups')}")
        if "mask_seed" in self.given and self.mask is None and self.robustness is None:
            raise FacedistillError(
                f"{flag('mask_seed')} is of masks: give {flag('mask')} or {flag('robustness')}"
            )

    @classmethod
    def of(cls, **settings: Any) -> EvaluationOptions:
        """Return the options of which those that are not None were set.

        Args:
            settings: By name; None leaves the default.
        """
        chosen = {name: value for name, value in settings.items() if value is not None}
        return cls(**chosen, given=frozenset(chosen))

    def refused(self, takes: Iterable[str]) -> list[str]:
        """Return the flags of the options that were set and are not among `takes`."""
        known = {*takes}
        return [flag(each.name) for each in fields(self) if each.name in self.given - known]


def _check_rate(name: str, rate: float) -> None:
    if not 0 < rate <= 1:
        raise FacedistillError(f"{flag(name)} {rate:g}: a rate is above 0 and at most 1")
