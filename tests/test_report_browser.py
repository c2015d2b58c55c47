"""The report's page in a browser: the installed Chromium, driven by playwright (the extra `browser`)."""

import shutil

import pandas as pd
import pytest
from records_fixture import make_run, write_lines

from gsbench.extras import install
from gsbench.report import make_report

api = pytest.importorskip("playwright.sync_api", reason=f"playwright is not installed: {install('browser')}")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if CHROMIUM is None:
    pytest.skip("no chromium on PATH: apt-get install chromium", allow_module_level=True)

GROUPS = ("step", "speedup", "memory", "training", "gradient")
RUN = [record for record in make_run(ks=(10, 100), accuracy_ks=(10, 100)) if record["group"] in GROUPS]
WIDTHS = {"desktop": 1280, "phone": 390}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    return make_report([write_lines(folder / "run.jsonl", RUN)], name="browsed", output=folder)


@pytest.fixture(scope="module")
def browser():
    with api.sync_playwright() as playwright:
        # The sandbox needs rights that a container often lacks; the page is our own.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, path):
    """Opens the report. When the test ends, there must be no complaint and no request to a network."""
    contexts, faults, requests = [], [], []

    def open_in(width=1280, scheme="light", at="", unfolded=True):
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: faults.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri() + at)
        if unfolded:
            page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
        return page

    yield open_in
    for context in contexts:
        context.close()
    assert faults == []
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert {url for url in requests if url.startswith("file:")} <= {path.as_uri()}


@pytest.fixture
def page(open_page):
    return open_page()


def table(page, title):
    return page.locator(f'[data-table]:has([role=region][aria-label="{title}"])').first


def column(box, number):
    """The texts of a column in the visible rows."""
    return box.locator(f"tbody tr:visible td:nth-child({number})").all_inner_texts()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", WIDTHS)
def test_every_figure_is_drawn_and_the_page_does_not_scroll_sideways(open_page, path, device, scheme):
    page = open_page(WIDTHS[device], scheme)
    figures = page.locator("figure svg[role=img]")
    assert figures.count() == len(list(path.parent.glob("*.svg"))) > 8
    for i in range(figures.count()):
        box = figures.nth(i).bounding_box()
        assert box["width"] > 300
        assert box["height"] > 150
        # The drawing fills it: lines and text lie within, and a missing clip path would hide them.
        inner = figures.nth(i).evaluate("svg => { const b = svg.getBBox(); return [b.width, b.height]; }")
        assert min(inner) > 100
    assert page.evaluate("document.documentElement.scrollWidth") <= WIDTHS[device]


@pytest.mark.parametrize("device", WIDTHS)
def test_most_sections_are_folded_and_a_link_opens_its_own(open_page, device):
    folded = open_page(WIDTHS[device], unfolded=False)
    height = folded.evaluate("document.documentElement.scrollHeight")
    assert height < open_page(WIDTHS[device]).evaluate("document.documentElement.scrollHeight") / 2
    assert folded.evaluate("document.documentElement.scrollWidth") <= WIDTHS[device]
    last = folded.locator("figure").last
    assert not last.is_visible()
    name = last.get_attribute("data-figure")
    heading = folded.locator(f"#{name}-title")
    section = heading.evaluate("heading => heading.closest('section').id")
    folded.evaluate("id => { location.hash = id; }", section)
    heading.wait_for(state="visible", timeout=5000)
    assert open_page(WIDTHS[device], at=f"#{section}", unfolded=False).locator(f"#{name}-title").is_visible()


def lightness(page, selector, what):
    """The lightness of a computed colour, from 0 (black) to 255."""
    script = f"e => getComputedStyle(e).{what}.match(/[\\d.]+/g).slice(0, 3).map(Number)"
    return max(page.locator(selector).first.evaluate(script))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_the_paper_in_figures_too(open_page, scheme):
    page = open_page(scheme=scheme)
    dark = scheme == "dark"
    assert (lightness(page, "body", "backgroundColor") < 60) == dark
    assert (lightness(page, "body", "color") > 160) == dark
    assert (lightness(page, "figure svg text", "fill") > 160) == dark
    assert (lightness(page, "figure svg path", "fill") < 60) == dark  # the figure's own paper


def test_the_button_changes_between_light_and_dark_and_is_remembered(open_page):
    page = open_page(scheme="light")
    button = page.get_by_role("button", name="Dark")
    assert button.get_attribute("aria-pressed") == "false"
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    assert lightness(page, "body", "backgroundColor") < 60
    page.reload()
    assert lightness(page, "body", "backgroundColor") < 60
    page.close()


def test_a_table_sorts_by_the_meaning_of_its_cells(page):
    box = table(page, "All records")
    headers = box.locator("th").all_inner_texts()
    time = next(i for i, header in enumerate(headers, 1) if header.strip() == "time")
    button = box.locator(f"th:nth-child({time}) button")
    units = {"µs": 1e-6, "ms": 1e-3, "s": 1.0}

    def seconds():
        cells = [cell.split() for cell in column(box, time) if cell]
        return [float(number.replace(",", "")) * units[unit] for number, unit in cells]

    before = seconds()
    button.click()
    assert box.locator(f"th:nth-child({time})").get_attribute("aria-sort") == "ascending"
    ascending = seconds()
    assert ascending == sorted(before) != before
    assert column(box, time)[len(ascending) :] == [""] * (len(RUN) - len(ascending))
    button.click()
    assert box.locator(f"th:nth-child({time})").get_attribute("aria-sort") == "descending"
    assert seconds() == ascending[::-1]
    assert column(box, time)[: len(ascending)] != [""] * len(ascending)
    box.locator("th:first-child button").click()
    assert box.locator("th[aria-sort]").count() == 1


def test_a_table_is_sorted_from_the_keyboard(page):
    box = table(page, "ADGM")
    first = box.locator("th:first-child button")
    box.locator("input").focus()
    for _ in range(3):
        page.keyboard.press("Tab")
        if first.evaluate("e => e === document.activeElement"):
            break
    assert first.evaluate("e => e === document.activeElement")
    outline = first.evaluate("e => getComputedStyle(e).outlineStyle")
    assert outline != "none"
    page.keyboard.press("Enter")
    assert box.locator("th:first-child").get_attribute("aria-sort") == "ascending"
    page.keyboard.press("Space")
    assert box.locator("th:first-child").get_attribute("aria-sort") == "descending"
    ks = [int(k) for k in column(box, 1)]
    assert ks == sorted(ks, reverse=True)
    assert ks[0] > ks[-1]


def test_a_filter_shows_the_rows_that_have_every_word_and_tells_how_many(page):
    box = table(page, "All records")
    count = box.locator("[data-count]")
    assert count.inner_text() == f"{len(RUN)} rows"
    box.locator("input").fill("GUMBEL memory")
    shown = box.locator("tbody tr:visible")
    texts = shown.all_inner_texts()
    assert 0 < len(texts) < len(RUN)
    assert all("gumbel" in text and "memory" in text for text in texts)
    assert count.inner_text() == f"{len(texts)} of {len(RUN)} rows"
    box.locator("input").fill("nothing has this")
    assert count.inner_text() == f"0 of {len(RUN)} rows"
    box.locator("input").fill("")
    assert shown.count() == len(RUN)


def save(page, key, kind):
    with page.expect_download() as saving:
        page.locator(f'[data-figure="{key}"] [data-save="{kind}"]').click()
    assert saving.value.suggested_filename == f"{key}.{kind}"
    return saving.value.path()


def test_a_figure_is_saved_as_svg_png_and_csv(open_page, browser, tmp_path):
    page = open_page(scheme="dark")
    svg = save(page, "speedup", "svg").read_text(encoding="utf-8")
    assert svg.startswith("<?xml")
    assert "var(--" not in svg
    assert "#d55e00" in svg  # as in light
    assert "Timed in pairs" in svg
    assert 'class="told"' not in svg
    png = save(page, "speedup", "png").read_bytes()
    assert png.startswith(b"\x89PNG")
    width = int.from_bytes(png[16:20], "big")
    assert width > 1200
    shown = pd.read_csv(save(page, "speedup", "csv"))
    own = shown[shown["name"] == "gumbel-softmax"]
    records = {
        (r["n_classes"], r["speedup"]) for r in RUN if r["group"] == "speedup" and r["estimator"] == "gumbel-softmax"
    }
    found = own[["number of classes K", "times as fast as marginalize-streamed"]].round(9)
    assert set(found.itertuples(index=False, name=None)) == {(k, round(v, 9)) for k, v in records}


def test_a_figure_is_enlarged_and_put_back_from_the_keyboard(page):
    figure = page.locator('[data-figure="speedup"]')
    small = figure.locator("svg").bounding_box()
    button = figure.locator("[data-enlarge]")
    button.focus()
    page.keyboard.press("Enter")
    dialog = page.locator("dialog")
    assert dialog.is_visible()
    assert dialog.locator("svg").bounding_box()["width"] > small["width"]
    assert figure.locator("svg").count() == 0
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert figure.locator("svg").bounding_box()["width"] == pytest.approx(small["width"])
    assert button.evaluate("e => e === document.activeElement")
    button.click()
    dialog.locator("[data-close]").click()
    assert not dialog.is_visible()


def test_the_first_thing_that_tab_reaches_leads_to_the_answer(page):
    page.keyboard.press("Tab")
    skip = page.locator(".skip")
    assert skip.evaluate("e => e === document.activeElement")
    assert skip.bounding_box()["width"] > 50
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "answer"


def test_on_paper_all_is_open_and_there_are_no_buttons(open_page):
    page = open_page(unfolded=False)
    assert page.locator("details:not([open])").count() > 0
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    assert page.locator("figure button:visible, nav:visible, input:visible").count() == 0
    assert page.locator("table").first.evaluate("e => getComputedStyle(e.parentElement).overflow") == "visible"


def test_without_storage_the_page_works_all_the_same(browser, path):
    context = browser.new_context()
    page = context.new_page()
    page.add_init_script("Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no'); } })")
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(path.as_uri())
    page.get_by_role("button", name="Dark").click()
    assert lightness(page, "body", "backgroundColor") < 60
    assert errors == []
    context.close()
