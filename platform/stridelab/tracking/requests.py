"""Which records of the spool go to the server in one request."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from stridelab.tracking.names import METRICS_PER_BATCH, PARAMS_PER_BATCH
from stridelab.tracking.spool import Record

_VALUES_PER_REQUEST = 1000
"""Most metrics, parameters and tags together (MAX_ENTITIES_PER_BATCH of MLflow 3)."""
_TEXT_PER_REQUEST = 200_000
"""Most characters in parameters and tags: a request has at most 1 MB, in up to 4 bytes each."""

Request = list[Record]
"""Records of one run, or a single one."""


def requests_of(records: Iterable[Record]) -> list[Request]:
    """Group the first records into as few requests as MLflow's limits allow.

    Records of one run stay in their order; between runs it does not matter, but what is no batch,
    such as the creation of a run, comes after all that was before it.

    Returns:
        Requests with all records up to the first that is no batch, or with that one alone.
    """
    requests: list[_Filling] = []
    newest: dict[str, _Filling] = {}  # by run
    for record in records:
        if record["op"] != "batch":
            if not requests:
                return [[record]]
            break
        request = newest.get(record["run"])
        if request is None or not request.take(record):
            request = newest[record["run"]] = _Filling()
            requests.append(request)
            request.take(record)
    return [request.records for request in requests]


@dataclass
class _Filling:
    """A request to which records are still added."""

    records: Request = field(default_factory=list)
    metrics: int = 0
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def take(self, record: Record) -> bool:
        """Add a record if it fits; the first one always does."""
        metrics = self.metrics + len(record.get("metrics", {}))
        new = record.get("params", {})
        params, tags = {**self.params, **new}, {**self.tags, **record.get("tags", {})}
        texts = [*params.items(), *tags.items()]
        fits = (
            metrics <= METRICS_PER_BATCH
            and max(len(params), len(tags)) <= PARAMS_PER_BATCH
            and metrics + len(texts) <= _VALUES_PER_REQUEST
            and sum(len(name) + len(value) for name, value in texts) <= _TEXT_PER_REQUEST
            # Another value of a parameter is refused: alone, not with what was right.
            and self.params.keys().isdisjoint(new)
        )
        if self.records and not fits:
            return False
        self.records.append(record)
        self.metrics, self.params, self.tags = metrics, params, tags
        return True
