"""Throughput benchmarks: physics, environment, and whole training iterations against others."""
