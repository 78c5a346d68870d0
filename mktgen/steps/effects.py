"""What our campaigns were to bring and what they brought: the ledger of a day, and what the metrics of a day are made from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from typing import Final

import polars as pl

from mktgen.contracts import EFFECT_LEDGER
from mktgen.documents import EffectReports
from mktgen.feedback import forecasts, measurement
from mktgen.feedback.clicks import impressions
from mktgen.feedback.effect_ledger import PROGRAMME, effect_ledger
from mktgen.feedback.metrics import Observed, ours
from mktgen.feedback.programme import Economics, Sent, began, programme_arms
from mktgen.metrics import LIVE
from mktgen.settings import Settings
from mktgen.steps.acting import window
from mktgen.steps.deciding import today
from mktgen.steps.dispatched import followed_decisions, made_by_same_model
from mktgen.steps.runner import Outcome, Platform, Read, Run
from mktgen.steps.training import campaign_reads

_HISTORY_DAYS: Final = 84  # of the feature that the baseline is made of
_CONTACT: Final = pl.col("action") != "no_contact"


def decided_days(day: date, platform: Platform) -> tuple[date, ...]:
    """The days in sight whose decisions count: all of them where anything was dispatched, else none."""
    followed = set(window(day, platform)) - {day}
    if not followed & set(platform.store.partitions("sends")):
        return ()
    return tuple(sorted(followed & set(platform.store.partitions("decisions"))))


def sent_reads(day: date, platform: Platform) -> list[Read]:
    """Decisions and what followed, and what known offers cost."""
    offers = (read for read in campaign_reads(day, platform) if read.artefact == "offers")
    return [
        *today(("attributions",), day, "attribute"),
        *today(("outcomes",), day, "collect_outcomes"),
        Read("decisions", (), manifests=followed_decisions(platform, decided_days(day, platform))),
        *offers,
    ]


def judge_reads(day: date, platform: Platform) -> list[Read]:
    """Also the ledger so far, what was predicted, and what was known of customers then and when the programme began."""
    decided = decided_days(day, platform)
    earlier = [found for found in platform.store.partitions("effect_ledger") if found < day][-1:]
    start = began(_stored_ledger(platform, earlier), list(decided))
    in_force = followed_decisions(platform, decided)
    known = sorted({*decided, *([start] if start and decided else [])})
    return [
        *sent_reads(day, platform),
        Read("effect_ledger", tuple(earlier), required=False),
        Read("response_scores", (), manifests=made_by_same_model(platform.store, "response_scores", in_force)),
        Read("customer_features", tuple(known), required=False),
    ]


def _stored_ledger(platform: Platform, days: list[date]) -> pl.DataFrame:
    found = platform.store.currents("effect_ledger", days)
    return platform.read(found[-1]) if found else EFFECT_LEDGER.empty()


def judge_effects(run: Run) -> Outcome:
    """The ledger of predicted and realised profit, with the waves and campaigns whose window is over by today."""
    previous = run.table("effect_ledger")
    sent = _sent(run, previous)
    ledger = effect_ledger(previous, sent, _economics(run), run.settings.feedback, run.day)
    new = ledger.filter(pl.col("known_on") == run.day).height
    short = ledger.filter(pl.col("called_on") == run.day)
    notes = [f"{ledger.height} rows of {ledger['wave'].n_unique()} waves, {new} new today"]
    notes += [f"short: {_named(row)}: {row['reason']}" for row in short.iter_rows(named=True)]
    if ledger.is_empty():
        notes = ["no wave is over in which anything was delivered: nothing is predicted, nothing realised"]
    return Outcome(tables={"effect_ledger": ledger}, notes=notes)


def _named(row: dict[str, object]) -> str:
    who = f"campaign {row['campaign_id']}" if row["campaign_id"] != PROGRAMME else "all campaigns"
    return f"{who}, wave of {row['wave']}"


def _economics(run: Run) -> Economics:
    """Margins and costs of the settings; face values as the source gives them."""
    offers = run.table("offers").unique("offer_id", keep="last", maintain_order=True).drop_nulls("face_value_minor")
    faces = dict(offers.select("offer_id", "face_value_minor").sort("offer_id").iter_rows())
    strategy = run.settings.strategy
    return Economics(strategy.margin_share, strategy.contact_cost_minor, strategy.face_value_minor, faces)


def _observed(run: Run, ledger: pl.DataFrame) -> Observed:
    """What was recorded of our contacts, for the metrics: response by offer, and everyone as drawn over whole waves."""
    decisions = run.tables_by_day("decisions")
    attributions, outcomes = run.table("attributions"), run.table("outcomes")
    if not decisions:
        return ours(attributions)
    start = began(ledger, [])
    before = dict(_baselines(run)).get(start) if start is not None else None
    sent = Sent(attributions, decisions, outcomes, before=before)
    arms = programme_arms(ledger, sent, _economics(run), run.settings.feedback, run.day)
    contacts = pl.concat([frame.filter(_CONTACT).select("decision_id", "offer_id") for frame in decisions.values()])
    return ours(attributions, contacts, outcomes, arms)


# -- the report of a day ----------------------------------------------------------------------------------------------------
def measure_reads(day: date, platform: Platform) -> list[Read]:
    judged = today(("demand_outcomes", "churn_outcomes"), day, "judge_forecasts")
    start = began(_stored_ledger(platform, [day]), [])
    known = Read("customer_features", (start,) if start and decided_days(day, platform) else (), required=False)
    effects = [
        known,
        *today(("effect_ledger",), day, "judge_effects"),
        *today(("effect_reports",), day, "assess_campaigns"),
    ]
    return [*sent_reads(day, platform), *_click_reads(day, platform), *effects, *judged]


def _click_reads(day: date, platform: Platform) -> list[Read]:
    """What was sent in the days in sight and clicked since, where the source records clicks."""
    if not platform.source.capabilities.has_clicks:
        return []
    followed = window(day, platform)
    sent = tuple(found for found in platform.store.partitions("sends") if followed[0] <= found < day)
    return [Read("sends", sent, required=False), Read("clicks", followed if sent else (), required=False)]


def _impressions(run: Run) -> pl.DataFrame:
    """Of the messages whose days to be clicked are all recorded: a day that wasn't cleaned is not one without clicks."""
    recorded, days = {found.partition for found in run.inputs["clicks"]}, run.settings.words.click_days
    whole = [
        found
        for found in map(date.fromisoformat, (manifest.partition for manifest in run.inputs["sends"]))
        if all((found + timedelta(days=n)).isoformat() in recorded for n in range(1, days + 1))
    ]
    sends = run.table("sends").filter(pl.col("sent_for").is_in(whole))
    return impressions(sends, run.table("clicks"), days, run.day)


def measure(run: Run) -> Outcome:
    """Rates, uplift and return as far as the source bears them, the latest waves of the ledger, and the day's verdicts."""
    capabilities = run.platform.source.capabilities.as_dict() | {LIVE: run.platform.source.live}
    foresight = forecasts.forecast_metrics(run.table("demand_outcomes"), run.table("churn_outcomes"))
    ledger, settings = run.table("effect_ledger"), run.settings.feedback
    observed = _observed(run, ledger)
    if run.platform.source.capabilities.has_clicks:
        observed = replace(observed, impressions=_impressions(run))
    report = measurement.measure(
        run.table("attributions"), settings, capabilities, run.day, foresight, observed, ledger
    )
    verdicts = run.document("effect_reports", EffectReports).notes
    report = report.model_copy(update={"notes": [*report.notes, *verdicts]})
    notes = [*report.notes, *(f"refused {refusal.metric}: {', '.join(refusal.missing)}" for refusal in report.refused)]
    return Outcome(documents={"feedback_report": report}, notes=notes)


# -- what is known of a range of days -------------------------------------------------------------------------------------
def _sent(run: Run, previous: pl.DataFrame) -> Sent:
    decisions = run.tables_by_day("decisions")
    start, expected = began(previous, list(decisions)), dict(_baselines(run))
    return Sent(
        attributions=run.table("attributions"),
        decisions=decisions,
        outcomes=run.table("outcomes"),
        predictions=_predictions(run, decisions),
        baseline=_dated({day: frame for day, frame in expected.items() if day in decisions}),
        before=expected.get(start) if start is not None else None,
    )


def _predictions(run: Run, decisions: dict[date, pl.DataFrame]) -> pl.DataFrame:
    """Of every decision to contact: by the response model of its day with bounds, else by the assumptions it was made under.

    On a day with a response model a value without bounds (of an offer never tried) is the model's too.
    """
    known = {date.fromisoformat(manifest.partition): manifest for manifest in run.inputs["response_scores"]}
    schema = {
        "decision_id": pl.String, "profit_minor": pl.Float64, "profit_low_minor": pl.Float64,
        "profit_high_minor": pl.Float64, "incremental": pl.Boolean,
    }  # fmt: skip
    parts = [pl.DataFrame(schema=schema)]
    for day, frame in decisions.items():
        told = run.platform.store.read_table(known[day]) if day in known else None
        parts.append(_predicted(frame.filter(_CONTACT), told).select(list(schema)))
    return pl.concat(parts)


def _predicted(contacts: pl.DataFrame, told: pl.DataFrame | None) -> pl.DataFrame:
    value = pl.col("expected_value_minor")
    if told is None or told.is_empty():
        unknown = pl.lit(None, dtype=pl.Float64)
        bounds = (unknown.alias("profit_low_minor"), unknown.alias("profit_high_minor"))
        return contacts.with_columns(value.alias("profit_minor"), *bounds, incremental=pl.lit(False))
    joined = contacts.join(told, on=["customer_id", "action"], how="left", maintain_order="left")
    return joined.with_columns(
        pl.coalesce("effect_minor", value).alias("profit_minor"),
        pl.col("low").alias("profit_low_minor"),
        pl.col("high").alias("profit_high_minor"),
        incremental=pl.lit(True),
    )


def _baselines(run: Run) -> Iterator[tuple[date, pl.DataFrame]]:
    """Of each day: customer_id, baseline_minor, the margin of a window at the pace of the last 84 days."""
    settings: Settings = run.settings
    share = settings.strategy.margin_share * settings.feedback.window_days / _HISTORY_DAYS
    for manifest in run.inputs["customer_features"]:
        features = run.platform.store.read_table(manifest)
        pace = pl.col(f"net_minor_{_HISTORY_DAYS}d").fill_null(0.0).fill_nan(0.0).cast(pl.Float64)
        yield (
            date.fromisoformat(manifest.partition),
            features.select("customer_id", (share * pace).alias("baseline_minor")),
        )


def _dated(expected: dict[date, pl.DataFrame]) -> pl.DataFrame | None:
    parts = [frame.with_columns(decided_on=pl.lit(day)) for day, frame in expected.items()]
    return pl.concat(parts) if parts else None
