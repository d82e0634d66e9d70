"""The page: complete in itself, well-formed, readable without colour and with a keyboard."""

import dataclasses
import html
import itertools
import json
import re
import subprocess
from html.parser import HTMLParser
from importlib.resources import files

import pytest

from stridelab.compare.page import render, write_page

VOID = {"meta", "link", "br", "wbr", "img", "input", "hr"}


class Page(HTMLParser):
    """Tags with attributes in their order; fails when they do not nest."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def all(self, *names):
        return [(tag, attributes) for tag, attributes in self.tags if tag in names]


@pytest.fixture(scope="module", params=["versions", "grid"])
def text(request):
    return render(request.getfixturevalue(request.param))


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def test_loads_nothing(text, page):
    assert "http" not in re.sub(r"http-equiv|http://www\.w3\.org/2000/svg", "", text)
    assert not page.all("link", "img", "iframe", "object", "base")
    assert not [attributes for _, attributes in page.tags if "src" in attributes]
    assert "url(" not in text
    assert "@import" not in text


def test_has_title_language_and_headings_in_order(page):
    assert dict(page.all("html")[0][1])["lang"] == "en"
    assert len(page.all("title")) >= 1
    levels = [int(tag[1]) for tag, _ in page.all("h1", "h2", "h3")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_links_lead_somewhere_and_ids_are_single(page):
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.all("a"):
        assert attributes["href"].removeprefix("#") in ids
    named = [a["aria-labelledby"] for _, a in page.tags if "aria-labelledby" in a]
    assert set(named) <= set(ids)


def test_charts_have_words(page):
    charts = [a for _, a in page.all("svg") if a.get("aria-hidden") != "true"]
    assert len(charts) >= 4
    assert all(a["role"] == "img" and len(a["aria-label"]) > 10 for a in charts)


def test_tables_are_sorted_by_buttons_and_scrolled_by_keys(page):
    columns = [a for tag, a in page.all("th") if a.get("scope") == "col"]
    assert all(a["scope"] in ("col", "row") for _, a in page.all("th"))
    headings = [a for _, a in page.all("button") if "data-toggle" not in a]
    assert len(headings) == len(columns)
    assert sum("aria-sort" in a for a in columns) == len(page.all("table"))
    regions = [a for _, a in page.all("div") if a.get("class") == "scroll"]
    assert len(regions) == len(page.all("table"))
    assert all(a["tabindex"] == "0" and a["role"] == "region" for a in regions)


def test_all_numbers_are_there(versions):
    text = html.unescape(re.sub(r"<[^>]*>", " ", render(versions)))
    assert "rewards=v7 is first with 8.000" in text
    assert "A run of it beats one of the baseline (2.5) with probability 1.0." in text
    assert "n < 4 for 1 of 3 configurations" in text
    assert "only parameter that differs" in text


def test_names_are_text_and_not_markup(versions):
    evil = '<script>alert("x")</script>'
    row = versions.rows[0]
    group = dataclasses.replace(row.group, label=evil)
    bad = dataclasses.replace(
        versions,
        title=evil,
        rows=(dataclasses.replace(row, group=group), *versions.rows[1:]),
        notes=(evil,),
    )
    text = render(bad)
    Page(text)
    assert evil not in text
    assert text.count("<script>") == 1


def test_one_configuration_is_enough(versions):
    alone = dataclasses.replace(versions, rows=versions.rows[:1], baseline=None, importances=())
    text = render(alone)
    Page(text)
    assert "rewards=v7 scores 8.000" in text


def test_many_curves_start_hidden(grid):
    text = render(grid)
    assert text.count('aria-pressed="true"') == 8
    assert "4 more to switch on" in text
    assert len(re.findall(r'class="series c\d off"', text)) == 8  # 4 in each chart


def luminance(colour):
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_contrast_is_that_of_wcag_aa(theme):
    css = (files("stridelab.compare") / "assets" / "page.css").read_text()
    light, dark = re.findall(r":root \{(.*?)\}", css, re.S)
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", light if theme == "light" else dark))
    for ground in ("card", "page"):
        for ink in ("ink", "muted", "accent"):
            assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
    assert contrast(colours["ink"], colours["note"]) >= 4.5
    series = [name for name in colours if name.startswith("series")]
    assert len(series) == 8
    for name in series:  # numbers at the ends of curves are text
        assert contrast(colours[name], colours["card"]) >= 4.5, name


CLICKS = """
<script>
const report = {};
const table = document.querySelector("#scores table");
const names = () => [...table.tBodies[0].rows].map((row) => row.cells[1].textContent).join();
const press = (column) => table.tHead.rows[0].cells[column].querySelector("button").click();
press(1); report.name = names(); press(1); report.turned = names();
press(2); report.score = names(); report.sorted = table.tHead.rows[0].cells[2].ariaSort;
press(6); report.best = names(); press(6); report.last = names();
const shown = () => [...document.querySelectorAll('.chart [data-series="2"]')].map(
  (curve) => getComputedStyle(curve).display !== "none").join();
const toggle = document.querySelector('button[data-toggle="2"]');
report.before = shown(); toggle.click(); report.after = shown();
report.pressed = toggle.getAttribute("aria-pressed");
report.wide = document.documentElement.scrollWidth <= innerWidth;
document.title = JSON.stringify(report);
</script>
"""


@pytest.mark.render
def test_clicks_in_a_browser(versions, chromium, tmp_path):
    file = tmp_path / "page.html"
    file.write_text(render(versions).replace("</body>", CLICKS + "</body>"))
    browser = subprocess.run(
        [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=390,844",
         f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", file.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    title = re.search(r"<title>(\{.*?\})</title>", browser.stdout)
    assert title, browser.stderr[-500:]
    assert json.loads(html.unescape(title[1])) == {
        "name": "baseline,rewards=v6,rewards=v7",
        "turned": "rewards=v7,rewards=v6,baseline",
        "score": "rewards=v7,rewards=v6,baseline",
        "sorted": "descending",
        # The best has no chance against itself and stands last in both orders.
        "best": "rewards=v6,baseline,rewards=v7",
        "last": "baseline,rewards=v6,rewards=v7",
        "before": "true,true",
        "after": "false,false",
        "pressed": "false",
        "wide": True,
    }


def test_written_in_one_step(versions, tmp_path):
    write_page(versions, tmp_path / "new" / "page.html")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["page.html"]
