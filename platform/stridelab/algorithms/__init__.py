"""Learning algorithms: one folder each, on RLlib's ``Algorithm`` and ``Learner``."""
