"""A cluster that exists only in this process."""

import asyncio
from types import SimpleNamespace

import pytest
from ray.job_submission import JobStatus


class FakeClient:
    """What ``JobSubmissionClient`` does, by script.

    Attributes:
        jobs: Submission id to details.
        connections: What each connection to the log yields in turn; exceptions are raised. The
            last one stays for all that follow.
        statuses: Status that each question finds in turn; the last one stays.
        logs: The whole log, or an exception.
    """

    silence = object()
    """In a connection: the stream stays open and says nothing."""

    def __init__(self):
        self.jobs = {}
        self.connections = [[]]
        self.statuses = []
        self.logs = ""
        self.submitted = []
        self.deleted = []
        self.tails = 0

    def add(self, submission_id, status, digest=None, **details):
        metadata = {} if digest is None else {"stridelab.experiment": digest}
        self.jobs[submission_id] = SimpleNamespace(
            status=JobStatus(status),
            metadata=metadata,
            **{"driver_exit_code": None, "message": None} | details,
        )

    def get_address(self):
        return "http://cluster:8265"

    def get_job_info(self, submission_id):
        if self.statuses:
            status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
            if isinstance(status, Exception):
                raise status
            self.jobs[submission_id].status = JobStatus(status)
        if submission_id not in self.jobs:
            raise RuntimeError(
                f"Request failed with status code 404: Job {submission_id} does not exist."
            )
        return self.jobs[submission_id]

    def get_job_logs(self, submission_id):
        if isinstance(self.logs, Exception):
            raise self.logs
        return self.logs

    async def tail_job_logs(self, submission_id):
        index = min(self.tails, len(self.connections) - 1)
        self.tails += 1
        for item in self.connections[index]:
            if item is self.silence:
                await asyncio.sleep(3600.0)
            elif isinstance(item, Exception):
                raise item
            else:
                yield item

    def delete_job(self, submission_id):
        assert self.jobs[submission_id].status.is_terminal()
        del self.jobs[submission_id]
        self.deleted.append(submission_id)
        return True

    def submit_job(self, **options):
        assert options["submission_id"] not in self.jobs
        self.submitted.append(options)
        return options["submission_id"] or "raysubmit_1"


@pytest.fixture
def client():
    return FakeClient()
