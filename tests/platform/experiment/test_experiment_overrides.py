import pytest

from stridelab.experiment import load_experiment
from stridelab.experiment.overrides import set_value
from stridelab_envs.errors import UserError


class TestSetValue:
    def test_makes_what_is_missing(self):
        tree: dict = {"a": None}
        assert set_value(tree, "a.b.c", 1) == ["a", "a.b", "a.b.c"]
        assert tree == {"a": {"b": {"c": 1}}}

    def test_replaces_a_mapping(self):
        tree = {"a": {"b": 1, "c": 2}}
        assert set_value(tree, "a", {"d": 3}) == ["a"]
        assert tree == {"a": {"d": 3}}

    def test_preset_beside_terms(self):
        tree = {"task": {"rewards": {"upright": 2.0}}}
        set_value(tree, "task.rewards", "v6")
        assert tree == {"task": {"rewards": {"upright": 2.0, "preset": "v6"}}}

    def test_term_below_a_preset(self):
        tree = {"task": {"rewards": "v6"}}
        set_value(tree, "task.rewards.upright", 2.0)
        assert tree == {"task": {"rewards": {"preset": "v6", "upright": 2.0}}}

    def test_swept_keys_keep_their_dots(self):
        tree: dict = {}
        set_value(tree, "sweep.parameters.task.rewards.upright", [1])
        assert tree == {"sweep": {"parameters": {"task.rewards.upright": [1]}}}


class TestLoad:
    def test_values_are_yaml(self, write, minimal):
        experiment = load_experiment(
            write(minimal),
            [
                "task.rewards.upright=3.5",
                "task.rewards.tracking_lin_vel={weight: 2, clip: [0, 1]}",
                "task.randomization={push: null}",
                "algorithm.learning_rate=1e-4",
                "train.env_steps=2e6",
                "seeds=[5, 6]",
                "name=a-b",
                "tracking.uri=http://host:5000",
                "sweep.parameters.algorithm.gamma={uniform: [0.9, 0.99]}",
            ],
        )
        config = experiment.task_config()
        assert config.reward_weights() == {"upright": 3.5, "tracking_lin_vel": 2.0}
        assert config.rewards["tracking_lin_vel"].clip == (0.0, 1.0)
        assert experiment.algorithm.learning_rate == 1e-4
        assert experiment.train.env_steps == 2_000_000
        assert experiment.seeds == [5, 6]
        assert experiment.name == "a-b"
        assert experiment.tracking.uri == "http://host:5000"
        assert experiment.sweep is not None
        assert experiment.sweep.parameters == {"algorithm.gamma": {"uniform": [0.9, 0.99]}}

    def test_value_may_hold_an_equals_sign(self, write, minimal):
        assert load_experiment(write(minimal), ["description=a=b"]).description == "a=b"

    def test_later_ones_win(self, write, minimal):
        overrides = ["train.env_steps=5", "train.env_steps=6"]
        assert load_experiment(write(minimal), overrides).train.env_steps == 6

    def test_they_can_complete_a_file(self, write):
        experiment = load_experiment(write("name: toy\n"), ["task.id=toy", "train.env_steps=9"])
        assert experiment.train.env_steps == 9

    def test_null_takes_the_sweep_out(self, write, minimal):
        text = minimal + "sweep: {parameters: {algorithm.gamma: [0.9, 0.95]}}\n"
        assert load_experiment(write(text), ["sweep=null"]).sweep is None


LINES = {
    "algorithm.gama=0.9": 'unknown key "gama"; did you mean "gamma"? (known: asynchronous, '
    "clip_param, clip_value_loss, compile, desired_kl, entropy_coef, gae_lambda, gamma, "
    "imitation, kind, learning_rate, max_grad_norm, normalize_advantages_by, "
    "num_epochs, num_minibatches, num_steps_per_env, precision, reward_scale, schedule, "
    "symmetry, value_loss_coef)",
    "task.rewards.uprigt=3": 'unknown reward "uprigt"; did you mean "upright"? (known: '
    "tracking_lin_vel, upright)",
    "train.env_steps=many": 'must be an integer, got "many"',
    "train.env_steps=.inf": "must be a finite number, got inf",
    "train.env_steps=": "must be an integer, got null",
    "train.env_steps.x=1": 'train.env_steps: is 1000, so "x" cannot be set below it',
    "seeds.0=1": 'seeds: is a list, so "0" cannot be set below it',
    "seeds=[1, x]": 'seeds[1]: must be an integer, got "x"',
    "trian.video=false": 'unknown key "trian"; did you mean "train"? (known: ablation, '
    "algorithm, description, model, name, on_existing, resources, seeds, stages, sweep, task, "
    "tracking, train)",
    "task.rewards.preset=v9": 'unknown reward preset "v9" (known: v6, v7)',
    "task.randomization.push.speed=fast": "must be a finite number, got 'fast'",
    "task.num_envs=7": "algorithm.num_minibatches: must divide task.num_envs * "
    "algorithm.num_steps_per_env = 7 * 24 = 168, got 16",
    "novalue": "expected key=value, for example train.env_steps=1e6",
    "=3": "expected key=value, for example train.env_steps=1e6",
    "a..b=3": '"a..b" is no dotted key such as algorithm.gamma',
    "seeds=[1": "not valid YAML: expected ',' or ']', but got '<stream end>'",
    "seeds={a: 1, a: 2}": 'the key "a" stands here twice (first on line 1)',
}


@pytest.mark.parametrize(("override", "expected"), LINES.items())
def test_exact_line(write, minimal, override, expected):
    path = write(minimal + "algorithm: {num_minibatches: 16}\nseeds: [3]\n")
    with pytest.raises(UserError) as caught:
        load_experiment(path, ["train.video=false", override, "model.activation=relu"])
    assert str(caught.value) == f'override "{override}": {expected}'


def test_override_with_a_newline_stays_on_one_line(write, minimal):
    with pytest.raises(UserError) as caught:
        load_experiment(write(minimal), ["a\nb=1"])
    assert str(caught.value).startswith('override "a\\nb=1": unknown key "a\\nb" (known: ')


def test_the_file_is_blamed_for_its_own_fault(write, minimal):
    path = write(minimal + "algorithm: {gamma: 2}\n")
    with pytest.raises(UserError, match=r"^walk.yaml:4: algorithm.gamma: must be at most 1.0"):
        load_experiment(path, ["train.video=false", "algorithm.num_epochs=3"])


def test_lines_of_a_replaced_section_are_forgotten(write, minimal):
    path = write(minimal + "model: {std: {initial: 1}}\nalgorithm: {gamma: 2}\n")
    with pytest.raises(UserError) as caught:
        load_experiment(path, ["model={std: {initial: wide}}"])
    assert str(caught.value) == (
        'override "model={std: {initial: wide}}": model.std.initial: must be a number, got "wide"'
    )


class TestHydraForms:
    def test_plus_is_taken_but_not_needed(self, write, minimal):
        file = write(minimal)
        plain = load_experiment(file, ["algorithm.gamma=0.9"])
        assert load_experiment(file, ["+algorithm.gamma=0.9"]) == plain
        assert load_experiment(file, ["++algorithm.gamma=0.9"]) == plain

    def test_tilde_gives_the_default_back(self, write, minimal):
        file = write(minimal + "algorithm: {gamma: 0.9, clip_param: 0.1}\nseeds: [1, 2]\n")
        experiment = load_experiment(file, ["~algorithm.gamma", "~seeds"])
        assert experiment.algorithm.gamma == 0.99
        assert experiment.algorithm.clip_param == 0.1
        assert experiment.seeds == [0]

    def test_changes_apply_from_left_to_right(self, write, minimal):
        file = write(minimal)
        twice = load_experiment(file, ["algorithm.gamma=0.9", "~algorithm.gamma"])
        assert twice.algorithm.gamma == 0.99
        again = load_experiment(file, ["seeds=[1]", "~seeds", "seeds=[4]"])
        assert again.seeds == [4]

    @pytest.mark.parametrize("key", ["algorithm.gamma", "trian", "train.env_steps.more", "seeds.0"])
    def test_what_is_not_set_cannot_be_taken_out(self, write, minimal, key):
        with pytest.raises(UserError) as error:
            load_experiment(write(minimal), [f"~{key}"])
        assert str(error.value) == f'override "~{key}": the file sets no such key'

    def test_what_is_required_stays_required(self, write, minimal):
        with pytest.raises(UserError, match="is required"):
            load_experiment(write(minimal), ["~train.env_steps"])

    def test_a_malformed_key(self, write, minimal):
        with pytest.raises(UserError, match=r'^override "~a\.\.b": "a\.\.b" is no dotted key'):
            load_experiment(write(minimal), ["~a..b"])
