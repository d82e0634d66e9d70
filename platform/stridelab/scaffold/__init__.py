"""New packages: a robot read from a model file, or a task, each with tests of its own."""
