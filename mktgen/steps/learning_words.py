"""Which words work: clicks collected when their days are over, learned from daily, and what a day's wordings are chosen by."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from functools import partial
from typing import Final

import polars as pl

from mktgen.contracts import WORDING_PAIRS, WORDING_TRIALS
from mktgen.copywriting import preference_use
from mktgen.copywriting.forms import FormName, Language
from mktgen.copywriting.pool import Pool, even
from mktgen.copywriting.preference import Preference
from mktgen.copywriting.preference_fit import TooFewClicks, drawn_trials, fit
from mktgen.copywriting.preference_serving import MODEL
from mktgen.copywriting.wording import Wording
from mktgen.documents import Approval, WordingReport
from mktgen.feedback.clicks import impressions, wording_trials
from mktgen.steps.data import days_between
from mktgen.steps.dispatched import approvals, dispatched_decisions, dispatched_messages, dispatches
from mktgen.steps.known import wait_for_feedback
from mktgen.steps.runner import Outcome, Platform, Read, Run

JUDGE: Final = "judge.npz"  # of the held-out segments: what a model's drafts are judged by


# -- feedback -------------------------------------------------------------------------------------------------------------
def click_reads(day: date, platform: Platform) -> list[Read]:
    decided = day - timedelta(days=platform.settings.words.click_days)
    sends = dispatches(platform, decided)[-1:]
    drawn = dispatched_messages(platform, sends[0]) if sends else None
    if drawn is None or not platform.source.capabilities.has_clicks:
        return []
    return [
        Read("sends", (), manifests=sends),
        Read("decisions", (), manifests=dispatched_decisions(platform, sends)),
        Read("messages", (), manifests=drawn[:1]),
        Read("wording_pool", (), manifests=drawn[1:]),
        Read("approval", (), manifests=approvals(platform, decided)),
        Read("clicks", days_between(decided + timedelta(days=1), day), True, "clean"),
    ]


def collect_clicks(run: Run) -> Outcome:
    """Wordings of the messages whose days to be clicked end today; or why that day teaches nothing of words."""
    decided = run.day - timedelta(days=run.settings.words.click_days)
    hindrance = _not_one_draw(run, decided)
    if hindrance is not None:
        return Outcome(tables={"wording_trials": WORDING_TRIALS.empty()}, notes=[f"nothing on words: {hindrance}"])
    read = impressions(run.table("sends"), run.table("clicks"), run.settings.words.click_days, run.day)
    messages, drawn_from, decisions = (run.table(name) for name in ("messages", "wording_pool", "decisions"))
    found = wording_trials(read, messages, drawn_from, decisions, decided)
    note = f"{found['clicks'].sum()} of {found['sends'].sum()} messages of {decided} were clicked"
    return Outcome(tables={"wording_trials": found}, notes=[note])


def _not_one_draw(run: Run, decided: date) -> str | None:
    if not run.platform.source.capabilities.has_clicks:
        return "the source records no clicks (has_clicks)"
    if not run.inputs.get("decisions"):
        return f"nothing was dispatched for {decided} whose wording was drawn from a pool that is kept"
    said = [run.platform.store.read_document(found, Approval) for found in run.inputs["approval"]]
    if len({answer.strategy_run for answer in said if answer.approved}) > 1:
        return f"{decided} was decided anew after a strategy had been approved: who read which words isn't known"
    return None


# -- the loop -------------------------------------------------------------------------------------------------------------
def learn_reads(day: date, platform: Platform) -> list[Read]:
    words, store = platform.settings.words, platform.store
    if not platform.source.capabilities.has_clicks:
        return []
    first = day - timedelta(days=words.memory_days)
    counts_from = first - timedelta(days=words.click_days)
    sent = [
        found for found in store.partitions("sends") if found >= counts_from and store.current("wording_pool", found)
    ]
    wait_for_feedback("collect_clicks", sent, words.click_days, day, platform)
    days = [found for found in store.partitions("wording_trials") if first <= found < day]
    counted = tuple(found for found in store.currents("wording_trials", days) if found.rows)
    return [Read("wording_trials", (), manifests=counted)]


def learn_wording(run: Run) -> Outcome:
    """A posterior over wordings from all sends in memory, and what follows from it; even chances where there is none yet."""
    words, seed = run.settings.words, _seed(run)
    if not run.platform.source.capabilities.has_clicks:
        return _without(run, WORDING_TRIALS.empty(), "the source records no clicks (has_clicks)")
    trials = drawn_trials(run.table("wording_trials"))
    try:
        preference = fit(trials, words.min_clicks, seed)
    except TooFewClicks as refused:
        return _without(run, trials, str(refused))
    tuning, apart = preference_use.split(trials, words.held_out_share)
    tuned, judge = (_fitted(part, words.min_clicks, seed) for part in (tuning, apart))
    pairs = preference_use.preference_pairs(tuned, tuning, words.sure_from, seed) if tuned else WORDING_PAIRS.empty()
    files = {MODEL: preference.to_bytes()} | ({JUDGE: judge.to_bytes()} if judge else {})
    report = _report(run, trials, "learned from messages whose wording was drawn at random").model_copy(
        update={
            "learned": True, "traits": preference_use.trait_lines(preference), "pairs": pairs.height,
            "judge": judge is not None,
        }
    )  # fmt: skip
    found = [f"{line.trait} {'works' if line.works else 'harms'}" for line in report.traits if line.works or line.harms]
    note = f"{preference.clicks} of {preference.sends} clicked; {', '.join(found) or 'no trait surely works or harms'}"
    return Outcome(
        tables={"wording_pairs": pairs},
        documents={"wording_report": report},
        files={"wording_model": files},
        notes=[note, f"{pairs.height} pairs to tune on; {'a' if judge else 'no'} judge of drafts"],
    )


def _fitted(trials: pl.DataFrame, min_clicks: int, seed: int) -> Preference | None:
    try:
        return fit(trials, min_clicks, seed)
    except TooFewClicks:
        return None


def _without(run: Run, trials: pl.DataFrame, reason: str) -> Outcome:
    return Outcome(
        tables={"wording_pairs": WORDING_PAIRS.empty()},
        documents={"wording_report": _report(run, trials, reason)},
        files={"wording_model": {}},
        notes=[f"all wordings have even chances: {reason}"],
    )


def _report(run: Run, trials: pl.DataFrame, reason: str) -> WordingReport:
    """What can be counted; nothing is learned."""
    sends, clicks = int(trials["sends"].sum()), int(trials["clicks"].sum())
    segments, share = trials["segment_id"].unique().sort(), run.settings.words.held_out_share
    return WordingReport(
        partition=run.day, learned=False, reason=reason, sends=sends, clicks=clicks,
        click_rate=preference_use.wilson(clicks, sends) if sends else None, traits=[],
        wordings=preference_use.wording_lines(trials), pairs=0,
        held_out_segments=[name for name in segments if preference_use.held_out(name, share)], judge=False,
    )  # fmt: skip


def pool(run: Run, form: FormName, language: Language, drafts: Sequence[Wording]) -> Pool:
    """The wordings that a day's messages are drawn from, chosen by what was learned up to that day. drafts: of a model."""
    files, ours = run.files("wording_model"), [one for one in drafts if (one.form, one.language) == (form, language)]
    best = partial(Preference.from_bytes(files[MODEL]).best, seed=_seed(run)) if MODEL in files else even
    year, week, _ = run.day.isocalendar()
    return Pool(form, language, ours, best=best, week=f"{year}-{week}")


def _seed(run: Run) -> int:
    """The same on every rerun of a day, another one on the next: draws of two days are not the same luck."""
    return run.settings.seed + run.day.toordinal()
