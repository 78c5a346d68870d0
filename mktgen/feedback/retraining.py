"""Should the models be trained before their turn, and why?"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Final

import polars as pl

from mktgen.documents import FeedbackReport, RetrainingRequest
from mktgen.feedback import effect_drift
from mktgen.feedback.effect_drift import Reason
from mktgen.settings import FeedbackSettings

_SHORTFALL: Final = "shortfall"


def request_retraining(
    drift: pl.DataFrame,
    report: FeedbackReport,
    settings: FeedbackSettings,
    partition: date,
    ledger: pl.DataFrame | None = None,
    earlier: Sequence[RetrainingRequest] = (),
) -> RetrainingRequest:
    """Requested where a feature drifted (contracts.DRIFT), redemptions fell short of what was predicted, or the ledger
    (contracts.EFFECT_LEDGER as of `partition`; None: not kept) says so: see effect_drift.reasons. The first two concern the
    behaviour models and the redemption model, which is trained with them.

    A shortfall needs `min_matured` matured decisions that were really sent, and calls it where realised / predicted
    lies below `shortfall_ratio` at the upper end of the realised rate's 95% interval: chance alone doesn't retrain. It is asked
    for once in `window_days`: of what was foretold since the last time nothing has matured. earlier: requests of those days.
    """
    drifted = drift.filter(pl.col("drifted")).sort("psi", "feature", descending=[True, False])
    said = [
        Reason(f"drift: {row['feature']} has PSI {row['psi']:.3f}, above {row['threshold']:.3f}", "behaviour")
        for row in drifted.iter_rows(named=True)
    ]
    asked = any(reason.startswith(_SHORTFALL) for one in earlier for reason in one.reasons)
    shortfall = None if asked else _shortfall(report, settings)
    said += [Reason(shortfall, "behaviour")] if shortfall else []
    said += [] if ledger is None else effect_drift.reasons(ledger, settings, partition)
    days = [reason.since for reason in said if reason.since is not None]
    return RetrainingRequest(
        partition=partition,
        requested=bool(said),
        reasons=[reason.text for reason in said],
        models=sorted({reason.model for reason in said}),
        doubted_before=max(days, default=None),
    )


def _shortfall(report: FeedbackReport, settings: FeedbackSettings) -> str | None:
    matured = report.metrics.get("sent_decisions_predicted", 0.0)
    predicted = report.metrics.get("sent_predicted_rate", 0.0)
    if matured < settings.min_matured or predicted <= 0:
        return None
    realised, high = report.metrics["cvr"], report.metrics["cvr_high"]
    if high / predicted >= settings.shortfall_ratio:
        return None
    return (
        f"{_SHORTFALL}: {realised:.2%} of {matured:.0f} matured contacts redeemed (95% at most {high:.2%}), {predicted:.2%} "
        f"were predicted; the ratio is below {settings.shortfall_ratio}"
    )
