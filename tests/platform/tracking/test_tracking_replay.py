"""Spooled records go out in few requests, whole, once and in their order."""

import json
from collections import Counter

import pytest

from stridelab.tracking.outbox import Outbox
from stridelab.tracking.requests import requests_of
from stridelab.tracking.spool import Spool


def metrics(run, step, count=1):
    return {
        "op": "batch",
        "run": run,
        "metrics": {f"reward/{index}": float(step) for index in range(count)},
        "step": step,
        "time": 1000 + step,
    }


def params(run, **values):
    return {"op": "batch", "run": run, "params": values}


def tags(run, **values):
    return {"op": "batch", "run": run, "tags": values}


def finish(run):
    return {"op": "status", "run": run, "status": "FINISHED"}


def sizes(records):
    return [len(request) for request in requests_of(records)]


class TestRequests:
    def test_records_of_a_run_go_together_in_their_order(self):
        records = [metrics(run, step) for step in range(3) for run in ("a", "b")]
        assert requests_of(records) == [records[0::2], records[1::2]]

    def test_what_is_no_batch_goes_alone_and_after_all_before_it(self):
        records = [metrics("a", 1), metrics("b", 1), finish("a"), metrics("b", 2)]
        assert requests_of(records) == [records[:1], records[1:2]]
        assert requests_of(records[2:]) == [records[2:3]]
        assert requests_of([]) == []

    def test_a_request_has_at_most_1000_metrics(self):
        assert sizes([metrics("a", step, count=300) for step in range(7)]) == [3, 3, 1]
        assert sizes([metrics("a", step, count=1000) for step in range(2)]) == [1, 1]

    def test_a_request_has_at_most_100_params_and_100_tags(self):
        forty = [{f"p{group}_{index}": "x" for index in range(40)} for group in range(3)]
        assert sizes([params("a", **values) for values in forty]) == [2, 1]
        assert sizes([tags("a", **values) for values in forty]) == [2, 1]
        assert sizes([params("a", **forty[0]), tags("a", **forty[1]), params("a", x="1")]) == [3]

    def test_a_request_has_at_most_1000_values_of_all_kinds(self):
        ten, eleven = (dict.fromkeys("abcdefghijk"[:count], "1") for count in (10, 11))
        assert sizes([metrics("a", 1, count=990), params("a", **ten)]) == [2]
        assert sizes([metrics("a", 1, count=990), params("a", **eleven)]) == [1, 1]

    def test_a_request_stays_below_a_megabyte(self):
        long = [params("a", **{f"p{group}_{i}": "ü" * 6000 for i in range(20)}) for group in (0, 1)]
        assert sizes(long) == [1, 1]

    def test_two_values_of_one_parameter_do_not_go_together(self):
        assert sizes([params("a", x="1", y="1"), params("a", x="2"), metrics("a", 1)]) == [1, 2]

    def test_of_two_values_of_a_tag_the_later_counts(self):
        assert sizes([tags("a", x="1"), tags("a", x="2")]) == [2]


class Server:
    """Keeps what it takes once, as MLflow does; refuses a request with a bad step as a whole."""

    def __init__(self):
        self.got = Counter()
        self.order = {}
        self.requests = 0
        self.errors = []  # of the next requests, None for none
        self.bad = {}  # step -> error
        self.limit = 10**9

    def take(self, request):
        self.requests += 1
        if self.errors and (error := self.errors.pop(0)) is not None:
            raise error
        if len(request) > self.limit:
            raise ConnectionError("read timed out")
        for record in request:
            if record["step"] in self.bad:
                raise self.bad[record["step"]]
        for record in request:
            self.order.setdefault(record["run"], []).append(record["step"])
            self.got[record["run"], record["step"]] += 1

    def steps(self, run):
        return list(dict.fromkeys(self.order.get(run, [])))


class Died(BaseException):
    """The process is killed here."""


RUNS, STEPS = "abc", 50


@pytest.fixture(autouse=True)
def _no_delays(monkeypatch):
    monkeypatch.setattr("stridelab.tracking.outbox._RETRY_DELAYS_S", ())
    monkeypatch.setattr("stridelab.tracking.outbox._FIRST_PAUSE_S", 0.0)


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def spooled(tmp_path, server):
    """An outbox with 150 records of three runs in turn, whose server is back."""
    outbox = Outbox(server.take, lambda: True, Spool(tmp_path, "me"))
    for step in range(STEPS):
        for run in RUNS:
            outbox.spool.append(metrics(run, step, count=40))
    return outbox


def test_a_replay_takes_few_requests(spooled, server):
    assert spooled.flush(60.0)
    assert server.requests == len(RUNS) * 2  # 50 records of 40 metrics are two requests
    assert set(server.got.values()) == {1}
    assert all(server.steps(run) == list(range(STEPS)) for run in RUNS)


@pytest.mark.parametrize("after", range(6))
def test_a_replay_that_is_cut_loses_nothing(spooled, server, tmp_path, after):
    """The process dies while a request is on its way; whether it arrived nobody knows."""
    spooled.spool.append(finish("a"))
    server.errors = [None] * after + [Died()]
    with pytest.raises(Died):
        spooled.flush(60.0)
    spooled.spool._file.close()  # the lock of a dead process goes
    taken = []
    server.errors, server.take = [], server.take
    successor = Outbox(
        lambda request: (
            taken.append("end") if request[0]["op"] == "status" else server.take(request)
        ),
        lambda: True,
        Spool(tmp_path, "me"),
    )
    assert successor.flush(60.0)
    assert set(server.got) == {(run, step) for run in RUNS for step in range(STEPS)}
    assert all(server.steps(run) == list(range(STEPS)) for run in RUNS)
    assert taken == ["end"]
    assert list(tmp_path.glob("*.jsonl")) == []


def test_what_was_sent_before_the_cut_is_not_sent_again(spooled, server, tmp_path, monkeypatch):
    monkeypatch.setattr("stridelab.tracking.outbox._WINDOW", 30)
    server.errors = [None] * 6 + [Died()]  # two windows of three requests
    with pytest.raises(Died):
        spooled.flush(60.0)
    spooled.spool._file.close()
    successor = Outbox(server.take, lambda: True, Spool(tmp_path, "me"))
    assert successor.spool.pending == len(RUNS) * STEPS - 60
    assert successor.flush(60.0)
    assert set(server.got.values()) == {1}
    assert len(server.got) == len(RUNS) * STEPS


def test_a_request_that_failed_is_sent_again_and_no_other(spooled, server):
    server.errors = [None, None, ConnectionError("reset")]
    assert not spooled.flush(60.0)
    assert spooled.flush(60.0, now=True)
    assert set(server.got.values()) == {1}
    assert all(server.steps(run) == list(range(STEPS)) for run in RUNS)


def test_only_the_record_that_is_refused_is_left_out(spooled, server, tmp_path):
    server.bad = {17: ValueError("odd")}
    assert spooled.flush(60.0)
    lines = (tmp_path / "rejected.jsonl").read_text().splitlines()
    assert sorted((one["run"], one["step"]) for one in map(json.loads, lines)) == [
        (run, 17) for run in RUNS
    ]
    left = [step for step in range(STEPS) if step != 17]
    assert all(server.steps(run) == left for run in RUNS)


def test_a_server_that_needs_long_gets_less_at_a_time(spooled, server):
    server.limit = 7
    assert spooled.drain(patience_s=5.0)
    assert set(server.got.values()) == {1}
    assert all(server.steps(run) == list(range(STEPS)) for run in RUNS)
