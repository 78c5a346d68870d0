"""Draws that belong to a customer: distribution, independence, and no memory of what else was asked."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest, norm

from mktgen.market_sim import chance

PEOPLE = chance.keys(pl.Series([str(n) for n in range(20_000)]))


def test_uniform_draws_are_uniform_and_normal_ones_normal() -> None:
    drawn = chance.uniform(chance.salted(PEOPLE, 1, "a"))
    assert kstest(drawn, "uniform").pvalue > 1e-3
    assert kstest(chance.normal(chance.salted(PEOPLE, 1, "a")), norm.cdf).pvalue > 1e-3
    assert drawn.min() > 0
    assert drawn.max() < 1


def test_questions_are_independent() -> None:
    asked = [
        chance.uniform(chance.salted(PEOPLE, *parts)) for parts in ((1, "a"), (2, "a"), (1, "b"), (1, "2017", "a"))
    ]
    correlations = np.asarray(np.corrcoef(asked))[np.triu_indices(4, 1)]
    assert np.abs(correlations).max() < 4 / np.sqrt(len(PEOPLE))


def test_neighbouring_pairs_are_independent() -> None:
    days = [chance.uniform(chance.mixed(PEOPLE, np.full(len(PEOPLE), day, np.uint64))) for day in range(4)]
    assert np.abs(np.asarray(np.corrcoef(days))[np.triu_indices(4, 1)]).max() < 4 / np.sqrt(len(PEOPLE))


@settings(deadline=None, max_examples=30)
@given(st.lists(st.text(max_size=12), min_size=1, max_size=12))
def test_a_draw_knows_nothing_of_other_rows(names: list[str]) -> None:
    alone = {name: chance.keys(pl.Series([name]))[0] for name in names}
    assert chance.keys(pl.Series(names)).tolist() == [alone[name] for name in names]


def test_keys_stay_what_they_are() -> None:
    """A customer of yesterday's market is the same one after an upgrade of polars or numpy."""
    assert chance.keys(pl.Series(["1", "2459"])).tolist() == [17797172410793473910, 13750223784571384300]


@pytest.mark.parametrize("options", [1, 2, 7, 9])
def test_choices_are_in_range(options: int) -> None:
    drawn = chance.choice(PEOPLE[:2_000], options)
    assert set(drawn.tolist()) == set(range(options))
