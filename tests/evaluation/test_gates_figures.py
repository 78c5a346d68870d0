"""The figures behind the gates, by hand-checkable numbers."""

from __future__ import annotations

import math
from datetime import date

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from mktgen.errors import PermanentError
from mktgen.evaluation.concordance import concordance
from mktgen.evaluation.power import minimal_detectable_difference, sample_ratio_p_value
from mktgen.evaluation.redemption_calibration import auc, redemption_metrics
from mktgen.metrics import CAPABILITIES, refusals


def test_minimal_detectable_difference_of_the_textbook() -> None:
    # (1.95996 + 0.84162) * 105 * sqrt(2 / 1150) = 12.27: the figure measured for this panel's weekly waves.
    assert minimal_detectable_difference(105, 1_150, 1_150, 0.05, 0.8) == pytest.approx(12.27, abs=0.01)
    assert minimal_detectable_difference(105, 0, 10, 0.05, 0.8) == math.inf


def test_the_simulated_power_is_the_one_asked_for() -> None:
    rng = np.random.default_rng(4)
    difference = minimal_detectable_difference(1.0, 400, 100, 0.05, 0.8)
    treated, control = rng.normal(difference, 1, (4_000, 400)), rng.normal(0, 1, (4_000, 100))
    z = (treated.mean(axis=1) - control.mean(axis=1)) / math.sqrt(1 / 400 + 1 / 100)
    assert (abs(z) > 1.96).mean() == pytest.approx(0.8, abs=0.025)


def test_sample_ratio_finds_a_wrong_share_and_leaves_a_right_one() -> None:
    assert sample_ratio_p_value(100, 1_000, 0.1) > 0.9
    assert sample_ratio_p_value(160, 1_000, 0.1) < 1e-6
    assert sample_ratio_p_value(0, 1_000, 0.0) == 1.0
    assert sample_ratio_p_value(1, 1_000, 0.0) == 0.0
    assert sample_ratio_p_value(0, 0, 0.1) == 1.0


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=40))
def test_auc_is_that_of_scikit_learn(rows: list[tuple[int, bool]]) -> None:
    score = pl.Series([float(value) for value, _ in rows])
    positive = pl.Series([label for _, label in rows], dtype=pl.Boolean)
    ours = auc(score, positive)
    if positive.n_unique() < 2:
        assert math.isnan(ours)
    else:
        assert ours == pytest.approx(roc_auc_score(positive.to_numpy(), score.to_numpy()))


def test_calibration_error_of_known_bins() -> None:
    frame = pl.DataFrame({"p_redeem": [0.1] * 10 + [0.9] * 10, "redeemed": [False] * 10 + [True] * 5 + [False] * 5})
    # Ten bins of two rows: five off by 0.1, two and a half off by 0.1 or 0.9 each way; pooled by value of `redeemed`.
    figures = redemption_metrics(frame)
    assert figures["redemption_ece"] == pytest.approx((10 * 0.1 + 4 * 0.1 + 2 * 0.4 + 4 * 0.9) / 20)
    assert figures["redemption_rate"] == 0.25
    assert redemption_metrics(frame.head(0)) == {}


def test_concordance_of_a_perfect_and_a_reversed_score() -> None:
    customers = [f"c{n}" for n in range(10)]
    mailed = pl.DataFrame(
        {"customer_id": customers[:4], "campaign_id": ["14"] * 4, "exposed_on": [date(2017, 9, 20)] * 4}
    )
    scores = pl.DataFrame(
        {
            "customer_id": customers,
            "campaign_id": ["14"] * 10,
            "p_redeem": [1 - n / 10 for n in range(10)],
            "affinity": [n / 10 for n in range(10)],
        }
    )
    figures = concordance(scores, customers, mailed, date(2017, 10, 1), 28)
    assert figures["concordance_14_auc_p_redeem"] == 1.0
    assert figures["concordance_14_auc_affinity"] == 0.0
    assert figures["concordance_14_overlap_at_k"] == 1.0
    assert figures["concordance_14_list_share"] == 0.4
    assert concordance(scores, customers, mailed, date(2017, 12, 1), 28) == {}


def test_a_capability_that_is_there_lifts_its_refusal() -> None:
    able = dict.fromkeys(CAPABILITIES, True)
    assert refusals(able) == []
    assert [r.metric for r in refusals({**able, "has_clicks": False})] == ["ctr"]


@pytest.mark.parametrize("flags", [{}, {**dict.fromkeys(CAPABILITIES, False), "has_magic": True}])
def test_forgotten_or_invented_capabilities_are_refused(flags: dict[str, bool]) -> None:
    with pytest.raises(PermanentError, match="capabilities"):
        refusals(flags)
