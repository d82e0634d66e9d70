"""A runner and a learner of the tiny experiment, without an algorithm around them."""

import pytest
from ray.rllib.core import DEFAULT_MODULE_ID

from stridelab.algorithms.ppo import build_config
from stridelab.algorithms.ppo.learner import PPOLearner
from stridelab.sampling.runner import BatchedEnvRunner


@pytest.fixture
def build_pair(tiny_experiment):
    """Build a runner and a learner that hold the same weights."""

    def build(**values):
        config = build_config(tiny_experiment(**values), seed=3, num_threads=1)
        runner = BatchedEnvRunner(config=config)
        spec = config.get_multi_rl_module_spec(
            spaces={DEFAULT_MODULE_ID: runner.get_spaces()[DEFAULT_MODULE_ID]}
        )
        learner = PPOLearner(config=config, module_spec=spec)
        learner.build()
        runner.module.set_state(learner.module[DEFAULT_MODULE_ID].get_state(inference_only=True))
        return runner, learner

    return build
