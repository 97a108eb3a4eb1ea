"""What every room stands on: errors, registry, atomic files, progress, processes."""
