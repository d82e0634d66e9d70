"""Tasks: one file each, a frozen config that names robot, rates and term tables."""
