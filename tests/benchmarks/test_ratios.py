"""Is anything slower than it was? Quick benchmarks against stored ratios; minutes.

``make test-benchmarks`` runs this on a machine that does nothing else, and
``pytest tests/benchmarks -m benchmark --rewrite-ratios`` stores what it measures.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from stridelab.bench import suites
from stridelab.bench.guard import judge, read_ratios, rewrite_ratios

STORED_IN = Path(__file__).with_name("ratios.json")
STORED = read_ratios(STORED_IN)
SIZE = suites.Size(num_envs=256, num_threads=2, rounds=3)  # names of ratios do not depend on it
SUITES = {
    "physics": suites.physics_suite(SIZE),
    "env": suites.env_suite(SIZE),
    "train": suites.train_suite(SIZE, quick=True),
}

pytestmark = pytest.mark.benchmark


@pytest.fixture(scope="module")
def measure(request):
    """Run a benchmark once, and store its ratios if asked to."""
    records = {}

    def measured(benchmark):
        if benchmark not in records:
            code = "from stridelab.cli.bench import app; app()"
            command = [sys.executable, "-c", code, benchmark, "--quick", "--json"]
            result = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=300)
            assert result.stdout, f"bench {benchmark} ended with exit code {result.returncode}"
            records[benchmark] = json.loads(result.stdout)
            if request.config.getoption("--rewrite-ratios"):
                rewrite_ratios(STORED_IN, benchmark, records[benchmark]["ratios"])
        return records[benchmark]

    return measured


@pytest.mark.parametrize(
    ("benchmark", "name"), [(b, name) for b, ratios in STORED.items() for name in ratios]
)
def test_a_ratio_has_not_dropped(measure, request, benchmark, name):
    record = measure(benchmark)
    if request.config.getoption("--rewrite-ratios"):
        return
    verdict = judge(SUITES[benchmark], name, STORED[benchmark][name], record)
    if verdict.skipped:
        pytest.skip(verdict.skipped)
    assert not verdict.failure, verdict.failure


def test_every_ratio_is_stored():
    assert {b: set(ratios) for b, ratios in STORED.items()} == {
        name: set(suite.ratios) for name, suite in SUITES.items()
    }
