"""The pages as a person finds them, in a real browser: both languages, both colours, wide and narrow, by keyboard.

MKTGEN_SCREENSHOTS=shots  keeps the pictures there
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from mktgen.steps.runner import Platform
from mktgen.store import ObjectStore
from tests.steps.conftest import platform_on
from tests.support.pages_world import DAY, HOSTILE, HOSTILE_DAY, SECTIONS, STOPPED_DAY
from tests.support.s3_server import S3Server
from tests.ui.conftest import mounted

browser = pytest.importorskip("tests.e2e.browser", reason="Playwright is not installed")
if not browser.CHROMIUM.exists():
    pytest.skip(f"no browser at {browser.CHROMIUM} (Debian: apt install chromium)", allow_module_level=True)

# Each language, colour and width is in one of the first two; the other pairings take as long again.
MODES = (
    ("en", "light", 1280),
    ("zh", "dark", 390),
    pytest.param("zh", "light", 1280, marks=pytest.mark.slow),
    pytest.param("en", "dark", 390, marks=pytest.mark.slow),
)
HEADINGS = {
    "strategies": ("Strategies", "营销策略"), "strategy": ("Campaigns", "活动"), "decisions": ("Decisions", "决策"),
    "decision": ("What was possible", "当时的可选动作"), "what-if": ("What this rests on", "依据与假设"),
    "learning": ("Profit by wave", "各轮利润"), "compare": ("Figures", "数字"), "stopped": ("Gates", "检查"),
}  # fmt: skip
CHECKS = {path.stem: path.read_text() for path in Path(__file__).parent.glob("*.js")}


@dataclass
class Visit:
    """A browser window, and what it had to complain about."""

    page: Any
    base: str
    problems: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def to(self, path: str) -> None:
        self.page.goto(f"{self.base}{path}")
        self.settle()

    def settle(self) -> None:
        self.page.locator("main h1").first.wait_for()
        self.page.wait_for_load_state("networkidle")


def serving(app: FastAPI) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline = time.monotonic() + 30
        while not server.started:
            assert time.monotonic() < deadline, "the app's server did not start"
            time.sleep(0.02)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/mktgen"
    finally:
        server.should_exit = True
        thread.join(20)
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def base(world: Platform) -> Iterator[str]:
    """The app on a port of its own; /outer shows it in a frame, with the sandbox that Airflow gives it."""
    app = mounted(world)

    @app.get("/outer")
    def outer() -> HTMLResponse:
        sandbox = "allow-scripts allow-same-origin allow-forms allow-downloads"
        frame = f'<iframe src="/mktgen/" sandbox="{sandbox}" width="1000" height="800"></iframe>'
        return HTMLResponse(f'<!doctype html><link rel="icon" href="data:,">{frame}')

    yield from serving(app)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=str(browser.CHROMIUM), args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def visit(chromium: Any, base: str) -> Iterator[Any]:
    """visit(language="en", colours="light", width=1280, base=...): a window."""
    contexts = []

    def make(language: str = "en", colours: str = "light", width: int = 1280, base: str = base) -> Visit:
        locale = {"en": "en-GB", "zh": "zh-CN"}[language]
        context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=colours, locale=locale)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        made = Visit(page, base)
        page.on("console", lambda message: made.problems.append(message.text))
        page.on("pageerror", lambda error: made.problems.append(str(error)))
        host = base.rpartition("/")[0]
        page.on(
            "request",
            lambda request: made.foreign.append(request.url) if not request.url.startswith((host, "data:")) else None,
        )
        return made

    yield make
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    wished = os.environ.get("MKTGEN_SCREENSHOTS")
    folder = (Path(wished).absolute() if wished else tmp_path_factory.mktemp("screenshots")) / "pages"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def contact(world: Platform) -> dict[str, Any]:
    decisions = world.store.read_table(world.store.need("decisions", DAY))
    return decisions.filter(pl.col("action") != "no_contact").row(0, named=True)


def addresses(world: Platform) -> dict[str, str]:
    day = f"/strategies/{DAY}"
    return {
        "strategies": "/", "strategy": day, "decisions": f"{day}/decisions", "what-if": f"{day}/what-if",
        "decision": f"{day}/decisions/{contact(world)['decision_id']}", "learning": "/learning",
        "compare": f"/compare?one={STOPPED_DAY}&other={DAY}", "stopped": f"/strategies/{STOPPED_DAY}",
    }  # fmt: skip


@pytest.mark.parametrize(("language", "colours", "width"), MODES)
def test_every_page_reads_well(
    visit: Any, world: Platform, shots: Path, language: str, colours: str, width: int
) -> None:
    window = visit(language, colours, width)
    for name, path in addresses(world).items():
        window.to(path)
        heading = HEADINGS[name][language == "zh"]
        window.page.get_by_text(heading, exact=False).first.wait_for()
        assert window.page.evaluate("document.documentElement.lang") == {"en": "en", "zh": "zh-CN"}[language]
        window.page.screenshot(path=shots / f"{name}-{language}-{colours}-{width}.png", full_page=True)
        wider = window.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wider <= 0, f"{name} is {wider} pixels wider than the window"
        assert {check: window.page.evaluate(code) for check, code in CHECKS.items()} == {
            check: [] for check in CHECKS
        }, name
    assert window.problems == []
    assert window.foreign == []


def test_hostile_words_are_shown_as_words(visit: Any) -> None:
    window = visit()
    for path in (f"/strategies/{HOSTILE_DAY}", f"/strategies/{DAY}", f"/compare?one={HOSTILE_DAY}&other={DAY}"):
        window.to(path)
        window.page.get_by_text(HOSTILE, exact=False).first.wait_for()
        assert window.page.evaluate("window.hurt") is None
        assert window.page.locator("main img, main script").count() == 0
    assert window.problems == []


def test_decisions_are_searched_filtered_sorted_and_paged(visit: Any, world: Platform) -> None:
    window, row = visit(), contact(world)
    page = window.page
    window.to(f"/strategies/{DAY}/decisions")
    rows = page.locator("tbody tr")
    assert rows.count() == 50
    first = rows.first.inner_text()
    page.get_by_role("button", name="Next").click()
    page.get_by_text("Page 2 of").wait_for()
    assert rows.first.inner_text() != first
    page.get_by_label("Contact", exact=True).select_option("true")
    page.get_by_text("Page 1 of").wait_for()
    page.get_by_role("button", name="Expected profit").click()
    page.locator("th[aria-sort=descending]").wait_for()
    page.get_by_label("Customer or decision").fill(row["customer_id"])
    page.keyboard.press("Enter")
    page.get_by_text("1 match").wait_for()
    rows.first.get_by_role("link").click()
    page.wait_for_url(f"**/decisions/{row['decision_id']}")
    page.get_by_role("heading", name="What was possible").wait_for()
    page.locator(".tag-drawn").wait_for()
    page.go_back()
    page.get_by_text("1 match").wait_for()
    page.get_by_label("Customer or decision").fill("nobody")
    page.keyboard.press("Enter")
    page.get_by_text("No decision matches").wait_for()
    assert window.problems == []


def test_what_if_answers_at_once_and_goes_back_to_the_plan(visit: Any) -> None:
    window = visit()
    page = window.page
    window.to(f"/strategies/{DAY}/what-if")
    page.get_by_text("Estimate").first.wait_for()
    difference = page.locator(".tile").nth(1).locator("dd").first
    assert difference.inner_text() == "0.00"
    began = time.monotonic()
    page.get_by_label("Held out").fill("40")
    difference.get_by_text("−").wait_for()
    assert time.monotonic() - began < 5
    page.get_by_role("button", name="Back to the plan").click()
    difference.get_by_text("0.00", exact=True).wait_for()
    page.get_by_text("No interval: no response was learned").wait_for()
    assert window.problems == []


def test_the_keyboard_alone_will_do(visit: Any) -> None:
    window = visit()
    page = window.page
    window.to("/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('tbody a')"):
            break
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/strategies/{DAY}")


def test_language_and_colours_are_chosen_and_kept(visit: Any) -> None:
    window = visit("en", "light")
    page = window.page
    window.to("/learning")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Switch to Chinese").click()
    page.get_by_role("heading", name="各轮利润").wait_for()
    for _ in range(2):  # from automatic over light to dark
        page.get_by_role("button", name="配色").click()
    window.to("/")
    assert page.evaluate("document.documentElement.lang") == "zh-CN"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light


def test_the_pages_work_in_a_frame(visit: Any) -> None:
    window = visit()
    window.page.goto(window.base.removesuffix("/mktgen") + "/outer")
    frame = window.page.frame_locator("iframe")
    frame.get_by_role("link", name=str(DAY.day)).first.click()
    frame.get_by_role("heading", name="Campaigns").wait_for()
    frame.get_by_role("link", name="What if", exact=True).click()
    frame.get_by_text("Back to the plan").wait_for()
    about_the_frame = "can escape its sandboxing"  # what Chromium says of Airflow's choice, whatever is inside
    assert [text for text in window.problems if about_the_frame not in text] == []


def test_what_is_not_there_is_said(visit: Any, s3_server: S3Server) -> None:
    window = visit()
    window.to("/strategies/2001-01-01")
    window.page.get_by_role("alert").get_by_text("There is nothing at this address").wait_for()
    bare = mounted(platform_on(ObjectStore(s3_server.location("nothing")), **SECTIONS))
    with s3_server.keys():
        server = serving(bare)
        window = visit(base=next(server))
        for path, words in (
            ("/", "No strategy yet"),
            ("/learning", "Nothing was learned yet"),
            ("/compare", "No strategy yet"),
        ):
            window.to(path)
            window.page.get_by_text(words).first.wait_for()
        assert window.problems == []
        window.page.goto("about:blank")
        assert next(server, None) is None
