"""`facedistill gallery`: what is in a gallery, and what is to leave it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facedistill.cli.command import CommandGroup, command_class
from facedistill.cli.options.arguments import AsJson
from facedistill.cli.options.photos import Student, opened_student
from facedistill.cli.output import echo, echo_next, print_mapping
from facedistill.core.json_text import json_text
from facedistill.core.missing_files import require_present

EXAMPLES = (
    "facedistill gallery list people.gallery",
    "facedistill gallery remove people.gallery Anna",
    "facedistill gallery reembed people.gallery --model better.onnx",
)

GalleryFile = Annotated[Path, typer.Argument(help="The gallery, one file.")]

gallery = typer.Typer(
    cls=command_class(EXAMPLES, CommandGroup),
    help="Identities of a gallery: list, remove, embed anew for another student.",
    no_args_is_help=True,
)


@gallery.command("list", cls=command_class(EXAMPLES[:1]))
def list_identities(path: GalleryFile, as_json: AsJson = False) -> None:
    """Identities of a gallery, and the student whose embeddings it has."""
    require_present(path)
    from dataclasses import asdict

    from facedistill.runtime.gallery.gallery_file import GalleryFile as File

    with File(path) as file:
        found, settings = file.identities(), file.settings
    if as_json:
        rows = [asdict(each) for each in found]
        echo(json_text({"settings": asdict(settings), "identities": rows}))
        return
    for each in found:
        echo(f"{each.name}: {each.templates:,} templates, since {each.enrolled[:10]}")
    print_mapping(
        {
            "identities": len(found),
            "templates": sum(each.templates for each in found),
            "student": f"{settings.model_name}, {settings.dimension} dimensions",
            "stored as": settings.precision,
            "crops": "kept" if settings.crops else "not kept",
        }
    )


@gallery.command(cls=command_class(EXAMPLES[1:2]))
def remove(
    path: GalleryFile,
    names: Annotated[list[str], typer.Argument(help="Identities, as `gallery list` has them.")],
) -> None:
    """Remove identities for good: names, embeddings and crops are erased from the file."""
    require_present(path)
    from facedistill.runtime.gallery.gallery_file import GalleryFile as File

    with File(path) as file:
        file.remove(names)
        left = len(file.identities())
    echo(f"removed and erased: {', '.join(names)}; {left:,} identities are left")
    echo_next(("gallery", "list", path))


@gallery.command(cls=command_class(EXAMPLES[2:]))
def reembed(path: GalleryFile, model: Student) -> None:
    """Embed a gallery's kept crops anew, with another student."""
    require_present(path, model)
    student = opened_student(model)
    from facedistill.core.progress import track
    from facedistill.runtime.gallery.reembedding import reembed as embed_anew

    count = embed_anew(
        path,
        student,
        lambda crops, total: track(crops, "embedding crops", total=total, unit="crops"),
    )
    echo(f"{path}: {count:,} templates are those of {model} now")
    echo_next(("identify", "PHOTO.jpg", "--gallery", path, "--model", model))
