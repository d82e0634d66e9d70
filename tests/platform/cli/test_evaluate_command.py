"""``stridelab evaluate``: files of grids and maps, and where they are kept."""

import json

import imageio.v3 as iio
import pytest
from mlflow import MlflowClient

from stridelab.cli.main import main
from stridelab.tracking.store import default_uri, open_store


@pytest.fixture
def stridelab(tmp_path, monkeypatch, capsys):
    """Run the command line in an empty folder."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["stridelab", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return run


GRID = ["--robustness", "--push", "0,1", "--friction", "1", "--payload", "0,0.2"]
FEW = ["--episodes", "2", "--cell-episodes", "1"]


def test_results_of_a_run_are_kept_with_it(stridelab, tiny_bundle, tmp_path):
    uri = default_uri(tmp_path / "runs")
    store = open_store(uri, "tiny", tmp_path / "runs")
    run_id = (
        MlflowClient(uri)
        .create_run(MlflowClient(uri).get_experiment_by_name("tiny").experiment_id)
        .info.run_id
    )
    store.log_artifact(run_id, tiny_bundle, "policy")
    store.close()
    code, out, err = stridelab("evaluate", run_id, "--tracking-uri", uri, *GRID, *FEW, "--json")
    assert code == 0, err
    assert json.loads(out)["episodes"] == 2
    grid = json.loads((tmp_path / "here/evaluation/robustness.json").read_text())
    assert grid["axes"] == {"push": [0.0, 1.0], "friction": [1.0], "payload": [0.0, 0.2]}
    assert len(grid["cells"]) == 4
    assert grid["cells"][0]["metrics"]["episode/survival_rate"] in (0.0, 1.0)
    assert iio.imread(tmp_path / "here/evaluation/robustness.png").ndim == 3
    kept = {file.path for file in MlflowClient(uri).list_artifacts(run_id, "evaluation")}
    names = ("evaluation.json", "robustness.json", "robustness.png")
    assert kept == {f"evaluation/{name}" for name in names}
    assert "task biped_walk does not randomise push" in err


def test_the_task_can_be_changed(stridelab, tiny_bundle):
    short = "task.episode_length_s=0.1"
    code, out, err = stridelab("evaluate", tiny_bundle, short, *FEW[:2], "--json")
    assert code == 0, err
    longest = stridelab("evaluate", tiny_bundle, *FEW[:2], "--json")[1]
    assert json.loads(out)["length"] == 5.0
    assert json.loads(longest)["length"] > 5.0


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--command-errors"], "task biped_walk has no command"),
        (["--push", "1"], "--push, --friction and --payload are for --robustness"),
        (["--robustness", "--push", "a"], '--push: must be numbers with commas between, got "a"'),
        (["train.env_steps=5"], 'override "train.env_steps=5": only the task can be changed'),
        (
            ["task.episode_length=5"],
            'override "task.episode_length=5": unknown task setting "episode_length"; did you mean',
        ),
        (["--robustness", "--friction=-1"], "--friction: must be finite and at least 0"),
    ],
)
def test_mistakes_are_one_line_and_nothing_is_made(
    stridelab, tiny_bundle, tmp_path, arguments, line
):
    code, out, err = stridelab("evaluate", tiny_bundle, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {line}")
    assert err.count("\n") == 1
    assert not list((tmp_path / "here").iterdir())
