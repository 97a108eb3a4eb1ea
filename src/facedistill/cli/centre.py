"""`facedistill centre`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from facedistill.cli.options.arguments import Out, Overwrite
from facedistill.cli.output import echo, echo_next
from facedistill.cli.stopping import stopped_as, written_or_not
from facedistill.core.atomic import require_absent
from facedistill.core.missing_files import require_present
from facedistill.core.output_place import require_outside

EXAMPLES = ("facedistill centre runs/student faces --out centred.safetensors",)


def _standing(out: Path, **_: Any) -> Callable[[], str]:
    return written_or_not(out)


@stopped_as(_standing)
def centre(
    model: Annotated[Path, typer.Argument(help="A .safetensors model file, or a run's folder.")],
    data: Annotated[
        str,
        typer.Argument(
            help="Faces whose mean embedding is subtracted, not those of a test; a bank of this "
            "network, or a .npy of its embeddings."
        ),
    ],
    out: Out,
    workers: Annotated[int, typer.Option(min=1, help="Images read at a time.")] = 2,
    overwrite: Overwrite = False,
) -> None:
    """A model file whose embeddings are less their mean, so that strangers look less alike."""
    require_present(model, data)
    require_outside(out, data)
    require_absent(out, overwrite=overwrite)
    from facedistill.evaluation.centring import write_centred
    from facedistill.models.files.model_file import load_model

    network = load_model(model)
    found = write_centred(network, data, out, overwrite=overwrite, workers=workers)
    echo(
        f"{out}: {network.name} less its mean embedding over {found.title}, of length "
        f"{found.length:.3f} (0: directions are spread evenly); its thresholds and figures were of "
        "embeddings that are not centred, and are left out"
    )
    echo_next(("evaluate", out, "PAIRS.bin", "--save-thresholds"))
