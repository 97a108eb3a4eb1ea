"""What a run and a comparison are made of and leave behind."""
