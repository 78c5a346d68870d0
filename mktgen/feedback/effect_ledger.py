"""Predicted against realised: what each campaign was to bring, and what it brought, wave by wave.

A wave is as many days as the attribution window, from the first day of the ledger on. The row without a campaign is the
whole programme, measured against the permanent holdout; a campaign's row is measured against those whom the draw left
alone though it might have contacted them. Only what was really sent has rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

import polars as pl

from mktgen.contracts import EFFECT_LEDGER
from mktgen.documents import Interval
from mktgen.errors import PermanentError
from mktgen.feedback.effect.lift import lift
from mktgen.feedback.effect.logged import comparable, effect_on_contacted
from mktgen.feedback.effect.sample import CONTROL, TREATED
from mktgen.settings import FeedbackSettings

PROGRAMME: Final = ""  # campaign_id of the rows of everything together
_PROFIT: Final = ("profit_minor", "profit_low_minor", "profit_high_minor")
_FOLLOWED: Final = ("predicted_redemptions", "redeemed")  # of the programme's row; the rest stays as first known


@dataclass(frozen=True)
class Economics:
    """What turns spend into profit: the shop's own figures, or the assumptions of StrategySettings."""

    margin_share: float
    contact_cost_minor: int
    face_value_minor: int


@dataclass(frozen=True)
class Sent:
    """What is known of a range of days, by contract.

    attributions: ATTRIBUTIONS as of the partition. decisions: day -> DECISIONS. outcomes: OUTCOMES up to the partition.
    predictions: decision_id, profit_minor, profit_low_minor, profit_high_minor (95%), incremental, of every decision that
    would contact; None: `expected_value_minor` of the decisions, without bounds. baseline: customer_id, decided_on,
    baseline_minor, the profit expected without contact; it narrows the realised intervals, and must be dated before the
    decision; None: nothing is subtracted.
    """

    attributions: pl.DataFrame
    decisions: Mapping[date, pl.DataFrame]
    outcomes: pl.DataFrame
    predictions: pl.DataFrame | None = None
    baseline: pl.DataFrame | None = None


def effect_ledger(
    previous: pl.DataFrame, sent: Sent, economics: Economics, settings: FeedbackSettings, partition: date
) -> pl.DataFrame:
    """contracts.EFFECT_LEDGER as known at the end of `partition`, sorted by campaign and wave.

    previous: the ledger of the partition before (EFFECT_LEDGER.empty() where there is none); waves that are no longer
    followed are kept as they are there. A wave has rows once the window after its first day is over.

    A campaign's row is of its matured contacts and changes until all of them are. The programme's row is of the window
    after the wave's first day: each contact counts with the share of its own window that lies inside, its prediction
    as its cost (what it brings is taken to come evenly); money stays as it was first known, redemptions follow.
    predicted: a sum, its bounds sums of bounds, since a model errs alike on all. realised: effect per customer or contact
    times their number, of margin_share * merchandise spend - cost of contacts sent and coupons redeemed by `partition`.
    shortfall: `min_matured` contacts, and the upper bound of realised lies below the prediction.
    Raises PermanentError where a contact has no prediction.
    """
    waves = _waves(previous, sent, settings, partition)
    rows = []
    for wave in waves:
        days = {
            day: frame for day, frame in sorted(sent.decisions.items()) if 0 <= (day - wave).days < settings.window_days
        }
        contacts = _contacts(sent, days)
        if contacts.height:
            rows.append(_programme(wave, days, sent, economics, settings))
        matured = contacts.filter("matured")
        for campaign_id in matured["campaign_id"].unique().sort().to_list():
            own = matured.filter(pl.col("campaign_id") == campaign_id)
            realised = _campaign(own, days, sent, economics, settings)
            rows.append(_row(campaign_id, wave, own, own, realised, settings))
    return _merged(previous, rows, waves, partition)


def _waves(previous: pl.DataFrame, sent: Sent, settings: FeedbackSettings, partition: date) -> list[date]:
    """First days of the waves whose first window is over and whose decisions are all still followed."""
    days = sorted(sent.decisions)
    if not days:
        return []
    known = previous["wave"].to_list()
    first = min(known) if known else days[0]
    count = (partition - first).days // settings.window_days
    starts = [first + timedelta(days=n * settings.window_days) for n in range(count)]
    return [start for start in starts if start >= days[0]]


def _contacts(sent: Sent, days: Mapping[date, pl.DataFrame]) -> pl.DataFrame:
    """Contacts that were delivered: reference_id, customer_id, campaign_id, decided_on, matured, predicted, redeemed, and
    profit_minor with its bounds."""
    delivered = sent.attributions.filter(
        (pl.col("kind") == "decision") & pl.col("was_sent") & pl.col("decided_on").is_in(list(days))
    ).select("reference_id", "customer_id", "campaign_id", "decided_on", "matured", "predicted", "redeemed")
    joined = delivered.join(_predictions(sent, days), on="reference_id", how="left")
    missing = joined.filter(pl.col("profit_minor").is_null())["reference_id"].sort()
    if missing.len():
        raise PermanentError(
            f"{missing.len()} delivered contacts have no prediction, e.g. {missing[0]}: give the predictions of their day"
        )
    return joined


def _predictions(sent: Sent, days: Mapping[date, pl.DataFrame]) -> pl.DataFrame:
    if sent.predictions is not None:
        return sent.predictions.rename({"decision_id": "reference_id"})
    schema = {"reference_id": pl.String, **dict.fromkeys(_PROFIT, pl.Float64)}
    unknown = pl.lit(None, dtype=pl.Float64)
    told = (pl.col("expected_value_minor"), unknown, unknown)
    columns = [expression.alias(name) for name, expression in zip(_PROFIT, told, strict=True)]
    parts = [frame.select(pl.col("decision_id").alias("reference_id"), *columns) for frame in days.values()]
    return pl.concat([pl.DataFrame(schema=schema), *parts])


# -- realised -----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Realised:
    """The sum over contacts or customers, or why there is none."""

    total: Interval | None
    controls: int
    why: str = ""


def _programme(
    wave: date, days: Mapping[date, pl.DataFrame], sent: Sent, economics: Economics, settings: FeedbackSettings
) -> dict[str, Any]:
    """The row of all campaigns: customers decided on the wave's first day, held out or not, over the window after it."""
    first, window = min(days), settings.window_days
    everyone = days[first].select("customer_id", "holdout")
    inside = (window - (pl.col("decided_on") - first).dt.total_days().abs()) / window
    near = {day: frame for day, frame in sent.decisions.items() if abs((day - first).days) < window}
    contacts = _contacts(sent, near).join(everyone, on="customer_id", how="semi").with_columns(inside.alias("inside"))
    weighted = contacts.with_columns(pl.col(*_PROFIT) * pl.col("inside"))
    decided = contacts.filter(pl.col("matured") & pl.col("decided_on").is_in(list(days)))
    realised = _against_holdout(first, everyone, contacts, sent, economics, settings)
    return _row(PROGRAMME, wave, weighted, decided, realised, settings)


def _against_holdout(
    first: date,
    everyone: pl.DataFrame,
    contacts: pl.DataFrame,
    sent: Sent,
    economics: Economics,
    settings: FeedbackSettings,
) -> _Realised:
    arm = pl.when("holdout").then(pl.lit(CONTROL)).otherwise(pl.lit(TREATED)).alias("arm")
    arms = everyone.select("customer_id", pl.lit(first).alias("wave"), arm)
    held = arms.filter(pl.col("arm") == CONTROL).height
    if min(held, arms.height - held) < settings.effect.min_effective_controls:
        return _Realised(None, held, f"{held} of {arms.height} customers held out: too few to compare")
    during = pl.col("business_date").is_between(first + timedelta(days=1), first + timedelta(days=settings.window_days))
    bought = sent.outcomes.filter(during).group_by("customer_id").agg(pl.col("net_minor").sum())
    spent = contacts.group_by("customer_id").agg((_cost(economics) * pl.col("inside")).sum().alias("cost_minor"))
    rows = arms.join(bought, on="customer_id", how="left").join(spent, on="customer_id", how="left")
    profit = economics.margin_share * pl.col("net_minor").fill_null(0) - pl.col("cost_minor").fill_null(0)
    rows = rows.with_columns(profit.cast(pl.Float64).alias("profit"))
    if sent.baseline is not None:
        known = sent.baseline.filter(pl.col("decided_on") == first).select("customer_id", "baseline_minor")
        rows = rows.join(known, on="customer_id", how="left").with_columns(pl.col("baseline_minor").fill_null(0.0))
    found = lift(rows, "profit", () if sent.baseline is None else ("baseline_minor",))
    return _Realised(_times(found.adjusted.interval(), arms.height - held), held)


def _campaign(
    contacts: pl.DataFrame,
    days: Mapping[date, pl.DataFrame],
    sent: Sent,
    economics: Economics,
    settings: FeedbackSettings,
) -> _Realised:
    """Decisions of the days on which the campaign was sent, by the propensities that were logged."""
    live = sorted(set(contacts["decided_on"].to_list()))
    arms = comparable(pl.concat([days[day] for day in live]), contacts["campaign_id"][0])
    certain = contacts.join(arms, left_on="reference_id", right_on="decision_id", how="anti").height
    if certain:
        return _Realised(None, 0, f"{certain} of {contacts.height} contacts could not have been left alone by the draw")
    ours = sent.attributions.filter((pl.col("kind") == "decision") & pl.col("matured"))
    value = economics.margin_share * pl.col("net_minor") - pl.when("was_sent").then(_cost(economics)).otherwise(0)
    rows = arms.join(
        ours.select(pl.col("reference_id").alias("decision_id"), "decided_on", value.cast(pl.Float64).alias("value")),
        on="decision_id",
    )
    if sent.baseline is not None:
        rows = rows.join(sent.baseline, on=["customer_id", "decided_on"], how="left")
        rows = rows.with_columns(pl.col("value") - pl.col("baseline_minor").fill_null(0.0))
    found = effect_on_contacted(rows)
    if found.effect is None or found.effective_controls < settings.effect.min_effective_controls:
        why = f"customers left alone by the draw count for {found.effective_controls:.1f}: too few to compare with"
        return _Realised(None, found.controls, why)
    return _Realised(_times(found.effect.interval(), found.contacts), found.controls)


def _cost(economics: Economics) -> pl.Expr:
    """Of a contact that was delivered; a coupon costs where it was redeemed."""
    return economics.contact_cost_minor + economics.face_value_minor * pl.col("redeemed").cast(pl.Int64)


def _times(one: Interval, number: int) -> Interval:
    return Interval(value=number * one.value, low=number * one.low, high=number * one.high, method=one.method)


# -- rows ---------------------------------------------------------------------------------------------------------------
def _row(
    campaign_id: str,
    wave: date,
    contacts: pl.DataFrame,
    decided: pl.DataFrame,
    realised: _Realised,
    settings: FeedbackSettings,
) -> dict[str, Any]:
    """contacts: with their profits; decided: matured ones of the wave, with their redemptions."""
    predicted = float(contacts["profit_minor"].sort().sum())
    bounds = [_sum_or_none(contacts[f"profit_{side}_minor"]) for side in ("low", "high")]
    total = realised.total
    chances = decided.filter(pl.col("predicted").is_not_null())
    row: dict[str, Any] = {
        "campaign_id": campaign_id,
        "wave": wave,
        "contacts": contacts.height,
        "controls": realised.controls,
        "predicted_minor": predicted,
        "predicted_low_minor": bounds[0],
        "predicted_high_minor": bounds[1],
        "realised_minor": None if total is None else total.value,
        "realised_low_minor": None if total is None else total.low,
        "realised_high_minor": None if total is None else total.high,
        "ratio": total.value / predicted if total is not None and predicted > 0 else None,
        "predicted_redemptions": float(chances["predicted"].sort().sum()),
        "redeemed": int(chances["redeemed"].sum()),
    }
    return row | _shortfall(row, realised.why, settings)


def _sum_or_none(values: pl.Series) -> float | None:
    return None if values.null_count() else float(values.sort().sum())


def _shortfall(row: dict[str, Any], why: str, settings: FeedbackSettings) -> dict[str, Any]:
    if row["realised_minor"] is None:
        return {"shortfall": False, "reason": f"not measured: {why}"}
    if row["contacts"] < settings.min_matured:
        return {
            "shortfall": False,
            "reason": f"{row['contacts']} matured contacts, {settings.min_matured} are needed to judge",
        }
    if row["realised_high_minor"] >= row["predicted_minor"]:
        return {"shortfall": False, "reason": "the prediction lies within the realised interval, or below it"}
    ratio = row["ratio"]
    share = (
        ""
        if ratio is None
        else f", a ratio of {ratio:.2f}"
        + (f", below {settings.shortfall_ratio}" if ratio < settings.shortfall_ratio else "")
    )
    said = (
        f"{row['predicted_minor']:.0f} minor units of profit were predicted, {row['realised_minor']:.0f} realised "
        f"(95% at most {row['realised_high_minor']:.0f}){share}"
    )
    return {"shortfall": True, "reason": said}


def _merged(previous: pl.DataFrame, rows: list[dict[str, Any]], waves: list[date], partition: date) -> pl.DataFrame:
    """New rows over the previous ones, with the day on which each was first known and first called short."""
    earlier = {(old["campaign_id"], old["wave"]): old for old in previous.iter_rows(named=True)}
    for row in rows:
        old = earlier.get((row["campaign_id"], row["wave"]), {})
        if old and row["campaign_id"] == PROGRAMME:
            row |= {name: value for name, value in old.items() if name not in _FOLLOWED}
        row["known_on"] = old.get("known_on", partition)
        row["called_on"] = (old.get("called_on") or partition) if row["shortfall"] else None
    kept = previous.filter(~pl.col("wave").is_in(waves))
    made = pl.DataFrame(rows, schema=EFFECT_LEDGER.columns)
    return EFFECT_LEDGER.check(pl.concat([kept, made]).sort("campaign_id", "wave"))
