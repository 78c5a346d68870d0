"""Whether the ledger of predicted and realised profit asks for training: shortfalls, and what has moved."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from math import log, sqrt
from typing import Final, Literal

import polars as pl
from scipy.special import ndtr

from mktgen.feedback.effect_ledger import PROGRAMME
from mktgen.settings import FeedbackSettings

_Z: Final = 1.959963984540054
_MIN_REDEEMED: Final = 10


@dataclass(frozen=True)
class Reason:
    """Why to train, which model is meant, and, of the response model, the day from which on trials are to be believed."""

    text: str
    model: Literal["behaviour", "response"]
    since: date | None = None


def reasons(ledger: pl.DataFrame, settings: FeedbackSettings, partition: date) -> list[Reason]:
    """Why the ledger asks for training on this day: each shortfall once, and drifts on the day a wave comes in.

    What the response model predicted too high concerns that model, and the trials from before the wave. Predictions that rest
    on assumptions are made of chances of redemption, which are trained with the behaviour models; so is a calibration.
    """
    said = []
    for row in ledger.filter(pl.col("called_on") == partition).sort("campaign_id", "wave").iter_rows(named=True):
        text = f"effect shortfall: {_named(row['campaign_id'])}, wave of {row['wave']}: {row['reason']}"
        learned = row["incremental"]
        said.append(Reason(text, "response", row["wave"]) if learned else Reason(text, "behaviour"))
    programme = ledger.filter(pl.col("campaign_id") == PROGRAMME).sort("wave")
    if programme.is_empty() or programme["known_on"].max() != partition:
        return said
    calibration, effect = calibration_drift(programme, settings), effect_drift(programme, settings)
    said += [] if calibration is None else [Reason(calibration, "behaviour")]
    recent, _ = _split(programme, settings)
    return said + ([] if effect is None else [Reason(effect, "response", recent["wave"][0])])


def _named(campaign_id: str) -> str:
    return f"campaign {campaign_id}" if campaign_id else "all campaigns"


def calibration_drift(waves: pl.DataFrame, settings: FeedbackSettings) -> str | None:
    """Whether redeemed / predicted of the last `recent_waves` waves differs from that of the waves before; None: no.

    Formula: z = (ln(O1 / E1) - ln(O0 / E0)) / sqrt(1 / O1 + 1 / O0), O redeemed and E predicted redemptions of recent and
    earlier waves. Assumption: redemptions are independent and rare (Poisson). When it fails: customers with several
    contacts redeem together, which makes z too large; fewer than ten redemptions on a side say nothing (None).
    Reference: Breslow & Day, Statistical Methods in Cancer Research II (1987), ch. 3 (ratio of SMRs).
    """
    recent, earlier = _split(waves, settings)
    (o1, e1), (o0, e0) = (
        (float(part["redeemed"].sum()), float(part["predicted_redemptions"].sum())) for part in (recent, earlier)
    )
    if min(o1, o0) < _MIN_REDEEMED or min(e1, e0) <= 0:
        return None
    now, then = o1 / e1, o0 / e0
    p_value = _two_sided((log(now) - log(then)) / sqrt(1 / o1 + 1 / o0))
    if p_value >= settings.effect.drift_alpha:
        return None
    return (
        f"calibration drift: redeemed / predicted is {now:.2f} in the last {recent.height} waves, {then:.2f} before "
        f"(p = {p_value:.4f})"
    )


def effect_drift(waves: pl.DataFrame, settings: FeedbackSettings) -> str | None:
    """Whether the realised profit per contact of the last `recent_waves` waves differs from that before; None: no.

    Formula: z = (m1 - m0) / sqrt(v1 + v0), m the inverse-variance means of realised / contacts over the waves of each part,
    v their variances. Assumption: waves are independent given the effect. With a permanent holdout they share
    customers, which correlates them positively: the difference then varies less than stated, and too few drifts
    are called. When it fails: a wave with hardly a contact. Reference: Cochran, Biometrics 10 (1954).
    """
    measured = waves.filter(pl.col("realised_minor").is_not_null() & (pl.col("contacts") > 0))
    parts = [_mean_effect(part) for part in _split(measured, settings)]
    if parts[0] is None or parts[1] is None:
        return None
    (now, v1), (then, v0) = parts[0], parts[1]
    p_value = _two_sided((now - then) / sqrt(v1 + v0))
    if p_value >= settings.effect.drift_alpha:
        return None
    return f"effect drift: {now:+.1f} minor units of profit per contact lately, {then:+.1f} before (p = {p_value:.4f})"


def _split(waves: pl.DataFrame, settings: FeedbackSettings) -> tuple[pl.DataFrame, pl.DataFrame]:
    ordered = waves.sort("wave")
    recent = min(settings.effect.recent_waves, ordered.height)
    return ordered.tail(recent), ordered.head(ordered.height - recent)


def _mean_effect(part: pl.DataFrame) -> tuple[float, float] | None:
    half = (pl.col("realised_high_minor") - pl.col("realised_low_minor")) / (2 * _Z * pl.col("contacts"))
    rows = part.select((pl.col("realised_minor") / pl.col("contacts")).alias("mean"), half.alias("se"))
    rows = rows.filter(pl.col("se") > 0)
    if rows.is_empty():
        return None
    mean, weight = rows["mean"].to_numpy(), rows["se"].to_numpy() ** -2.0
    return float(weight @ mean / weight.sum()), float(1 / weight.sum())


def _two_sided(z: float) -> float:
    return float(2 * ndtr(-abs(z)))
