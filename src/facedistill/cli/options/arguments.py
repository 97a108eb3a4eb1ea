"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="A.B=C", help="Change a key of the recipe.")
]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder or file to write.")]
Root = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Of a list: what its paths are relative to."),
]
Skip = Annotated[
    bool, typer.Option("--skip", help="Leave out, and name, damaged and missing images.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


class Color(StrEnum):
    """Order of a network's input channels."""

    RGB = "RGB"
    BGR = "BGR"


InputColor = Annotated[
    Color | None, typer.Option("--color", help="Of a foreign network that does not say.")
]
InputSize = Annotated[int | None, typer.Option("--size", help="Side of its input, in pixels.")]


class Channels(NamedTuple):
    """A number for each channel, in the network's own colour order."""

    first: float
    second: float
    third: float

    @classmethod
    def parse(cls, text: str | Channels) -> Channels:
        """Read one number for all channels, or three with commas between them."""
        if isinstance(text, Channels):
            return text
        try:
            numbers = [float(part) for part in text.split(",")]
        except ValueError:
            numbers = []
        if len(numbers) not in (1, 3):
            raise typer.BadParameter(f"{text!r}: give one number, or three with commas between")
        return cls(*(numbers * 3 if len(numbers) == 1 else numbers))


def _of_channels(flag: str, help: str) -> Any:
    metavar = "NUMBER[,NUMBER,NUMBER]"
    return typer.Option(flag, parser=Channels.parse, metavar=metavar, help=help)


InputMean = Annotated[
    Channels | None,
    _of_channels("--mean", "Subtracted, 0..255; one for all channels, or one for each."),
]
InputStd = Annotated[Channels | None, _of_channels("--std", "Divided by, 0..255; likewise.")]
EmbeddingOutput = Annotated[
    str | None,
    typer.Option(
        "--output", metavar="NAME", help="Of an ONNX file with several outputs: the embedding."
    ),
]
Prompts = Annotated[
    Path | None,
    typer.Option(
        help="prompts.safetensors, or the folder, of a run whose teacher this Transformer was."
    ),
]
