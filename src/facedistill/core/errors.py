"""The ways a command ends early: a mistake the user can mend, or a wish to stop."""

from collections.abc import Iterator
from contextlib import contextmanager


class FacedistillError(Exception):
    """A user's mistake: one line that names the thing and the remedy.

    The command line prints the message without a traceback and leaves with `exit_code`. Names that
    come out of files may hold anything: what does not print is escaped, so that a message stays one
    line and says nothing to the terminal.
    """

    exit_code = 2

    def __init__(self, message: str) -> None:
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in message))


@contextmanager
def naming(what: str) -> Iterator[None]:
    """Prefix errors with what they concern, such as a recipe's key or a row."""
    try:
        yield
    except FacedistillError as error:
        raise FacedistillError(f"{what}: {error}") from error


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the error's type where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


class Interrupted(Exception):
    """A run was asked to stop (SIGTERM, Ctrl-C) and has saved a checkpoint.

    The command line leaves with `exit_code`, which means: run the same command again to go on.
    """

    exit_code = 75
