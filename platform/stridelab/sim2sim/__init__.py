"""Playing exported policies, our own and foreign ones, in plain MuJoCo at their own rates."""
