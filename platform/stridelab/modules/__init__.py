"""RLModules on RLlib's public API, and what they share."""
