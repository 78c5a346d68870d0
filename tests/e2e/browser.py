"""Airflow and MLflow as a person with a browser finds them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Locator, Page, sync_playwright

from local.parts import LOGIN, Parts

CHROMIUM = Path("/usr/bin/chromium")
WINDOW = {"width": 1280, "height": 900}
PATIENCE_MS = 60_000  # the parts share their cores with the browser


@contextmanager
def opened() -> Iterator[Page]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        try:
            page = chromium.new_page(viewport=WINDOW)
            page.set_default_timeout(PATIENCE_MS)
            yield page
        finally:
            chromium.close()


def log_in(page: Page, instance: Parts) -> None:
    page.goto(f"{instance.airflow_url}/dags/marketing_loop")
    page.locator("input[name=username]").fill(LOGIN)
    page.locator("input[name=password]").fill(instance.password)
    page.locator("button[type=submit]").click()
    page.wait_for_url("**/dags/marketing_loop")


def backfill_form(page: Page) -> Locator:
    """The Backfill tab of the Trigger dialogue of the Dag that is shown."""
    page.get_by_role("button", name="Trigger").first.click()
    dialogue = page.locator("[role=dialog][aria-modal=true][data-state=open]")
    dialogue.get_by_text("Backfill", exact=True).click()
    dialogue.get_by_role("button", name="Run Backfill").wait_for()
    return dialogue


def fill_backfill(page: Page, dialogue: Locator, first: date, last: date, recompute: str) -> None:
    """The days `first` to `last`, all runs again.

    The form's times are in the UI's zone, UTC unless changed; a business day begins at 4 or 5 o'clock UTC: so a range ends
    with the last minute of its last day.
    """
    for day, time in ((first, "00:00"), (last, "23:59")):
        dialogue.get_by_text("Select date and time").first.click()
        picker = page.locator("[data-scope=popover][data-part=content][data-state=open]")
        picker.get_by_placeholder("YYYY/MM/DD").fill(day.strftime("%Y/%m/%d"))
        picker.get_by_placeholder("HH:mm").fill(time)
        page.keyboard.press("Escape")
        picker.wait_for(state="hidden")
    dialogue.get_by_text("All Runs", exact=True).click()
    if not dialogue.get_by_role("combobox").is_visible():
        dialogue.get_by_text("Run Parameters").click()
    dialogue.get_by_role("combobox").click()
    page.get_by_role("option", name=recompute, exact=True).click()
    # Airflow 3.3 leaves the form's parameters out of the request unless this is ticked, for new runs too.
    dialogue.get_by_text("Override parameters on existing runs").click()


def settled(page: Page, *texts: str) -> None:
    """Wait until these texts are on the page, and for what is drawn after them."""
    for text in texts:
        page.get_by_text(text).first.wait_for()
    page.wait_for_timeout(2_000)


def experiment(instance: Parts, name: str) -> str:
    """The id of an experiment of MLflow."""
    query = {"experiment_name": name}
    found = httpx.get(f"{instance.mlflow_url}/api/2.0/mlflow/experiments/get-by-name", params=query).json()
    return str(found["experiment"]["experiment_id"])


def strategies(instance: Parts) -> list[dict[str, Any]]:
    """The runs of strategies, the newest day first."""
    asked = {"experiment_ids": [experiment(instance, "mktgen-strategies")], "filter": "tags.`mktgen.kind` = 'strategy'",
             "order_by": ["params.partition DESC"]}  # fmt: skip
    found = httpx.post(f"{instance.mlflow_url}/api/2.0/mlflow/runs/search", json=asked).json()
    return list(found.get("runs", []))


def runs_page(instance: Parts, name: str) -> str:
    # MLflow opens on views for language models unless the address says which kind of work is meant.
    return f"{instance.mlflow_url}/#/experiments/{experiment(instance, name)}/runs?workflowType=machine_learning"


def compare_models(page: Page, instance: Parts, metrics: str) -> None:
    """MLflow's charts of all runs, those of the metrics that match a pattern; the assistant's panel closed."""
    page.goto(f"{runs_page(instance, 'mktgen-behaviour')}&compareRunsMode=CHART")
    page.get_by_placeholder("Search metric charts").fill(metrics)
    page.get_by_role("button", name="Close", exact=True).last.click()
    settled(page, "Model metrics")


def list_strategies(page: Page, instance: Parts) -> None:
    """The runs of strategies, with what a reviewer looks at beside their names; the assistant's panel closed."""
    page.goto(runs_page(instance, "mktgen-strategies"))
    settled(page, "strategy 20")
    page.get_by_role("button", name="Close", exact=True).last.click()


def open_report(page: Page, instance: Parts, run_id: str, name: str, title: str) -> None:
    """An HTML artefact of a strategy's run, as MLflow shows it."""
    where = f"{instance.mlflow_url}/#/experiments/{experiment(instance, 'mktgen-strategies')}/runs/{run_id}"
    page.goto(f"{where}/artifacts/{name}")
    page.frame_locator("iframe").get_by_text(title).first.wait_for()
    page.get_by_role("button", name="Close", exact=True).last.click()
    page.wait_for_timeout(1_000)


def rollback_form(page: Page, instance: Parts) -> None:
    page.goto(f"{instance.airflow_url}/dags/marketing_rollback")
    page.get_by_role("button", name="Trigger").first.click()
    page.locator("[role=dialog][aria-modal=true][data-state=open]").get_by_text("release").first.wait_for()
    page.wait_for_timeout(1_000)
