"""Which version of the response model serves: shadow, challenger, champion; and how a new one is held against it."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final

import numpy as np
import polars as pl

from mktgen.documents import Interval, ResponseComparison, ResponsePin, ResponsePromotion, ResponseReport
from mktgen.response.basis import UnusableCovariates
from mktgen.response.clustered import mean_score
from mktgen.response.fitting import covariates_of
from mktgen.response.held_out import HeldOut
from mktgen.response.model import ResponseModel
from mktgen.settings import ResponseSettings

RULE: Final = (
    "A version is learned every day. shadow: it failed one of its checks; it is kept and not used. challenger: it passed all "
    "of them. A challenger becomes champion where none serves, and where the trials that matured since the champion was "
    "learned do not show it to be worse: the upper end of the 95% interval of the champion's loss less its own is 0 or more. "
    "Its own loss is held out (customers whose trials it did not see); the champion saw none of them. Otherwise, and where "
    "nothing has matured since, the champion goes on. A champion older than response.memory_days retires. A version pinned by "
    "a rollback serves until the pin is released; then it is the champion that the next challenger is held against."
)
_Z: Final = 1.959963984540054


def against_champion(
    held_out: HeldOut,
    covariates: pl.DataFrame,
    champion: ResponseModel,
    learned_on: date,
    settings: ResponseSettings,
) -> ResponseComparison:
    """A version held against the champion on the trials that matured since the champion was learned (`learned_on`).

    held_out: of the version; covariates: as for its fit. Formula: gain = mean of w ((r - sum_a c_a t_a)^2 - (r - sum_a c_a
    t'_a)^2), the R-loss of the champion's effects t less that of the version's held-out ones t', w by age, r and c as in
    checks.py; errors clustered by customer. Assumption: the trials are like those to come. When it fails: few trials, where
    the interval is wide and no version looks worse. Reference: Nie & Wager, Biometrika 108 (2021).
    """
    trials = held_out.trials
    first = learned_on - timedelta(days=settings.matured_after_days)  # what was decided earlier had matured by then
    newest = (trials.frame["decided_on"] >= first).to_numpy()
    count = int(newest.sum())
    try:
        theirs = champion.expected(covariates_of(trials, covariates), trials.actions)
    except UnusableCovariates as error:
        return ResponseComparison(champion=learned_on, trials=count, gain=None, reason=str(error), replaces=True)
    contrast, residual = trials.contrast, held_out.reward.residual
    losses = [(residual - (contrast * effect).sum(axis=1)) ** 2 for effect in (theirs, held_out.reward.effect)]
    found = mean_score(held_out, np.where(newest, losses[0] - losses[1], np.nan))
    if found is None:
        reason = f"{count} trials matured since: nothing to judge by"
        return ResponseComparison(champion=learned_on, trials=count, gain=None, reason=reason, replaces=False)
    value, half = found[0], _Z * found[1]
    gain = Interval(value=value, low=value - half, high=value + half, method="R-loss, clustered by customer")
    worse = gain.high < 0
    said = "worse than" if worse else "better than" if gain.low > 0 else "not shown to be worse than"
    shown = f"gain {value:+.1f} [{gain.low:+.1f}, {gain.high:+.1f}]"
    reason = f"{said} the champion of {learned_on} on {count} trials that matured since: {shown}"
    return ResponseComparison(champion=learned_on, trials=count, gain=gain, reason=reason, replaces=not worse)


def succession(
    report: ResponseReport, before: ResponsePromotion | None, pin: ResponsePin | None, settings: ResponseSettings
) -> ResponsePromotion:
    """Who serves on the report's day, by RULE. before: the promotion of the last day; pin: the newest one, released or not."""
    chosen = _successor(report, before, pin, settings)
    return chosen.model_copy(update={"doubted_before": report.doubted_before})


def _successor(
    report: ResponseReport, before: ResponsePromotion | None, pin: ResponsePin | None, settings: ResponseSettings
) -> ResponsePromotion:
    day, champion = report.partition, before.serving if before else None
    role = "challenger" if report.usable else "shadow" if report.trials else "none"
    if pin is not None and pin.version is not None:
        reason = f"pinned to the version of {pin.version} by {pin.by} since {pin.partition}: {pin.why}"
        return _promotion(day, pin.version, role, champion, reason, before, pin)
    if champion is not None and champion < day - timedelta(days=settings.memory_days):
        retired, champion = f"the champion of {champion} is older than {settings.memory_days} days and retires; ", None
    else:
        retired = ""
    if not report.usable:
        goes_on = "nothing serves" if champion is None else f"the champion of {champion} goes on"
        return _promotion(day, champion, role, champion, f"{retired}{goes_on}: {report.reason}", before, None)
    if champion is None:
        reason = f"{retired}the version of {day} passed its checks, and no champion served"
        return _promotion(day, day, "champion", None, reason, before, None)
    compared = report.against
    if compared is None or compared.champion != champion:
        reason = (
            f"the champion of {champion} goes on: today's version was not held against it; run learn_response again"
        )
        return _promotion(day, champion, role, champion, reason, before, None)
    if compared.replaces:
        return _promotion(day, day, "champion", champion, f"the version of {day} is {compared.reason}", before, None)
    return _promotion(
        day, champion, role, champion, f"the champion of {champion} goes on: {compared.reason}", before, None
    )


def _promotion(
    day: date,
    serving: date | None,
    role: str,
    champion: date | None,
    reason: str,
    before: ResponsePromotion | None,
    pin: ResponsePin | None,
) -> ResponsePromotion:
    """previous: what served before the version that serves now, for a rollback."""
    kept = before.previous if before is not None and before.serving == serving else champion
    previous = champion if serving != champion and champion is not None else kept
    return ResponsePromotion(
        partition=day, serving=serving, role=role, previous=previous if previous != serving else None, reason=reason,
        rule=RULE, pin=pin,
    )  # fmt: skip
