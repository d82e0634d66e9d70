import os

import pytest
from mlflow import MlflowClient

from stridelab.tracking.store import default_uri, open_store

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


class Site:
    """A storage folder with its SQLite tracking store."""

    def __init__(self, folder):
        self.folder = folder
        self.uri = default_uri(folder)
        self.client = MlflowClient(self.uri)

    def open(self, experiment="walk"):
        return open_store(self.uri, experiment, self.folder)

    def run(self, run_id):
        return self.client.get_run(run_id)

    def history(self, run_id, name):
        points = self.client.get_metric_history(run_id, name)
        return sorted((point.step, point.value) for point in points)

    def artifacts(self, run_id, folder=None):
        return {file.path for file in self.client.list_artifacts(run_id, folder)}

    def runs(self, experiment):
        found = self.client.get_experiment_by_name(experiment)
        return self.client.search_runs([found.experiment_id])


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """One store for all tests of this room: making its tables takes more than a second."""
    return Site(tmp_path_factory.mktemp("storage folder"))
