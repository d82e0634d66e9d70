"""From an experiment to Ray Tune: trials, sweeps, resuming, progress."""
