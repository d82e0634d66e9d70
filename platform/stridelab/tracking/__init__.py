"""Tracking: the only room that talks to MLflow."""
