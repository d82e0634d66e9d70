"""The page of ``compare`` as a reader has it: clicked, tabbed through, on laptop and phone."""

import numpy as np
import pytest

from stridelab.compare.analysis import compare
from stridelab.compare.collect import Collection, Group, History, Run
from stridelab.compare.page import write_page

LAPTOP, PHONE = {"width": 1366, "height": 768}, {"width": 390, "height": 844}

SCREENS = [(size, theme) for size in (LAPTOP, PHONE) for theme in ("light", "dark")]
TERMS = ("forward_velocity", "upright", "foot_slip", "action_rate")


def make_run(configuration, seed, best):
    noise = np.random.default_rng([configuration, seed])
    steps = np.linspace(1e5, 5e6, 40)
    values = best * (1.0 - np.exp(-steps / 1.5e6)) + noise.normal(0.0, 12.0, steps.shape)
    metrics = {"episode/return": float(values[-1]), "eval/survival_rate": best / 400.0}
    metrics |= {f"reward/{term}": best / 100.0 * (0.5 - k / 4) for k, term in enumerate(TERMS)}
    return Run(
        run_id=f"{configuration:016x}{seed:016x}",
        name=f"{configuration}-{seed}",
        seed=str(seed),
        score=float(values[-1]),
        metrics=metrics,
        params={
            "task.rewards.foot_slip": str(-0.1 * configuration),
            "algorithm.learning_rate": str(1e-4 * 2 ** (configuration % 5)),
        },
        history=History(steps=steps, seconds=steps / 9000.0, values=values),
    )


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A page with twelve configurations of five seeds."""
    groups = []
    for configuration in range(12):
        label = (
            "baseline"
            if configuration == 0
            else f"task.rewards.foot_slip={-0.1 * configuration:.1f} "
            f"algorithm.learning_rate={1e-4 * 2 ** (configuration % 5):.1e}"
        )
        best = 150.0 + 15.0 * configuration
        groups.append(
            Group(
                label=label,
                experiment="slip",
                study="slip",
                assignment=label,
                is_baseline=configuration == 0,
                runs=tuple(make_run(configuration, seed, best) for seed in range(5)),
            )
        )
    metric = "episode/return"
    collection = Collection(
        title="slip", metric=metric, curve_metric=metric, groups=tuple(groups), notes=()
    )
    path = tmp_path_factory.mktemp("page") / "compare.html"
    write_page(compare(collection), path)
    return path.as_uri()


@pytest.fixture
def open_page(browser, address):
    """Open the page; at the end it must have asked the network for nothing, and said nothing."""
    asked, said, contexts = [], [], []

    def visit(size=LAPTOP, theme="light", **options):
        context = browser.new_context(viewport=size, color_scheme=theme, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(address)
        return page

    yield visit
    assert {url.partition("#")[0] for url in asked} == {address}
    assert said == []
    for context in contexts:
        context.close()


CONTRASTS = """() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => [r, g, b]
    .map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
  const ground = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = rgb(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const worst = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || ["SCRIPT", "STYLE", "title"].includes(node.tagName)) continue;
    const style = getComputedStyle(node);
    const ink = rgb(node instanceof SVGElement ? style.fill : style.color);
    const [light, dark] = [luminance(ink), luminance(ground(node))].sort((a, b) => b - a);
    worst.push([(light + 0.05) / (dark + 0.05), node.textContent.trim().slice(0, 40)]);
  }
  return worst.sort((a, b) => a[0] - b[0])[0];
}"""


@pytest.mark.parametrize(("size", "theme"), SCREENS)
def test_it_fits_and_can_be_read(open_page, keep_screenshot, size, theme):
    page = open_page(size, theme)
    keep_screenshot(page, f"compare_{size['width']}_{theme}", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    ratio, text = page.evaluate(CONTRASTS)
    assert ratio >= 4.5, text  # WCAG AA
    smallest = page.evaluate(
        "Math.min(...[...document.querySelectorAll('svg text')]"
        ".map((t) => t.getBoundingClientRect().height).filter((height) => height > 0))"
    )
    assert smallest >= 9.0  # pixels


def test_dark_is_dark(open_page):
    ground = "getComputedStyle(document.body).backgroundColor"
    light, dark = (open_page(theme=theme).evaluate(ground) for theme in ("light", "dark"))
    assert sum(map(int, light[4:-1].split(","))) > 600
    assert sum(map(int, dark[4:-1].split(","))) < 150


def test_a_mouse_sorts_tables_and_switches_curves(open_page):
    page = open_page()
    table = page.locator("#scores table")
    first = table.locator("tbody th").first
    best = first.inner_text()
    gap = table.get_by_role("button", name="optimality gap")
    gap.click()
    assert first.inner_text() == best  # the least gap first
    gap.click()
    assert first.inner_text() == "baseline"
    curves = page.locator('.chart [data-series="1"]')
    assert curves.count() == 2
    switch = page.locator('button[data-toggle="1"]')
    switch.click()
    assert not any(curve.is_visible() for curve in curves.all())
    switch.click()
    assert all(curve.is_visible() for curve in curves.all())
    page.get_by_text("more to switch on").click()
    hidden = page.locator('button[aria-pressed="false"]').first
    rank = hidden.get_attribute("data-toggle")
    hidden.click()
    assert page.locator(f'.chart [data-series="{rank}"]').first.is_visible()


def test_links_lead_to_their_sections(open_page):
    page = open_page()
    for link in page.locator("nav a").all():
        link.click()
        name = link.get_attribute("href")
        page.wait_for_function(  # it scrolls smoothly
            "(name) => document.querySelector(name).getBoundingClientRect().top < innerHeight",
            arg=name,
        )


def test_points_of_curves_have_tooltips(open_page):
    page = open_page()
    marks = page.locator("#curves .chart").first.locator('[data-series="1"] title')
    texts = marks.all_text_contents()
    assert len(texts) > 3
    assert all("M steps, n = 5" in text for text in texts)
    mark = page.locator('#curves [data-series="1"] .hit + .mark').nth(2)
    width = "(node) => getComputedStyle(node).strokeWidth"
    assert mark.evaluate(width) == "0.8px"
    mark.hover()
    assert mark.evaluate(width) == "1.6px"


def test_everything_is_reached_and_done_with_keys(open_page):
    page = open_page()
    page.keyboard.press("Tab")
    skip = page.evaluate("document.activeElement.textContent")
    assert skip == "Skip to the results"
    assert page.locator(".skip").bounding_box()["x"] >= 0  # seen while it has the focus
    wanted = page.evaluate(
        "[...document.querySelectorAll('a, button, summary, [tabindex=\"0\"]')]"
        ".filter((node) => node.checkVisibility()).length"
    )
    seen, outlined = 1, 1
    for _ in range(wanted + 5):
        page.keyboard.press("Tab")
        active = page.evaluate(
            "[document.activeElement].map((a) => [a.tagName, getComputedStyle(a).outlineStyle])[0]"
        )
        if active[0] == "BODY":
            break
        seen += 1
        outlined += active[1] != "none"
    assert seen == outlined == wanted
    page.locator("#scores thead button").nth(1).focus()
    page.keyboard.press("Enter")
    assert page.locator("#scores th[aria-sort]").inner_text().strip() == "configuration"
    page.locator('button[data-toggle="2"]').focus()
    page.keyboard.press("Space")
    assert not page.locator('.chart [data-series="2"]').first.is_visible()
    page.locator("#runs summary").focus()
    page.keyboard.press("Enter")
    assert page.locator("#runs table").is_visible()
    page.locator("#runs .scroll").focus()
    assert page.locator("#runs .scroll").evaluate("(node) => node === document.activeElement")


def test_configurations_differ_by_more_than_colour(open_page, keep_screenshot):
    page = open_page()
    looks = page.evaluate(
        """[...document.querySelectorAll('#curves .chart')[0].querySelectorAll('.series')]
        .filter((curve) => !curve.classList.contains('off')).map((curve) => [
          curve.querySelector('.line').getAttribute('stroke-dasharray'),
          curve.querySelector('.mark').tagName,
          (curve.querySelector('.mark').getAttribute('d') || '').replace(/[-\\d. ]+/g, ' '),
          curve.querySelector('.end').textContent].join())"""
    )
    assert len(looks) == 9  # the eight best and the baseline
    assert len(set(looks)) == 9
    page.context.new_cdp_session(page).send(
        "Emulation.setEmulatedVisionDeficiency", {"type": "achromatopsia"}
    )
    keep_screenshot(page, "compare_without_colour", full_page=True)


def test_it_fits_a_laptop_at_400_percent(open_page):
    page = open_page({"width": 320, "height": 200})  # what WCAG asks of reflow
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
