"""The verdict: a randomised campaign is reported, a confounded one is refused by name, and nothing slips through."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from benchmarks.coverage_effect import EFFECT, campaign
from mktgen.documents import EffectReport, Interval
from mktgen.errors import PermanentError
from mktgen.feedback.effect.assess import Campaign, assess
from mktgen.settings import EffectSettings
from tests.feedback.effect.worlds import rows

SETTINGS = EffectSettings(outcome_model="ridge")


def failed(report: EffectReport) -> set[str]:
    return {gate.name for gate in report.gates if gate.passed is False}


def holdout(seed: int = 2, effect: float = 5.0, **changes: object) -> Campaign:
    """A randomised holdout of 600 customers; the placebo is the same customers' spend before, its covariates as well."""
    frame = rows(600, seed=seed, effect=effect).with_columns(pl.col("z").alias("fuel"))
    before = frame.with_columns((pl.col("x") + pl.col("z")).alias("y"))
    made = Campaign(
        campaign_id="18", partition=date(2017, 3, 1), rows=frame, placebo=before, outcome="y", covariates=("x",),
        said="spend per customer and wave", randomised=True, control_share=0.4, negative_control="fuel",
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


def confounded(hidden: float = 0.0, effect: float = EFFECT, seed: int = 5) -> Campaign:
    return campaign(np.random.default_rng(seed), hidden, effect)


# -- randomised -----------------------------------------------------------------------------------------------------------
def test_a_randomised_holdout_that_passes_its_checks_is_reported() -> None:
    report = assess(holdout(), SETTINGS, seed=0)
    assert (report.verdict, report.design, report.reasons) == ("reported", "randomised", [])
    assert report.effect == report.evidence["adjusted"]
    assert report.effect is not None
    assert report.effect.low < 5 < report.effect.high
    assert report.relative_effect is not None
    assert report.diagnostics["variance_ratio"] < 0.3
    assert {gate.name for gate in report.gates} == {
        "customers", "sample_ratio", "placebo", "placebo_precision", "negative_control",
    }  # fmt: skip


def test_the_report_is_the_same_bytes_whatever_the_order_of_rows() -> None:
    made = holdout()
    assert made.placebo is not None
    shuffled = replace(made, rows=made.rows.sample(fraction=1.0, shuffle=True, seed=1), placebo=made.placebo.reverse())
    assert assess(made, SETTINGS, seed=0).to_bytes() == assess(shuffled, SETTINGS, seed=0).to_bytes()


def biased_holdout() -> Campaign:
    """Big spenders end up in the treated arm more often, before as after."""
    made = holdout()
    keep = (pl.col("arm") == "control") | (pl.col("x") > 20)
    assert made.placebo is not None
    return replace(
        made, rows=made.rows.filter(keep), placebo=made.placebo.filter(keep), covariates=(), control_share=None
    )


@pytest.mark.parametrize(
    ("made", "names"),
    [
        (holdout(control_share=0.5), {"sample_ratio"}),
        (holdout(control_share=None), {"sample_ratio"}),
        (holdout(placebo=None), {"placebo"}),
        (biased_holdout(), {"sample_ratio", "placebo"}),
        (holdout(rows=rows(80), placebo=rows(80)), {"customers"}),
    ],
    ids=["another share was designed", "no design", "no window before", "biased draw", "few customers"],
)
def test_a_broken_or_unchecked_draw_is_refused(made: Campaign, names: set[str]) -> None:
    report = assess(made, SETTINGS, seed=0)
    assert report.verdict == "refused"
    assert report.effect is None
    assert report.relative_effect is None
    assert names <= failed(report)
    assert len(report.reasons) == len(failed(report))


def test_a_negative_control_that_moves_refuses_a_randomised_campaign_and_none_does_not() -> None:
    frame = holdout().rows.with_columns((pl.col("z") + 3.0 * (pl.col("arm") == "treated")).alias("fuel"))
    assert failed(assess(holdout(rows=frame), SETTINGS, seed=0)) == {"negative_control"}
    assert assess(holdout(negative_control=None), SETTINGS, seed=0).verdict == "reported"


def test_one_of_several_arms_is_judged_against_the_control_alone() -> None:
    frame = rows(900, arms=2, effect=5.0).with_columns(pl.col("z").alias("fuel"))
    before = frame.with_columns((pl.col("x") + pl.col("z")).alias("y"))
    made = holdout(rows=frame, placebo=before, arm="treated1", control_share=None)
    report = assess(made, SETTINGS, seed=0)
    assert report.arm == "treated1"
    treated = frame.filter(pl.col("arm") == "treated1")["customer_id"].n_unique()
    assert report.customers["treated"] == treated
    with pytest.raises(PermanentError, match="treated arm 'treated7'"):
        assess(replace(made, arm="treated7"), SETTINGS, seed=0)


def test_more_covariates_than_the_customers_bear_are_left_out() -> None:
    frame = holdout().rows.with_columns(pl.col("x").shift(n, fill_value=0.0).alias(f"x{n}") for n in range(1, 80))
    made = holdout(rows=frame, placebo=frame, covariates=tuple(f"x{n}" for n in range(1, 80)))
    assert assess(made, SETTINGS, seed=0).diagnostics["variance_ratio"] == 1


# -- observed -------------------------------------------------------------------------------------------------------------
def test_an_observed_campaign_is_reported_only_with_all_its_checks_passed() -> None:
    report = assess(confounded(), SETTINGS, seed=0)
    assert (report.verdict, report.design) == ("reported", "observational")
    assert report.effect is not None
    assert report.effect.low < EFFECT < report.effect.high
    assert report.evidence["naive"].low > EFFECT  # what the adjustment took away
    assert any("Not randomised" in note for note in report.notes)
    assert {"adjusted_overlap_weighted", "placebo", "negative_control", "difference_in_differences"} <= set(
        report.evidence
    )


def test_what_nobody_measured_is_found_by_placebo_and_negative_control_and_refused() -> None:
    report = assess(confounded(hidden=1.0, effect=0.0), SETTINGS, seed=0)
    assert report.verdict == "refused"
    assert report.effect is None
    assert {"placebo", "negative_control"} <= failed(report)
    assert report.evidence["adjusted"].low > 0  # it would have been reported as an effect
    assert any("none of them is an effect" in note for note in report.notes)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"placebo": None}, "placebo"),
        ({"negative_control": None}, "negative_control"),
        ({"other_campaign": None}, "contamination"),
    ],
)
def test_a_check_that_can_not_be_made_counts_as_failed(changes: dict[str, object], name: str) -> None:
    made: Campaign = replace(confounded(), **changes)  # type: ignore[arg-type]
    assert failed(assess(made, SETTINGS, seed=0)) == {name}


@pytest.mark.parametrize(
    ("bound", "name"),
    [
        ({"max_smd": 1e-6}, "balance"),
        ({"max_propensity_auc": 0.6}, "propensity"),
        ({"min_overlap": 1.0}, "overlap"),
        ({"min_effective_share": 0.99}, "effective_size"),
        ({"min_customers": 800}, "customers"),
    ],
)
def test_each_bound_of_the_settings_refuses_by_its_name(bound: dict[str, float], name: str) -> None:
    report = assess(confounded(), EffectSettings.model_validate({"outcome_model": "ridge", **bound}), seed=0)
    assert failed(report) == {name}


def test_other_campaigns_in_the_window_refuse() -> None:
    made = confounded()
    both = made.rows.with_columns(pl.col("arm").eq("treated").alias("in_other_campaign"))
    report = assess(replace(made, rows=both), SETTINGS, seed=0)
    assert failed(report) == {"contamination"}
    assert report.diagnostics["contaminated_treated"] == 1


def test_a_placebo_too_wide_to_rule_out_the_estimate_refuses_a_claimed_effect() -> None:
    made = confounded()
    assert made.placebo is not None
    noise = np.random.default_rng(0).normal(0, 300, made.placebo.height)
    wide = made.placebo.with_columns((pl.col("net_minor") + pl.Series(noise)).alias("net_minor"))
    assert failed(assess(replace(made, placebo=wide), SETTINGS, seed=0)) == {"placebo_precision"}


def test_groups_that_never_meet_are_refused_with_the_naive_difference_as_evidence() -> None:
    made = confounded()
    split = pl.when(pl.col("x0") > 0).then(pl.lit("treated")).otherwise(pl.lit("control")).alias("arm")
    assert made.placebo is not None
    report = assess(
        replace(made, rows=made.rows.with_columns(split), placebo=made.placebo.with_columns(split)), SETTINGS, 0
    )
    assert report.verdict == "refused"
    assert "naive" in report.evidence


def test_one_customer_of_an_arm_leaves_no_figure_and_a_refusal() -> None:
    alone = pl.concat([rows(300).filter(pl.col("arm") == "control"), rows(5, waves=1, control_share=0.0).head(1).with_columns(
        pl.lit("other").alias("customer_id"))])  # fmt: skip
    report = assess(holdout(rows=alone, negative_control=None), SETTINGS, seed=0)
    assert (report.verdict, report.evidence) == ("refused", {})


# -- the document ---------------------------------------------------------------------------------------------------------
def test_no_document_can_hold_an_effect_that_was_refused() -> None:
    report = assess(holdout(control_share=0.5), SETTINGS, seed=0)
    body = report.model_dump()
    some = Interval(value=1, low=0, high=2)
    with pytest.raises(ValidationError, match="exactly where the verdict"):
        EffectReport.model_validate({**body, "effect": some})
    with pytest.raises(ValidationError, match="exactly where the verdict"):
        EffectReport.model_validate({**body, "verdict": "reported", "reasons": []})
    with pytest.raises(ValidationError, match="a refusal has its reasons"):
        EffectReport.model_validate({**body, "reasons": []})
    assert EffectReport.model_validate_json(report.to_bytes()) == report
