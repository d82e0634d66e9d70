"""Batched MuJoCo environments for legged robots.

This package stands alone: it needs MuJoCo, torch, gymnasium, NumPy and PyYAML, and knows nothing
of the learning platform built on top of it.
"""
