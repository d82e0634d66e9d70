"""From a policy and batched environments to rollouts with advantages."""
