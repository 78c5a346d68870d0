"""What Complete Journey's campaigns did: why the naive difference of about 147 dollars per household is not an effect.

    python -m benchmarks.complete_journey_effect --cache DIR [--campaign 18 ...] [--outcome-model mean|ridge|boosting]
        [--spend all|merchandise] [--json FILE]

Protocol. Campaigns with at least 150 mailed households and 25 days of data after their start. Eligible: an order in the 84
days before. Outcome: spend in dollars over 28 days from the start, fuel and other non-merchandise included unless
`--spend merchandise`. Covariates: those of mktgen/feedback/effect/cohort.py, and whether demographics are known. Placebo: the
same estimator on the 28 days before, with covariates from before those. Negative control: fuel and other
non-merchandise spend, which no coupon of these campaigns reaches. Beside each pooled figure stands that of an
exploration before this work (other code and covariates, all spend); pooled intervals here are clustered by household over
campaigns, those were not.

The command ends with the product's verdict, and with exit status 1 unless every campaign is refused.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import polars as pl

from benchmarks.complete_journey.data import NOTICE, canonical, without_sequences
from benchmarks.complete_journey.data import Tables as Source
from mktgen import features
from mktgen.documents import EffectReport
from mktgen.features.training import states_at
from mktgen.feedback.effect import cohort
from mktgen.feedback.effect.assess import Campaign, Findings, findings, judge
from mktgen.feedback.effect.estimate import Estimate, Pooled, pool
from mktgen.settings import EffectSettings, FeedbackSettings, Settings
from mktgen.sources.base import SourceError

MIN_MAILED: Final = 150
MIN_OBSERVED_DAYS: Final = 25
MIN_HISTORY_DAYS: Final = 28  # before a cut, for covariates to mean anything
DEMOGRAPHICS: Final = "has_demographics"
DOLLARS: Final = 100.0
SHOWN: Final = (
    ("naive", "naive"),
    ("difference_in_differences", "DiD"),
    ("adjusted", "AIPW"),
    ("adjusted_overlap_weighted", "overlap-R"),
    ("placebo", "placebo AIPW"),
    ("placebo_overlap_weighted", "placebo R"),
    ("negative_control", "fuel AIPW"),
)
# Dollars and 95% half-widths of the exploration: group -> estimate -> (value, half-width).
EARLIER: Final[dict[str, dict[str, tuple[float, float]]]] = {
    "A": {"naive": (134.4, 7.3), "difference_in_differences": (0.8, 4.3), "adjusted": (-0.3, 9.3),
          "adjusted_overlap_weighted": (-0.9, 7.6), "placebo": (-11.7, 11.2), "placebo_overlap_weighted": (-0.5, 7.6)},
    "B": {"naive": (163.1, 11.3), "difference_in_differences": (-6.0, 7.3), "adjusted": (-7.5, 8.2),
          "adjusted_overlap_weighted": (-8.5, 8.4), "placebo": (3.1, 8.7), "placebo_overlap_weighted": (-1.4, 9.0)},
    "C": {"naive": (204.0, 22.3), "difference_in_differences": (10.1, 15.0), "adjusted": (7.1, 14.3),
          "adjusted_overlap_weighted": (4.6, 16.2), "placebo": (-19.3, 15.5), "placebo_overlap_weighted": (-17.6, 16.9)},
    "all": {"naive": (147.2, 5.9), "difference_in_differences": (-0.4, 3.6), "adjusted": (-2.6, 5.6),
            "adjusted_overlap_weighted": (-3.3, 5.3), "placebo": (-5.2, 6.3), "placebo_overlap_weighted": (-2.6, 5.5),
            "negative_control": (-2.28, 1.52)},
}  # fmt: skip


@dataclass(frozen=True)
class Judged:
    campaign_type: str
    found: Findings
    report: EffectReport


def judged(source: Source, settings: Settings, only: Sequence[str], spend: str) -> list[Judged]:
    """Every chosen campaign with its figures and the product's report, by type and number."""
    lines, window = source.lines, settings.feedback.window_days
    first, last = lines["business_date"].min(), lines["business_date"].max()
    assert isinstance(first, date)
    assert isinstance(last, date)
    kept = settings.features.model_copy(update={"window_days": (last - first).days + 1, "sequence_events": 16})
    tables = cohort.Tables(
        features.fold(features.empty_state(), lines, last, kept).customer_days,
        source.table("exposures"), source.table("campaigns"), source.table("responses"),
    )  # fmt: skip
    chosen = chosen_campaigns(tables, first, last, only)
    starts = sorted({start for _, _, start in chosen})
    before = [start - timedelta(days=window) for start in starts]
    cuts = [cut for cut in sorted({*starts, *before}) if cut >= first + timedelta(days=MIN_HISTORY_DAYS)]
    states = states_at(lines, cuts, without_sequences(settings.features))
    known = {cut: features.customer_features(state, cut) for cut, state in states}
    described = source.table("customers")["customer_id"].to_list()
    result = []
    for campaign_id, kind, start in chosen:
        back = known.get(start - timedelta(days=window))
        made = cohort.campaign_cohort(campaign_id, known[start], back, tables, window, settings.features.active_days)
        campaign = as_campaign(campaign_id, last, made, described, spend)
        found = findings(campaign, settings.feedback.effect, settings.seed)
        result.append(Judged(kind.removeprefix("Type "), found, judge(campaign, found, settings.feedback.effect)))
        print(campaign_line(result[-1]), flush=True)
    return result


def chosen_campaigns(
    tables: cohort.Tables, first: date, last: date, only: Sequence[str]
) -> list[tuple[str, str, date]]:
    """campaign, type and start of those large and long enough, by type and number."""
    mailed = tables.exposures.group_by("campaign_id").agg(pl.col("customer_id").n_unique().alias("mailed"))
    ends = last - timedelta(days=MIN_OBSERVED_DAYS - 1)
    rows = tables.campaigns.join(mailed, on="campaign_id").filter(
        (pl.col("mailed") >= MIN_MAILED)
        & pl.col("start_date").is_between(first + timedelta(days=MIN_HISTORY_DAYS), ends)
    )
    listed = rows.sort("campaign_type", pl.col("campaign_id").cast(pl.Int64))
    chosen = listed.select("campaign_id", "campaign_type", "start_date").iter_rows()
    return [row for row in chosen if not only or row[0] in only]


def as_campaign(campaign_id: str, last: date, made: cohort.Cohort, described: list[str], spend: str) -> Campaign:
    """In dollars, and with whether the household's demographics are known (those of the mailed mostly are)."""

    def finished(rows: pl.DataFrame) -> pl.DataFrame:
        return rows.with_columns(
            pl.col(cohort.NEGATIVE_CONTROL) / DOLLARS,
            (pl.col(cohort.OUTCOME) + (pl.col(cohort.NEGATIVE_CONTROL) if spend == "all" else 0)) / DOLLARS,
            pl.col("customer_id").is_in(described).cast(pl.Float64).alias(DEMOGRAPHICS),
        )

    return Campaign(
        campaign_id=campaign_id,
        partition=last,
        rows=finished(made.rows),
        placebo=None if made.placebo is None else finished(made.placebo),
        outcome=cohort.OUTCOME,
        covariates=(*cohort.COVARIATES, DEMOGRAPHICS),
        said=f"spend ({spend}) per household in 28 days from the mailing, dollars",
        negative_control=cohort.NEGATIVE_CONTROL,
        other_campaign=cohort.OTHER_CAMPAIGN,
    )


# -- printing ---------------------------------------------------------------------------------------------------------
HEAD: Final = (
    f"{'campaign':<9}{'mailed':>7}{'left':>6}{'AUC':>6}{'overlap t/c':>13}{'ESS':>5}{'SMD':>6}{'wtd':>5}{'>.1':>5}{'wtd':>4}"
    f"{'other t/c':>11}" + "".join(f"{label:>15}" for _, label in SHOWN)
)


def campaign_line(one: Judged) -> str:
    figures, people = one.found.figures, one.found.customers
    line = (
        f"{one.campaign_type} {one.report.campaign_id:<7}{people['treated']:>7}{people['control']:>6}"
        f"{figures['propensity_auc']:>6.3f}{figures['overlap_treated']:>7.0%}/{figures['overlap_control']:<5.0%}"
        f"{figures['effective_share']:>5.2f}{figures['max_smd']:>6.2f}{figures['max_smd_weighted']:>5.2f}"
        f"{figures['unbalanced']:>5.0f}{figures['unbalanced_weighted']:>4.0f}"
        f"{figures['contaminated_treated']:>6.0%}/{figures['contaminated_control']:<4.0%}"
    )
    return line + "".join(f"{plus_minus(one.found.estimates.get(name)):>15}" for name, _ in SHOWN)


def plus_minus(estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    return f"{estimate.value:+.1f}±{estimate.interval().high - estimate.value:.1f}"


def pooled(results: Sequence[Judged], name: str) -> Pooled | None:
    estimates = [one.found.estimates[name] for one in results if name in one.found.estimates]
    return pool(estimates) if estimates else None


def show_pooled(results: Sequence[Judged]) -> dict[str, Any]:
    """By type and over all: ours clustered by household, in brackets as if independent, and the earlier one."""
    every: dict[str, Any] = {}
    for group in (*sorted({one.campaign_type for one in results}), "all"):
        members = [one for one in results if group in ("all", one.campaign_type)]
        print(f"\n{group} ({len(members)} campaigns), dollars per household in 28 days")
        print(f"  {'':<16}{'ours, clustered':>18}{'as if independent':>19}{'random effects':>17}{'earlier':>14}")
        for name, label in SHOWN:
            found = pooled(members, name)
            if found is None:
                continue
            said = EARLIER.get(group, {}).get(name)
            told = "" if said is None else f"{said[0]:+.1f}±{said[1]:.1f}"
            alone = Estimate(found.estimate.value, found.independent_se, found.estimate.df, "")
            print(
                f"  {label:<16}{plus_minus(found.estimate):>18}{plus_minus(alone):>19}"
                f"{plus_minus(found.random_effects):>17}{told:>14}",
                flush=True,
            )
            every.setdefault(group, {})[name] = found.estimate.interval().model_dump()
    return every


def show_verdict(results: Sequence[Judged]) -> bool:
    """The refusals by reason; whether every campaign was refused."""
    print("\nVerdict of the product, by campaign")
    for one in results:
        failed = [gate.name for gate in one.report.gates if gate.passed is False]
        print(f"  {one.campaign_type} {one.report.campaign_id:<4}{one.report.verdict:<10}{', '.join(failed)}")
    refused = [one for one in results if one.report.verdict == "refused"]
    naive, adjusted = (pooled(results, name) for name in ("naive", "adjusted"))
    if naive and adjusted:
        print(
            f"\nREFUSED: {len(refused)} of {len(results)} campaigns. The mailed spent {plus_minus(naive.estimate)} dollars "
            f"more than those left out. That is who they are, not what the mailing did: between households alike in all that "
            f"was known before, the difference is {plus_minus(adjusted.estimate)}."
        )
    print("Nor may that be called an effect. Where 0 is due:")
    for name, label in SHOWN[4:]:
        single = [one.found.estimates[name] for one in results if name in one.found.estimates]
        found = pooled(results, name)
        if found is not None:
            wrong = sum(estimate.p_value() < 0.05 for estimate in single)
            says = "fails" if found.estimate.p_value() < 0.05 else "passes"
            value, reach = found.estimate.value, found.estimate.interval().high - found.estimate.value
            print(f"  {label:<14}{value:+.2f}±{reach:.2f} pooled: {says}; fails in {wrong} of {len(single)} campaigns")
    return len(refused) == len(results)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="folder for the canonical tables (160 MB)")
    parser.add_argument("--campaign", nargs="*", default=[], help="only these")
    parser.add_argument("--outcome-model", choices=("mean", "ridge", "boosting"), default="mean")
    parser.add_argument("--spend", choices=("all", "merchandise"), default="all")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    effect = EffectSettings(outcome_model=arguments.outcome_model)
    settings = Settings(feedback=FeedbackSettings(effect=effect))
    try:
        source = canonical(arguments.cache, settings)
    except SourceError as error:
        raise SystemExit(f"skipped: {error}") from None
    print(NOTICE, HEAD, sep="\n", flush=True)
    results = judged(source, settings, arguments.campaign, arguments.spend)
    every = show_pooled(results)
    refused = show_verdict(results)
    if arguments.json:
        reports = [one.report.model_dump(mode="json") for one in results]
        arguments.json.write_text(json.dumps({"pooled": every, "reports": reports}, indent=1) + "\n")
    sys.exit(0 if refused else 1)


if __name__ == "__main__":
    main()
