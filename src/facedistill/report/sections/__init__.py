"""What a report shows of each evaluation, one file per kind of section."""
