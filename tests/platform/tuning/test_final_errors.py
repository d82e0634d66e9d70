"""Errors after which a trial does not start again."""

import pickle

import pytest
from ray.exceptions import ActorDiedError, RayTaskError
from ray.tune.experiment import Trial

from stridelab.sampling.remote import RunnerError
from stridelab.tuning.final_errors import final_errors, is_final
from stridelab_envs.errors import ConfigError, UserError

pytestmark = pytest.mark.faults

MISTAKE = ConfigError("task.rewards.upright", "must be a number")


def raised(cause):
    """What Ray makes of an exception in a remote call, after its way to the driver."""
    return _task_error(cause).as_instanceof_cause()


def raised_in_setup(cause):
    """What Ray makes of one in an actor's constructor."""
    return ActorDiedError(_task_error(cause))


def _task_error(cause):
    return RayTaskError("train", "Traceback ...", pickle.loads(pickle.dumps(cause)))


@pytest.mark.parametrize("cause", [MISTAKE, UserError("no such robot"), RunnerError("runner 1")])
def test_mistakes_are_final_in_a_call_and_in_the_making(cause):
    assert is_final(raised(cause))
    assert is_final(raised_in_setup(cause))


@pytest.mark.parametrize("cause", [ValueError("nan"), RuntimeError("out of memory")])
def test_other_errors_are_not(cause):
    assert not is_final(raised(cause))
    assert not is_final(raised_in_setup(cause))
    assert not is_final(ActorDiedError())
    assert not is_final(None)


def test_a_mistake_keeps_its_path_on_its_way():
    arrived = pickle.loads(pickle.dumps(MISTAKE))
    assert (arrived.path, arrived.message, str(arrived)) == (
        "task.rewards.upright",
        "must be a number",
        "task.rewards.upright: must be a number",
    )


@pytest.mark.parametrize(("cause", "recovers"), [(MISTAKE, False), (ValueError("nan"), True)])
def test_tune_does_not_try_again(cause, recovers, monkeypatch):
    monkeypatch.setattr(Trial, "local_path", None)  # it has no folder to write to
    trial = Trial("none", stub=True, max_failures=3)
    original = Trial.handle_error
    with final_errors():
        trial.handle_error(raised(cause))
    assert trial.should_recover() is recovers
    assert Trial.handle_error is original
