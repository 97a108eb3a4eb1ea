"""What students are exported to: one package a target, its declaration in `__init__`."""
