"""What a strategy leaves in MLflow: a run with a child per campaign, and what became of it as it becomes known. Idempotent.

A run is known by the derivation of its strategy: a day that is decided anew is another run, a rerun is the same one.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

import polars as pl

from mktgen import config
from mktgen.documents import Approval, Campaign, ContactProof, FeedbackReport, Interval, Strategy
from mktgen.execution import audit
from mktgen.execution.audit import Entry
from mktgen.feedback.effect_ledger import PROGRAMME
from mktgen.feedback.measurement import measure
from mktgen.metrics import LIVE
from mktgen.model_card import OUTCOME, verdict
from mktgen.model_run import Input, PlainRun, bounded
from mktgen.steps.dispatched import approvals
from mktgen.steps.launching import approval_text
from mktgen.steps.released import release_of
from mktgen.steps.runner import Platform, Run
from mktgen.steps.tracked import NOT_TRACKED
from mktgen.store import Manifest
from mktgen.strategy import report

if TYPE_CHECKING:
    from mktgen.tracking import Tracking

_PLAN: Final = (
    "budget_minor", "worst_case_cost_minor", "expected_cost_minor", "expected_value_minor", "value_minor", "bound_minor",
    "gap_share", "shadow_price", "propensity_floor", "contacts", "candidates",
)  # fmt: skip
_TAG: Final = 5_000  # characters; MLflow refuses a run whose tag is longer than some thousands
_REPORT: Final = "report.html"
_REALISED: Final = "realised.html"
Metrics = list[tuple[str, float, int]]


def _connect(platform: Platform) -> Tracking | None:
    if not platform.environment.mlflow_uri:
        return None
    from mktgen import tracking  # late: mlflow takes seconds to import

    return tracking.connect(platform.environment.mlflow_uri, tracking.STRATEGIES)


# -- as it was evaluated ----------------------------------------------------------------------------------------------------
def log_strategy(run: Run, written: dict[str, Manifest]) -> list[str]:
    """After `evaluate_strategy`: the run, also of a strategy that a gate stopped, and its campaigns."""
    server, manifest = _connect(run.platform), written["strategy"]
    if server is None:
        return [NOT_TRACKED]
    strategy = run.platform.store.read_document(manifest, Strategy)
    parent = server.log_once(_strategy_run(run, manifest, strategy))
    for campaign in strategy.campaigns:
        server.log_once(_campaign_run(manifest, strategy, campaign), parent)
    return [f"MLflow: {server.page(parent)}"]


def _strategy_run(run: Run, manifest: Manifest, strategy: Strategy) -> PlainRun:
    gates = strategy.evaluation.gates if strategy.evaluation else []
    plan = strategy.allocation.model_dump()
    counts = {"customers": strategy.customers, "contacted": strategy.contacted, "holdout": strategy.holdout}
    figures = {**counts, "campaigns": len(strategy.campaigns), **{name: plan[name] for name in _PLAN}}
    figures |= strategy.evaluation.metrics if strategy.evaluation else {}
    figures |= {f"gate.{gate.name}": gate.value for gate in gates if gate.value is not None}
    commit = config.git_commit()
    return PlainRun(
        name=f"strategy {strategy.partition}",
        identity=_identity(strategy.partition, manifest.run),
        tags={
            "mktgen.status": strategy.status,
            "mktgen.gates": verdict(gates),
            "mktgen.launch": strategy.launch.standing if strategy.launch else "not judged",
            "mktgen.notice": strategy.source_notice,
            **{f"mktgen.gate.{gate.name}": _short(f"{OUTCOME[gate.passed]}: {gate.detail}") for gate in gates},
            **({"mlflow.source.git.commit": commit} if commit else {}),
        },
        params={"source": strategy.source, "partition": str(strategy.partition), "seed": manifest.seed,
                **{f"version.{name}": text for name, text in strategy.versions.items()}},
        metrics=[(name, float(value), 0) for name, value in sorted(figures.items())],
        inputs=[_input(run, found[-1]) for _, found in sorted(run.inputs.items()) if found],
        files={_REPORT: report.strategy_report(strategy, strategy.status, ())},
        note=_short(approval_text(run, strategy)),
    )  # fmt: skip


def _campaign_run(manifest: Manifest, strategy: Strategy, campaign: Campaign) -> PlainRun:
    """expected.cvr: of the rate that is measured as `cvr` once its window is over."""
    metrics: Metrics = [
        ("customers", float(campaign.customers), 0),
        ("worst_case_cost_minor", float(campaign.worst_case_cost_minor), 0),
    ]
    told: dict[str, Interval | None] = {
        "expected.redemptions": campaign.expected_redemptions,
        "expected.cvr": campaign.expected_redemption_rate,
        "expected.value_minor": campaign.expected_value_minor,
    }
    metrics += [line for name, value in told.items() if value is not None for line in bounded(name, value)]
    return PlainRun(
        name=f"campaign {campaign.campaign_id} {strategy.partition}",
        identity=_campaign_identity(strategy.partition, manifest.run, campaign.campaign_id),
        tags={"mktgen.audience": _short(campaign.audience.get("en", ""))},
        params={"campaign": campaign.campaign_id, "partition": str(strategy.partition), "channel": campaign.channel,
                "segments": ", ".join(campaign.segment_ids), "offers": len(campaign.offers)},
        metrics=metrics,
    )  # fmt: skip


def _input(run: Run, manifest: Manifest) -> Input:
    return Input(
        name=f"{manifest.artefact} {manifest.partition}",
        uri=run.platform.objects.uri(manifest.folder),
        sha256=manifest.digest,
        context="strategy",
        rows=manifest.rows,
    )


def _short(text: str) -> str:
    """As much as MLflow takes of a tag."""
    return text if len(text) <= _TAG else f"{text[: _TAG - 1]}…"


def _identity(day: date, strategy_run: str) -> dict[str, str]:
    return {"mktgen.kind": "strategy", "mktgen.partition": day.isoformat(), "mktgen.artefact_run": strategy_run}


def _campaign_identity(day: date, strategy_run: str, campaign: str) -> dict[str, str]:
    return {**_identity(day, strategy_run), "mktgen.kind": "campaign", "mktgen.campaign": campaign}


# -- what people and dispatch did with it -----------------------------------------------------------------------------------
def log_release(run: Run, written: dict[str, Manifest]) -> list[str]:
    """After `publish`."""
    release = release_of(run.platform, written["published"])
    return _amend(run.platform, run.day, release.run, {}, [])


def log_answer(platform: Platform, answer: Approval, entry: Entry) -> list[str]:
    """After a person's answer: who, when, and why."""
    tags = {"mktgen.answered_by": answer.responder, "mktgen.answered_at": entry.at, "mktgen.answer_note": answer.note}
    return _amend(platform, answer.partition, answer.strategy_run, tags, [])


def log_dispatch(run: Run, written: dict[str, Manifest]) -> list[str]:
    """After `dispatch`: what became of the contacts."""
    proof = run.platform.store.read_document(written["contact_proof"], ContactProof)
    answer = run.document("approval", Approval)
    metrics = [(f"dispatch.{name}", float(count), 0) for name, count in sorted(proof.counts.items())]
    return _amend(run.platform, run.day, answer.strategy_run, {}, metrics)


def _amend(platform: Platform, day: date, strategy_run: str, tags: Mapping[str, str], metrics: Metrics) -> list[str]:
    """How far it came, the head of the audit trail, and the report with the trail in it: by what is stored, so that a rerun
    of an earlier step takes nothing back."""
    server = _connect(platform)
    if server is None:
        return []
    trail = audit.read(platform.objects, day)
    status = [entry.what for entry in trail if entry.strategy_run == strategy_run and entry.what != "begun"][-1]
    manifest = platform.store.manifest_of_run("strategy", day, strategy_run)
    files = {}
    if manifest is not None:
        lines = [report.Line(entry.at, entry.what, entry.who, entry.note, entry.hash) for entry in trail]
        files = {_REPORT: report.strategy_report(platform.store.read_document(manifest, Strategy), status, lines)}
    run = PlainRun(
        name=f"strategy {day}",
        identity=_identity(day, strategy_run),
        tags={"mktgen.status": status, "mktgen.audit_head": audit.head(trail), **tags},
        metrics=metrics,
        files=files,
    )
    return [f"MLflow: strategy {day} is {status}" if server.amend(run) else f"MLflow has no run of strategy {day}"]


# -- what came of it ----------------------------------------------------------------------------------------------------------
def log_realised(run: Run, written: dict[str, Manifest]) -> list[str]:
    """After `measure`: the figures of every day whose contacts have all matured by now, under the names of mktgen/metrics.py,
    and of its wave where that is over."""
    server = _connect(run.platform)
    if server is None:
        return [NOT_TRACKED]
    ours = run.table("attributions").filter((pl.col("kind") == "decision") & pl.col("was_sent"))
    over = ours.group_by("decided_on").agg(pl.col("matured").all()).filter("matured")["decided_on"].sort().to_list()
    measured = run.platform.store.read_document(written["feedback_report"], FeedbackReport)
    known = [day for day in over if _log_day(run, server, day, measured)]
    return [f"MLflow: what came of {len(known)} days whose contacts have matured"] if known else []


def _log_day(run: Run, server: Tracking, day: date, measured: FeedbackReport) -> bool:
    platform = run.platform
    answers = [platform.store.read_document(found, Approval) for found in approvals(platform, day)]
    strategy_run = next((answer.strategy_run for answer in answers if answer.approved), "")
    manifest = platform.store.manifest_of_run("strategy", day, strategy_run) if strategy_run else None
    if manifest is None:
        return False
    strategy = platform.store.read_document(manifest, Strategy)
    found = _realised(run, day, measured)
    head = next((line for line in found.effects if line.campaign_id == PROGRAMME), None)
    metrics: Metrics = [(name, value, 0) for name, value in sorted(found.metrics.items())]
    if head is not None:
        metrics.append(("effect_predicted_minor", head.predicted_minor, 0))
        metrics += bounded("effect_realised_minor", head.realised) if head.realised else []
    logged = server.amend(
        PlainRun(
            name=f"strategy {day}",
            identity=_identity(day, strategy_run),
            tags={"mktgen.measured_on": str(run.day), **({"mktgen.wave": str(head.wave)} if head else {})},
            metrics=metrics,
            files={_REALISED: report.realised_report(found, strategy.source, strategy.source_notice)},
        )
    )
    for campaign in strategy.campaigns if logged else []:
        figures = _figures(run, day, pl.col("campaign_id") == campaign.campaign_id)
        identity = _campaign_identity(day, strategy_run, campaign.campaign_id)
        server.amend(PlainRun(f"campaign {campaign.campaign_id} {day}", identity,
                              metrics=[(name, value, 0) for name, value in sorted(figures.items())]))  # fmt: skip
    return logged


def _realised(run: Run, day: date, measured: FeedbackReport) -> report.Realised:
    metrics = _figures(run, day, pl.lit(True))
    window = timedelta(days=run.settings.feedback.window_days)
    wave = [line for line in measured.effects if line.wave <= day < line.wave + window]
    return report.Realised(day, run.day, metrics, measured.refused, wave)


def _figures(run: Run, day: date, which: pl.Expr) -> dict[str, float]:
    """The metrics of a feedback report, of one day's decisions alone; those of whole waves (uplift, roi) are not among them."""
    capabilities = run.platform.source.capabilities.as_dict() | {LIVE: run.platform.source.live}
    ours = run.table("attributions").filter((pl.col("kind") == "decision") & (pl.col("decided_on") == day) & which)
    found = measure(ours, run.settings.feedback, capabilities, run.day).metrics
    return {name: value for name, value in found.items() if not name.startswith("exposures")}
