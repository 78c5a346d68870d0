"""The same days backfilled again from the UI's Backfill tab, in a real browser; and what a person sees of all of it.

MKTGEN_SCREENSHOTS=shots  keeps the pictures there
MKTGEN_E2E_HOME=.mktgen   works on a demo that is running, with its days, instead of an instance of its own
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest

from local import demo, parts
from local.airflow import Airflow, Run
from local.demo import LOOP, Plan
from local.parts import Parts
from local.terminal import Terminal
from tests.e2e.instance import contents, digests, own_instance, run_ids, unlike, until, wait_for_new_runs, watching

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
browser = pytest.importorskip("tests.e2e.browser", reason="Playwright is not installed")
if not browser.CHROMIUM.exists():
    pytest.skip(f"no browser at {browser.CHROMIUM} (Debian: apt install chromium)", allow_module_level=True)

RUNNING = os.environ.get("MKTGEN_E2E_HOME", "")
PLAN = demo.DEMO if RUNNING else Plan(date(2017, 4, 2), date(2017, 4, 3))


@dataclass(frozen=True)
class Again:
    """Before and after a backfill that was asked for in the browser."""

    digests: tuple[dict[str, str], dict[str, str]]
    sent: tuple[dict[str, bytes], dict[str, bytes]]
    runs: dict[str, list[Run]]


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    """The running demo that MKTGEN_E2E_HOME names, else an instance of this module's own."""
    if not RUNNING:
        with own_instance(tmp_path_factory.mktemp("browser"), execution={"live_from": PLAN.last}) as own:
            yield own
        return
    running, before = parts.load(Path(RUNNING).absolute(), recorded_only=True), dict(os.environ)
    os.environ.update(running.environment())
    try:
        yield running
    finally:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    wished = os.environ.get("MKTGEN_SCREENSHOTS")
    folder = Path(wished).absolute() if wished else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def airflow(instance: Parts) -> Iterator[Airflow]:
    with Airflow.connect(instance) as client:
        yield client


@pytest.fixture(scope="module")
def again(instance: Parts, airflow: Airflow, shots: Path) -> Again:
    demo.play(instance, Terminal(), approve=False, plan=PLAN)
    with browser.opened() as page:
        browser.log_in(page, instance)
        picture_of_the_question(page, instance, airflow, shots)
    demo.play(instance, Terminal(), approve=True, plan=PLAN)

    before, sent, known = digests(instance), contents("outbox/") | contents("ledger/"), run_ids(airflow)
    until(lambda: not airflow.backfilling(LOOP), "the backfill is closed")
    with browser.opened() as page:
        browser.log_in(page, instance)
        form = browser.backfill_form(page)
        browser.fill_backfill(page, form, PLAN.first, PLAN.last, recompute="day")
        browser.settled(page, f"{len(PLAN.days)} runs will be triggered")
        page.screenshot(path=shots / "backfill-form.png")
        form.get_by_role("button", name="Run Backfill").click()
        form.wait_for(state="hidden")
    runs = wait_for_new_runs(airflow, watching(airflow), PLAN.days, known)
    return Again((before, digests(instance)), (sent, contents("outbox/") | contents("ledger/")), runs)


def picture_of_the_question(page: browser.Page, instance: Parts, airflow: Airflow, shots: Path) -> None:
    newest = PLAN.latest(airflow.runs("marketing_execution"))[PLAN.last]
    asked = [q for q in airflow.questions("marketing_execution") if q.run_id == newest.run_id]
    run_id = asked[0].run_id if asked else airflow.questions("marketing_execution")[-1].run_id
    page.goto(f"{instance.airflow_url}/dags/marketing_execution/runs/{run_id}/tasks/approve/required_actions")
    browser.settled(page, "Send the strategy of")
    page.screenshot(path=shots / "approval.png")


def test_the_backfill_runs_the_days_again_as_the_form_said(again: Again) -> None:
    assert [(run.partition, run.state, run.conf) for run in again.runs[LOOP]] == [
        (str(day), "success", {"recompute": "day"}) for day in PLAN.days
    ]


def test_every_hash_is_equal(again: Again) -> None:
    before, after = again.digests
    assert unlike(before, after) == {}
    assert len(after) > 100


def test_nothing_is_sent_again(airflow: Airflow, again: Again) -> None:
    before, after = again.sent
    assert before
    assert after == before
    tasks = [task for run in again.runs["marketing_execution"] for task in airflow.tasks(run)]
    assert {task.state for task in tasks if task.task_id in ("approve", "dispatch")} == {"skipped"}


def look_at_the_pages(page: browser.Page, instance: Parts, shots: Path) -> None:
    """Each of the strategy pages by itself, with the links that only Airflow and MLflow can give it."""
    pages = f"{instance.airflow_url}/mktgen"
    page.goto(f"{pages}/")
    newest = page.get_by_role("row").filter(has_text=str(PLAN.last))
    newest.wait_for()
    assert page.locator("tbody tr").count() >= len(PLAN.days)
    page.screenshot(path=shots / "strategies.png")
    newest.get_by_role("link").click()
    page.wait_for_url(f"**/mktgen/strategies/{PLAN.last}")
    page.locator("article").first.wait_for()
    page.get_by_role("link", name="This day's run in Airflow").wait_for()
    assert page.locator("a[target=_top][href*='/tasks/allocate']").count() >= 1
    page.locator("a[href*='#/models/mktgen-']").first.wait_for()
    page.screenshot(path=shots / "strategy.png")
    page.screenshot(path=shots / "strategy-whole.png", full_page=True)
    for tab, heading in (("Decisions", "Customer"), ("What if", "What this rests on")):
        page.get_by_role("link", name=tab, exact=True).click()
        page.get_by_text(heading).first.wait_for()
        browser.settled(page)
        page.screenshot(path=shots / f"{tab.lower().replace(' ', '-')}.png", full_page=True)
    page.goto(f"{pages}/strategies/{PLAN.last}/decisions?contacted=true")
    page.locator("tbody a").first.click()
    browser.settled(page, "What was possible")
    page.screenshot(path=shots / "decision.png", full_page=True)
    for name, words in (("learning", "Drift of customers"), ("compare", "Versions that differ")):
        page.goto(f"{pages}/{name}")
        browser.settled(page, words)
        page.screenshot(path=shots / f"{name}.png", full_page=True)


def test_what_a_person_sees_afterwards(instance: Parts, airflow: Airflow, again: Again, shots: Path) -> None:
    with browser.opened() as page:
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        browser.log_in(page, instance)
        page.goto(f"{instance.airflow_url}/dags/marketing_loop")
        browser.settled(page, "write_briefs")
        page.screenshot(path=shots / "grid.png")

        page.get_by_text("Strategies", exact=True).first.click()
        frame = page.frame_locator("iframe").first
        frame.get_by_text(str(PLAN.last)).first.wait_for()
        page.wait_for_timeout(1_000)
        page.screenshot(path=shots / "strategies-in-airflow.png")
        frame.get_by_role("row").filter(has_text=str(PLAN.last)).get_by_role("link").click()
        frame.get_by_role("link", name="This day's run in Airflow").click()  # out of the frame
        page.wait_for_url("**/dags/marketing_loop/runs/**")
        look_at_the_pages(page, instance, shots)
        assert problems == []
    with browser.opened() as page:
        browser.compare_models(page, instance, "at_10")
        page.screenshot(path=shots / "mlflow.png")


def test_what_an_analyst_and_a_reviewer_find(instance: Parts, again: Again, shots: Path) -> None:
    with browser.opened() as page:
        browser.log_in(page, instance)
        browser.rollback_form(page, instance)
        page.screenshot(path=shots / "rollback-form.png")
    found = browser.strategies(instance)
    assert len(found) >= len(PLAN.days)
    with browser.opened() as page:
        browser.list_strategies(page, instance)
        page.screenshot(path=shots / "mlflow-strategies.png")
    with browser.opened() as page:
        browser.open_report(page, instance, found[0]["info"]["run_id"], "report.html", f"Strategy of {PLAN.last}")
        page.screenshot(path=shots / "mlflow-report.png")
