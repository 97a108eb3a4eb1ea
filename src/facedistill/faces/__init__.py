"""One face as an array: template and alignment, augmentation, procedural faces."""
