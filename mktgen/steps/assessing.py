"""Verdicts: what a campaign did, reported only where its design bears it, on the day its window is over.

Our own programme is judged by its permanent hold-out, wave by wave; a campaign of the shop's own, which nobody randomised, by
estimates that must pass placebo, negative control, balance and overlap. A refusal is a verdict, with its reasons.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Final

import polars as pl

from mktgen.contracts import EFFECT_LEDGER
from mktgen.documents import EffectReport, EffectReports
from mktgen.features import customer_features
from mktgen.features.training import states_at
from mktgen.feedback.effect import cohort
from mktgen.feedback.effect.assess import Campaign, assess
from mktgen.feedback.effect.sample import TREATED
from mktgen.feedback.effect_ledger import PROGRAMME
from mktgen.steps.data import days_between
from mktgen.steps.deciding import today
from mktgen.steps.runner import Outcome, Platform, Read, Run
from mktgen.steps.training import campaign_reads

_DAY: Final = timedelta(days=1)
_TABLES: Final = ("campaigns", "exposures", "responses")


def assess_reads(day: date, platform: Platform) -> list[Read]:
    """Features are those that the loop stored; where it did not run yet, they are made of the lines, if all are stored."""
    first, eves = _programme_began(platform, day), _eves(day, platform)
    stored = {eve for eve in eves if platform.store.current("customer_features", eve)}
    days = {day} if first is None else {day, first}
    return [
        *(read for read in campaign_reads(day, platform) if read.artefact in _TABLES),
        *today(("effect_ledger",), day, "judge_effects"),
        Read("customer_features", tuple(sorted(stored)), required=False),
        Read("order_lines", _lines_before(eves - stored, platform), required=False),
        Read("customer_days", tuple(sorted(days)), required=False),
        Read("decisions", () if first is None else (first,), required=False),
    ]


def _eves(day: date, platform: Platform) -> set[date]:
    """The days at whose end customers must be known: before what is due began, and a window earlier for the placebo."""
    window, first = timedelta(days=platform.settings.feedback.window_days), _programme_began(platform, day)
    eves = set() if first is None else {first, first - window}
    start = day - window + _DAY
    campaigns = next(read for read in campaign_reads(day, platform) if read.artefact == "campaigns")
    found = platform.store.currents("campaigns", campaigns.days)
    if found and (platform.store.read_table(found)["start_date"] == start).any():
        eves |= {start - _DAY, start - window - _DAY}
    return {eve for eve in eves if eve >= platform.source.first_day}


def _lines_before(eves: set[date], platform: Platform) -> tuple[date, ...]:
    if not eves:
        return ()
    days = days_between(platform.source.first_day, max(eves))
    return days if set(days) <= set(platform.store.partitions("order_lines")) else ()


def _programme_began(platform: Platform, day: date) -> date | None:
    """The day that the programme began, where one of its waves comes into the ledger today."""
    manifest = platform.store.current("effect_ledger", day)
    waves = _new_waves(platform.read(manifest) if manifest else EFFECT_LEDGER.empty(), day)
    return waves["began"][0] if waves.height else None


def _new_waves(ledger: pl.DataFrame, day: date) -> pl.DataFrame:
    """wave, began: of the programme's waves that are new today."""
    mine = ledger.filter(pl.col("campaign_id") == PROGRAMME)
    return mine.with_columns(began=ledger["wave"].min()).filter(pl.col("known_on") == day).select("wave", "began")


def assess_campaigns(run: Run) -> Outcome:
    """An EffectReport of each campaign whose window ends today, and of our programme where a wave of it does."""
    settings, notes = run.settings.feedback.effect, []
    reports: list[EffectReport] = []
    known = _known(run)
    for campaign, missing in (*_programme(run, known), *_of_the_shop(run, known)):
        if campaign is None:
            notes.append(f"not assessed: {missing}")
            continue
        reports.append(assess(campaign, settings, run.settings.seed))
    notes += [_note(report) for report in reports]
    result = EffectReports(partition=run.day, reports=reports, notes=notes)
    return Outcome(documents={"effect_reports": result}, notes=notes or ["no campaign's window ends today"])


def _note(report: EffectReport) -> str:
    who = f"campaign {report.campaign_id}" if report.campaign_id else "our programme"
    if report.effect is None:
        return f"{who}: refused, {'; '.join(report.reasons)}"
    effect = report.effect
    return f"{who}: {effect.value:+.1f} [{effect.low:+.1f}, {effect.high:+.1f}] {report.outcome}"


# -- cohorts ----------------------------------------------------------------------------------------------------------------
_Made = tuple[Campaign | None, str]
_Known = dict[date, pl.DataFrame]  # eve -> CUSTOMER_FEATURES at its end


def _known(run: Run) -> _Known:
    known = run.tables_by_day("customer_features")
    if run.has("order_lines"):
        cuts = sorted(eve + _DAY for eve in _eves(run.day, run.platform) if eve not in known)
        for cut, state in states_at(run.table("order_lines"), cuts, run.settings.features):
            known[cut - _DAY] = customer_features(state, cut)
    return known


def _programme(run: Run, features: _Known) -> Iterator[_Made]:
    """Waves of ours that came into the ledger today, by the permanent hold-out."""
    waves = _new_waves(run.table("effect_ledger"), run.day)
    if waves.is_empty():
        return
    began, window = waves["began"][0], run.settings.feedback.window_days
    known = features.get(began)
    if known is None or not run.has("decisions"):
        yield None, f"our programme: features or decisions of {began}, when it began, are not known"
        return
    decisions = run.table("decisions")
    made = cohort.holdout_cohort(
        decisions,
        began,
        waves["wave"].to_list(),
        known,
        features.get(began - timedelta(days=window)),
        _tables(run),
        window,
    )
    if made.rows["arm"].n_unique() < 2:
        yield None, "our programme: nobody was held out of it"
        return
    yield _campaign(run, PROGRAMME, made, randomised=True, control_share=float(decisions["holdout_share"][0])), ""


def _of_the_shop(run: Run, features: _Known) -> Iterator[_Made]:
    """Campaigns of the shop's own that were mailed and whose window ends today."""
    window = run.settings.feedback.window_days
    start = run.day - timedelta(days=window) + _DAY
    mailed = run.table("exposures")["campaign_id"].unique()
    campaigns = run.table("campaigns").unique("campaign_id", keep="last", maintain_order=True)
    due = campaigns.filter((pl.col("start_date") == start) & pl.col("campaign_id").is_in(mailed.to_list()))
    for campaign_id in due["campaign_id"].sort():
        known = features.get(start - _DAY)
        if known is None:
            yield None, f"campaign {campaign_id}: features of {start - _DAY}, before it began, are not known"
            continue
        before = features.get(start - timedelta(days=window) - _DAY)
        active = run.settings.features.active_days
        made = cohort.campaign_cohort(campaign_id, known, before, _tables(run), window, active)
        if made.rows["arm"].n_unique() < 2 or TREATED not in set(made.rows["arm"]):
            yield None, f"campaign {campaign_id}: all active customers were mailed, or none"
            continue
        yield _campaign(run, campaign_id, made), ""


def _campaign(
    run: Run, campaign_id: str, made: cohort.Cohort, randomised: bool = False, control_share: float | None = None
) -> Campaign:
    placebo = made.placebo
    if placebo is not None and placebo["arm"].n_unique() < 2:  # no history that far back
        placebo = None
    return Campaign(
        campaign_id=campaign_id,
        partition=run.day,
        rows=made.rows,
        placebo=placebo,
        outcome=cohort.OUTCOME,
        covariates=cohort.COVARIATES,
        said=f"minor units of merchandise spend per customer in {run.settings.feedback.window_days} days",
        randomised=randomised,
        control_share=control_share,
        negative_control=cohort.NEGATIVE_CONTROL,
        other_campaign=cohort.OTHER_CAMPAIGN,
    )


def _tables(run: Run) -> cohort.Tables:
    """The state keeps so many days: those before the programme began come from its first day."""
    days = run.table("customer_days").unique(["customer_id", "business_date"], keep="last", maintain_order=True)
    latest = {name: run.table(name) for name in _TABLES}
    campaigns = latest["campaigns"].unique("campaign_id", keep="last", maintain_order=True)
    return cohort.Tables(days, latest["exposures"], campaigns, latest["responses"])
