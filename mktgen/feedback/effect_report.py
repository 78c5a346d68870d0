"""The ledger's latest waves as a person reads them: predicted beside realised, or why nothing is known."""

from __future__ import annotations

from typing import Any, Final

import polars as pl

from mktgen.documents import EffectLine, Interval, Refusal
from mktgen.feedback.effect_ledger import PROGRAMME
from mktgen.settings import FeedbackSettings

METRIC: Final = "incremental_profit"
_METHOD: Final = "clustered by customer"


def effect_lines(ledger: pl.DataFrame, settings: FeedbackSettings) -> list[EffectLine]:
    """Rows of contracts.EFFECT_LEDGER of the last `effect.recent_waves` waves; the newest wave first, the programme before
    its campaigns."""
    waves = ledger["wave"].unique().sort(descending=True).head(settings.effect.recent_waves)
    latest = ledger.filter(pl.col("wave").is_in(waves.to_list()))
    rows = latest.sort("wave", "campaign_id", descending=[True, False]).iter_rows(named=True)
    return [_line(row) for row in rows]


def _line(row: dict[str, Any]) -> EffectLine:
    realised = row["realised_minor"]
    return EffectLine(
        campaign_id=row["campaign_id"],
        wave=row["wave"],
        contacts=row["contacts"],
        controls=row["controls"],
        matured=row["matured"],
        incremental=row["incremental"],
        predicted_minor=row["predicted_minor"],
        realised=None
        if realised is None
        else Interval(value=realised, low=row["realised_low_minor"], high=row["realised_high_minor"], method=_METHOD),
        shortfall=row["shortfall"],
        reason=row["reason"],
    )


def effect_metrics(ledger: pl.DataFrame) -> dict[str, float]:
    """Of the newest wave of the whole programme: effect_predicted_minor, effect_realised_minor with its bounds, and their
    ratio; what isn't known is absent."""
    newest = _newest(ledger)
    if newest is None:
        return {}
    names = {
        "effect_predicted_minor": "predicted_minor", "effect_realised_minor": "realised_minor",
        "effect_realised_minor_low": "realised_low_minor", "effect_realised_minor_high": "realised_high_minor",
        "effect_ratio": "ratio",
    }  # fmt: skip
    return {name: float(newest[column]) for name, column in names.items() if newest[column] is not None}


def effect_refusal(ledger: pl.DataFrame) -> Refusal | None:
    """Why the profit that the programme brought can't be said; None: it is in the ledger."""
    newest = _newest(ledger)
    if newest is None:
        reason = "no wave is over in which anything that we sent was delivered"
        return Refusal(metric=METRIC, missing=["delivered_contacts"], reason=reason)
    if newest["realised_minor"] is None:
        return Refusal(metric=METRIC, missing=["randomised_holdout_of_sent"], reason=newest["reason"])
    return None


def _newest(ledger: pl.DataFrame) -> dict[str, Any] | None:
    programme = ledger.filter(pl.col("campaign_id") == PROGRAMME).sort("wave")
    return programme.row(-1, named=True) if programme.height else None
