"""Every mistake in a file is one line that starts with the file and the line of the key."""

import pytest
from pydantic import BaseModel, ValidationError, field_validator

from stridelab.experiment import load_experiment
from stridelab.experiment.messages import first_problem
from stridelab_envs.errors import UserError

HEAD = "name: toy\ntask: {id: toy}\ntrain: {env_steps: 1000}\n"  # three lines
REWARDS = "(known: tracking_lin_vel, upright)"
SWEEP = HEAD + "sweep:\n  parameters:\n    "  # what follows stands in line 6


def message(path, overrides=()) -> str:
    with pytest.raises(UserError) as caught:
        load_experiment(path, overrides)
    text = str(caught.value)
    assert text.isprintable(), "more than one line, or signs a terminal would obey"
    assert text == text.strip()
    return text


EXACT = {
    # unknown and missing keys
    "name: toy\ntask:\n  id: toy\n  rewards:\n    upright: 1.0\n    trackng_lin_vel: 2.0\n"
    "train: {env_steps: 1}\n": "6: task.rewards.trackng_lin_vel: unknown reward "
    f'"trackng_lin_vel"; did you mean "tracking_lin_vel"? {REWARDS}',
    HEAD + "seed: [1]\n": '4: seed: unknown key "seed"; did you mean "seeds"? (known: ablation, '
    "algorithm, description, model, name, on_existing, resources, seeds, stages, sweep, task, "
    "tracking, train)",
    "nam: toy\ntask: {id: toy}\ntrain: {env_steps: 1}\n": '1: nam: unknown key "nam"; did you '
    'mean "name"? (known: ablation, algorithm, description, model, name, on_existing, resources, '
    "seeds, stages, sweep, task, tracking, train)",
    "name: toy\ntask:\n  id: toy\n  num_evns: 3\ntrain: {env_steps: 1}\n": "4: task.num_evns: "
    'unknown key "num_evns"; did you mean "num_envs"? (known: id, num_envs)',
    "name: toy\ntask: {id: toi}\ntrain: {env_steps: 1}\n": "2: task.id: unknown task "
    '"toi"; did you mean "toy"? (known: biped_walk, toy)',
    "name: toy\ntask: {num_envs: 3}\ntrain: {env_steps: 1}\n": "2: task.id: is required",
    "name: toy\ntask: {id: toy}\n": "1: train: is required",
    "# comment\n\nname: toy\ntask: {id: toy}\n": "3: train: is required",
    # wrong types and ranges
    "name: toy\ntask:\n  id: toy\n  num_envs: 0\ntrain: {env_steps: 1}\n": "4: task.num_envs: "
    "must be at least 1, got 0",
    "name: toy\ntask: {id: toy}\ntrain:\n  env_steps: many\n": "4: train.env_steps: must be an "
    'integer, got "many"',
    "name: toy\ntask: {id: toy}\ntrain:\n  env_steps: 1.5\n": "4: train.env_steps: must be an "
    "integer, got 1.5",
    "name: 12\ntask: {id: toy}\ntrain: {env_steps: 1}\n": "1: name: must be text, got 12 "
    "(put it in quotes)",
    "name: a/b\ntask: {id: toy}\ntrain: {env_steps: 1}\n": "1: name: must hold only letters, "
    'digits, . _ and -, got "a/b"',
    HEAD + "model: {activation: tahn}\n": "4: model.activation: must be one of elu, relu, tanh, "
    'got "tahn"; did you mean "tanh"?',
    HEAD + "model:\n  actor_hidden: [64, no]\n": "5: model.actor_hidden[1]: must be an integer, "
    'got "no"',
    HEAD + "seeds:\n- 1\n- -1\n": "6: seeds[1]: must be at least 0, got -1",
    HEAD + "seeds: [1, 2, 1]\n": "4: seeds: must all be different, got 1 twice",
    HEAD + "seeds: []\n": "4: seeds: must hold at least one entry",
    HEAD + "algorithm:\n  gamma: 1.01\n": "5: algorithm.gamma: must be at most 1.0, got 1.01",
    HEAD + "algorithm:\n  learning_rate: 0\n": "5: algorithm.learning_rate: must be above 0.0, "
    "got 0",
    HEAD + "algorithm:\n  clip_value_loss: yes\n": "5: algorithm.clip_value_loss: must be true or "
    'false, got "yes"',
    HEAD + "algorithm:\n  num_minibatches: 7\n": "5: algorithm.num_minibatches: must divide "
    "task.num_envs * algorithm.num_steps_per_env = 1024 * 24 = 24576, got 7",
    HEAD + "model: {std: {min: 2, max: 1}}\n": "4: model.std.min: must be below max (1.0), got 2.0",
    HEAD + "model: {std: {initial: 11}}\n": "4: model.std.initial: must be between min (0.001) and "
    "max (10.0), got 11.0",
    HEAD + "model:\n  std:\n    initial: {legs: 1, hands: 1}\n": "6: model.std.initial.hands: "
    'unknown joint group "hands"; did you mean "head"? (known: ankle_pitch, ankle_roll, arms, '
    "elbow, head, hip_pitch, hip_roll, knee, legs, shoulder_pitch, shoulder_roll)",
    HEAD + "model:\n  std:\n    initial: {legs: 1}\n": "6: model.std.initial: must name every "
    "joint group of the robot; missing: head, arms",
    # YAML itself
    HEAD + "seeds: [1]\nseeds: [2]\n": '5: the key "seeds" stands here twice (first on line 4)',
    HEAD + "algorithm:\n  gamma: 0.9\n  gamma: 0.8\n": '6: algorithm: the key "gamma" stands here '
    "twice (first on line 5)",
    HEAD + "seeds: &a [*a]\n": "4: seeds[0]: holds an alias to itself",
    HEAD + "model: &m\n  std: *m\n": "5: model.std: holds an alias to itself",
    HEAD + "model: &m {<<: *m}\n": "4: model: holds an alias to itself",
    HEAD + "algorithm: {gamma: .nan}\n": "4: algorithm.gamma: must be a finite number, got nan",
    HEAD + "algorithm:\n  entropy_coef: 1e400\n": "5: algorithm.entropy_coef: must be a finite "
    "number, got inf",
    HEAD + f"algorithm: {{num_epochs: {10**30}}}\n": "4: algorithm.num_epochs: must be a number "
    "within 64 bits",
    HEAD + "algorithm:\n\tgamma: 0.9\n": "5: not valid YAML: found character '\\t' that cannot "
    "start any token (indent with spaces)",
    HEAD + "seeds: [1\nmodel: {}\n": "5: not valid YAML: expected ',' or ']', but got ':'",
    HEAD + "1: 2\n": "4: the key 1 is no text (put it in quotes)",
    HEAD + "model: {std: !!python/name:os.system x}\n": "4: model.std: the YAML tag "
    '"!!python/name:os.system" is not allowed',
    HEAD + "---\nname: b\n": "4: not valid YAML: but found another document",
    "- name: toy\n": "1: must be a mapping (key: value), got a list",
    "just words\n": '1: must be a mapping (key: value), got "just words"',
    # sweeps
    HEAD + "sweep: {samples: 2}\n": "4: sweep.parameters: is required",
    SWEEP + "task.rewards.uprigt: {uniform: [1, 2]}\n": "6: sweep.parameters.task.rewards.uprigt: "
    f'unknown reward "uprigt"; did you mean "upright"? {REWARDS}',
    SWEEP + "algorithm.gama: [0.9]\n": '6: sweep.parameters.algorithm.gama: unknown key "gama"; '
    'did you mean "gamma"? (known: asynchronous, clip_param, clip_value_loss, compile, '
    "desired_kl, entropy_coef, gae_lambda, gamma, imitation, kind, learning_rate, max_grad_norm, "
    "normalize_advantages_by, num_epochs, num_minibatches, num_steps_per_env, precision, "
    "reward_scale, schedule, symmetry, value_loss_coef)",
    SWEEP + "algorithm.gamma: {uniform: [2, 1]}\n": "6: sweep.parameters.algorithm.gamma.uniform: "
    "the lower bound 2 must be below the upper bound 1",
    SWEEP + "seeds: [1, 2]\n": "6: sweep.parameters.seeds: cannot be swept (nor can name, seeds, "
    "sweep, ablation, stages, on_existing)",
    SWEEP + "algorithm.num_epochs: {uniform: [1, 4]}\n": "6: sweep.parameters.algorithm.num_epochs:"
    " must be an integer, got 1.954929658551372",
    SWEEP + "task.num_envs: [1024, 1001]\n    algorithm.num_minibatches: [16]\n": "7: "
    "sweep.parameters.algorithm.num_minibatches: must divide task.num_envs * "
    "algorithm.num_steps_per_env = 1001 * 24 = 24024, got 16",
    SWEEP + "task.num_envs: {power_of_two: [48, 96]}\n": "6: sweep.parameters.task.num_envs."
    "power_of_two: must hold powers of two, got 48 (nearest: 32 or 64)",
    SWEEP + "algorithm.gamma:\n      reverseloguniform: [0.9, 1]\n": "7: sweep.parameters."
    "algorithm.gamma.reverseloguniform: the upper bound must be below 1, got 1: 1 - value is what "
    "is drawn",
    SWEEP + "task.rewards.upright:\n      null_or:\n        uniform: [2, 1]\n": "8: "
    "sweep.parameters.task.rewards.upright.null_or.uniform: the lower bound 2 must be below the "
    "upper bound 1",
    HEAD + "seeds: [1, 2]\nsweep:\n  parameters: {algorithm.gamma: [0.9]}\n  scheduler: "
    "hyperband\n": "4: seeds: hyperband pauses and compares single trials, so it cannot judge a "
    "configuration by all its seeds; use asha, or one seed",
    HEAD + "sweep:\n  parameters: {algorithm.gamma: [0.9]}\n  scheduler:\n    asha: "
    "{grace_perod: 3}\n": '7: sweep.scheduler.asha.grace_perod: unknown argument "grace_perod"; '
    'did you mean "grace_period"? (known: brackets, grace_period, max_t, reduction_factor, '
    "stop_last_trials)",
}


@pytest.mark.parametrize(("text", "expected"), EXACT.items(), ids=range(len(EXACT)))
def test_exact_line(write, text, expected):
    assert message(write(text)) == f"walk.yaml:{expected}"


def _bomb(levels: int) -> str:
    """Every level holds the one before ten times."""
    above = (f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, levels))
    return "\n".join(["a0: &a0 [x, x]", *above])


def _merge_bomb(levels: int) -> str:
    """Every level merges the one before ten times; the result stays small."""
    above = (f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}" for i in range(1, levels))
    return "\n".join(["a0: &a0 {x: 1}", *above])


MALFORMED = {
    "empty": "",
    "comments only": "# nothing\n\n",
    "null document": "~\n",
    "a number": "3\n",
    "a list": "[1, 2]\n",
    "binary": bytes(range(256)),
    "zeros": b"\0" * 64,
    "zip": b"PK\x03\x04\x14\x00\x08\x00" * 8,
    "latin-1": "name: caf\xe9\n".encode("latin-1"),
    "utf-16": HEAD.encode("utf-16"),
    "too large": "#" * 1_000_001,
    "control sign": "name: a\x07b\n",
    "escaped surrogate": HEAD + 'description: "\\ud800"\n',
    "escape of no character": HEAD + 'description: "\\UFFFFFFFF"\n',
    "escape beyond Unicode": HEAD + 'description: "\\U00110000"\n',
    "unknown escape": HEAD + 'description: "\\q"\n',
    "open quote": HEAD + 'description: "abc\n',
    "open brace": "{" * 10,
    "deep flow": HEAD + "seeds: " + "[" * 500 + "]" * 500 + "\n",
    "deep block": "\n".join("  " * level + "a:" for level in range(200)),
    "laughing aliases": _bomb(8),
    "undefined alias": HEAD + "seeds: *nobody\n",
    "merge of a number": HEAD + "model: {<<: 3}\n",
    "merge bomb": _merge_bomb(12),
    "many values": HEAD + f"seeds: [{', '.join(map(str, range(30_000)))}]\n",
    "two values": "name: a: b\n",
    "bad indent": "name: a\n  task: b\n",
    "tab indent": "name: a\ntask:\n\tid: toy\n",
    "directive": "%YAML 9.9\n---\nname: a\n",
    "object tag": HEAD + "model: !!python/object:os.system {}\n",
    "set tag": HEAD + "seeds: !!set {1, 2}\n",
    "binary tag": HEAD + "description: !!binary aGVsbG8=\n",
    "wrong int tag": HEAD + "seeds: [!!int one]\n",
    "wrong bool tag": HEAD + "train2: !!bool maybe\n",
    "list as key": HEAD + "? [a, b]\n: 1\n",
    "null key": HEAD + "~: 1\n",
    "boolean key": HEAD + "true: 1\n",
    "key with newline": HEAD + '"two\\nlines": 1\n',
    "key with escape": HEAD + '"\\e[31m": 1\n',
    "empty key": HEAD + '"": 1\n',
    "reward with newline": HEAD.replace("id: toy", 'id: toy, rewards: {"a\\nb": 1}'),
    "no name": "task: {id: toy}\ntrain: {env_steps: 1}\n",
    "empty name": HEAD.replace("name: toy", 'name: ""'),
    "long name": HEAD.replace("name: toy", "name: " + "x" * 300),
    "name up": HEAD.replace("name: toy", "name: .."),
    "name list": HEAD.replace("name: toy", "name: [a]"),
    "task is text": HEAD.replace("{id: toy}", "toy"),
    "task is null": HEAD.replace("{id: toy}", ""),
    "task id number": HEAD.replace("id: toy", "id: 7"),
    "task id list": HEAD.replace("id: toy", "id: [toy]"),
    "num_envs text": HEAD.replace("id: toy", "id: toy, num_envs: lots"),
    "num_envs quoted": HEAD.replace("id: toy", 'id: toy, num_envs: "8"'),
    "num_envs boolean": HEAD.replace("id: toy", "id: toy, num_envs: true"),
    "num_envs huge": HEAD.replace("id: toy", "id: toy, num_envs: 1e15"),
    "reward text": HEAD.replace("id: toy", "id: toy, rewards: {upright: much}"),
    "reward infinite": HEAD.replace("id: toy", "id: toy, rewards: {upright: -.inf}"),
    "reward list": HEAD.replace("id: toy", "id: toy, rewards: [upright]"),
    "reward preset": HEAD.replace("id: toy", "id: toy, rewards: v9"),
    "reward preset list": HEAD.replace("id: toy", "id: toy, rewards: {preset: 3}"),
    "unknown randomization": HEAD.replace("id: toy", "id: toy, randomization: {pusch: null}"),
    "unknown setting": HEAD.replace("id: toy", "id: toy, terrain: stairs"),
    "train missing": "name: toy\ntask: {id: toy}\n",
    "train empty": HEAD.replace("{env_steps: 1000}", ""),
    "steps missing": HEAD.replace("env_steps: 1000", "video: true"),
    "steps zero": HEAD.replace("1000", "0"),
    "steps negative": HEAD.replace("1000", "-5"),
    "steps 400 digits": HEAD.replace("1000", "9" * 400),
    "steps 5000 digits": HEAD.replace("1000", "9" * 5000),
    "steps infinite": HEAD.replace("1000", ".inf"),
    "steps date": HEAD.replace("1000", "2024-01-01"),
    "steps sexagesimal": HEAD.replace("1000", "1:30"),
    "steps hexadecimal": HEAD.replace("1000", "0x10"),
    "model kind": HEAD + "model: {kind: transformer}\n",
    "hidden number": HEAD + "model: {actor_hidden: 64}\n",
    "hidden zero": HEAD + "model: {actor_hidden: [0]}\n",
    "std text": HEAD + "model: {std: {initial: wide}}\n",
    "std group text": HEAD + "model: {std: {initial: {legs: wide}}}\n",
    "std group negative": HEAD + "model: {std: {initial: {legs: -1}}}\n",
    "std no groups": HEAD + "model: {std: {initial: {}}}\n",
    "algorithm kind": HEAD + "algorithm: {kind: sac}\n",
    "precision": HEAD + "algorithm: {precision: fp16}\n",
    "gamma zero": HEAD + "algorithm: {gamma: 0}\n",
    "lambda": HEAD + "algorithm: {gae_lambda: -0.1}\n",
    "runners": HEAD + "resources: {env_runners: -1}\n",
    "cpus zero": HEAD + "resources: {cpus_per_trial: 0}\n",
    "trials zero": HEAD + "resources: {max_concurrent: 0}\n",
    "storage empty": HEAD + 'resources: {storage_path: ""}\n',
    "uri number": HEAD + "tracking: {uri: 5000}\n",
    "seeds number": HEAD + "seeds: 1\n",
    "seeds huge": HEAD + "seeds: [4294967296]\n",
    "seeds nested": HEAD + "seeds: [[1]]\n",
    "seeds mapping": HEAD + "seeds: {a: 1}\n",
    "sweep list": HEAD + "sweep: [1]\n",
    "sweep no parameters": HEAD + "sweep: {parameters: {}}\n",
    "sweep parameters list": HEAD + "sweep: {parameters: [a]}\n",
    "sweep mode": HEAD + "sweep: {mode: most, parameters: {algorithm.gamma: [0.9]}}\n",
    "sweep samples": HEAD + "sweep: {samples: 0, parameters: {algorithm.gamma: [0.9]}}\n",
    "sweep search": HEAD + "sweep: {search: bohb, parameters: {algorithm.gamma: [0.9]}}\n",
    "sweep search list": HEAD + "sweep: {search: [], parameters: {algorithm.gamma: [0.9]}}\n",
    "sweep two schedulers": HEAD + "sweep: {scheduler: {fifo: , asha: }, parameters: {a: [1]}}\n",
    "fifo arguments": HEAD + "sweep: {scheduler: {fifo: {a: 1}}, parameters: {a: [1]}}\n",
    "asha time": HEAD + "sweep: {scheduler: {asha: {time_attr: x}}, parameters: {a: [1]}}\n",
    "asha value": HEAD + "sweep: {scheduler: {asha: {brackets: 0}}, parameters: {a: [1]}}\n",
    "asha type": HEAD + "sweep: {scheduler: {asha: {max_t: true}}, parameters: {a: [1]}}\n",
    "asha text": HEAD + "sweep: {scheduler: {asha: fast}, parameters: {a: [1]}}\n",
    "optuna seed": HEAD + "sweep: {search: {optuna: {seed: 1}}, parameters: {a: [1]}}\n",
    "optuna grid": HEAD + "sweep: {search: optuna, parameters: {algorithm.gamma: [0.9]}}\n",
    "space text": SWEEP + "algorithm.gamma: high\n",
    "space two kinds": SWEEP + "algorithm.gamma: {choice: [1], grid: [1]}\n",
    "space kind": SWEEP + "algorithm.gamma: {unifrom: [0.9, 1]}\n",
    "space no list": SWEEP + "algorithm.gamma: {choice: 0.9}\n",
    "space empty choice": SWEEP + "algorithm.gamma: {choice: []}\n",
    "space empty grid": SWEEP + "algorithm.gamma: []\n",
    "space grid twice": SWEEP + "algorithm.gamma: [0.9, 0.9]\n",
    "space one bound": SWEEP + "algorithm.gamma: {uniform: [0.9]}\n",
    "space three bounds": SWEEP + "algorithm.gamma: {uniform: [0.9, 1, 0.1]}\n",
    "space equal bounds": SWEEP + "algorithm.gamma: {uniform: [0.9, 0.9]}\n",
    "space text bound": SWEEP + "algorithm.gamma: {uniform: [low, high]}\n",
    "space boolean bound": SWEEP + "algorithm.gamma: {uniform: [false, true]}\n",
    "space nan bound": SWEEP + "algorithm.gamma: {uniform: [0.9, .nan]}\n",
    "space log of zero": SWEEP + "algorithm.learning_rate: {loguniform: [0, 1]}\n",
    "space step zero": SWEEP + "algorithm.gamma: {quniform: [0, 1, 0]}\n",
    "space step off": SWEEP + "algorithm.gamma: {quniform: [0.05, 1, 0.1]}\n",
    "space tiny step": SWEEP + "algorithm.gamma: {quniform: [1, 1e300, 1e-300]}\n",
    "space too many steps": SWEEP + "algorithm.gamma: {quniform: [0, 1e18, 1e-3]}\n",
    "space power zero": SWEEP + "task.num_envs: {power_of_two: [0, 8]}\n",
    "space power inverted": SWEEP + "task.num_envs: {power_of_two: [64, 8]}\n",
    "space power float": SWEEP + "task.num_envs: {power_of_two: [8.0, 64]}\n",
    "space reverse log negative": SWEEP + "algorithm.gamma: {reverseloguniform: [-0.5, 0.9]}\n",
    "space null or nothing": SWEEP + "algorithm.gamma: {null_or: }\n",
    "space null or a list": SWEEP + "algorithm.gamma: {null_or: [0.9]}\n",
    "space null of a number": SWEEP + "algorithm.gamma: {null_or: {uniform: [0.9, 1]}}\n",
    "space float integers": SWEEP + "algorithm.num_epochs: {randint: [1.0, 3.0]}\n",
    "space preset numbers": SWEEP + "task.rewards: {presets: [6, 7]}\n",
    "space unknown preset": SWEEP + "task.rewards: {presets: [v6, v8]}\n",
    "space out of range": SWEEP + "algorithm.gamma: {uniform: [0.9, 1.1]}\n",
    "space below a number": SWEEP + "train.env_steps.more: [1]\n",
    "space of no key": SWEEP + "algorithm..gamma: [1]\n",
    "space of the sweep": SWEEP + "sweep.samples: [1, 2]\n",
}


@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED)
def test_malformed_file_gives_one_line(write, content):
    assert message(write(content)).startswith("walk.yaml:")


class TestFiles:
    def test_missing(self, tmp_path):
        path = tmp_path / "nowhere.yaml"
        assert message(path) == f"{path}: there is no such file"

    def test_folder(self, tmp_path):
        assert message(tmp_path) == f"{tmp_path}: is a folder; expected a YAML file"

    def test_file_used_as_folder(self, write):
        assert message(write(HEAD) + "/x") == "walk.yaml/x: cannot be read: Not a directory"

    def test_name_with_unprintable_signs(self):
        assert message("a\nb\0.yaml").startswith("a\\nb\\x00.yaml: cannot be read: ")

    def test_not_utf8_names_the_line(self, write):
        assert message(write(b"name: toy\n# \xff\n")) == "walk.yaml:2: is not UTF-8 text"

    def test_byte_order_mark_is_no_fault(self, write):
        assert load_experiment(write(b"\xef\xbb\xbf" + HEAD.encode())).name == "toy"

    def test_values_from_an_anchor_are_blamed_where_they_stand(self, write):
        text = "name: toy\ntask: {id: toy}\ntrain: &t\n  env_steps: 1\nalgorithm:\n  <<: *t\n"
        assert message(write(text)).startswith(
            'walk.yaml:4: algorithm.env_steps: unknown key "env_steps"'
        )


def test_a_package_that_cannot_be_loaded_speaks_for_itself():
    class Section(BaseModel):
        rewards: dict

        @field_validator("rewards")
        @classmethod
        def refuse(cls, value):
            raise UserError('reward "calm" cannot be loaded')

    with pytest.raises(ValidationError) as caught:
        Section(rewards={"calm": 1.0})
    found = first_problem(caught.value)
    assert (found.path, found.message) == ("rewards", 'reward "calm" cannot be loaded')
