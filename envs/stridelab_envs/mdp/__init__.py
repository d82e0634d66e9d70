"""Terms of a task (observations, rewards, terminations, ...) and the state they read."""
