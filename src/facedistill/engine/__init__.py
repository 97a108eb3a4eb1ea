"""The loop, optimisers, schedules, checkpoints."""
