"""Playing with a policy live: commands by hand, pushes, pauses, newer checkpoints."""
