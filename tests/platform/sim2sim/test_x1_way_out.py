"""The X1's way out: module `estimator`, exported files, the layout that ships."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from stridelab.algorithms.ppo.config import module_spec
from stridelab.cli.main import main
from stridelab.experiment import load_experiment
from stridelab.export.bundle import Policy, describe_env, load_bundle, save_bundle
from stridelab.export.inference import load_exported
from stridelab.export.writer import export_policy
from stridelab.sim2sim.plant import load_plant
from stridelab.sim2sim.playback import Playback
from stridelab_envs.errors import UserError
from stridelab_envs.gym import action_space, observation_space
from stridelab_envs.registry import make_env
from stridelab_envs.robots import get_robot

EXPERIMENTS = Path(__file__).resolve().parents[3] / "experiments"
MJCF = get_robot("x1").mjcf


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A policy of the committed experiment that has learned nothing."""
    experiment = load_experiment(EXPERIMENTS / "train" / "x1_walk.yaml")
    env = make_env(experiment.task_config(), num_envs=1, seed=0, num_threads=1)
    spec = module_spec(experiment.model, experiment.task_config())
    spec.observation_space, spec.action_space = observation_space(env), action_space(env)
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("x1") / "policy"
    save_bundle(folder, spec.build(), experiment, describe_env(env), env_steps=0, git_commit=None)
    return folder


@pytest.fixture(scope="module")
def policy(bundle) -> Policy:
    return load_bundle(bundle)


@pytest.fixture(scope="module")
def walker(policy, tmp_path_factory):
    path = tmp_path_factory.mktemp("x1") / "x1.pt"
    export_policy(policy, path, format="torchscript", batch="free")
    return path


@pytest.fixture(scope="module")
def onnx_files(policy, tmp_path_factory):
    """ONNX files by batch, and how far they are from the policy."""
    folder = tmp_path_factory.mktemp("x1_onnx")
    paths = {batch: folder / f"{batch}.onnx" for batch in ("fixed", "free")}
    return {
        batch: (path, export_policy(policy, path, format="onnx", batch=batch))
        for batch, path in paths.items()
    }


@pytest.fixture
def x1(shipped_layouts):
    return lambda *overrides: load_plant(MJCF, shipped_layouts / "x1.yaml", overrides)


class TestExport:
    @pytest.mark.parametrize("batch", ["fixed", "free"])
    def test_onnx(self, policy, onnx_files, batch):
        path, difference = onnx_files[batch]
        assert difference <= 1e-5
        exported = load_exported(path)
        assert exported.input_size == 3102
        rows = np.random.default_rng(0).normal(size=(3, 3102)).astype(np.float32)
        expected = policy.act({"policy": torch.from_numpy(rows)}).numpy()
        assert np.abs(expected).max() > 0.01
        np.testing.assert_allclose(exported(rows[:1]), expected[:1], atol=1e-5)
        if batch == "free":
            np.testing.assert_allclose(exported(rows), expected, atol=1e-5)
        weights = [
            np.prod(item.dims, dtype=int)
            for item in onnx.load(path).graph.initializer
            if item.data_type == onnx.TensorProto.FLOAT
        ]
        # Estimator, history encoder and actor; neither critic nor spread.
        assert sum(size for size in weights if size > 1) == 101_763 + 35_440 + 320_908

    @pytest.mark.parametrize("batch", ["fixed", "free"])
    def test_torchscript(self, policy, tmp_path, batch):
        path = tmp_path / "x1.pt"
        assert export_policy(policy, path, format="torchscript", batch=batch) <= 1e-5
        assert load_exported(path)(np.zeros((1, 3102), np.float32)).shape == (1, 12)

    def test_metadata(self, walker):
        data = load_exported(walker).metadata
        assert data["task"] == "x1_walk"
        assert data["control_dt"] == 0.01
        assert data["history"] == {"length": 66, "order": "oldest_first"}
        assert data["observation"][-1]["stop"] == 47
        assert data["kp"][:6] == [30.0, 40.0, 35.0, 100.0, 35.0, 35.0]
        assert data["kd"][:6] == [3.0, 3.0, 4.0, 10.0, 0.5, 0.5]
        assert data["torque_limit"][:6] == [127.5, 127.5, 42.5, 127.5, 68.0, 68.0]
        assert data["commands"]["velocity"]["ranges"]["lin_vel_x"] == [-0.4, 1.2]


class TestLayout:
    def test_fits(self, walker, x1):
        plant = x1()
        playback = Playback(load_exported(walker), plant, [0.0, 0.0, 0.0])
        assert plant.observation.size == 3102
        assert playback.run(0.05).falls == 0

    def test_gains_are_those_of_the_policy(self, walker, x1):
        data, drive = load_exported(walker).metadata, x1()._drive
        assert drive._kp.tolist() == data["kp"]
        assert drive._kd.tolist() == data["kd"]
        assert drive._limit.tolist() == data["torque_limit"]

    @pytest.mark.parametrize(
        ("override", "message"),
        [
            ("history.order=newest_first", "history.order is newest_first, but .* oldest_first"),
            ("history.length=65", "history.length is 65, but it was trained with 66"),
            ("timestep=0.002", r"control period is 0.02 s, but it was trained with 0.01 s"),
            ("gait_clock.period=0.8", r"gait_clock.period is 0.8 s, but .* with 0.7 s"),
            ("observation.terms.gait_phase.signal=gait_clock", "term 1 is gait_clock, but"),
            ("observation.terms.lin_vel_command.scale=1.0", "scale of lin_vel_command is 1, but"),
        ],
    )
    def test_what_does_not_fit(self, walker, x1, override, message):
        with pytest.raises(UserError, match=f"the layout does not fit the policy: {message}"):
            Playback(load_exported(walker), x1(override))

    def test_a_policy_of_another_width(self, onnx_files, x1, tmp_path):
        """Without our metadata the widths alone tell."""
        graph = onnx.load(onnx_files["fixed"][0])
        del graph.metadata_props[:]
        onnx.save(graph, tmp_path / "foreign.onnx")
        with pytest.raises(UserError, match="takes 3102 inputs, the layout gives 47 x 65 = 3055"):
            Playback(load_exported(tmp_path / "foreign.onnx"), x1("history.length=65"))

    def test_weaker_ankles_and_damped_joints(self, x1):
        plant = x1("drive.torque_limit.*ankle*=18", "dynamics.damping=1.0")
        limits = dict(zip(plant.joints, plant._drive._limit, strict=True))
        assert {limits[f"{s}_ankle_{a}"] for s in ("left", "right") for a in ("pitch", "roll")} == {
            18.0
        }
        assert limits["left_knee_pitch"] == 127.5
        assert plant.model.dof_damping[6:].tolist() == [1.0] * 12


def test_observes_as_in_training(policy, walker, x1):
    """Stacks of 66 frames, step by step, with the position actuators that training steps."""
    task = policy.experiment.task_config()
    quiet = {
        "randomization": dict.fromkeys(task.randomization),
        "observations": {"policy": {name: {"noise": 0.0} for name in task.observations["policy"]}},
        "commands": {
            "velocity": {
                "ranges": {
                    "lin_vel_x": [0.5, 0.5],
                    "lin_vel_y": [0.1, 0.1],
                    "ang_vel_z": [0.2, 0.2],
                }
            }
        },
    }
    for seed in range(20):
        env = make_env(task.with_overrides(quiet), num_envs=1, seed=seed, num_threads=1)
        obs = env.reset()["policy"]
        if obs[0, 1] > 0.99:  # the clock starts at one of two phases, by chance
            break
    plant = x1("drive={kind: position}", "timestep=0.005", "decimation=2")
    exported, seen = load_exported(walker), []
    playback = Playback(exported, plant, [0.5, 0.1, 0.2])
    playback.policy = lambda observation: seen.append(observation) or exported(observation)
    for step in range(12):
        playback.step()
        np.testing.assert_allclose(seen[-1], obs.numpy(), atol=1e-3, err_msg=f"step {step}")
        obs = env.step(policy.act({"policy": obs})).obs["policy"]
    assert np.abs(seen[-1][0, -47:] - seen[-1][0, :47]).max() > 0.1


def test_both_commands(bundle, tmp_path, monkeypatch, capsys):
    """As a user types them."""
    monkeypatch.chdir(tmp_path)

    def stridelab(*arguments):
        monkeypatch.setattr("sys.argv", ["stridelab", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0, capsys.readouterr().err
        return capsys.readouterr().out

    assert "x1_walk.pt: largest difference" in stridelab("export", bundle, "--format=torchscript")
    layout = EXPERIMENTS / "sim2sim" / "x1.yaml"
    arguments = ("--model", MJCF, "--layout", layout, "--command=0.5,0,0", "--seconds=0.1")
    assert "0.10 of 0.1 s" in stridelab("sim2sim", "x1_walk.pt", *arguments)
