"""Effect feedback: what followed, how good the forecasts were, and whether to train again."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl

from mktgen.contracts import DRIFT, OUTCOMES
from mktgen.documents import FeedbackReport, RetrainingRequest
from mktgen.feedback import attribution, drift, outcomes, retraining
from mktgen.steps.data import days_between
from mktgen.steps.deciding import today
from mktgen.steps.dispatched import followed_decisions
from mktgen.steps.runner import Outcome, Platform, Read, Run
from mktgen.steps.training import campaign_reads, training_day


def window(day: date, platform: Platform) -> tuple[date, ...]:
    """The days whose decisions and exposures are followed, up to today."""
    return days_between(max(attribution.first_day(day, platform.settings.feedback), platform.source.first_day), day)


def outcome_reads(day: date, platform: Platform) -> list[Read]:
    days = window(day, platform)
    return [Read("order_lines", days, True, "clean"), Read("responses", days, True, "clean")]


def collect_outcomes(run: Run) -> Outcome:
    """What customers did, day by day; the window is collected anew, so that late rows count."""
    lines, responses = run.tables_by_day("order_lines"), run.tables_by_day("responses")
    days = [outcomes.collect_outcomes(lines[day], responses[day], day) for day in sorted(lines)]
    every = pl.concat([OUTCOMES.empty(), *days]).sort(OUTCOMES.key)
    now = every.filter(pl.col("business_date") == run.day)
    return Outcome(tables={"outcomes": every}, notes=[f"{now.height} customers bought or redeemed on {run.day}"])


def attribute_reads(day: date, platform: Platform) -> list[Read]:
    before = set(window(day, platform)) - {day}
    ours = {name: tuple(sorted(before & set(platform.store.partitions(name)))) for name in ("recommendations", "sends")}
    decided = followed_decisions(platform, before & set(platform.store.partitions("decisions")))
    shops = [read for read in campaign_reads(day, platform) if read.artefact in ("exposures", "campaigns")]
    return [
        *today(("outcomes",), day, "collect_outcomes"),
        Read("decisions", (), manifests=decided),
        *(Read(name, days, required=False) for name, days in ours.items()),
        *shops,
    ]


def attribute(run: Run) -> Outcome:
    followed = attribution.attribute(
        run.table("outcomes"), run.tables_by_day("decisions"), run.tables_by_day("recommendations"),
        run.table("exposures"), run.table("campaigns"), run.table("sends"), run.day, run.settings.feedback,
    )  # fmt: skip
    kinds = followed.group_by("kind").agg(pl.len(), pl.col("matured").sum()).sort("kind")
    notes = [f"{kind}: {count} followed, {matured} matured" for kind, count, matured in kinds.iter_rows()]
    lost = sorted(
        {found.partition for found in run.inputs["sends"]} - {found.partition for found in run.inputs["decisions"]}
    )
    if lost:
        why = "two strategies may have been sent, or the decisions can't be read"
        notes.append(f"not followed: {', '.join(lost)} ({why})")
    return Outcome(tables={"attributions": followed}, notes=notes)


def drift_reads(day: date, platform: Platform) -> list[Read]:
    before = training_day(day, platform) - timedelta(days=1)
    days = (before, day) if platform.store.current("customer_features", before) else (day,)
    return [Read("customer_features", days, True, "extract_features")]


def detect_drift(run: Run) -> Outcome:
    """Today's features against those on the eve of training; no such day stored means that nothing can be compared."""
    by_day = run.tables_by_day("customer_features")
    current, then = by_day.pop(run.day), list(by_day.values())
    if not then:
        return Outcome(
            tables={"drift": DRIFT.empty()}, notes=["no features of the training day are stored: drift not looked at"]
        )
    if min(then[0].height, current.height) < drift.MIN_ROWS:
        note = (
            f"{current.height} customers, {then[0].height} then: {drift.MIN_ROWS} are needed to tell drift from chance"
        )
        return Outcome(tables={"drift": DRIFT.empty()}, notes=[note])
    found = drift.detect_drift(then[0], current, run.settings.feedback)
    worst = found.sort("psi", "feature", descending=[True, False]).row(0, named=True)
    return Outcome(tables={"drift": found}, notes=[f"largest PSI {worst['psi']:.4f} ({worst['feature']})"])


def request_reads(day: date, platform: Platform) -> list[Read]:
    since = day - timedelta(days=platform.settings.feedback.window_days)
    asked = tuple(found for found in platform.store.partitions("retraining_request") if since < found < day)
    ledger = [*today(("effect_ledger",), day, "judge_effects"), Read("retraining_request", asked, required=False)]
    return [*today(("drift",), day, "detect_drift"), *today(("feedback_report",), day, "measure"), *ledger]


def request_retraining(run: Run) -> Outcome:
    request = retraining.request_retraining(
        run.table("drift"), run.document("feedback_report", FeedbackReport), run.settings.feedback, run.day,
        run.table("effect_ledger"),
        [run.platform.store.read_document(found, RetrainingRequest) for found in run.inputs["retraining_request"]],
    )  # fmt: skip
    note = (
        f"retraining of {' and '.join(request.models)} requested: {'; '.join(request.reasons)}"
        if request.requested
        else "no reason to train before the turn"
    )
    return Outcome(documents={"retraining_request": request}, notes=[note])


def requested(platform: Platform, day: date) -> bool:
    """Whether the day's feedback asked for the behaviour models to be trained; the response model is learned daily anyway."""
    manifest = platform.store.current("retraining_request", day)
    return manifest is not None and "behaviour" in platform.store.read_document(manifest, RetrainingRequest).models
