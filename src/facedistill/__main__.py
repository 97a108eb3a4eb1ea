"""`python -m facedistill` is `facedistill`."""

from facedistill.cli import main

main()
