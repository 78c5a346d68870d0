"""Execution and feedback: the approved strategy to its customers, what followed, and whether to train again."""

from __future__ import annotations

import json
from datetime import date, timedelta
from typing import Final

import polars as pl

from mktgen.contracts import DRIFT, OUTCOMES
from mktgen.documents import Approval, FeedbackReport, PublishedStrategy, RetrainingRequest
from mktgen.errors import MissingArtefact, NotAllowed
from mktgen.execution.channels import channel_class
from mktgen.execution.channels.base import Connections
from mktgen.execution.dispatch import check_allowed, dispatch
from mktgen.execution.ledger import Ledger
from mktgen.feedback import attribution, drift, forecasts, measurement, outcomes, retraining
from mktgen.metrics import LIVE
from mktgen.steps.data import days_between
from mktgen.steps.deciding import today
from mktgen.steps.runner import Outcome, Platform, Read, Run, StepResult
from mktgen.steps.training import campaign_reads, training_day
from mktgen.store import Manifest, Provenance, parse_uri, sha256

VAULT: Final = "_vault"


# -- execution ----------------------------------------------------------------------------------------------------------
def newest_published(platform: Platform) -> date | None:
    """The newest partition with a published strategy."""
    for day in reversed(platform.store.partitions("published")):
        if platform.store.current("published", day) is not None:
            return day
    return None


def dispatch_reads(day: date, platform: Platform) -> list[Read]:
    return [
        *today(("published",), day, "publish"),
        *today(("approval",), day, "the approval in the Dag marketing_execution"),
    ]


def send(run: Run) -> Outcome:
    """Hand the approved messages to the channel, each once. Raises NotAllowed where nothing may be sent.

    Sent is what was published: decisions or messages made since then were neither evaluated nor approved.
    """
    platform, settings = run.platform, run.settings
    newest = newest_published(platform)
    if newest is None:
        raise RuntimeError(f"{run.day} is published, but no published partition was found")
    published = run.document("published", PublishedStrategy)
    superseded = _superseded(platform, published)
    if superseded is not None:
        raise NotAllowed(superseded)
    connections = Connections(
        platform.objects, settings.execution, lambda who: _address(platform, who), platform.environment.smtp_login
    )
    result = dispatch(
        _published_table(platform, published.decisions_uri), _published_table(platform, published.messages_uri),
        run.document("approval", Approval), published, newest, settings.execution.live_from, run.day,
        channel_class(settings.strategy.channel).create(connections), Ledger(platform.objects), settings.strategy,
    )  # fmt: skip
    counts = result.sends.group_by("status").len().sort("status")
    states = ", ".join(f"{status} {count}" for status, count in counts.iter_rows()) or "nobody was to be contacted"
    return Outcome(tables={"sends": result.sends}, notes=[f"{states}; {result.sent_now} handed over now"])


def _published_table(platform: Platform, uri: str) -> pl.DataFrame:
    return platform.store.read_table(_published_manifest(platform, uri))


def _published_manifest(platform: Platform, uri: str) -> Manifest:
    artefact, day, run = parse_uri(uri)
    manifest = platform.store.manifest_of_run(artefact, day, run)
    if manifest is None:
        raise MissingArtefact(f"{uri} is published but gone: run publish of {day} again")
    return manifest


def _superseded(platform: Platform, published: PublishedStrategy) -> str | None:
    """Why a published strategy is not the day's strategy any more: a later evaluation may have stopped it."""
    current = platform.store.current("strategy", published.partition)
    if current is not None and current.digest == _published_manifest(platform, published.strategy_uri).digest:
        return None
    return (
        f"the strategy of {published.partition} was evaluated anew after it was published, and that result is not "
        "published. Nothing is sent; run the day's marketing_loop again, to the end."
    )


def _address(platform: Platform, customer_id: str) -> str | None:
    """The contact vault: direct identifiers live there only, and only execution reads it."""
    raw = platform.objects.get(f"{VAULT}/customer={customer_id}.json")
    return None if raw is None else str(json.loads(raw)["email"])


def refusal(platform: Platform, day: date) -> str | None:
    """Why a day's strategy may not even be put before an approver; None: it may."""
    published = platform.store.current("published", day)
    newest = newest_published(platform)
    if published is None or newest is None:
        return f"no strategy of {day} is published"
    document = platform.store.read_document(published, PublishedStrategy)
    answered = platform.store.current("approval", day)
    if answered is not None and platform.store.read_document(answered, Approval).strategy_run == strategy_run(document):
        return f"this strategy of {day} was answered before: nobody is asked twice, nothing is sent twice"
    wished = Approval(partition=day, approved=True, responder="", strategy_run=strategy_run(document))
    try:
        check_allowed(wished, document, newest, platform.settings.execution.live_from, day)
    except NotAllowed as error:
        return str(error)
    return _superseded(platform, document)


def strategy_run(published: PublishedStrategy) -> str:
    return parse_uri(published.strategy_uri)[2]


def keep_answer(
    platform: Platform, day: date, approved: bool, responder: str, note: str, shown: str = ""
) -> StepResult:
    """Store an answer under the strategy it answers; a later one finds the first and changes nothing."""
    published = platform.store.need("published", day)
    if shown and shown != published.run:
        raise NotAllowed(
            f"the strategy of {day} was published anew (run {published.run}) after run {shown} was shown for approval. "
            "Nothing is sent; answer the approval of the newer run."
        )
    run = strategy_run(platform.store.read_document(published, PublishedStrategy))
    answer = Approval(partition=day, approved=approved, responder=responder, strategy_run=run, note=note)
    identity = sha256(f"approval {day} {run}".encode())[:16]
    source = Provenance("record_approval", identity, "", "", 0, (published.as_parent(),))
    kept = platform.store.manifest_of_run("approval", day, identity)
    manifest = kept or platform.store.write_document("approval", day, answer, source)
    platform.store.point(manifest)  # an attempt may have ended between the answer and its pointer
    first = platform.store.read_document(manifest, Approval)
    said = "approved" if first.approved else "rejected"
    return StepResult(
        step="record_approval", partition=day, run_id=identity, reused=kept is not None,
        artefacts={"approval": platform.objects.uri(manifest.folder)}, rows={"approval": 1},
        digests={"approval": manifest.digest}, seconds=0.0, notes=[f"{said} by {first.responder}"],
    )  # fmt: skip


# -- feedback -----------------------------------------------------------------------------------------------------------
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
    ours = {
        name: tuple(sorted(before & set(platform.store.partitions(name))))
        for name in ("decisions", "recommendations", "sends")
    }
    shops = [read for read in campaign_reads(day, platform) if read.artefact in ("exposures", "campaigns")]
    return [
        *today(("outcomes",), day, "collect_outcomes"),
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
    return Outcome(tables={"attributions": followed}, notes=notes)


def measure_reads(day: date, platform: Platform) -> list[Read]:
    judged = today(("demand_outcomes", "churn_outcomes"), day, "judge_forecasts")
    return [*today(("attributions",), day, "attribute"), *judged]


def measure(run: Run) -> Outcome:
    capabilities = run.platform.source.capabilities.as_dict() | {LIVE: run.platform.source.live}
    foresight = forecasts.forecast_metrics(run.table("demand_outcomes"), run.table("churn_outcomes"))
    report = measurement.measure(run.table("attributions"), run.settings.feedback, capabilities, run.day, foresight)
    notes = [*report.notes, *(f"refused {refusal.metric}: {', '.join(refusal.missing)}" for refusal in report.refused)]
    return Outcome(documents={"feedback_report": report}, notes=notes)


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
    return [*today(("drift",), day, "detect_drift"), *today(("feedback_report",), day, "measure")]


def request_retraining(run: Run) -> Outcome:
    request = retraining.request_retraining(
        run.table("drift"), run.document("feedback_report", FeedbackReport), run.settings.feedback, run.day
    )
    note = (
        f"retraining requested: {'; '.join(request.reasons)}"
        if request.requested
        else "no reason to train before the turn"
    )
    return Outcome(documents={"retraining_request": request}, notes=[note])


def requested(platform: Platform, day: date) -> bool:
    manifest = platform.store.current("retraining_request", day)
    return manifest is not None and platform.store.read_document(manifest, RetrainingRequest).requested
