"""A robot, a task and a reward for Stridelab."""
