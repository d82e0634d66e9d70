"""Comparing runs of the tracking store: groups, statistics, and a page to read."""
