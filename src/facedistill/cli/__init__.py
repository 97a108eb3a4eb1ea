"""The command line: one file a command."""

from facedistill.cli.app import main

__all__ = ["main"]
