"""Predicted against realised: what each campaign was to bring, and what it brought, wave by wave.

The row without a campaign is the
whole programme, measured against the permanent holdout; a campaign's row is measured against those whom the draw left
alone though it might have contacted them. Only what was really sent has rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import numpy as np
import polars as pl

from mktgen.contracts import EFFECT_LEDGER
from mktgen.documents import Interval
from mktgen.errors import PermanentError
from mktgen.feedback.effect.lift import lift
from mktgen.feedback.effect.logged import CONTACTED, comparable, effect_on_contacted
from mktgen.feedback.effect.sample import CONTROL
from mktgen.feedback.programme import (
    BASELINE,
    USUAL,
    Economics,
    Sent,
    delivered,
    inside,
    near,
    priced,
    wave_arms,
    wave_days,
    waves_over,
)  # fmt: skip
from mktgen.settings import FeedbackSettings

PROGRAMME: Final = ""  # campaign_id of the rows of everything together
_PROFIT: Final = ("profit_minor", "profit_low_minor", "profit_high_minor")
_FOLLOWED: Final = (
    "predicted_redemptions",
    "redeemed",
    "matured",
)  # of the programme's row; the rest stays as first known


def effect_ledger(
    previous: pl.DataFrame, sent: Sent, economics: Economics, settings: FeedbackSettings, partition: date
) -> pl.DataFrame:
    """contracts.EFFECT_LEDGER as known at the end of `partition`, sorted by campaign and wave.

    previous: the ledger of the partition before (EFFECT_LEDGER.empty() where there is none); waves that are no longer
    followed are kept as they are there. A wave has rows once the window after its first day is over.

    A campaign's row is of its matured contacts and changes until all of them are; contacts of business as usual, which its
    rule made for certain, have no share in it. The programme's row is of the window after the wave's first day: each contact
    counts with the share of its own window that lies inside, its prediction as its cost (what it brings is taken to come
    evenly); money stays as it was first known, redemptions follow. predicted: a sum, its bounds sums of bounds, since a model
    errs alike on all. realised: effect per customer or contact times their number, of margin_share * merchandise spend - cost
    of contacts sent and coupons redeemed by `partition`. incremental: every prediction was learned from trials.
    shortfall: `min_matured` contacts, and the upper bound of realised lies below the prediction; a campaign's wave is judged
    once, when all its contacts have matured, so that its error is that of one look. called_on: the day of that, for ever.
    Raises PermanentError where a contact has no prediction.
    """
    waves = waves_over(previous, sent, settings, partition)
    sent = priced(sent, economics)
    rows = []
    for wave in waves:
        days = wave_days(sent, wave, settings)
        contacts = _contacts(sent, days)
        if contacts.height:
            rows.append(_programme(wave, days, sent, economics, settings))
        drawn = contacts.filter(pl.col("arm") != USUAL)
        matured = drawn.filter("matured")
        for campaign_id in matured["campaign_id"].unique().sort().to_list():
            own = matured.filter(pl.col("campaign_id") == campaign_id)
            realised = _campaign(own, days, sent, economics, settings)
            open_ = drawn.filter((pl.col("campaign_id") == campaign_id) & ~pl.col("matured")).height
            rows.append(_row(campaign_id, wave, own, own, realised, settings, open_) | {"matured": not open_})
    return _merged(previous, rows, waves, partition)


def _contacts(sent: Sent, days: Mapping[date, pl.DataFrame]) -> pl.DataFrame:
    """Contacts that were delivered: reference_id, customer_id, campaign_id, decided_on, matured, predicted, redeemed, arm,
    incremental, and profit_minor with its bounds."""
    columns = ("reference_id", "customer_id", "campaign_id", "decided_on", "matured", "predicted", "redeemed", "arm")
    joined = delivered(sent, days).select(columns).join(_predictions(sent, days), on="reference_id", how="left")
    missing = joined.filter(pl.col("profit_minor").is_null())["reference_id"].sort()
    if missing.len():
        raise PermanentError(
            f"{missing.len()} delivered contacts have no prediction, e.g. {missing[0]}: give the predictions of their day"
        )
    return joined


def _predictions(sent: Sent, days: Mapping[date, pl.DataFrame]) -> pl.DataFrame:
    if sent.predictions is not None:
        return sent.predictions.rename({"decision_id": "reference_id"})
    schema = {"reference_id": pl.String, **dict.fromkeys(_PROFIT, pl.Float64), "incremental": pl.Boolean}
    unknown = pl.lit(None, dtype=pl.Float64)
    told = (pl.col("expected_value_minor"), unknown, unknown)
    columns = [expression.alias(name) for name, expression in zip(_PROFIT, told, strict=True)]
    named = (pl.col("decision_id").alias("reference_id"), *columns, pl.lit(False).alias("incremental"))
    parts = [frame.select(named) for frame in days.values()]
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
    first = min(days)
    arms = wave_arms(first, sent, economics, settings)
    contacts = _contacts(sent, near(sent, first, settings)).join(arms, on="customer_id", how="semi")
    weighted = contacts.with_columns(pl.col(*_PROFIT) * inside(first, settings))
    decided = contacts.filter(pl.col("matured") & pl.col("decided_on").is_in(list(days)))
    row = _row(PROGRAMME, wave, weighted, decided, _against_holdout(arms, settings), settings)
    return row | {"matured": bool(contacts["matured"].all())}


def _against_holdout(arms: pl.DataFrame, settings: FeedbackSettings) -> _Realised:
    held = arms.filter(pl.col("arm") == CONTROL).height
    if min(held, arms.height - held) < settings.effect.min_effective_controls:
        return _Realised(None, held, f"{held} of {arms.height} customers held out: too few to compare")
    rows = arms.with_columns(profit=pl.col("margin_minor") - pl.col("cost_minor"))
    found = lift(rows, "profit", (BASELINE,) if BASELINE in rows.columns else ())
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
    value = economics.margin_share * pl.col("net_minor") - pl.col("cost_minor")
    rows = arms.join(
        ours.select(pl.col("reference_id").alias("decision_id"), "decided_on", value.cast(pl.Float64).alias("value")),
        on="decision_id",
    )
    if sent.baseline is not None:
        rows = rows.join(sent.baseline, on=["customer_id", "decided_on"], how="left")
        rows = _less_foreseeable(rows.with_columns(pl.col(BASELINE).fill_null(0.0)).sort("decision_id"))
    found = effect_on_contacted(rows)
    if found.effect is None or found.effective_controls < settings.effect.min_effective_controls:
        why = f"customers left alone by the draw count for {found.effective_controls:.1f}: too few to compare with"
        return _Realised(None, found.controls, why)
    return _Realised(_times(found.effect.interval(), found.contacts), found.controls)


def _less_foreseeable(rows: pl.DataFrame) -> pl.DataFrame:
    """`value` less what the baseline foretells of it: value - theta * baseline.

    Formula (CUPED): theta = cov(value, baseline) / var(baseline) within the two sides, weighted. Assumption: the baseline is
    known before the draw, so any theta leaves the difference right. When it fails: few rows, whose theta fits their noise.
    Reference: Deng, Xu, Kohavi & Walker, WSDM 2013.
    """
    weight = rows["weight"].to_numpy()
    value, known = rows["value"].to_numpy(), rows[BASELINE].to_numpy()
    side = (rows["arm"] == CONTACTED).to_numpy()
    if min(side.sum(), (~side).sum()) == 0:
        return rows
    away = [
        each - np.where(side, *(np.average(each[s], weights=weight[s]) for s in (side, ~side)))
        for each in (value, known)
    ]
    spread = float(weight @ away[1] ** 2)
    theta = float(weight @ (away[0] * away[1])) / spread if spread > 0 else 0.0
    return rows.with_columns(pl.Series("value", value - theta * known))


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
    open_contacts: int = 0,
) -> dict[str, Any]:
    """contacts: with their profits; decided: matured ones of the wave, with their redemptions; open_contacts: not matured."""
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
        "incremental": bool(contacts["incremental"].all()),
    }
    return row | _shortfall(row, realised.why, open_contacts, settings)


def _sum_or_none(values: pl.Series) -> float | None:
    return None if values.null_count() else float(values.sort().sum())


def _shortfall(row: dict[str, Any], why: str, open_contacts: int, settings: FeedbackSettings) -> dict[str, Any]:
    if open_contacts:
        return {"shortfall": False, "reason": f"{open_contacts} contacts are not matured: judged when all are"}
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
        row["called_on"] = old.get("called_on") or (partition if row["shortfall"] else None)
    kept = previous.filter(~pl.col("wave").is_in(waves))
    made = pl.DataFrame(rows, schema=EFFECT_LEDGER.columns)
    return EFFECT_LEDGER.check(pl.concat([kept, made]).sort("campaign_id", "wave"))
