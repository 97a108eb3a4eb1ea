"""How sure a figure is: bootstrap, seeds, paired differences."""
