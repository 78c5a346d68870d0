"""Response: past decisions as trials, what is learned of them, and what it says of today's customers.

Only decisions that were drawn at random and dispatched teach anything; a source whose customers can't be reached has none,
and then the strategy's values rest on assumptions, and say so.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final

import polars as pl

from mktgen.contracts import CUSTOMER_CLASSES, HELD_OUT_EFFECTS, OFFERS, RESPONSE_SCORES, TRIALS
from mktgen.documents import ResponseReport
from mktgen.feedback.trials import matured_trials
from mktgen.response.checks import sanity_gates
from mktgen.response.classes import customer_classes
from mktgen.response.fitting import fit_response
from mktgen.response.model import ResponseModel
from mktgen.response.past import held_out_effects
from mktgen.response.trials import NotRandomised, TooFewTrials
from mktgen.settings import Settings
from mktgen.steps.runner import Outcome, Platform, Read, Run
from mktgen.steps.training import campaign_reads

MODEL: Final = "model.npz"


# -- trials, in the feedback of a day -------------------------------------------------------------------------------------
def trial_reads(day: date, platform: Platform) -> list[Read]:
    decided = day - timedelta(days=platform.settings.response.window_days)
    ours = (Read(name, _stored(platform, name, decided), required=False) for name in ("decisions", "sends"))
    offers = (read for read in campaign_reads(day, platform) if read.artefact == "offers")
    return [Read("outcomes", (day,), True, "collect_outcomes"), *ours, *offers]


def _stored(platform: Platform, artefact: str, day: date) -> tuple[date, ...]:
    return (day,) if platform.store.current(artefact, day) else ()


def collect_trials(run: Run) -> Outcome:
    """The decisions whose window ends today, if they were dispatched: what was drawn, and what came of it."""
    decided = run.day - timedelta(days=run.settings.response.window_days)
    if not (run.has("decisions") and run.has("sends")):
        return Outcome(tables={"trials": TRIALS.empty()}, notes=[f"nothing was dispatched for {decided}: no trials"])
    offers = run.table("offers").unique("offer_id", keep="last", maintain_order=True)
    found = matured_trials(
        run.table("decisions"), run.table("sends"), run.table("outcomes"), OFFERS.check(offers), decided, run.day,
        run.settings.strategy,
    )  # fmt: skip
    return Outcome(tables={"trials": found}, notes=[f"{found.height} trials of {decided} matured"])


# -- the model, in the loop -----------------------------------------------------------------------------------------------
def learn_reads(day: date, platform: Platform) -> list[Read]:
    settings = platform.settings.response
    first = day - timedelta(days=settings.memory_days)
    days = [found for found in platform.store.partitions("trials") if first <= found < day]
    # Days without trials have no decision behind them, hence perhaps no features either.
    kept = (found for found in platform.store.currents("trials", days) if found.rows)
    matured = tuple(date.fromisoformat(found.partition) for found in kept)
    decided = tuple(found - timedelta(days=settings.window_days) for found in matured)
    facts = (Read(name, decided, True, "the loop of that day") for name in ("customer_features", "customer_scores"))
    return [Read("trials", matured, required=False), *facts]


def learn_response(run: Run) -> Outcome:
    """A response model of all trials so far, or the reason why there is none."""
    trials = run.table("trials")
    if trials.is_empty():
        return _without(run, "no decision of ours was ever dispatched and has matured: there is nothing to learn from")
    try:
        model, held_out = fit_response(
            trials, _past_covariates(run), run.settings.response, run.day + timedelta(days=1), run.settings.seed
        )
    except (NotRandomised, TooFewTrials) as refused:
        return _without(run, str(refused))
    offers = pl.DataFrame(schema={"action": pl.String, "mechanic": pl.String, "face_value_minor": pl.Int64})
    gates = sanity_gates(held_out, offers)
    failed = [f"{gate.name}: {gate.detail}" for gate in gates if gate.passed is False]
    report = ResponseReport(
        partition=run.day, usable=not failed, reason="; ".join(failed) or "all checks passed or had nothing to ask",
        trials=trials.height, actions=model.actions, facts=model.facts, gates=gates,
    )  # fmt: skip
    note = f"{trials.height} trials, {len(model.actions)} offers tried; {'in use' if report.usable else 'NOT in use'}"
    return Outcome(
        tables={"held_out_effects": held_out_effects(held_out)},
        documents={"response_report": report},
        files={"response_model": {MODEL: model.to_bytes()}},
        notes=[note, *failed],
    )


def _without(run: Run, reason: str) -> Outcome:
    report = ResponseReport(partition=run.day, usable=False, reason=reason, trials=0, actions=[], facts={}, gates=[])
    return Outcome(
        tables={"held_out_effects": HELD_OUT_EFFECTS.empty()},
        documents={"response_report": report},
        files={"response_model": {}},
        notes=[f"no model: {reason}"],
    )


def _past_covariates(run: Run) -> pl.DataFrame:
    """What was known of each customer when it was decided: customer_id, decided_on, covariates."""
    scores = run.tables_by_day("customer_scores")
    parts = [
        covariates(features, scores[day]).with_columns(decided_on=pl.lit(day))
        for day, features in run.tables_by_day("customer_features").items()
    ]
    return pl.concat(parts)


def covariates(features: pl.DataFrame, scores: pl.DataFrame) -> pl.DataFrame:
    """What a response may depend on: numeric features of the customers that were scored, and what the models foretell.

    The behaviour model's vectors are left out: each training turns their axes, so those of today mean nothing beside those
    of earlier trials.
    """
    numbers = [name for name, kind in features.schema.items() if kind.is_numeric()]
    facts = features.select("customer_id", *numbers)
    return scores.select("customer_id", "p_purchase_7d", "p_churn_28d").join(facts, on="customer_id")


def model_of(run: Run) -> ResponseModel | None:
    """The day's response model, where one was learned and passed its checks."""
    if not run.document("response_report", ResponseReport).usable:
        return None
    return ResponseModel.from_bytes(run.files("response_model")[MODEL])


# -- what it says of today's customers ------------------------------------------------------------------------------------
def estimate_reads(day: date, platform: Platform) -> list[Read]:
    return [
        *(Read(name, (day,), True, "learn_response") for name in ("response_model", "response_report")),
        Read("customer_features", (day,), True, "extract_features"),
        Read("customer_scores", (day,), True, "score"),
    ]


def estimate_response(run: Run) -> Outcome:
    """Incremental profit of each tried offer for each active customer, with its interval, and the customer's class."""
    model = model_of(run)
    if model is None:
        tables = {"response_scores": RESPONSE_SCORES.empty(), "customer_classes": CUSTOMER_CLASSES.empty()}
        return Outcome(tables=tables, notes=["no response model: effects are not known"])
    known = covariates(run.table("customer_features"), run.table("customer_scores"))
    effects = model.effects(known).select(list(RESPONSE_SCORES.columns))
    classes = customer_classes(model, known, run.settings.response).select(list(CUSTOMER_CLASSES.columns))
    counts = classes.group_by("class").len().sort("class")
    named = ", ".join(f"{name} {count}" for name, count in counts.iter_rows())
    return Outcome(tables={"response_scores": effects, "customer_classes": classes}, notes=[named])


def worth(run: Run, candidates: pl.DataFrame, settings: Settings) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    """Candidates (contracts.OFFER_SCORES) with their incremental value where a response model is in force, and draws of
    it by the posterior (customer_id, offer_id, draws); else as they are, with None: their values are assumptions."""
    model = model_of(run)
    if model is None or candidates.is_empty():
        return candidates, None
    known = covariates(run.table("customer_features"), run.table("customer_scores"))
    known = known.join(candidates.select("customer_id").unique(), on="customer_id", how="semi").sort("customer_id")
    actions = candidates["offer_id"].unique().sort().to_list()
    drawn = model.draws(known, settings.strategy.posterior_draws, settings.seed, actions)
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
