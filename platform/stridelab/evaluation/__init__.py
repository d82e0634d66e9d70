"""Judging policies: statistics over seeds, plots, videos and summaries."""
