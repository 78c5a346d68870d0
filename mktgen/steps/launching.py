"""Check the day's strategy, and publish it: what stands between a decision and a customer."""

from __future__ import annotations

from datetime import date

from mktgen.documents import LaunchEvidence, Promotion, PublishedStrategy, Strategy
from mktgen.errors import GateFailed
from mktgen.evaluation import gates
from mktgen.steps.deciding import (
    active_customers,
    campaign_types,
    champion_reads,
    recent_contacts,
    recent_sends,
    today,
)
from mktgen.steps.runner import Outcome, Platform, Read, Run
from mktgen.steps.training import campaign_reads, training_day
from mktgen.steps.validation import trained_model
from mktgen.strategy import markdown


def evaluate_reads(day: date, platform: Platform) -> list[Read]:
    training = training_day(day, platform)
    return [
        *(read for read in champion_reads(day, platform) if read.artefact != "models"),
        Read("redemption_holdout", (training,), True, "train"),
        *today(("strategy_draft", "messages"), day, "write_briefs"),
        *today(("decisions", "offer_scores"), day, "allocate"),
        *today(("launch_evidence",), day, "judge_policy"),
        *today(("customer_features",), day, "extract_features"),
        *(read for read in campaign_reads(day, platform) if read.artefact in ("exposures", "offers", "campaigns")),
        recent_sends(day, platform),
    ]


def evaluate_strategy(run: Run) -> Outcome:
    """All gates; a failed one stops the strategy, with the reasons in it."""
    draft, facts = run.document("strategy_draft", Strategy), run.table("customer_features")
    promotion, launch = run.document("promotion", Promotion), run.document("launch_evidence", LaunchEvidence)
    evaluation = gates.evaluate_strategy(
        gates.Evidence(
            strategy=draft,
            decisions=run.table("decisions"),
            messages=run.table("messages"),
            offer_scores=run.table("offer_scores"),
            customers=active_customers(facts, run.settings.features),
            features=facts,
            offers=run.table("offers"),
            exposures=run.table("exposures"),
            recent_contacts=recent_contacts(run),
            redemption_held_out=run.table("redemption_holdout"),
            promotion=promotion,
            model_metrics=_champion_metrics(run, promotion),
            capabilities=run.platform.source.capabilities.as_dict(),
            launch=launch,
            recent_sends=run.table("sends"),
            campaign_types=campaign_types(run.table("campaigns")),
        ),
        run.settings.strategy,
        run.settings.evaluation,
        run.settings.contact,
    )
    status = "stopped" if evaluation.stopped else "evaluated"
    strategy = draft.model_copy(update={"status": status, "evaluation": evaluation, "launch": launch})
    stop = GateFailed(_stopped(run.day, evaluation.reasons)) if evaluation.stopped else None
    notes = [f"{_mark(gate.passed)} {gate.name}: {gate.detail}" for gate in evaluation.gates]
    notes += [f"refused {refusal.metric}: {', '.join(refusal.missing)}" for refusal in evaluation.refused]
    return Outcome(documents={"strategy": strategy}, notes=notes, stop=stop)


def _stopped(day: date, reasons: list[str]) -> str:
    return (
        f"strategy of {day} stopped: {'; '.join(reasons)}. Nobody is asked and nothing is sent. All gates are on the "
        "strategy's page and in its MLflow run; docs/operating.md says what to do about each"
    )


def _mark(passed: bool | None) -> str:
    return {True: "passed", False: "FAILED", None: "n/a"}[passed]


def _champion_metrics(run: Run, promotion: Promotion) -> dict[str, float]:
    """Figures of the champions, each of its own task only; of a kept one, those of its own training day."""
    figures: dict[str, float] = {}
    for task in (promotion.ranking, promotion.customer):
        entry = trained_model(run, task.champion, task.kept_from)
        ranks = task.task == "ranking"
        figures |= {name: value for name, value in entry.metrics.items() if name.startswith("ranking.") == ranks}
    return figures


# -- publish -------------------------------------------------------------------------------------------------------------
def publish_reads(day: date, platform: Platform) -> list[Read]:
    return [
        *today(("strategy",), day, "evaluate_strategy"),
        *today(("decisions",), day, "allocate"),
        *today(("messages",), day, "write_briefs"),
    ]


def publish(run: Run) -> Outcome:
    """The evaluated strategy, its decisions and messages, as one thing that execution may take."""
    strategy = run.document("strategy", Strategy)
    if strategy.status != "evaluated":
        raise GateFailed(f"strategy of {run.day} is {strategy.status}, not evaluated: it can't be published")
    names = ("strategy", "decisions", "messages")
    evaluated = {(parent.artefact, parent.digest) for parent in run.inputs["strategy"][-1].parents}
    for name in names[1:]:
        if (name, run.inputs[name][-1].digest) not in evaluated:
            raise GateFailed(
                f"{name} of {run.day} were made anew after the strategy was evaluated: run evaluate_strategy, then publish"
            )
    published = PublishedStrategy(
        partition=run.day,
        **{f"{name}_uri": run.inputs[name][-1].folder for name in names},
        markdown=approval_text(run, strategy),
    )
    return Outcome(documents={"published": published}, notes=[f"published: {run.uri('strategy')}"])


def approval_text(run: Run, strategy: Strategy) -> str:
    """What is put before an approver; run: one that reads the day's decisions and messages."""
    return markdown.approval_text(strategy, markdown.samples(run.table("decisions"), run.table("messages")))
