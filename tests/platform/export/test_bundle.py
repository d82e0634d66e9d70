"""The policy bundle: what is written is what acts, and what is wrong is one line."""

import json

import pytest
import torch

from stridelab.algorithms.ppo.config import module_spec
from stridelab.export.bundle import (
    DESCRIPTION,
    WEIGHTS,
    describe_env,
    load_bundle,
    save_bundle,
)
from stridelab_envs.errors import UserError
from stridelab_envs.gym import action_space, observation_space
from stridelab_envs.registry import make_env


@pytest.fixture
def env(tiny_env):
    return tiny_env


@pytest.fixture
def module(tiny_module):
    return tiny_module


@pytest.fixture
def bundle(tiny_bundle):
    return tiny_bundle


def refusal(folder) -> str:
    with pytest.raises(UserError) as caught:
        load_bundle(folder)
    text = str(caught.value)
    assert text.isprintable(), text
    assert text.startswith(f"{folder}: ")
    return text.removeprefix(f"{folder}: ")


def changed(folder, change):
    """Change the description of the bundle in ``folder``."""
    description = json.loads((folder / DESCRIPTION).read_text())
    change(description)
    (folder / DESCRIPTION).write_text(json.dumps(description))
    return folder


def test_a_loaded_policy_acts_like_the_saved_one(bundle, module, env):
    policy = load_bundle(bundle)
    obs = env.reset()
    mean = module.act(module.normalize(obs)["policy"])[:, :17]
    assert torch.equal(policy.act(obs), mean)
    assert mean.std() > 0.01
    for name, value in module.state_dict().items():
        assert torch.equal(policy.module.state_dict()[name], value), name


def test_acting_does_not_draw(bundle, env):
    policy = load_bundle(bundle)
    obs = env.reset()
    assert torch.equal(policy.act(obs), policy.act(obs))
    assert not policy.act(obs).requires_grad


def test_means_keep_their_units(tmp_path, env, tiny_experiment):
    """Means in units of the initial deviations, which stand in the description, not the weights."""
    acts, obs = {}, env.reset()
    for scaled in (True, False):
        experiment = tiny_experiment(model__std={"initial": 0.25, "scale_mean": scaled})
        spec = module_spec(experiment.model, experiment.task_config())
        spec.observation_space, spec.action_space = observation_space(env), action_space(env)
        torch.manual_seed(0)
        saved = spec.build()
        with torch.no_grad():
            saved.actor[-1].bias.uniform_(-1.0, 1.0)
        folder = tmp_path / str(scaled)
        save_bundle(folder, saved, experiment, describe_env(env), env_steps=0, git_commit=None)
        acts[scaled] = load_bundle(folder).act(obs)
        assert acts[scaled].abs().max() > 0.1
    torch.testing.assert_close(acts[True], acts[False] / 4)


def test_description(bundle, tiny_experiment):
    policy = load_bundle(bundle)
    saved, loaded = tiny_experiment().to_dict(), policy.experiment.to_dict()
    for of_the_machine in ("resources", "tracking"):
        del saved[of_the_machine], loaded[of_the_machine]
    assert loaded == saved
    assert policy.description["env_steps"] == 1234
    assert {"python", "torch", "mujoco"} <= policy.description["versions"].keys()
    recorded = policy.description["env"]
    assert recorded["task"] == "biped_walk"
    assert recorded["control_dt"] == 0.02
    assert recorded["layouts"]["policy"]["joint_pos"] == [0, 17]
    assert len(recorded["joints"]) == len(recorded["default_pose"]) == 17
    assert set(recorded["action_scale"]) == {0.3, 0.5}


def test_only_the_two_files_remain(bundle):
    assert {path.name for path in bundle.iterdir()} == {WEIGHTS, DESCRIPTION}


def test_saving_again_replaces(bundle, module, env, tiny_experiment):
    with torch.no_grad():
        module.actor[-1].bias.fill_(2.0)
    save_bundle(
        bundle,
        module,
        tiny_experiment(),
        describe_env(env),
        env_steps=9999,
        git_commit=None,
    )
    policy = load_bundle(bundle)
    assert policy.description["env_steps"] == 9999
    assert policy.act(env.reset()).mean() > 1.0


@pytest.mark.parametrize(("start", "kept"), [("policies/a", "policies/a"), ("/home/me/a", None)])
def test_paths_of_the_training_machine_stay_there(
    start, kept, tmp_path, module, env, tiny_experiment
):
    experiment = tiny_experiment(
        train__start_from=start,
        algorithm__imitation={"teacher": start},
        resources__storage_path="/home/me/runs",
    )
    save_bundle(tmp_path, module, experiment, describe_env(env), env_steps=0, git_commit=None)
    assert "/home/me" not in (tmp_path / DESCRIPTION).read_text()
    loaded = load_bundle(tmp_path).experiment
    assert loaded.train.start_from == kept
    imitation = loaded.algorithm.imitation
    assert (imitation.teacher if imitation else None) == kept


def test_a_checkpoint_folder_holds_its_bundle(bundle):
    assert load_bundle(bundle.parent).description["env_steps"] == 1234


def test_fits_its_own_environment(bundle, env):
    load_bundle(bundle).check_fits(env)


@pytest.mark.parametrize(
    ("overrides", "difference"),
    [
        ({"action_clip": 1.0}, r"action_clip is 1\.0, but it was trained with 3\.0$"),
        ({"decimation": 5}, r"control_dt is 0\.025, but it was trained with 0\.02$"),
        ({"action_scale": 0.4}, r"action_scale is \[0\.4, .*, but it was trained with \[0\.3, "),
        ({"observations": {"policy": {"gait_clock": None}}}, r"layouts is \{"),
    ],
)
def test_another_environment_is_refused_by_the_difference(
    bundle, tiny_experiment, overrides, difference
):
    task = tiny_experiment().task_config().with_overrides(overrides)
    other = make_env(task, num_envs=1, seed=0, num_threads=1)
    with pytest.raises(
        UserError, match=rf"^the policy does not fit task biped_walk: {difference}"
    ) as caught:
        load_bundle(bundle).check_fits(other)
    assert str(caught.value).isprintable()


def test_observations_in_another_order_are_refused(bundle, env):
    """As wide as before, but other columns: the policy would act on the wrong signals."""

    def swap(description):
        layout = description["env"]["layouts"]["policy"]
        layout["base_lin_vel"], layout["base_ang_vel"] = (
            layout["base_ang_vel"],
            layout["base_lin_vel"],
        )

    with pytest.raises(UserError, match="layouts"):
        load_bundle(changed(bundle, swap)).check_fits(env)


@pytest.mark.parametrize("name", [WEIGHTS, DESCRIPTION])
def test_missing_file(bundle, name):
    (bundle / name).unlink()
    assert refusal(bundle) == f"no policy bundle here ({DESCRIPTION} and {WEIGHTS} are needed)"


def test_no_folder_and_a_file_in_its_place(tmp_path):
    assert "no policy bundle here" in refusal(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    assert "no policy bundle here" in refusal(tmp_path / "file")


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff\xfe", b'{"format": 1'])
def test_damaged_description(bundle, damage):
    (bundle / DESCRIPTION).write_bytes(damage)
    assert refusal(bundle).startswith("the policy bundle cannot be read: ")


@pytest.mark.parametrize("length", [0, 4, 100, -1])
def test_damaged_weights(bundle, length):
    data = (bundle / WEIGHTS).read_bytes()
    (bundle / WEIGHTS).write_bytes(data[:length])
    assert refusal(bundle).startswith("the policy bundle cannot be read: ")


@pytest.mark.parametrize("text", ["[]", "3", "{}", '{"format": 2}', '{"format": "1"}'])
def test_unknown_format(bundle, text):
    (bundle / DESCRIPTION).write_text(text)
    assert refusal(bundle) == "this version reads policy bundles of format 1 only"


@pytest.mark.parametrize("key", ["env", "experiment", "model_config"])
def test_missing_key(bundle, key):
    changed(bundle, lambda description: description.pop(key))
    assert refusal(bundle) == f"{DESCRIPTION} lacks the key '{key}'"


@pytest.mark.parametrize(
    "key", ["layouts", "joints", "control_dt", "default_pose", "action_scale", "action_clip"]
)
def test_missing_key_of_the_environment(bundle, key):
    """Found when loading, not in the middle of a film."""
    changed(bundle, lambda description: description["env"].pop(key))
    assert refusal(bundle) == f"{DESCRIPTION} lacks the key '{key}'"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("env", []),
        ("env", {"layouts": [], "joints": [], "action_clip": 1.0}),
        ("env", {"layouts": {"policy": {"joint_pos": 3}}, "joints": [], "action_clip": 1.0}),
        ("model_config", None),
        ("model_config", {"actor_hidden": "wide"}),
    ],
)
def test_values_of_another_kind(bundle, key, value):
    changed(bundle, lambda description: description.update({key: value}))
    assert DESCRIPTION in refusal(bundle)


def test_an_experiment_of_another_kind(bundle):
    changed(bundle, lambda description: description.update(experiment="walk"))
    assert refusal(bundle).startswith("its experiment is not valid here: ")


def test_weights_of_another_width(bundle):
    def widen(description):
        description["model_config"]["actor_hidden"] = [32]

    text = refusal(changed(bundle, widen))
    assert text.startswith(f"{WEIGHTS} does not match {DESCRIPTION}: ")
    assert "size mismatch" in text


def test_an_experiment_with_a_key_of_an_earlier_version(bundle):
    def go_back(description):
        description["experiment"]["resources"] = {"max_concurrent_trials": 3}

    assert load_bundle(changed(bundle, go_back)).experiment.resources.max_concurrent == 3


def test_an_experiment_that_is_no_longer_valid(bundle):
    def rename(description):
        description["experiment"]["task"]["id"] = "biped_wolk"

    text = refusal(changed(bundle, rename))
    assert text.startswith("its experiment is not valid here: task.id: unknown task")
    assert 'did you mean "biped_walk"?' in text
