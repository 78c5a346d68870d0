"""Days that were decided, evaluated, published and approved, on a platform of the test's own: what dispatch starts from."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import polars as pl

from mktgen import pipeline
from mktgen.config import Environment
from mktgen.documents import Allocation, Document, PublishedStrategy, Strategy
from mktgen.settings import Settings
from mktgen.steps.proving import Proven, prove_export
from mktgen.steps.runner import Platform
from mktgen.store import Manifest, Provenance, S3Location
from tests.execution.conftest import decision, decisions, messages_for

DAY = date(2017, 10, 3)
SECTIONS: dict[str, dict[str, Any]] = {
    "execution": {"live_from": date(2017, 1, 1)},
    "contact": {"consent_default": "existing_customers"},
}


def platform_at(place: S3Location, **sections: dict[str, Any]) -> Platform:
    """Settings: SECTIONS, with whole sections replaced as given."""
    environment = Environment(
        s3_endpoint=place.endpoint,
        s3_bucket=place.bucket,
        s3_prefix=place.prefix,
        s3_region=place.region,
        mlflow_uri="",
        pseudonym_key="a key of this test session, 32 ch.",
        train_processes=1,
        smtp_login=None,
        overlays=(),
    )
    return Platform(Settings.model_validate({**SECTIONS, **sections}), environment)


def strategy(day: date) -> Strategy:
    plan = Allocation(
        budget_minor=1, worst_case_cost_minor=0, allocated_cost_minor=0, value_minor=0.0, bound_minor=0.0, gap_share=0.0,
        shadow_price=0.0, propensity_floor=0.0, expected_cost_minor=1.0, expected_value_minor=1.0, contacts=1, candidates=1,
    )  # fmt: skip
    return Strategy(
        partition=day, status="evaluated", source="s", source_notice="n", assumptions=[], customers=1, contacted=1,
        holdout=0, segments={}, campaigns=[], versions={}, allocation=plan,
    )  # fmt: skip


def by(run: str) -> Provenance:
    return Provenance("test", run, "", "", 0, ())


def document(platform: Platform, name: str, body: Document, run: str, day: date = DAY) -> Manifest:
    return platform.store.write_document(name, day, body, by(run))


def decide(platform: Platform, frame: pl.DataFrame, run: str = "r1", day: date = DAY) -> tuple[Manifest, Manifest]:
    """Decisions and their messages."""
    write = platform.store.write_table
    return write("decisions", day, frame, by(run)), write("messages", day, messages_for(frame), by(run))


def publish(platform: Platform, frame: pl.DataFrame, run: str = "r1", day: date = DAY) -> None:
    """A day's decisions, evaluated and published."""
    chosen, texts = decide(platform, frame, run, day)
    evaluated = document(platform, "strategy", strategy(day), run, day)
    published = PublishedStrategy(
        partition=day,
        strategy_uri=evaluated.folder,
        decisions_uri=chosen.folder,
        messages_uri=texts.folder,
        markdown="#",
    )
    document(platform, "published", published, run, day)


def approve(platform: Platform, day: date = DAY) -> None:
    pipeline.record_approval(day, True, "ana", platform=platform)


def make_day(platform: Platform, rows: list[dict[str, object]], day: date = DAY, run: str = "r1") -> None:
    publish(platform, decisions(rows), run, day)
    approve(platform, day)


def dispatch_day(platform: Platform, day: date = DAY) -> list[str]:
    """The notes of the step, without the last: its entry in the audit trail."""
    return pipeline.run_step("dispatch", day, platform=platform).notes[:-1]


def proven(platform: Platform, day: date = DAY) -> Proven:
    return prove_export(platform, day.isoformat())


def violations(platform: Platform, day: date = DAY) -> dict[str, tuple[str, ...]]:
    """What is wrong, by rule."""
    return {check.rule: check.violations for check in proven(platform, day).checks if check.violations}


__all__ = ["DAY", "decision", "decisions", "timedelta"]
