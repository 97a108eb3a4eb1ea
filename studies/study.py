"""What a study compares: its `study.yaml`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

FOLDER = Path(__file__).parent

CENTRED = "+centred"
"""Ends the name of an arm's embeddings less their mean, which needs no training."""


@dataclass(frozen=True)
class Study:
    """Arms, and which of them are compared by what.

    Attributes:
        name: Of its folder.
        question: In one sentence.
        arms: What is trained: rows of `comparison.yaml`, and what each is.
        primary: The measure that decides.
        measures: The measures of its table, the primary one among them.
        contrasts: One arm less another, the primary contrast first; an arm may end in `+centred`.
        validation_identities: Held out of the training faces, as in `comparison.yaml`.
        network: What the student is, in a line.
    """

    name: str
    question: str
    arms: dict[str, str]
    primary: str
    measures: tuple[str, ...]
    contrasts: tuple[tuple[str, str], ...]
    validation_identities: int
    network: str

    @classmethod
    def load(cls, name: str, folder: Path = FOLDER) -> Study:
        """Read `NAME/study.yaml`.

        Raises:
            ValueError: If a contrast names an arm that is not there, or the primary measure is not
                in the table.
        """
        values = yaml.safe_load((folder / name / "study.yaml").read_text("utf-8"))
        values["measures"] = tuple(values["measures"])
        values["contrasts"] = tuple((one, other) for one, other in values["contrasts"])
        study = cls(name=name, **values)
        for arm in sorted({arm for pair in study.contrasts for arm in pair}):
            if arm.removesuffix(CENTRED) not in study.arms:
                raise ValueError(f"{name}: contrasts name '{arm}', which is no arm")
        if study.primary not in study.measures:
            raise ValueError(f"{name}: the primary measure '{study.primary}' is not in measures")
        return study

    @property
    def result_path(self) -> Path:
        """Where its figures are."""
        return FOLDER / self.name / "result.json"

    @property
    def planned_seeds(self) -> int:
        """How many seeds the comparison is to have."""
        text = (FOLDER / self.name / "comparison.yaml").read_text("utf-8")
        return len(yaml.safe_load(text)["seeds"])


def studies() -> list[str]:
    """Return the names of all studies."""
    return sorted(path.parent.name for path in FOLDER.glob("*/study.yaml"))
