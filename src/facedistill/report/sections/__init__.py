"""What a report says of each evaluation, one file per kind of section."""
