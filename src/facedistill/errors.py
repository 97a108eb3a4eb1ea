"""The one exception for mistakes a user can mend."""


class FacedistillError(Exception):
    """A user's mistake: one line that names the thing and the remedy.

    The command line prints the message without a traceback and leaves with exit code 2.
    """
