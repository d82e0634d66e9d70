import json

import pytest
import requests
from mlflow.exceptions import MlflowException

from stridelab.tracking.outbox import Outbox
from stridelab.tracking.spool import Spool


def drain(spool):
    seen = []
    while spool.pending:
        seen.append(next(spool.peek())["n"])
        spool.pop()
    return seen


class TestSpool:
    def test_records_leave_in_their_order_and_the_file_goes_with_the_last(self, tmp_path):
        spool = Spool(tmp_path / "spool", "me")
        for n in range(3):
            spool.append({"n": n})
        assert list(spool.peek()) == [{"n": 0}, {"n": 1}, {"n": 2}]
        spool.pop()
        spool.append({"n": 3})
        assert spool.pending == 3
        assert drain(spool) == [1, 2, 3]
        assert list(tmp_path.glob("spool/*.jsonl")) == []
        spool.append({"n": 4})
        assert drain(spool) == [4]

    def test_an_unused_spool_makes_no_folder(self, tmp_path):
        assert list(Spool(tmp_path / "spool", "me").peek()) == []
        assert not (tmp_path / "spool").exists()

    def test_files_of_a_dead_process_are_taken_over(self, tmp_path):
        (tmp_path / "me-dead.jsonl").write_text('{"n": 1}\n{"n": 2}\n{"n": 3, "torn')
        (tmp_path / "other-dead.jsonl").write_text('{"n": 9}\n')
        spool = Spool(tmp_path, "me")
        assert spool.pending == 2
        assert not (tmp_path / "me-dead.jsonl").exists()
        assert drain(spool) == [1, 2]
        assert (tmp_path / "other-dead.jsonl").exists()

    def test_the_file_of_a_living_process_is_left_alone(self, tmp_path):
        first = Spool(tmp_path, "me")
        first.append({"n": 1})
        second = Spool(tmp_path, "me")
        assert second.pending == 0
        assert drain(first) == [1]

    def test_what_was_sent_is_not_read_again(self, tmp_path):
        spool = Spool(tmp_path, "me")
        for n in range(5):
            spool.append({"n": n})
        spool.pop(3)
        spool._file.close()  # the process dies, its lock goes
        successor = Spool(tmp_path, "me")
        successor.append({"n": 5})
        assert drain(successor) == [3, 4, 5]

    def test_a_file_whose_first_line_is_torn_is_read_from_its_start(self, tmp_path):
        (tmp_path / "me-dead.jsonl").write_text('{"unse\n{"n": 1}\n{"n": 2}\n')
        assert drain(Spool(tmp_path, "me")) == [1, 2]

    def test_copies_live_as_long_as_their_record(self, tmp_path):
        policy = tmp_path / "policy"
        policy.mkdir()
        (policy / "policy.json").write_text("{}")
        spool = Spool(tmp_path / "spool", "me")
        copy = spool.keep_copy(policy)
        spool.append({"n": 1, "copy": copy})
        assert (tmp_path / "spool" / copy / "policy.json").read_text() == "{}"
        spool.pop()
        assert list((tmp_path / "spool" / "files").iterdir()) == []

    def test_rejected_records_and_their_copies_stay(self, tmp_path):
        spool = Spool(tmp_path / "spool", "me")
        file = tmp_path / "a.txt"
        file.write_text("a")
        copy = spool.keep_copy(file)
        spool.append({"n": 1, "copy": copy})
        spool.reject(next(spool.peek()), "no such run")
        spool.pop(keep_copies=True)
        kept = json.loads((tmp_path / "spool" / "rejected.jsonl").read_text())
        assert kept == {"reason": "no such run", "n": 1, "copy": copy}
        assert (tmp_path / "spool" / copy).read_text() == "a"
        assert Spool(tmp_path / "spool", "me").pending == 0


class Server:
    """Takes records, unless it is away or chokes on one of them."""

    def __init__(self):
        self.got = []
        self.calls = 0
        self.is_up = True
        self.errors = {}  # record number -> error

    def take(self, request):
        [record] = request
        self.calls += 1
        if not self.is_up:
            raise ConnectionError("refused")
        if record["n"] in self.errors:
            raise self.errors[record["n"]]
        self.got.append(record["n"])


@pytest.fixture
def clock(monkeypatch):
    """A clock the test sets; sleeping moves it."""

    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

        def sleep(self, seconds):
            self.now += seconds

    clock = Clock()
    monkeypatch.setattr("stridelab.tracking.outbox.time", clock)
    return clock


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def outbox(tmp_path, server):
    return Outbox(server.take, lambda: server.is_up, Spool(tmp_path, "me"))


def send(outbox, *numbers):
    for n in numbers:
        outbox.send({"op": "text", "n": n})


class TestOutbox:
    def test_nothing_is_lost_or_reordered_while_the_server_is_away(self, outbox, server, clock):
        send(outbox, 1)
        server.is_up = False
        send(outbox, 2, 3, 4)
        assert server.got == [1]
        assert outbox.spool.pending == 3
        server.is_up = True
        clock.now += 200
        send(outbox, 5)
        assert server.got == [1, 2, 3, 4, 5]
        assert outbox.spool.pending == 0

    def test_a_server_that_is_away_is_asked_seldom(self, outbox, server, clock):
        server.is_up = False
        send(outbox, 0)
        assert server.calls == 3  # two short retries
        assert clock.now - 1000.0 == pytest.approx(0.5)
        for n in range(1, 100):
            send(outbox, n)
        assert server.calls == 3
        assert outbox.is_away
        clock.now += 5.1
        send(outbox, 100)
        assert server.calls == 6
        clock.now += 5.1  # the pause has doubled
        assert not outbox.flush()
        assert server.calls == 6
        assert not outbox.flush(now=True)
        assert server.calls == 9

    def test_a_hanging_server_is_not_tried_three_times(self, outbox, server, clock):
        def hang(request):
            server.calls += 1
            clock.now += 10
            raise ConnectionError("timed out")

        outbox._execute = hang
        send(outbox, 1)
        assert server.calls == 1

    def test_a_short_fault_is_not_noticed(self, outbox, server, clock):
        server.errors[1] = ConnectionError("reset")
        clock.sleep = lambda seconds: server.errors.clear()
        send(outbox, 1)
        assert server.got == [1]
        assert outbox.spool.pending == 0

    def test_refused_records_are_put_aside_at_once(self, outbox, server, clock, tmp_path):
        server.errors[1] = ValueError("odd record")
        send(outbox, 1, 2)
        assert server.calls == 2
        assert server.got == [2]
        assert json.loads((tmp_path / "rejected.jsonl").read_text())["n"] == 1

    def test_a_record_the_server_chokes_on_does_not_hold_back_the_others(
        self, outbox, server, clock
    ):
        server.errors[1] = MlflowException("internal error")
        send(outbox, 1, 2)
        for _ in range(2):
            clock.now += 200
            assert not outbox.flush()
        assert server.got == []
        clock.now += 200
        assert outbox.flush()
        assert server.got == [2]

    @pytest.mark.parametrize("is_wrapped", [False, True])
    def test_a_busy_server_does_not_choke(self, outbox, server, clock, is_wrapped):
        """It answers small requests, and this one too late: for longer than with a real error."""

        def late(request):
            try:
                raise requests.ConnectionError("read timed out")
            except requests.ConnectionError as error:
                if is_wrapped:  # as MLflow does
                    raise MlflowException("no answer") from error
                raise

        take, outbox._execute = outbox._execute, late
        send(outbox, 1)
        for _ in range(11):
            clock.now += 200
            assert not outbox.flush()
        outbox._execute = take
        clock.now += 200
        assert outbox.flush()
        assert server.got == [1]

    def test_an_answer_with_an_error_is_no_silence(self, outbox, server, clock, tmp_path):
        """MLflow turns 500 from a server into an error of its retries."""

        def fail(request):
            try:
                raise requests.exceptions.RetryError("too many 500 error responses")
            except requests.exceptions.RetryError:
                raise MlflowException("gave up")  # noqa: B904 - as MLflow does

        outbox._execute = fail
        send(outbox, 1)
        for _ in range(3):
            clock.now += 200
            outbox.flush()
        assert json.loads((tmp_path / "rejected.jsonl").read_text())["n"] == 1

    def test_replay_stops_after_its_budget(self, outbox, server, clock):
        server.is_up = False
        send(outbox, *range(10))
        server.is_up = True
        take = server.take

        def slow(request):
            clock.now += 1.0
            take(request)

        outbox._execute = slow
        clock.now += 200
        assert not outbox.flush(budget_s=2.5)
        assert server.got == [0, 1, 2]
        assert outbox.flush(budget_s=100)
        assert server.got == list(range(10))


class TestDrain:
    """Sending all at the end, after a time in which the server was away."""

    @pytest.fixture
    def away(self, outbox, server, clock):
        server.is_up = False
        send(outbox, *range(10))
        return outbox

    def test_goes_on_as_long_as_records_are_taken(self, away, server, clock):
        server.is_up = True
        take = server.take

        def slow(request):
            clock.now += 20.0
            take(request)

        away._execute = slow
        assert away.drain(patience_s=30.0)
        assert server.got == list(range(10))
        assert clock.now > 1200.0

    def test_a_server_that_is_still_away_is_asked_once(self, away, server, clock):
        start, calls = clock.now, server.calls
        assert not away.drain(patience_s=30.0)
        assert server.calls == calls + 3  # with the two short retries
        assert clock.now - start < 1.0

    def test_a_server_that_falls_silent_is_given_time(self, away, server, clock):
        server.is_up = True
        take = server.take

        def moody(request):
            if request[0]["n"] == 4 and clock.now < 1020.0:
                raise ConnectionError("reset")
            take(request)

        away._execute = moody
        assert away.drain(patience_s=30.0)
        assert server.got == list(range(10))

    def test_patience_ends(self, away, server, clock):
        server.is_up = True
        take = server.take

        def silent(request):
            if request[0]["n"] == 4:
                raise ConnectionError("reset")
            take(request)

        away._execute = silent
        away._answers = lambda: False
        start = clock.now
        assert not away.drain(patience_s=30.0)
        assert server.got == [0, 1, 2, 3]
        assert away.spool.pending == 6
        assert 30.0 < clock.now - start < 35.0
