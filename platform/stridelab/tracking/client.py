"""How this package connects to MLflow."""

from __future__ import annotations

import os

from mlflow import MlflowClient

# MLflow's own defaults (7 retries, 120 s each, doubling pauses) would hold the Tune loop for
# minutes; what is not sent at once is spooled instead. A user's own settings win.
_DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


def connect(uri: str) -> MlflowClient:
    """Return a client of the store at ``uri``; a server is first asked when it is needed."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    return MlflowClient(uri, registry_uri=uri)
