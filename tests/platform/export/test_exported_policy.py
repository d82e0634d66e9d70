"""What `stridelab export` writes: the policy and nothing else, checked, with metadata inside."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import safetensors.numpy
import torch

from stridelab.cli.main import main
from stridelab.export.bundle import load_bundle
from stridelab.export.inference import load_exported
from stridelab.export.writer import _differences, export_policy, parity, probes
from stridelab_envs.errors import UserError

SHIPPED = Path(__file__).parents[3] / "experiments" / "policies" / "biped_walk"
CASES = [("onnx", "fixed"), ("onnx", "free"), ("torchscript", "fixed"), ("torchscript", "free")]


@pytest.fixture(scope="module")
def shipped():
    return load_bundle(SHIPPED)


@pytest.fixture(scope="module")
def files(shipped, tmp_path_factory):
    """The shipped policy in every form, by format and batch."""
    folder = tmp_path_factory.mktemp("exported")
    paths = {case: folder / "_".join(case) for case in CASES}
    for (kind, batch), path in paths.items():
        export_policy(shipped, path, format=kind, batch=batch)
    return paths


def by_hand(observation):
    """The policy's action from the weights alone, in float64."""
    weights = safetensors.numpy.load_file(SHIPPED / "policy.safetensors")
    weights = {name: value.astype(np.float64) for name, value in weights.items()}
    mean, var = (weights[f"normalizers.policy.{name}"] for name in ("mean", "var"))
    hidden = np.clip((observation - mean) / (np.sqrt(var) + 0.01), -10.0, 10.0)
    for layer in (0, 2, 4, 6):
        hidden = hidden @ weights[f"actor.{layer}.weight"].T + weights[f"actor.{layer}.bias"]
        if layer < 6:
            hidden = np.where(hidden > 0.0, hidden, np.expm1(np.minimum(hidden, 0.0)))
    return np.clip(hidden, -3.0, 3.0)


@pytest.mark.parametrize("case", CASES)
def test_acts_as_the_weights_say(files, case):
    policy = load_exported(files[case])
    observations = np.random.default_rng(1).normal(0.0, 2.0, (20, 48)).astype(np.float32)
    actions = np.concatenate([policy(row[None]) for row in observations])
    assert actions.dtype == np.float32
    assert np.abs(actions).max() > 0.5
    np.testing.assert_allclose(actions, by_hand(observations), atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_batch(files, case):
    policy = load_exported(files[case])
    rows = np.ones((3, 48), np.float32)
    assert policy(rows[:1]).shape == (1, 17)
    if case[1] == "free":
        assert policy(rows).shape == (3, 17)
    else:
        with pytest.raises(UserError, match=r"does not take an observation \[3, 48\]"):
            policy(rows)


def test_names_and_shapes_in_the_graph(files):
    for batch, first in (("fixed", 1), ("free", "batch")):
        session = onnxruntime.InferenceSession(files["onnx", batch])
        [observation], [action] = session.get_inputs(), session.get_outputs()
        assert (observation.name, observation.shape) == ("observation", [first, 48])
        assert (action.name, action.shape) == ("action", [first, 17])
        assert observation.type == action.type == "tensor(float)"


def test_only_normaliser_and_network_are_inside(files):
    sizes = [48 * 256 + 256, 256 * 128 + 128, 128 * 64 + 64, 64 * 17 + 17]
    # Weights, mean and spread of the observation.
    wanted = sum(sizes) + 48 + 48
    graph = onnx.load(files["onnx", "fixed"]).graph
    floats = [item for item in graph.initializer if item.data_type == onnx.TensorProto.FLOAT]
    held = [np.prod(item.dims, dtype=int) for item in floats]
    assert sum(size for size in held if size > 1) == wanted
    assert not any(node.metadata_props or node.doc_string for node in graph.node)
    module = torch.jit.load(files["torchscript", "fixed"])
    assert list(module.parameters()) == []
    tensors = [
        node.t("value")
        for node in module.graph.findAllNodes("prim::Constant")
        if node.hasAttribute("value") and node.kindOf("value") == "t"
    ]
    assert sum(tensor.numel() for tensor in tensors) == wanted


@pytest.mark.parametrize("case", CASES)
def test_metadata(files, case, shipped):
    data = load_exported(files[case]).metadata
    env = shipped.description["env"]
    for key in (
        "task",
        "robot",
        "joints",
        "default_pose",
        "action_scale",
        "action_clip",
        "control_dt",
    ):
        assert data[key] == env[key], key
    # Servos of the robot's description: arms and head 1.5 N m, legs 3.5 N m.
    leg = [("hip" in j or "knee" in j or "ankle" in j) for j in data["joints"]]
    assert data["kp"] == [25.0 if one else 8.0 for one in leg]
    assert data["kd"] == [0.6 if one else 0.2 for one in leg]
    assert data["torque_limit"] == [3.5 if one else 1.5 for one in leg]
    assert data["history"] == {"length": 1, "order": "oldest_first"}
    terms = {term["name"]: term for term in data["observation"]}
    assert [term["start"] for term in terms.values()] == [0, 17, 34, 38, 41, 44, 46]
    assert terms["joint_vel"]["scale"] == 0.1
    assert terms["base_lin_vel"]["signal"] == "base_lin_vel_world"
    assert terms["gait_clock"]["params"] == {"frequency": 2.0}
    assert data["batch"] == case[1]
    assert data["env_steps"] == 8601600
    assert {"torch", "mujoco", "stridelab"} <= data["versions"].keys()


def test_probes_hold_the_edges():
    observations = probes(4)
    for edge in ([0, 0, 0, 0], [1, 1, 1, 1], [-100] * 4, [-100, 100, -100, 100]):
        assert (observations == np.array(edge, np.float32)).all(axis=1).any(), edge
    assert observations.std() > 10.0
    np.testing.assert_array_equal(observations, probes(4))


class TestParity:
    @pytest.mark.parametrize("size", [3e-5, float("nan")])
    def test_a_graph_that_differs_is_not_written(self, tiny_bundle, tmp_path, size):
        policy = load_bundle(tiny_bundle)
        mean_action = policy.module.mean_action
        policy.module.mean_action = lambda observation: mean_action(observation) + size
        path = tmp_path / "out" / "policy.pt"
        path.parent.mkdir()
        path.write_text("older")
        with pytest.raises(UserError, match=r"not written: .* differs from the policy by"):
            export_policy(policy, path, format="torchscript", batch="fixed")
        assert path.read_text() == "older"
        assert list(path.parent.iterdir()) == [path]

    def test_is_the_largest_difference(self, tiny_bundle, tmp_path):
        policy = load_bundle(tiny_bundle)
        path = tmp_path / "policy.pt"
        assert export_policy(policy, path, format="torchscript", batch="free") < 1e-5
        with torch.no_grad():
            policy.module.actor[-1].bias[3] += 0.25
        assert parity(load_exported(path), policy, "free") == pytest.approx(0.25, abs=1e-4)


def test_differences_are_measured_by_the_largest_action_of_an_observation():
    """Among actions of hundreds, fp32 leaves a small one uncertain by more than a millionth."""
    expected = np.array([[0.001, 200.0], [0.001, -0.5]])
    difference = _differences(expected + np.array([0.002, 0.0]), expected)
    np.testing.assert_allclose(difference, [[1e-5, 0.0], [0.002, 0.0]], atol=1e-12)


def test_actions_are_clipped_as_the_task_does(tiny_bundle, tmp_path):
    policy = load_bundle(tiny_bundle)
    with torch.no_grad():
        policy.module.actor[-1].bias[:2] = torch.tensor([40.0, -40.0])
    path = tmp_path / "policy.pt"
    export_policy(policy, path, format="torchscript", batch="fixed")
    action = load_exported(path)(np.zeros((1, 48), np.float32))
    assert action[0, :2].tolist() == [3.0, -3.0]


def test_spread_that_is_an_output_stays_behind(tiny_experiment, tiny_env, tmp_path):
    from stridelab.algorithms.ppo.config import module_spec
    from stridelab.export.bundle import Policy, describe_env
    from stridelab_envs.gym import action_space, observation_space

    experiment = tiny_experiment(model__std__kind="state_dependent")
    spec = module_spec(experiment.model, experiment.task_config())
    spec.observation_space, spec.action_space = observation_space(tiny_env), action_space(tiny_env)
    policy = Policy(
        spec.build(),
        {
            "env": describe_env(tiny_env),
            "experiment": experiment.to_dict(),
            "env_steps": 0,
            "git_commit": None,
        },
    )
    path = tmp_path / "policy.pt"
    assert export_policy(policy, path, format="torchscript", batch="fixed") < 1e-5
    assert load_exported(path)(np.zeros((1, 48), np.float32)).shape == (1, 17)


class TestCommand:
    @pytest.fixture
    def stridelab(self, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)

        def run(*arguments):
            monkeypatch.setattr("sys.argv", ["stridelab", *map(str, arguments)])
            with pytest.raises(SystemExit) as ended:
                main()
            out, err = capsys.readouterr()
            return ended.value.code, out, err

        return run

    def test_file_is_named_after_the_experiment(self, stridelab, tiny_bundle, tmp_path):
        code, out, _ = stridelab("export", tiny_bundle, "--format", "torchscript")
        assert code == 0
        assert out.startswith("tiny.pt: largest difference from the policy ")
        assert load_exported(tmp_path / "tiny.pt").metadata["experiment"] == "tiny"

    def test_output(self, stridelab, tiny_bundle, tmp_path):
        path = tmp_path / "deep" / "walk.onnx"
        code, _, _ = stridelab("export", tiny_bundle, "--format", "onnx", "--output", path)
        assert code == 0
        assert load_exported(path).format == "onnx"

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("nowhere", "--format", "onnx"), "no such folder, and not an MLflow run id"),
            (("nowhere",), "Missing option '--format'"),
            (("nowhere", "--format", "onyx"), "Invalid value for '--format'"),
        ],
    )
    def test_refusals(self, stridelab, tmp_path, arguments, message):
        shutil.rmtree(tmp_path / "policy", ignore_errors=True)
        code, out, err = stridelab("export", *arguments)
        assert (code, out) == (2, "")
        assert message in err
        assert list(tmp_path.iterdir()) == []


class TestReading:
    def refusal(self, path, **settings):
        with pytest.raises(UserError) as caught:
            load_exported(path, **settings)
        text = str(caught.value)
        assert text.isprintable()
        assert text.startswith(f"{path}: ")
        return text.removeprefix(f"{path}: ")

    def test_no_file(self, tmp_path):
        assert self.refusal(tmp_path / "a.onnx") == "there is no such file"

    def test_a_bundle_must_be_exported_first(self, tiny_bundle):
        assert self.refusal(tiny_bundle) == (
            f"is a folder; export a policy first: stridelab export {tiny_bundle} --format onnx"
        )

    @pytest.mark.parametrize(
        ("data", "kind"),
        [(b"", "ONNX"), (b"nonsense", "ONNX"), (b"PK\x03\x04broken", "TorchScript")],
    )
    def test_damaged(self, tmp_path, data, kind):
        path = tmp_path / "policy"
        path.write_bytes(data)
        assert self.refusal(path).startswith(f"is no {kind} policy that can be read: ")

    def test_cut_short(self, files, tmp_path):
        for case in (("onnx", "fixed"), ("torchscript", "fixed")):
            path = tmp_path / case[0]
            path.write_bytes(files[case].read_bytes()[:1000])
            assert "policy that can be read" in self.refusal(path)

    def test_memory_of_the_other_format(self, files):
        message = self.refusal(files["onnx", "fixed"], reset_method="reset")
        assert message == "recurrent.reset is for TorchScript; name recurrent.state for ONNX"
        message = self.refusal(files["torchscript", "fixed"], state={"h": "h_out"})
        assert message == "recurrent.state is for ONNX; a TorchScript policy keeps it"

    def test_names_that_are_not_there(self, files):
        path = files["onnx", "fixed"]
        assert 'unknown input "observaton"; did you mean "observation"?' in self.refusal(
            path, state={"observaton": "action"}
        )
        assert 'unknown output "actoin"; did you mean "action"?' in self.refusal(
            path, state={"observation": "actoin"}
        )
        message = self.refusal(files["torchscript", "fixed"], reset_method="reset_memory")
        assert message == 'has no method "reset_memory" to reset its state'

    def test_foreign_files_have_no_metadata(self, files, tmp_path):
        graph = onnx.load(files["onnx", "fixed"])
        del graph.metadata_props[:]
        graph.metadata_props.add(key="joint_names", value="a,b")
        onnx.save(graph, tmp_path / "foreign.onnx")
        assert load_exported(tmp_path / "foreign.onnx").metadata is None
        path = tmp_path / "foreign.pt"
        torch.jit.save(torch.jit.load(files["torchscript", "fixed"]), path)
        assert load_exported(path).metadata is None

    def test_metadata_is_plain_json(self, files):
        model = onnx.load(files["onnx", "fixed"])
        values = {item.key: json.loads(item.value) for item in model.metadata_props}
        assert values == load_exported(files["onnx", "fixed"]).metadata
        other = load_exported(files["torchscript", "fixed"]).metadata
        assert values == other
