"""Scales, numbers and the geometry of charts."""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from stridelab.compare.analysis import Band
from stridelab.compare.charts import (
    Bar,
    BarGroup,
    IntervalRow,
    Series,
    _spread,
    bars,
    curves,
    intervals,
)
from stridelab.compare.marks import colour, dashes, marker, sample
from stridelab.compare.scales import count_unit, fit, number, ticks, time_unit


def test_scale_ends_at_round_ticks():
    scale = fit([3.0, 97.0], 0.0, 200.0)
    assert (scale.low, scale.high) == (0.0, 100.0)
    assert ticks(scale) == [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]
    assert scale(25.0) == 50.0
    assert [round(tick, 12) for tick in ticks(fit([-0.03, 0.011], 0.0, 1.0))] == [
        -0.03, -0.02, -0.01, 0.0, 0.01, 0.02,
    ]  # fmt: skip


@pytest.mark.parametrize("value", [0.0, 5.0, -1e-9, 1e12])
def test_a_single_value_lies_inside(value):
    scale = fit([value, value], 10.0, 20.0)
    assert 10.0 <= scale(value) <= 20.0
    assert len(ticks(scale)) >= 2


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (12.345, "12.35"),
        (-1.5, "\u22121.5"),
        (123456.0, "123500"),
        (9.99996, "10"),
        (1.5e7, "1.5e7"),
        (0.00001234, "1.234e\u22125"),
    ],
)
def test_numbers(value, text):
    assert number(value) == text


def test_padded_numbers_keep_zeros():
    assert number(72.0, 3, padded=True) == "72.0"
    assert number(0.2, 2, padded=True) == "0.20"
    assert number(1104.0, padded=True) == "1104"


def test_units():
    assert time_unit(90.0) == ("s", 1.0)
    assert time_unit(600.0) == ("min", 60.0)
    assert time_unit(9000.0) == ("h", 3600.0)
    assert [count_unit(n)[0] for n in (100, 5e4, 5e7)] == ["", "k", "M"]


def test_fifty_configurations_look_different():
    looks = {(colour(k), dashes(k), re.sub(r"[\d.]+", "", marker(k, 0, 0))) for k in range(1, 51)}
    assert len({sample(k) for k in range(1, 51)}) == 50
    assert len({dashes(k) for k in range(1, 51)}) == 5
    assert len(looks) > 40


def test_texts_are_moved_apart_and_stay_on_the_chart():
    assert _spread([50.0, 20.0], 10.0, 0.0, 100.0) == [50.0, 20.0]
    close = _spread([50.0, 50.0, 51.0], 10.0, 0.0, 100.0)
    assert np.diff(sorted(close)).min() >= 10.0 - 1e-9
    assert close[2] == max(close)
    assert _spread([2.0, 1.0], 10.0, 5.0, 100.0) == [15.0, 5.0]
    assert _spread([99.0, 99.0], 10.0, 0.0, 100.0) == [90.0, 100.0]


def parsed(svg):
    return ElementTree.fromstring(svg)


def test_curves_draw_line_band_markers_and_number():
    x, one = np.array([0.0, 5e6, 1e7]), np.ones(3)
    two = Band(x=x, middle=2 * one, low=one, high=3 * one, n=3)
    single = Band(x=x, middle=one, low=one, high=one, n=1)
    chart = parsed(
        curves(
            [
                Series(rank=1, label="a<b", band=two),
                Series(rank=2, label="c", band=single, shown=False),
            ],
            values=(0.0, 4.0),
            about="About & more",
            ylabel="return",
            xlabel="steps [M]",
            unit=1e6,
            each="M steps",
        )
    )
    assert chart.attrib["role"] == "img"
    assert chart.attrib["aria-label"] == "About & more"
    second, first = (g for g in chart if "series" in g.get("class", ""))  # the first lies on top
    assert (first.get("data-series"), second.get("data-series")) == ("1", "2")
    assert "off" in second.get("class")
    assert len(first.findall("path[@class='band']")) == 1
    assert not second.findall("path[@class='band']")
    line = first.find("path[@class='line']").get("d")
    assert line == "M46.0 121.0L201.0 121.0L356.0 121.0"  # 2 of 0..4 is half way up 216..26
    titles = [title.text for title in first.iter("title")]
    assert titles[-1] == "1 a<b: 2.000 [1.000, 3.000] at 10 M steps, n = 3"
    assert first.findall("text")[-1].text == "1"


def test_intervals_stand_on_the_scale():
    rows = [
        IntervalRow(rank=1, label="x" * 90, point=8.0, low=7.0, high=9.0, n=2, values=(7.0, 9.0)),
        IntervalRow(rank=2, label="one", point=0.0, low=0.0, high=0.0, n=1),
    ]
    chart = parsed(intervals(rows, about="", xlabel="return", reference=5.0, whole=(0.0, 10.0)))
    first, second = chart.findall("g")
    # 0..10 lies on 12..368: 35.6 a unit
    assert first.find("path[@class='interval']").get("d").startswith("M261.2 ")
    assert [dot.get("cx") for dot in first.findall("circle[@class='run']")] == ["261.2", "332.4"]
    assert chart.find("path[@class='reference']").get("d").startswith("M190.0 ")
    label, value = (text.text for text in first.findall("text"))
    assert value == "8.000 [7.000, 9.000]"
    assert len(label) + len(value) <= 62
    assert "x" * 90 in first.find("title").text
    assert second.findall("text")[1].text == "0"


def test_bars_start_at_zero():
    groups = [BarGroup(label="up", bars=(Bar(value=2.0, text="2"), Bar(value=-2.0, text="-2")))]
    chart = parsed(bars(groups, about="", xlabel=""))
    right, left = chart.findall("rect")
    zero = float(chart.find("path[@class='zero']").get("d")[1:].split()[0])
    assert float(right.get("x")) == zero
    assert float(left.get("x")) + float(left.get("width")) == pytest.approx(zero, abs=0.11)
    assert left.get("width") == right.get("width")
