"""The figures of the benchmark of new items, against ones counted by hand."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from benchmarks.cold_items import household, placed


def test_metrics_of_a_household_are_those_counted_by_hand() -> None:
    score = np.array([9.0, 5.0, 5.0, 1.0, 7.0])
    allowed = np.array([False, True, True, True, True])
    bought = np.array([False, True, False, True, False])
    ndcg, auc = household(score, allowed, bought)
    # Ranked 7 (no), 5 (bought), 5 (no), 1 (bought): places 2 and 4 of two bought.
    gain = 1 / np.log2(np.arange(2, 6))
    assert ndcg == pytest.approx((gain[1] + gain[3]) / (gain[0] + gain[1]))
    # Pairs won: 5 against 5 one half, against 7 none; 1 against 5 and 7 none.
    assert auc == pytest.approx(0.5 / 4)


def test_who_ranks_the_bought_first_has_one_and_who_cannot_tell_has_half() -> None:
    bought = np.array([False, True, False, False])
    everything = np.ones(4, dtype=bool)
    assert household(bought.astype(float), everything, bought) == (1.0, 1.0)
    assert household(np.zeros(4), everything, bought)[1] == 0.5


def test_scores_are_placed_by_customer_and_item() -> None:
    frame = pl.DataFrame({"customer_id": ["b", "a", "x"], "item_id": ["i2", "i9", "i1"], "score": [2.0, 9.0, 1.0]})
    found = placed(frame, ["a", "b"], ["i1", "i2", "i9"])
    assert found[0, 2] == 9.0
    assert found[1, 1] == 2.0
    assert np.isnan(found).sum() == 4
