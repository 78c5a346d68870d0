"""Response: what is learned of past trials, and what it says of today's customers.

Only decisions that were drawn at random and dispatched teach anything; a source whose customers can't be reached has none,
and then the strategy's values rest on assumptions, and say so.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final

import polars as pl

from mktgen.contracts import CUSTOMER_CLASSES, HELD_OUT_EFFECTS, RESPONSE_SCORES
from mktgen.documents import ResponseComparison, ResponsePromotion, ResponseReport, RetrainingRequest
from mktgen.response.classes import customer_classes
from mktgen.response.contact_facts import aligned
from mktgen.response.learning import Learned, learn
from mktgen.response.model import ResponseModel
from mktgen.response.past import held_out_effects
from mktgen.response.succession import against_champion
from mktgen.response.trials import NotRandomised, TooFewTrials
from mktgen.settings import Settings, StrategySettings
from mktgen.steps.known import (
    FACTS,
    covariates,
    facts_of_today,
    facts_reads,
    known_by_day,
    past_reads,
    wait_for_feedback,
)
from mktgen.steps.runner import Outcome, Platform, Read, Run
from mktgen.steps.training import campaign_reads
from mktgen.steps.uplift import offers_by_scope, targeting_figures
from mktgen.strategy.exploration import even_draws, exploration

MODEL: Final = "model.npz"
_OFFERS: Final = ("offers", "offer_items", "campaigns")


# -- the model, in the loop -----------------------------------------------------------------------------------------------
def learn_reads(day: date, platform: Platform) -> list[Read]:
    settings = platform.settings.response
    first = day - timedelta(days=settings.memory_days)
    days = [found for found in platform.store.partitions("trials") if first <= found < day]
    # Days without trials have no decision behind them, hence perhaps no features either.
    kept = (found for found in platform.store.currents("trials", days) if found.rows)
    matured = tuple(date.fromisoformat(found.partition) for found in kept)
    sent = [
        found for found in platform.store.partitions("sends") if found >= first - timedelta(settings.matured_after_days)
    ]
    wait_for_feedback("collect_trials", sent, settings.matured_after_days, day, platform)
    decided = tuple(found - timedelta(days=settings.matured_after_days) for found in matured)
    facts = past_reads(decided)
    requests = platform.store.partitions("retraining_request") if matured else []
    asked = tuple(found for found in requests if first <= found < day)
    champion = serving_before(day, platform)
    version = (champion,) if champion is not None else ()
    return [
        Read("trials", matured, required=False),
        *facts,
        *(read for read in (campaign_reads(day, platform) if matured else ()) if read.artefact in _OFFERS),
        Read("retraining_request", asked, required=False),
        Read("response_model", version, required=False),
    ]


def promotion_before(day: date, platform: Platform) -> tuple[date, ...]:
    """The last day before this one that says which version serves; empty where there is none."""
    earlier = reversed([found for found in platform.store.partitions("response_promotion") if found < day])
    return tuple(found for found in earlier if platform.store.current("response_promotion", found))[:1]


def serving_before(day: date, platform: Platform) -> date | None:
    """Which version served on the last day before this one."""
    found = platform.store.currents("response_promotion", promotion_before(day, platform))
    return platform.store.read_document(found[0], ResponsePromotion).serving if found else None


def learn_response(run: Run) -> Outcome:
    """A new version of the response model from all trials so far, held against the one that serves; or why there is none."""
    trials = run.table("trials")
    if trials.is_empty():
        return _without(run, "no decision of ours was ever dispatched and has matured: there is nothing to learn from")
    offers = offers_by_scope(run.table("offers"), run.table("offer_items"), run.table("campaigns"))
    known, settings, doubted = _past_covariates(run), run.settings.response, _doubted_before(run)
    try:
        learned = learn(
            trials, known, settings, run.day + timedelta(days=1), run.settings.seed, offers, doubted_before=doubted,
            placebo=_before(trials, known),
        )  # fmt: skip
    except (NotRandomised, TooFewTrials) as refused:
        return _without(run, str(refused))
    failed, model = learned.failed, learned.model
    cost = {name: _reserved(name, offers, run.settings.strategy) for name in model.actions}
    facts = model.facts | targeting_figures(learned.held_out, cost, run.settings.seed)
    report = ResponseReport(
        partition=run.day, usable=not failed, reason="; ".join(failed) or "all checks passed or had nothing to ask",
        trials=trials.height, actions=model.actions, facts=facts, gates=learned.gates, alike=learned.alike,
        doubted_before=doubted, against=_against(run, learned, known),
    )  # fmt: skip
    how = "the same effect for all customers" if learned.alike else "effects by customer"
    doubt = [] if doubted is None else [f"feedback asked for it: trials decided before {doubted} count for little"]
    note = (
        f"{trials.height} trials, {len(model.actions)} offers tried, {how}; {'passed' if report.usable else 'FAILED'}"
    )
    return Outcome(
        tables={"held_out_effects": held_out_effects(learned.held_out)},
        documents={"response_report": report},
        files={"response_model": {MODEL: model.to_bytes()}},
        notes=[note, *doubt, *failed, *([report.against.reason] if report.against else [])],
    )


def _before(trials: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """decision_id, placebo_minor: spend of the four weeks before the decision, which no draw can have moved."""
    spent = known.select("customer_id", "decided_on", placebo_minor="net_minor_28d")
    return trials.join(spent, on=["customer_id", "decided_on"], how="left").select("decision_id", "placebo_minor")


def _reserved(action: str, offers: pl.DataFrame, strategy: StrategySettings) -> int:
    """What one contact takes of a budget."""
    face = offers.filter(action=action)["face_value_minor"].to_list()
    return strategy.contact_cost_minor + (face[0] if face else strategy.face_value_minor)


def _doubted_before(run: Run) -> date | None:
    """The latest day of which feedback said that effects moved or fell short from it on."""
    store = run.platform.store
    requests = (store.read_document(found, RetrainingRequest) for found in run.inputs["retraining_request"])
    days = [request.doubted_before for request in requests if request.doubted_before is not None]
    return max(days, default=None)


def _against(run: Run, learned: Learned, known: pl.DataFrame) -> ResponseComparison | None:
    content = run.files("response_model") if run.has("response_model") else {}
    if MODEL not in content:
        return None
    learned_on = date.fromisoformat(run.inputs["response_model"][-1].partition)
    champion = ResponseModel.from_bytes(content[MODEL])
    known = aligned(known, champion.basis.columns)
    return against_champion(learned.held_out, known, champion, learned_on, run.settings.response)


def _without(run: Run, reason: str) -> Outcome:
    report = ResponseReport(
        partition=run.day, usable=False, reason=reason, trials=0, actions=[], facts={}, gates=[],
        doubted_before=_doubted_before(run),
    )  # fmt: skip
    return Outcome(
        tables={"held_out_effects": HELD_OUT_EFFECTS.empty()},
        documents={"response_report": report},
        files={"response_model": {}},
        notes=[f"no model: {reason}"],
    )


def _past_covariates(run: Run) -> pl.DataFrame:
    """What was known of each customer when it was decided: customer_id, decided_on, covariates."""
    by_day = known_by_day(run)
    return pl.concat([known.with_columns(decided_on=pl.lit(day)) for day, known in by_day.items()], how="diagonal")


def serving_reads(day: date, platform: Platform) -> list[Read]:
    """Which version serves the day, and that version."""
    manifest = platform.store.current("response_promotion", day)
    serving = platform.store.read_document(manifest, ResponsePromotion).serving if manifest else None
    version = (serving,) if serving else ()
    return [
        Read("response_promotion", (day,), True, "promote_response"),
        *(Read(name, version, True, "learn_response") for name in ("response_model", "response_report")),
    ]


def model_of(run: Run) -> ResponseModel | None:
    """The response model that serves the day, where one does."""
    if run.document("response_promotion", ResponsePromotion).serving is None:
        return None
    return ResponseModel.from_bytes(run.files("response_model")[MODEL])


def trials_behind(run: Run) -> float | None:
    """Effective number of trials behind the model that serves; None: none serves. 0 where feedback has come to doubt them
    since that version was learned: then exploration is whole again."""
    model = model_of(run)
    if model is None:
        return None
    doubt = run.document("response_promotion", ResponsePromotion).doubted_before
    known = run.document("response_report", ResponseReport).doubted_before
    return model.trials_effective if doubt is None or (known is not None and doubt <= known) else 0.0


def value_note(run: Run) -> str:
    """What the values of the day's offers rest on, and a rollback that is in force."""
    promotion = run.document("response_promotion", ResponsePromotion)
    if promotion.serving is None:
        tried = "; all offers are tried with even chances" if run.platform.source.live else ""
        return f"values are assumed, not learned: {promotion.reason}{tried}"
    report = run.document("response_report", ResponseReport)
    version = "" if promotion.serving == run.day else f" (version of {promotion.serving})"
    note = (
        f"values are incremental: learned from {report.trials} randomised decisions, {len(report.actions)} offers tried"
    )
    alike = "; one mean effect per offer for all customers" if report.alike else ""
    why = f". {promotion.reason[0].upper()}{promotion.reason[1:]}" if version else ""
    return f"{note}{version}{alike}{why}"


# -- what it says of today's customers ------------------------------------------------------------------------------------
def estimate_reads(day: date, platform: Platform) -> list[Read]:
    return [
        *serving_reads(day, platform),
        Read("customer_features", (day,), True, "extract_features"),
        Read("customer_scores", (day,), True, "score"),
        *facts_reads(day, platform),
    ]


def estimate_response(run: Run) -> Outcome:
    """Incremental profit of each tried offer for each active customer, with its interval, and the customer's class."""
    model, facts = model_of(run), facts_of_today(run)
    if model is None:
        nothing = {"response_scores": RESPONSE_SCORES.empty(), "customer_classes": CUSTOMER_CLASSES.empty()}
        return Outcome(tables={**nothing, "response_facts": facts}, notes=["no response model: effects are not known"])
    known = covariates(run.table("customer_features"), run.table("customer_scores"), facts)
    known = aligned(known, model.basis.columns)
    effects = model.effects(known).select(list(RESPONSE_SCORES.columns))
    classes = customer_classes(model, known, run.settings.response).select(list(CUSTOMER_CLASSES.columns))
    counts = classes.group_by("class").len().sort("class")
    named = ", ".join(f"{name} {count}" for name, count in counts.iter_rows())
    tables = {"response_scores": effects, "customer_classes": classes, "response_facts": facts}
    return Outcome(tables=tables, notes=[named])


def worth(run: Run, candidates: pl.DataFrame, settings: Settings) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    """Candidates (contracts.OFFER_SCORES) with their incremental value where a response model is in force, and draws of
    it by the posterior (customer_id, offer_id, draws); else as they are, their values being assumptions: with draws that make
    all offers equally likely where customers can be reached, so that the first trials teach of each, and None elsewhere."""
    model = model_of(run)
    if candidates.is_empty():
        return candidates, None
    if model is None:
        unknown = even_draws(candidates, settings.strategy, settings.seed, run.day)
        return candidates, unknown if run.platform.source.live else None
    known = aligned(covariates(*(run.table(name) for name in FACTS)), model.basis.columns)
    known = known.join(candidates.select("customer_id").unique(), on="customer_id", how="semi").sort("customer_id")
    actions = candidates["offer_id"].unique().sort().to_list()
    drawn = model.draws(known, settings.strategy.posterior_draws, settings.seed, actions)
    mean = drawn.mean(axis=0)
    drawn = mean + exploration(trials_behind(run), settings.strategy).width * (drawn - mean)
    place = {customer: number for number, customer in enumerate(known["customer_id"])}
    column = {action: number for number, action in enumerate(actions)}
    rows = candidates["customer_id"].replace_strict(place, return_dtype=pl.Int64).to_numpy()
    columns = candidates["offer_id"].replace_strict(column, return_dtype=pl.Int64).to_numpy()
    values = drawn[:, rows, columns].T
    drawn_values = candidates.select("customer_id", "offer_id").with_columns(
        draws=pl.Series(values, dtype=pl.Array(pl.Float64, values.shape[1]))
    )
    effects = model.effects(known, actions).select("customer_id", pl.col("action").alias("offer_id"), "effect_minor")
    valued = candidates.join(effects, on=["customer_id", "offer_id"], how="left", maintain_order="left")
    return valued.with_columns(value_minor="effect_minor").select(candidates.columns), drawn_values
