"""The driver forgets running statistics of trials that have ended, and of no others."""

from types import SimpleNamespace

import pytest
from ray.tune.trainable.metadata import _TrainingRunMetadata

from stridelab.tuning.forget import ForgetAverages


def trial():
    metadata = _TrainingRunMetadata(n_steps=[5, 10])
    metadata.last_result = {"episode/return": 2.0}
    for value in (1.0, 2.0):
        metadata.update_metric("episode/return", value, step=2)
    return SimpleNamespace(run_metadata=metadata)


@pytest.mark.parametrize("ended", ["on_trial_complete", "on_trial_error"])
def test_an_ended_trial_keeps_its_last_result_alone(ended):
    gone, running = trial(), trial()
    before = gone.run_metadata.get_json_state()
    getattr(ForgetAverages(), ended)(3, [gone, running], gone)
    assert gone.run_metadata.last_result == {"episode/return": 2.0}
    assert len(gone.run_metadata.get_json_state()) < len(before)
    assert "last-5-avg" not in gone.run_metadata.get_json_state()
    assert running.run_metadata.metric_analysis["episode/return"]["max"] == 2.0


def test_a_trial_that_goes_on_all_the_same_begins_anew():
    again = trial()
    ForgetAverages().on_trial_complete(3, [again], again)
    again.run_metadata.update_metric("episode/return", 0.5)
    assert again.run_metadata.metric_analysis["episode/return"]["max"] == 0.5
