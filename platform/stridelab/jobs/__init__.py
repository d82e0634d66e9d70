"""Experiments as Ray jobs: what is uploaded, how it is submitted and followed."""
