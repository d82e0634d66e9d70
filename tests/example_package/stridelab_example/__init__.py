"""A robot, a task, a reward, a module and an algorithm for Stridelab."""
