"""Parts that installed packages add: by name, loaded late, refused in one line."""

from dataclasses import replace
from importlib.metadata import EntryPoint

import pytest
import torch

from stridelab_envs import plugins, robots
from stridelab_envs.errors import ConfigError, UserError
from stridelab_envs.mdp import term_registry
from stridelab_envs.mdp.term_registry import register_term, registered_term, term_names
from stridelab_envs.mdp.terms import ObservationTerm, RandomizationTerm, RewardTerm, StateTerm
from stridelab_envs.plugins import Registry
from stridelab_envs.registry import get_task, make_env
from stridelab_envs.robots import BUILT_IN, get_robot, register_robot, robot_names

GROUPS = ("robots", "rewards", "observations", "terminations", "randomization")


@pytest.fixture
def install(monkeypatch):
    """Declare entry points, as installed packages would; every registry starts afresh."""
    found = []

    def entry_points(*, group):
        return [entry for entry in found if entry.group == group]

    monkeypatch.setattr(plugins, "entry_points", entry_points)
    fresh = Registry("robot", "stridelab.robots")
    for spec in BUILT_IN:
        fresh.register(spec.name, spec)
    monkeypatch.setattr(robots, "_robots", fresh)
    tables = {
        kind: replace(table, functions=Registry(table.functions.kind, table.functions.group))
        for kind, table in term_registry._TABLES.items()
    }
    monkeypatch.setattr(term_registry, "_TABLES", tables)

    def declare(group, name, value):
        assert group in GROUPS
        found.append(EntryPoint(name, f"{__name__}:{value}", f"stridelab.{group}"))

    return declare


def named(name):
    return replace(get_robot("biped17"), name=name)


ACME = replace(BUILT_IN[0], name="acme")


class TestRegistry:
    def test_nothing_is_imported_to_list_names(self, install):
        install("robots", "ghost", "nowhere.at.all")
        assert "ghost" in robot_names()

    def test_a_package_that_cannot_be_imported_spoils_only_its_own(self, install):
        install("robots", "ghost", "missing")
        assert get_robot("h1").name == "h1"
        with pytest.raises(UserError) as error:
            get_robot("ghost")
        assert str(error.value).startswith(f'robot "ghost" of ({__name__}:missing) cannot be')
        assert "AttributeError" in str(error.value)

    def test_a_folder_that_hides_a_package_is_named(self, monkeypatch, tmp_path):
        (tmp_path / "acme_terms").mkdir()  # the project, beside the experiments
        monkeypatch.syspath_prepend(str(tmp_path))
        entry = EntryPoint("calm", "acme_terms:calm", "stridelab.rewards")
        monkeypatch.setattr(plugins, "entry_points", lambda *, group: [entry])
        with pytest.raises(UserError, match=r"the folder \S*acme_terms is taken for the package"):
            Registry("reward", "stridelab.rewards").find("calm")

    def test_two_packages_with_one_name(self, install):
        install("robots", "acme", "ACME")
        install("robots", "acme", "other")
        with pytest.raises(
            UserError, match=r'"acme" is registered already; .*:other needs another'
        ):
            robot_names()

    def test_an_entry_listed_twice_is_one(self, install):
        install("robots", "acme", "ACME")
        install("robots", "acme", "ACME")
        assert robot_names().count("acme") == 1

    def test_a_name_of_an_installed_part_is_taken(self, install):
        install("robots", "acme", "ACME")
        robot_names()
        with pytest.raises(ValueError, match='"acme" is registered already'):
            register_robot(named("acme"))

    def test_origin(self):
        [entry] = [e for e in plugins.entry_points(group="console_scripts") if e.name == "pytest"]
        registry = Registry("script", "console_scripts")
        assert registry.origin(entry.name) == f"package pytest ({entry.value})"
        assert registry.origin("none") == "this program"


class TestRobots:
    def test_registered(self, install):
        register_robot(named("stilts"))
        assert get_robot("stilts").num_joints == 17
        assert "stilts" in robot_names()

    def test_installed(self, install):
        install("robots", "acme", "ACME")
        assert get_robot("acme") is ACME
        env = make_env(replace(get_task("biped_walk"), robot="acme"), num_envs=1, seed=0)
        assert env.robot is ACME

    def test_taken(self, install):
        with pytest.raises(ValueError, match='a robot called "h1" is registered already'):
            register_robot(named("h1"))

    @pytest.mark.parametrize(("value", "got"), [("ACME", "acme"), ("named", "function")])
    def test_something_else(self, install, value, got):
        install("robots", "other", value)
        with pytest.raises(UserError, match=f'RobotSpec with name="other", got {got}$'):
            get_robot("other")


def lean(state, limit=0.5, joint="left_knee"):
    return state.base_quat[:, 1].clamp(-limit, limit)


def tall(state, height=9.0):
    return state.base_pos[:, 2] > height


def shove(state, ids, speed=0.2):
    state.sim.qvel[ids, 0] += speed


def height(state, offset=0.0):
    return state.base_pos[:, 2:] - offset


def demanding(state, limit):
    return state.base_pos[:, 2]


def no_state(limit=1.0):
    return limit


class TestTerms:
    def test_a_reward_is_added_by_naming_it(self, install):
        install("rewards", "lean", "lean")
        task = get_task("biped_walk").with_overrides({"rewards": {"lean": -0.5}})
        assert task.rewards["lean"] == RewardTerm(
            func=lean, weight=-0.5, params={"limit": 0.5, "joint": "left_knee"}
        )
        env = make_env(task, num_envs=2, seed=0, num_threads=1)
        plain = make_env(get_task("biped_walk"), num_envs=2, seed=0, num_threads=1)
        reward, without = (e.step(torch.ones(2, 17)).reward for e in (env, plain))
        expected = -0.5 * lean(env.state) * 0.02
        assert expected.abs().min() > 1e-6
        torch.testing.assert_close(reward - without, expected, rtol=1e-3, atol=1e-6)

    def test_it_stays_with_a_preset_and_takes_settings(self, install):
        install("rewards", "lean", "lean")
        changes = {"preset": "v6", "lean": {"weight": 2.0, "limit": 0.1, "clip": [0.0, 1.0]}}
        term = get_task("biped_walk").with_overrides({"rewards": changes}).rewards["lean"]
        assert (term.weight, term.params["limit"], term.clip) == (2.0, 0.1, (0.0, 1.0))

    def test_other_tables(self, install):
        install("observations", "height", "height")
        install("terminations", "tall", "tall")
        install("randomization", "shove", "shove")
        task = get_task("biped_walk").with_overrides(
            {
                "observations": {"policy": {"height": {"scale": 2.0}}},
                "terminations": {"tall": {"height": 0.1}},
                "randomization": {"shove": {"speed": 1.0}},
            }
        )
        assert task.terminations["tall"] == StateTerm(func=tall, params={"height": 0.1})
        assert task.randomization["shove"] == RandomizationTerm(func=shove, params={"speed": 1.0})
        added = task.observations["policy"]["height"]
        assert added == ObservationTerm(func=height, params={"offset": 0.0}, scale=2.0)
        env = make_env(task, num_envs=1, seed=0, num_threads=1)
        assert env.layouts["policy"]["height"] == slice(48, 49)
        assert env.sim.qvel[0, 0] > 0.9
        assert env.step(torch.zeros(1, 17)).terminated.all()

    def test_without_being_named_nothing_changes(self, install):
        install("rewards", "lean", "lean")
        assert "lean" not in get_task("biped_walk").with_overrides({}).rewards

    def test_an_unknown_name_lists_those_of_packages_too(self, install):
        install("rewards", "lean", "lean")
        with pytest.raises(
            ConfigError, match='unknown reward "laen"; did you mean "lean"'
        ) as error:
            get_task("biped_walk").with_overrides({"rewards": {"laen": 1.0}})
        assert "upright" in error.value.message

    def test_an_unknown_parameter(self, install):
        install("rewards", "lean", "lean")
        with pytest.raises(ConfigError, match=r'rewards\.lean\.limt: .*did you mean "limit"'):
            get_task("biped_walk").with_overrides({"rewards": {"lean": {"limt": 1.0}}})

    def test_registered_by_function(self, install):
        register_term("reward", "lean", lean)
        assert term_names("reward") == ["lean"]
        with pytest.raises(ValueError, match="registered already"):
            register_term("reward", "lean", tall)

    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            ("demanding", 'its parameter "limit" needs a default'),
            ("no_state", "must take state first"),
            ("GROUPS", "must be a function, got tuple"),
        ],
    )
    def test_a_wrong_form(self, install, value, reason):
        install("rewards", "odd", value)
        with pytest.raises(UserError, match=reason):
            registered_term("reward", "odd")
