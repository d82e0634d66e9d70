"""The eight tasks and all in one: what is drawn, rewards by hand, success, terminations, state."""

from __future__ import annotations

import math

import pytest
import torch

from stridelab_envs.mdp.goal import TASKS
from stridelab_envs.registry import get_task

EIGHT = {name: "h1_reach_task" if name == "reach" else f"h1_{name}" for name in TASKS}
DRAWN = {
    "reach": {
        **{
            f"reach_left_{axis}": bounds
            for axis, bounds in zip("xyz", ([0.2, 0.6], [0.1, 0.5], [0.7, 1.3]), strict=True)
        },
        **{
            f"reach_right_{axis}": bounds
            for axis, bounds in zip("xyz", ([0.2, 0.6], [-0.5, -0.1], [0.7, 1.3]), strict=True)
        },
    },
    "button": {"button_y": [-0.5, 0.5], "button_z": [0.8, 1.2]},
    "cabinet": {"cabinet_angle": [1.0, 1.0]},
    "ball": {
        "ball_x": [0.5, 1.0],
        "ball_y": [-0.3, 0.3],
        "ball_goal_y": [-2.0, 2.0],
        "ball_goal_z": [0.0, 0.5],
        "ball_mass": [0.3, 0.5],
    },
    "box": {
        "box_x": [-0.45, -0.35],
        "box_y": [-0.3, 0.3],
        "box_goal_dx": [0.0, 0.1],
        "box_goal_dy": [-0.5, 0.5],
    },
    "transfer": {
        "transfer_x": [-0.45, -0.35],
        "transfer_y": [-0.3, 0.3],
        "transfer_goal_x": [0.35, 0.45],
        "transfer_goal_y": [-0.3, 0.3],
    },
    "lift": {
        "lift_x": [0.5, 0.7],
        "lift_y": [-0.05, 0.05],
        "lift_mass": [0.1, 2.0],
        "lift_goal_dz": [0.3, 0.6],
    },
    "carry": {
        "carry_x": [0.5, 0.7],
        "carry_y": [-0.05, 0.05],
        "carry_mass": [0.1, 2.0],
        "carry_goal_dx": [0.3, 1.0],
        "carry_goal_dy": [-0.3, 0.3],
        "carry_goal_dz": [0.3, 0.6],
    },
}
WEIGHTS = {
    "reach": {"wrists": 1.0},
    "button": {"left_wrist": 5 / 5.5, "right_arm": 0.5 / 5.5},
    "cabinet": {"wrists": 0.5, "doors": 0.5},
    "ball": {"base": 1 / 6, "goal": 5 / 6},
    "box": {"target": 0.5, "wrists": 0.5},
    "transfer": {"target": 5 / 6, "wrists": 1 / 6},
    "lift": {"height": 0.5, "wrists": 0.5},
    "carry": {"target": 0.5, "wrists": 0.5},
}
MOVES = ("ball", "box", "transfer", "lift", "carry")
"""Tasks in which something that moves freely is handled."""
WRISTS = torch.tensor([[0.2985, 0.2135, 1.0676], [0.2985, -0.2135, 1.0676]])


def reward(env, name):
    term = env.task.rewards[name]
    return term.func(env.state, **term.params)[0].item()


def judge(env, seconds=0.0):
    """Let the goal look at the state as it is, for some time; return it."""
    goal = env.state.commands["goal"]
    for _ in range(max(1, round(seconds / env.control_dt))):
        goal.tick(env.state)
    return goal


class TestTables:
    @pytest.mark.parametrize("name", TASKS)
    def test_ranges(self, name):
        ranges = get_task(EIGHT[name]).commands["goal"].params["ranges"]
        assert ranges == DRAWN[name]

    def test_all_in_one_draws_the_same(self):
        together = {key: value for ranges in DRAWN.values() for key, value in ranges.items()}
        assert get_task("h1_multitask").commands["goal"].params["ranges"] == together

    @pytest.mark.parametrize("name", TASKS)
    def test_weights_sum_to_one(self, name):
        weights = get_task(EIGHT[name]).reward_weights()
        off = [key for key, weight in weights.items() if not weight]
        assert off == ([f"{name}_progress"] if name in MOVES else [])
        weights = {key: weight for key, weight in weights.items() if weight}
        expected = {f"{name}_{term}": weight for term, weight in WEIGHTS[name].items()}
        assert weights == pytest.approx(expected)
        assert sum(weights.values()) == pytest.approx(1.0)
        together = get_task("h1_multitask").reward_weights()
        assert {key: together[key] for key in weights} == weights

    def test_overrides(self):
        task = get_task("h1_multitask").with_overrides(
            {
                "commands": {"goal": {"ranges": {"button_z": [0.9, 1.2]}}},
                "rewards": {"button_right_arm": 0.0},
            }
        )
        ranges = task.commands["goal"].params["ranges"]
        assert ranges["button_z"] == [0.9, 1.2]
        assert ranges["button_y"] == [-0.5, 0.5]
        assert task.rewards["button_right_arm"].weight == 0.0


class TestStarts:
    """Where things are when an episode starts, from many draws."""

    @pytest.fixture
    def points(self, make_task):
        """Handled thing and target of many episodes, each ``(64, 3)``."""

        def draw(task_id):
            env = make_task(task_id, num_envs=64)
            found = env.state.commands["goal"].points(env.state)
            return found[:, 0], found[:, 1]

        return draw

    def within(self, values, low, high):
        low, high = torch.tensor(low), torch.tensor(high)
        assert (values >= low - 1e-5).all() and (values <= high + 1e-5).all()
        spread = values.amax(dim=0) - values.amin(dim=0)
        assert (spread >= 0.8 * (high - low) - 1e-5).all()

    def test_button(self, points):
        button, _ = points("h1_button")
        self.within(button, [1.455, -0.5, 0.8], [1.455, 0.5, 1.2])

    def test_ball(self, points):
        ball, goal = points("h1_ball")
        self.within(ball, [0.5, -0.3, 0.1], [1.0, 0.3, 0.1])
        self.within(goal, [5.0, -2.0, 0.0], [5.0, 2.0, 0.5])

    def test_box_and_its_goal_on_the_table(self, points):
        box, goal = points("h1_box")
        self.within(box, [0.55, -0.3, 1.05], [0.65, 0.3, 1.05])
        assert goal[:, 1].abs().max() <= 0.7 + 1e-6  # the whole cube on a table 1.5 m wide
        assert ((goal - box)[:, 0] >= -1e-6).all() and ((goal - box)[:, 0] <= 0.1 + 1e-6).all()
        assert (goal[:, 2] - 1.05).abs().max() < 1e-6

    def test_transfer(self, points):
        box, goal = points("h1_transfer")
        self.within(box, [0.55, -0.3, 1.05], [0.65, 0.3, 1.05])
        self.within(goal, [-0.65, -0.3, 1.05], [-0.55, 0.3, 1.05])

    def test_lift(self, points):
        panel, goal = points("h1_lift")
        self.within(panel, [0.5, -0.05, 0.5], [0.7, 0.05, 0.5])
        self.within(goal - panel, [0.0, 0.0, 0.3], [0.0, 0.0, 0.6])

    def test_carry(self, points):
        panel, goal = points("h1_carry")
        self.within(goal - panel, [0.3, -0.3, 0.3], [1.0, 0.3, 0.6])

    def test_masses(self, make_task):
        for task, thing, low, high in (
            ("h1_lift", "panel", 0.1, 2.0),
            ("h1_ball", "ball", 0.3, 0.5),
        ):
            mass = make_task(task, num_envs=64).state.objects.mass(thing)
            self.within(mass[:, None], [low], [high])


class TestRewards:
    """By hand for the standing robot; errors are mean absolute ones."""

    def test_reach(self, make_task):
        fixed = {}
        for side, wrist in zip(("left", "right"), WRISTS, strict=True):
            fixed |= {f"reach_{side}_{axis}": float(wrist[i]) for i, axis in enumerate("xyz")}
        env = make_task("h1_reach_task", fixed=fixed)
        assert reward(env, "reach_wrists") == pytest.approx(1.0, abs=2e-3)
        fixed["reach_left_x"] += 0.6
        env = make_task("h1_reach_task", fixed=fixed)
        assert reward(env, "reach_wrists") == pytest.approx(math.exp(-4 * 0.1), abs=2e-3)

    def test_button(self, make_task, renew):
        env = make_task("h1_button", fixed={"button_y": 0.2135, "button_z": 1.0676})
        error = (1.455 - 0.2985) / 3
        assert reward(env, "button_left_wrist") == pytest.approx(math.exp(-4 * error), abs=2e-3)
        assert reward(env, "button_right_arm") == pytest.approx(1.0)
        env.sim.qpos[:, env.state.joint_slices[0].stop - 1] += 0.4  # right elbow
        renew(env)
        assert reward(env, "button_right_arm") == pytest.approx(math.exp(-4 * 0.1), abs=1e-4)
        env.sim.qpos[:, env.state.joint_slices[0].stop - 5] += 0.4  # left elbow
        renew(env)
        assert reward(env, "button_right_arm") == pytest.approx(math.exp(-4 * 0.1), abs=1e-4)

    def test_cabinet(self, make_task):
        env = make_task("h1_cabinet", fixed={"cabinet_angle": 0.25})
        assert reward(env, "cabinet_doors") == pytest.approx(math.exp(-1.0), abs=1e-5)
        points = env.state.commands["goal"].points(env.state)[0]
        error = (WRISTS - points[2:]).abs().mean().item()
        assert reward(env, "cabinet_wrists") == pytest.approx(math.exp(-4 * error), abs=2e-3)

    def test_ball(self, make_task, put):
        env = make_task("h1_ball", fixed={"ball_goal_y": 1.0, "ball_goal_z": 0.1})
        put(env, "ball", 2.0, -1.0, 0.1)
        assert reward(env, "ball_base") == pytest.approx(math.exp(-4 * 1.5), rel=1e-3)
        assert reward(env, "ball_goal") == pytest.approx(math.exp(-5 / 3), rel=1e-3)

    def test_box_lift_and_carry(self, make_task, put):
        env = make_task("h1_box", fixed={"box_x": -0.4, "box_y": 0.0, "box_goal_dx": 0.0})
        goal = env.state.commands["goal"].points(env.state)[0, 1]
        put(env, "cube", goal[0] - 0.3, goal[1], goal[2])
        assert reward(env, "box_target") == pytest.approx(math.exp(-4 * 0.1), rel=1e-3)
        env = make_task("h1_lift", fixed={"lift_goal_dz": 0.5})
        assert reward(env, "lift_height") == pytest.approx(math.exp(-4 * 0.5), rel=1e-3)
        fixed = {"carry_goal_dx": 0.6, "carry_goal_dy": 0.3, "carry_goal_dz": 0.3}
        env = make_task("h1_carry", fixed=fixed)
        assert reward(env, "carry_target") == pytest.approx(math.exp(-4 * 0.4), rel=1e-3)
        put(env, "panel", 0.2985, 0.0, 1.0676)
        # Wrists 0.2135 m to the sides of a panel whose sides are 0.05 m out.
        expected = math.exp(-4 * 0.1635 / 3)
        assert reward(env, "carry_wrists") == pytest.approx(expected, abs=2e-3)

    def test_a_step_pays_per_step_and_at_most_one(self, make_task):
        env = make_task("h1_multitask", num_envs=16)
        step = env.step(torch.zeros(16, 19))
        assert env.task.rewards_per_step
        total = torch.zeros(16)
        for term in filter(lambda term: term.weight, env.task.rewards.values()):
            value = term.func(env.state, **term.params)
            assert (value >= 0.0).all() and (value <= 1.0).all()
            total += term.weight * value
        torch.testing.assert_close(step.reward, total)
        assert (step.reward > 0.0).all() and (step.reward <= 1.0).all()
        # Per second instead: the control period comes in.
        slow = make_task("h1_multitask", num_envs=16, rewards_per_step=False)
        torch.testing.assert_close(slow.step(torch.zeros(16, 19)).reward, step.reward * 0.02)

    def test_other_tasks_pay_nothing(self, make_task):
        env = make_task("h1_multitask", num_envs=16)
        goal = env.state.commands["goal"]
        for name, term in env.task.rewards.items():
            if not term.weight:
                continue
            paid = term.func(env.state, **term.params) > 0.0
            assert torch.equal(paid, goal.plays(name.split("_")[0])), name


class TestSuccess:
    """At states built by hand."""

    def test_reach_needs_to_hold(self, make_task):
        fixed = {}
        for side, wrist in zip(("left", "right"), WRISTS, strict=True):
            fixed |= {f"reach_{side}_{axis}": float(wrist[i]) for i, axis in enumerate("xyz")}
        fixed["reach_left_x"] += 0.27  # over six coordinates 0.045
        env = make_task("h1_reach_task", fixed=fixed)
        goal = judge(env, 0.48)
        assert goal.error.item() == pytest.approx(0.045, abs=1e-3)
        assert goal.done.all() and not goal.succeeded.any()
        assert judge(env).succeeded.all()
        fixed["reach_left_x"] += 0.06
        assert not judge(make_task("h1_reach_task", fixed=fixed), 1.0).done.any()

    def test_a_break_starts_the_clock_again(self, make_task, put):
        env = make_task("h1_lift", fixed={"lift_goal_dz": 0.5})
        x, y, z = env.state.commands["goal"].points(env.state)[0, 1].tolist()
        put(env, "panel", x, y, z - 0.04)
        assert not judge(env, 0.4).succeeded.any()
        put(env, "panel", x, y, z - 0.06)
        assert judge(env).done_time.item() == 0.0
        put(env, "panel", x + 1.0, y, z)  # only the height counts
        assert not judge(env, 0.4).succeeded.any()
        assert judge(env, 0.1).succeeded.all()

    def test_button_is_measured_in_space(self, make_task):
        env = make_task("h1_button", fixed={"button_y": 0.0, "button_z": 1.0})
        wrist = env.state.wrist_pos[0, 0]
        for offset, done in ((0.028, True), (0.030, False)):  # times sqrt(3): 0.0485, 0.052
            place = wrist + torch.tensor([0.02, 0.0, 0.0]) + offset
            env.state.objects.place("button", torch.arange(1), place[None])
            env.sim.forward(torch.arange(1))
            env.state.reset(torch.arange(1))
            assert judge(env).done.item() is done
            assert judge(env).error.item() == pytest.approx(offset * math.sqrt(3), abs=1e-5)

    def test_cabinet_takes_the_mean_of_both_doors(self, make_task, renew):
        env = make_task("h1_cabinet")
        for left, right, done in ((0.0, 0.19, True), (0.02, 0.19, False), (1.0, 0.0, False)):
            for name, angle in (("left_door", left), ("right_door", right)):
                env.state.objects.open_hinge(name, torch.arange(1), torch.tensor([angle]))
            renew(env)
            assert judge(env).done.item() is done

    def test_a_ball_needs_no_holding(self, make_task, put):
        env = make_task("h1_ball", fixed={"ball_goal_y": 0.0, "ball_goal_z": 0.1})
        put(env, "ball", 4.4, 0.0, 0.1)
        assert not judge(env, 1.0).succeeded.any()
        put(env, "ball", 4.6, 0.0, 0.1)
        assert judge(env).succeeded.all()
        put(env, "ball", 3.0, 0.0, 0.1)
        goal = judge(env)
        assert goal.succeeded.all() and not goal.done.any()

    @pytest.mark.parametrize("task", ["h1_box", "h1_transfer"])
    def test_a_box_must_lie_on_the_table(self, make_task, put, task):
        env = make_task(task)
        x, y, z = env.state.commands["goal"].points(env.state)[0, 1].tolist()
        put(env, "cube", x + 0.1, y, z)
        assert judge(env, 0.5).succeeded.all()
        env = make_task(task)
        put(env, "cube", x + 0.2, y, z)  # a mean error of 0.067 m
        assert not judge(env, 0.6).done.any()
        put(env, "cube", x, y, z + 0.1)  # near enough, but in the air
        goal = judge(env, 0.6)
        assert goal.error.item() < 0.05 and not goal.done.any()

    def test_carry(self, make_task, put):
        env = make_task("h1_carry")
        x, y, z = env.state.commands["goal"].points(env.state)[0, 1].tolist()
        put(env, "panel", x - 0.29, y, z)
        assert judge(env, 0.5).succeeded.all()
        put(env, "panel", x - 0.31, y, z)
        assert not judge(env).done.any()

    def test_what_an_episode_reports(self, make_task, tip_over):
        """Three robots whose wrists are in place; one falls, one only starts to hold."""
        fixed = {}
        for side, wrist in zip(("left", "right"), WRISTS, strict=True):
            fixed |= {f"reach_{side}_{axis}": float(wrist[i]) for i, axis in enumerate("xyz")}
        env = make_task("h1_reach_task", num_envs=2, fixed=fixed, episode_length_s=0.6)
        for _ in range(29):
            assert not env.step(torch.zeros(2, 19)).log
        tip_over(env, 1)
        log = env.step(torch.zeros(2, 19)).log
        assert log["metric/success"].tolist() == [1.0, 0.0]
        assert log["metric/fell"].tolist() == [0.0, 1.0]
        assert log["metric/success_at_end"].tolist() == [1.0, 0.0]
        assert log["metric/error"][0].item() < 0.05
        assert not env.state.commands["goal"].succeeded.any()  # forgotten with the episode


class TestEnds:
    @pytest.mark.parametrize(
        ("task", "bodies"),
        {
            "h1_reach_task": {"pelvis", "torso", "shoulder", "elbow"},
            "h1_button": {"pelvis", "torso", "shoulder", "hip", "knee"},
            "h1_cabinet": {"pelvis", "torso", "shoulder", "hip", "knee"},
            "h1_ball": {"pelvis", "torso", "shoulder", "elbow", "hip"},
            "h1_box": {"pelvis", "torso", "shoulder"},
            "h1_transfer": {"pelvis", "torso", "shoulder"},
            "h1_lift": {"pelvis", "torso", "hip", "knee"},
            "h1_carry": {"pelvis", "torso", "hip", "knee"},
        }.items(),
    )
    def test_bodies_that_must_not_touch(self, task, bodies):
        named = {
            "left_shoulder_roll": "shoulder",
            "left_forearm": "elbow",
            "left_hip_roll": "hip",
            "left_thigh": "hip",
            "left_shank": "knee",
        }
        found = set(get_task(task).contact_bodies)
        left = {body for body in found if not body.startswith("right")}
        assert {named.get(body, body) for body in left} == bodies
        assert {body.replace("left", "right") for body in left} | left == found

    def test_the_torso_against_the_wall(self, make_task, stand_at):
        env = make_task("h1_button")
        assert not env.step(torch.zeros(1, 19)).terminated.any()
        stand_at(env, x=1.41)  # the chest 5 mm within the wall, arms through it
        assert env.step(torch.zeros(1, 19)).terminated.all()

    def test_hands_may_touch_the_wall(self, make_task, stand_at):
        env = make_task("h1_button")
        stand_at(env, x=1.145)  # forearms 4 mm within the wall
        for _ in range(3):
            assert not env.step(torch.zeros(1, 19)).terminated.any()

    def test_only_the_task_s_own_bodies_count(self, make_task, put):
        """A cube on the thigh ends a ball's episode, not a transfer's."""
        env = make_task("h1_multitask", num_envs=12, seed=3)
        thigh = env.sim.data(0).body("left_thigh").xpos
        put(env, "cube", float(thigh[0]) + 0.09, float(thigh[1]), float(thigh[2]) - 0.2)
        task = env.state.commands["goal"].task.clone()
        ended = env.step(torch.zeros(12, 19)).terminated
        minding = ("button", "cabinet", "ball", "lift", "carry")
        expected = [TASKS[int(index)] in minding for index in task]
        assert ended.tolist() == expected
        assert len(set(expected)) == 2

    def test_falls_end_every_task(self, make_task, tip_over):
        env = make_task("h1_multitask", num_envs=8)
        tip_over(env, *range(8))
        assert env.step(torch.zeros(8, 19)).terminated.all()


class TestMultitask:
    def test_all_tasks_are_drawn_alike(self, make_task):
        env = make_task("h1_multitask", num_envs=16, seed=1)
        goal = env.state.commands["goal"]
        counts = torch.zeros(8)
        for _ in range(40):
            env.reset()
            counts += torch.bincount(goal.task, minlength=8)
        assert counts.min() > 50  # 80 of 640 on average
        assert counts.max() < 115

    def test_only_the_things_of_the_task_are_there(self, make_task):
        env = make_task("h1_multitask", num_envs=16, seed=1)
        goal = env.state.commands["goal"]
        params = env.task.commands["goal"].params["tasks"]
        used = {task.index: set(task.objects) for task in params}
        for i in range(16):
            data = env.sim.data(i)
            for name in env.task.objects:
                parked = data.body(name).xpos[2] > 50.0
                assert parked == (name not in used[int(goal.task[i])]), name

    def test_only_what_is_parked_is_weightless(self, make_task):
        """Also in later episodes, when what was in use before has been parked again."""
        env = make_task("h1_multitask", num_envs=16, seed=1)
        goal = env.state.commands["goal"]
        for _ in range(3):
            for name in env.state.objects.free:
                weightless = env.sim.model_field("body_gravcomp")[:, env.sim.model.body(name).id]
                parked = env.sim.read("xpos")[:, env.sim.model.body(name).id, 2] > 50.0
                assert torch.equal(weightless, parked.double()), name
            before = goal.task.clone()
            env.reset()
            assert not torch.equal(before, goal.task)

    def test_scenes_are_those_of_the_task_alone(self, make_task):
        env = make_task("h1_multitask", num_envs=16, seed=1)
        goal = env.state.commands["goal"]
        for index, name in enumerate(TASKS):
            rows = goal.plays(name).nonzero().flatten()
            if not rows.numel():
                continue
            row = int(rows[0])
            drawn = {k: float(goal.column(k)[row]) for k in DRAWN[name]}
            alone = make_task(EIGHT[name], fixed=drawn)
            expected = alone.state.commands["goal"].vector(alone.state)[0]
            torch.testing.assert_close(goal.vector(env.state)[row], expected, atol=1e-5, rtol=0)
            assert goal.task[row] == index

    def test_metrics_of_each_task(self, make_task):
        env = make_task("h1_multitask", num_envs=16, seed=1, episode_length_s=0.04)
        env.reset()
        task = env.state.commands["goal"].task.clone()
        first = env.step(torch.zeros(16, 19))
        log = env.step(torch.zeros(16, 19)).log
        assert not first.log
        for index, name in enumerate(TASKS):
            for kind in ("success", "error", "fell", "return"):
                measured = ~log[f"metric/{kind}/{name}"].isnan()
                assert torch.equal(measured, task == index), (kind, name)
        for index, name in enumerate(TASKS):
            plays = task == index
            expected = log["episode/return"][plays]
            torch.testing.assert_close(log[f"metric/return/{name}"][plays], expected)

    def test_going_on_from_a_saved_state(self, make_task):
        env = make_task("h1_multitask", num_envs=8, episode_length_s=0.2)
        twin = make_task("h1_multitask", num_envs=8, seed=9, episode_length_s=0.2)
        generator = torch.Generator().manual_seed(0)
        actions = torch.randn(20, 8, 19, generator=generator)
        for action in actions[:7]:
            env.step(action)
        twin.set_state(env.get_state())
        for action in actions[7:]:  # over the end of the episodes, into new ones
            one, two = env.step(action), twin.step(action)
            assert torch.equal(one.reward, two.reward)
            for group in one.obs:
                assert torch.equal(one.obs[group], two.obs[group]), group
