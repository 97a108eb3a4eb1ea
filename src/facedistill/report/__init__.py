"""Tables, plots and sample sheets."""
