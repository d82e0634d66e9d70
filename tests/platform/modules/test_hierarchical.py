"""The high-level policy: what it chooses, holds, clamps and executes."""

import pytest
import torch
from ray.rllib.core.columns import Columns

from stridelab.modules.carried import Controller, begun_anew, initial_state
from stridelab.modules.hierarchical_distribution import HighLevelAction
from stridelab.modules.transfer import transfer_weights
from stridelab_envs.errors import ConfigError, UserError


def decide(module, obs, state, *, explore=True):
    """Return the stored action in parts, what goes to the robot, and the next state."""
    forward = module.forward_exploration if explore else module.forward_inference
    out = forward({Columns.OBS: obs, Columns.STATE_IN: state})
    action = module.action_shape.split_action(out[Columns.ACTIONS])
    return action, out[Columns.ACTIONS_FOR_ENV], out[Columns.STATE_OUT]


@pytest.mark.parametrize(
    ("file", "num_skills", "command_size"), [("four.yaml", 4, 14), ("five.yaml", 5, 17)]
)
def test_sizes_follow_the_skills_file(
    file, num_skills, command_size, build_hierarchical, skills_folder
):
    module, env = build_hierarchical(model__skills=str(skills_folder / file))
    shape = module.action_shape
    assert (shape.num_skills, shape.command_size, shape.num_actions) == (
        num_skills,
        command_size,
        19,
    )
    assert module.gating.out_features == num_skills
    assert module.command_mean.out_features == command_size
    assert module.command_low.shape == (command_size,)
    out = module.forward_exploration(
        {Columns.OBS: env.reset(), Columns.STATE_IN: initial_state(module, 8)}
    )
    assert out[Columns.ACTIONS].shape == (8, 2 + command_size + 19)
    inputs = num_skills + 2 * command_size + 2 * 19 + 3
    assert out[Columns.ACTION_DIST_INPUTS].shape == (8, inputs)
    assert out[Columns.ACTIONS_FOR_ENV].shape == (8, 19)


@pytest.mark.parametrize("explore", [True, False])
def test_a_skill_is_kept_for_hold_steps(build_hierarchical, explore):
    module, env = build_hierarchical(model__hold_steps=3)
    with torch.no_grad():
        module.gating.weight.mul_(100.0)  # the choice depends on the observation
    obs, state = env.reset(), initial_state(module, 8)
    actions = []
    for _ in range(7):
        obs = {group: torch.randn_like(value) for group, value in obs.items()}
        action, _, state = decide(module, obs, state, explore=explore)
        actions.append(action)
    held = torch.stack([action.held for action in actions])
    assert held.tolist() == [[float(h)] * 8 for h in (0, 1, 1, 0, 1, 1, 0)]
    skills = torch.stack([action.skill for action in actions])
    assert torch.equal(skills[0].expand(3, 8), skills[:3])
    assert torch.equal(skills[3].expand(3, 8), skills[3:6])
    assert not torch.equal(skills[0], skills[3])
    assert not torch.equal(actions[0].command, actions[1].command)


@pytest.mark.parametrize("explore", [True, False])
def test_a_command_can_be_kept_as_long_as_its_skill(build_hierarchical, explore):
    module, env = build_hierarchical(model__hold_steps=3, model__hold_command=True)
    obs, state = env.reset(), initial_state(module, 8)
    commands = []
    for _ in range(6):
        obs = {group: torch.randn_like(value) for group, value in obs.items()}
        action, _, state = decide(module, obs, state, explore=explore)
        commands.append(action.command)
    for first in (0, 3):
        assert torch.equal(commands[first], commands[first + 1])
        assert torch.equal(commands[first], commands[first + 2])
    assert (commands[0] != commands[3]).all()


@pytest.mark.parametrize("explore", [True, False])
def test_random_gating_is_blind(explore, build_hierarchical):
    module, env = build_hierarchical(model__gating="random", model__hold_steps=1)
    with torch.no_grad():
        module.gating.bias.copy_(torch.tensor([100.0, 0.0, 0.0, 0.0]))
    obs, state = env.reset(), initial_state(module, 8)
    counts = torch.zeros(4)
    for _ in range(50):
        action, _, state = decide(module, obs, state, explore=explore)
        counts += action.skill.bincount(minlength=4)
    # A quarter of 400 draws each; five deviations of 8.7 are 43.
    assert (counts - 100.0).abs().max() < 43
    out = module.forward_exploration({Columns.OBS: obs, Columns.STATE_IN: state})
    inputs = module.action_dist_cls.from_logits(out[Columns.ACTION_DIST_INPUTS])
    assert (inputs.heads.logits == 0.0).all()


def test_the_only_skill_is_always_executed(build_hierarchical):
    module, env = build_hierarchical(model__gating="squat", model__hold_steps=1)
    with torch.no_grad():
        module.gating.bias.copy_(torch.tensor([100.0, 0.0, 0.0, 0.0]))
    obs, state = env.reset(), initial_state(module, 8)
    for explore in (True, False):
        action, _, _ = decide(module, obs, state, explore=explore)
        assert (action.skill == 2).all()
    out = module.forward_exploration({Columns.OBS: obs, Columns.STATE_IN: state})
    choice = module.action_dist_cls.from_logits(out[Columns.ACTION_DIST_INPUTS]).heads.logits
    assert torch.softmax(choice, dim=-1)[:, 2].min() > 1.0 - 1e-6


def test_an_unknown_gating_is_refused(build_hierarchical):
    with pytest.raises(ConfigError) as caught:
        build_hierarchical(model__gating="sqat")
    assert caught.value.path == "model.gating"
    assert "squat" in str(caught.value)


def test_hold_of_one_step_chooses_always(build_hierarchical):
    module, env = build_hierarchical(model__hold_steps=1)
    obs, state = env.reset(), initial_state(module, 8)
    for _ in range(3):
        action, _, state = decide(module, obs, state)
        assert not action.held.any()


def test_an_episode_that_starts_chooses_anew(build_hierarchical):
    module, env = build_hierarchical()
    obs, first = env.reset(), initial_state(module, 8)
    _, _, state = decide(module, obs, first)
    ended = torch.tensor([True] * 2 + [False] * 6)
    state = begun_anew(state, first, ended)
    assert state["skill"][:2].eq(-1).all()
    action, _, _ = decide(module, obs, state)
    assert torch.equal(action.held, (~ended).float())


def test_the_anchor_is_taken_when_the_skill_changes(build_hierarchical):
    module, env = build_hierarchical(model__hold_steps=1)
    obs, state = env.reset(), initial_state(module, 8)
    feet = module.skills.anchor(obs["skill_state"])
    assert feet[0, 1] > 0.1 > -0.1 > feet[0, 4]  # y of the left and the right foot
    with torch.no_grad():
        module.gating.bias.copy_(torch.tensor([0.0, 0.0, 0.0, 1e4]))
    _, _, state = decide(module, obs, state)
    torch.testing.assert_close(state["anchor"], feet)
    obs["skill_state"] = obs["skill_state"] + 1.0
    _, _, state = decide(module, obs, state)
    torch.testing.assert_close(state["anchor"], feet)  # step goes on
    with torch.no_grad():
        module.gating.bias.copy_(torch.tensor([1e4, 0.0, 0.0, 0.0]))
    _, _, state = decide(module, obs, state)
    torch.testing.assert_close(state["anchor"], feet + 1.0)


def chosen(module, skill, command, residual=0.0):
    count = command.shape[0]
    return HighLevelAction(
        torch.full((count,), skill),
        torch.zeros(count),
        command,
        torch.full((count, 19), residual),
    )


@pytest.mark.parametrize("skill", range(4))
def test_commands_beyond_the_range_are_executed_at_its_end(build_hierarchical, skill):
    module, env = build_hierarchical()
    state = env.reset()["skill_state"]
    anchor = module.skills.anchor(state)
    far, end = torch.full((8, 14), 5.0), torch.full((8, 14), 1.0)
    within = torch.full((8, 14), 0.5)
    executed = module.execute(chosen(module, skill, far), state, anchor)
    torch.testing.assert_close(executed, module.execute(chosen(module, skill, end), state, anchor))
    assert not torch.allclose(
        executed, module.execute(chosen(module, skill, within), state, anchor)
    )
    # Its probability is that of the sample, not of what was executed.
    distribution = module.action_dist_cls.from_logits(module.act(env.reset()["policy"]))
    logps = [
        distribution.logp(module.action_shape.join_action(chosen(module, skill, command)))
        for command in (far, end)
    ]
    assert not torch.allclose(*logps)


def test_affine_commands_are_fractions_of_the_range(build_hierarchical):
    module, _ = build_hierarchical()
    reach_x, height = module.skills.columns["reach.left_x"], module.skills.columns["squat.height"]
    for raw, x, z in ((0.0, 0.075, 0.84), (1.0, 0.25, 1.03), (-1.0, -0.10, 0.65)):
        command = module.clamped_command(torch.full((14,), raw))
        assert command[reach_x].item() == pytest.approx(x)
        assert command[height].item() == pytest.approx(z)


def test_raw_commands_are_in_the_skills_units(build_hierarchical):
    module, _ = build_hierarchical(model__command_head="raw")
    height = module.skills.columns["squat.height"]
    for raw, executed in ((0.9, 0.9), (0.2, 0.65), (2.0, 1.03)):
        command = module.clamped_command(torch.full((14,), raw))
        assert command[height].item() == pytest.approx(executed)


def test_the_residual_waits_for_its_phase_and_is_clipped(build_hierarchical):
    module, env = build_hierarchical(model__residual={"clip": 0.05, "start": 0.5})
    state = env.reset()["skill_state"]
    anchor, command = module.skills.anchor(state), torch.zeros(8, 14)
    plain = module.execute(chosen(module, 1, command, 0.0), state, anchor)
    assert plain.abs().max() <= 1.0
    pushed = chosen(module, 1, command, 0.3)
    for fraction, residual in ((0.0, 0.0), (0.49, 0.0), (0.5, 0.05), (1.0, 0.05)):
        module.set_progress(fraction)
        found = module.execute(pushed, state, anchor)
        base = module.skills(state, pushed.skill, module.clamped_command(command), anchor)
        torch.testing.assert_close(found, (base + residual).clamp(-1.0, 1.0))
        on = module.action_shape.split_inputs(module.act(env.reset()["policy"])).residual_on
        assert on.tolist() == [float(residual > 0)] * 8


def test_the_curriculum_narrows_a_range_until_its_time(build_hierarchical):
    narrow = {"walk": {"lin_vel_x": {"range": [-0.5, 0.5], "until": 0.25}}}
    module, _ = build_hierarchical(model__curriculum=narrow)
    for fraction, most in ((0.0, 0.5), (0.24, 0.5), (0.25, 1.0), (0.1, 0.5)):
        module.set_progress(fraction)
        command = module.clamped_command(torch.full((14,), 9.0))
        assert command[:3].tolist() == [most, 1.0, 1.0]


def test_the_choice_s_entropy_is_rewarded_less_and_less(build_hierarchical):
    module, env = build_hierarchical(model__gating_entropy={"coef": 0.02, "until": 0.8})
    with torch.no_grad():
        module.gating.weight.zero_()
        module.gating.bias.copy_(torch.tensor([0.5, 0.3, 0.1, 0.1]).log())
    inputs = module.act(module.normalize(env.reset())["policy"])
    # -(0.5 ln 0.5 + 0.3 ln 0.3 + 2 * 0.1 ln 0.1) = 1.16828
    for fraction, coef in ((0.0, 0.02), (0.2, 0.015)):
        module.set_progress(fraction)
        losses = module.auxiliary({}, {Columns.ACTION_DIST_INPUTS: inputs}).losses
        assert losses["gating_entropy"].item() == pytest.approx(-coef * 1.16828, rel=1e-4)
    module.set_progress(0.8)
    assert module.auxiliary({}, {Columns.ACTION_DIST_INPUTS: inputs}).losses == {}


def test_inference_takes_the_likeliest_skill_and_the_means(build_hierarchical):
    module, env = build_hierarchical(model__residual__start=0.0)
    obs, state = env.reset(), initial_state(module, 8)
    action, executed, _ = decide(module, obs, state, explore=False)
    heads = module.action_shape.split_inputs(module.act(module.normalize(obs)["policy"]))
    assert torch.equal(action.skill, heads.logits.argmax(dim=-1))
    assert torch.equal(action.command, heads.command_mean)
    assert torch.equal(action.residual, heads.residual_mean)
    again = decide(module, obs, state, explore=False)[1]
    assert torch.equal(executed, again)


def test_training_finds_the_probability_of_sampling(build_hierarchical):
    module, env = build_hierarchical(model__residual__start=0.0)
    obs, state = env.reset(), initial_state(module, 8)
    for _ in range(5):
        out = module.forward_exploration({Columns.OBS: obs, Columns.STATE_IN: state})
        trained = module.forward_train({Columns.OBS: obs, Columns.ACTIONS: out[Columns.ACTIONS]})
        inputs = trained[Columns.ACTION_DIST_INPUTS]
        # What was held is known again, so the whole inputs are equal.
        held = out[Columns.ACTIONS][:, 1] > 0
        torch.testing.assert_close(
            inputs[held], out[Columns.ACTION_DIST_INPUTS][held], atol=1e-6, rtol=1e-6
        )
        distribution = module.action_dist_cls.from_logits(inputs)
        torch.testing.assert_close(
            distribution.logp(out[Columns.ACTIONS]), out[Columns.ACTION_LOGP]
        )
        state = out[Columns.STATE_OUT]
        obs = env.step(out[Columns.ACTIONS_FOR_ENV]).obs


def test_a_time_axis_of_one_step_is_kept(build_hierarchical):
    module, env = build_hierarchical()
    obs, state = env.reset(), initial_state(module, 8)
    flat = module.forward_inference({Columns.OBS: obs, Columns.STATE_IN: state})
    timed = {group: value.unsqueeze(1) for group, value in obs.items()}
    out = module.forward_inference({Columns.OBS: timed, Columns.STATE_IN: state})
    for name in (Columns.ACTIONS, Columns.ACTIONS_FOR_ENV, Columns.ACTION_LOGP):
        assert torch.equal(out[name].squeeze(1), flat[name])
        assert out[name].shape[1] == 1
    assert out[Columns.STATE_OUT]["timer"].shape == (8, 1)


def test_schedules_travel_with_the_weights(build_hierarchical):
    module, _ = build_hierarchical()
    other, _ = build_hierarchical()
    module.set_progress(0.9)
    other.set_state(module.get_state(inference_only=True))
    assert other.residual_clip.item() == pytest.approx(0.05)


def test_the_skills_are_no_part_of_what_is_learned(build_hierarchical):
    module, _ = build_hierarchical()
    assert not [name for name, _ in module.named_parameters() if name.startswith("skills.")]
    assert "skill_weights" not in module.model_config


@pytest.mark.parametrize(
    ("head", "raw", "bounded"), [("affine", 1.0, -0.00454), ("affine", -9, -5.0), ("raw", 3.0, 2.0)]
)
def test_a_command_spreads_no_further_than_its_head_allows(build_hierarchical, head, raw, bounded):
    module, _ = build_hierarchical(model__command_head=head)
    with torch.no_grad():
        module.command_log_std.weight.zero_()
        module.command_log_std.bias.fill_(raw)
    heads = module.action_shape.split_inputs(module.act(torch.zeros(1, 20)))
    assert heads.command_log_std[0, 0].item() == pytest.approx(bounded, abs=1e-4)
    heads.command_log_std.sum().backward()
    shrinks = bool(module.command_log_std.bias.grad[0] > 0.01)
    assert shrinks == (head == "affine" and raw > 0), "a soft cap leaves a way back"


def test_the_first_commands_spread_as_asked(build_hierarchical):
    module, _ = build_hierarchical(model__command_std=0.2)
    heads = module.action_shape.split_inputs(module.act(torch.zeros(1, 20)))
    hidden = module.backbone(torch.zeros(1, 20))
    expected = module.command_log_std.weight @ hidden[0] + torch.tensor(0.2).log()
    torch.testing.assert_close(heads.command_log_std[0], expected, atol=1e-3, rtol=0.0)
    assert heads.residual_mean.abs().max() < 1e-2
    assert heads.residual_log_std.exp().mean().item() == pytest.approx(0.135, abs=0.01)


def test_a_controller_remembers_until_it_is_told(build_hierarchical):
    module, env = build_hierarchical()
    act, obs = Controller(module, env), env.reset()
    act(obs)
    with torch.no_grad():
        module.gating.bias.copy_(torch.tensor([1e4, -1e4, -1e4, -1e4]))
    before = act._state["skill"].clone()
    assert not before.eq(0).all()
    obs = env.step(torch.zeros(8, 19)).obs
    act(obs)
    assert torch.equal(act._state["skill"], before)
    act(env.reset())
    assert act._state["skill"].eq(0).all()


def test_environments_know_what_the_skills_were_told(build_hierarchical):
    module, env = build_hierarchical(task__id="h1_reach_task")
    with torch.no_grad():
        module.gating.bias.copy_(torch.tensor([1e4, -1e4, -1e4, -1e4]))
        module.command_mean.bias[:3] = torch.tensor([9.0, -9.0, 0.5])
        module.command_mean.weight[:3] = 0.0
    act, obs = Controller(module, env), env.reset()
    columns = env.layouts["policy"]["walk_velocity"]
    assert obs["policy"][:, columns].eq(0).all()
    obs = env.step(act(obs)).obs
    assert obs["policy"][:, columns].tolist() == [[2.0, -2.0]] * 8  # clamped, scaled by 2
    with torch.no_grad():
        module.gating.bias.copy_(torch.tensor([-1e4, 1e4, -1e4, -1e4]))
    for _ in range(3):
        obs = env.step(act(obs)).obs
    assert act._state["skill"].eq(1).all()
    assert obs["policy"][:, columns].tolist() == [[2.0, -2.0]] * 8  # what walk was told last


@pytest.mark.parametrize("keep_std", [True, False])
def test_it_goes_on_where_another_one_ended(keep_std, build_hierarchical):
    """Heads and normaliser come along; skills, ranges and the residual's bound are its own."""
    source, env = build_hierarchical()
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.add_(0.01)
    source.set_progress(1.0)
    target, _ = build_hierarchical(model__residual={"clip": 0.05, "start": 0.5})
    own = {name: value.clone() for name, value in target.state_dict().items()}
    layouts = {"policy": {"joint_pos": [0, 105]}}
    obs = env.reset()
    transfer_weights(source, target, layouts, layouts, obs, keep_std=keep_std)
    theirs, now = source.state_dict(), target.state_dict()
    for part in ("backbone", "gating", "command_mean", "residual_mean", "critic"):
        names = [name for name in theirs if name.startswith(f"{part}.")]
        assert names
        assert all(torch.equal(now[name], theirs[name]) for name in names), part
    expected = theirs if keep_std else own
    for name in ("command_log_std.bias", "residual_log_std.bias"):
        assert torch.equal(now[name], expected[name])
    kept = [n for n in own if n.startswith("skills.")] + ["residual_clip", "command_low"]
    assert all(torch.equal(now[name], own[name]) for name in kept)
    assert target.residual_clip == 0.0
    assert source.residual_clip > 0.0


def test_it_does_not_go_on_with_other_observations(build_hierarchical):
    module, env = build_hierarchical(task__history={"critic": 1})
    theirs, ours = {"policy": {"joint_pos": [0, 105]}}, {"policy": {"joint_vel": [0, 105]}}
    with pytest.raises(UserError, match="needs the same observations"):
        transfer_weights(module, module, theirs, ours, env.reset())
