"""Environment steps to a threshold, by hand."""

import numpy as np
import pytest

from stridelab.compare.analysis import compare
from stridelab.compare.collect import History, collect
from stridelab.compare.threshold import reached


def history(*values):
    steps = 100.0 * np.arange(1, len(values) + 1)
    return History(steps=steps, seconds=steps, values=np.array(values))


def test_first_value_at_least_as_good_counts_even_if_it_is_lost_again():
    found = reached([history(0.0, 2.0, 1.0, 3.0), history(3.0), history(0.0, 1.9)], 2.0, "max")
    assert found.steps == (200.0, 100.0, None)
    assert (found.n, found.median) == (2, 200.0)


def test_lower_can_be_better():
    assert reached([history(3.0, 2.0, 1.0)], 2.0, "min").steps == (200.0,)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([(5.0,), (5.0,), (0.0,), (0.0,)], None),  # half of them: there is no middle
        ([(5.0,), (0.0,), (0.0,)], None),
        ([(5.0,), (0.0, 5.0)], 150.0),
        ([()], None),
    ],
)
def test_median_counts_who_never_reached_it_as_later_than_any(values, expected):
    assert reached([history(*one) for one in values], 1.0, "max").median == expected


def test_every_configuration_says_when(studies):
    collection = collect(studies.uri, [studies.parent], "episode/return")
    found = compare(collection, threshold=3.0)
    # Half of the final score after 200 steps, the whole after 300.
    by_label = {row.group.label: row.reached for row in found.rows}
    assert by_label["rewards=v7"].steps == (200.0, 200.0, 200.0)
    assert sorted(by_label["rewards=v6"].steps, key=str) == [200.0, 200.0, 300.0, None]
    assert by_label["baseline"].n == 2
    record = found.record()
    assert (record["threshold"], record["threshold_metric"]) == (3.0, "episode/return")
    assert record["configurations"][0]["steps_to_threshold"] == {
        "median": 200.0, "reached": 3, "runs": [200.0, 200.0, 200.0],
    }  # fmt: skip
    assert compare(collection).record()["configurations"][0]["steps_to_threshold"] is None
