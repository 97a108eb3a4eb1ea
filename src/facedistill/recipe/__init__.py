"""What a run and a comparison are: typed YAML, read without torch."""
