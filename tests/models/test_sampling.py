"""Samples of a catalogue: chances are what they are said to be, so sums and partition sums are right on average."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mktgen.models._sampling import CatalogueSampler
from mktgen.models._softmax import catalogue_logsumexp

DRAWS = 4_000


def popularity(items: int, seed: int = 1) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return np.where(generator.random(items) < 0.5, 0.0, generator.zipf(1.5, items) % 1_000).astype(np.float64)


def chances(sampler: CatalogueSampler) -> np.ndarray:
    chance = np.zeros(sampler.order.size)
    chance[sampler.order] = np.repeat(sampler.chance, np.diff(sampler.first))
    return chance


def test_every_item_is_drawn_as_often_as_its_chance_says_and_independently() -> None:
    sampler = CatalogueSampler.of(popularity(60), 20)
    chance = chances(sampler)
    drawn = np.zeros((DRAWS, 60))
    generator = np.random.default_rng(5)
    for number in range(DRAWS):
        item, weight = sampler.draw(generator)
        assert np.all(np.diff(item) > 0), "each item once, in order"
        np.testing.assert_allclose(weight, -np.log(chance[item]), rtol=1e-5)
        drawn[number, item] = 1.0
    error = np.sqrt(chance * (1 - chance) / DRAWS)
    assert np.all(np.abs(drawn.mean(0) - chance) <= 5 * error + 1e-12)
    # Of independent draws the sample's size has the variance of a Poisson binomial.
    expected = float((chance * (1 - chance)).sum())
    assert drawn.sum(1).var() == pytest.approx(expected, rel=5 * np.sqrt(2 / DRAWS))
    assert float(chance.sum()) <= 20 + 1e-9


def test_sampled_partition_sums_are_unbiased() -> None:
    torch.manual_seed(2)
    queries, table, bias = torch.randn(4, 6), torch.randn(80, 6), torch.randn(80)
    sampler = CatalogueSampler.of(popularity(80), 30)
    generator = np.random.default_rng(8)
    sums = []
    for _ in range(DRAWS):
        item, weight = (torch.from_numpy(each) for each in sampler.draw(generator))
        sums.append(catalogue_logsumexp(queries, table[item], bias[item] + weight).exp())
    found = torch.stack(sums)
    whole = catalogue_logsumexp(queries, table, bias).exp()
    error = found.std(0) / DRAWS**0.5
    assert torch.all((found.mean(0) - whole).abs() < 4.5 * error)
    assert torch.all(error < 0.05 * whole), "so a bias of a quarter could not hide"


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=40), st.integers(1, 60))
def test_any_popularity_gives_chances_that_fit(lines: list[float], size: int) -> None:
    sampler = CatalogueSampler.of(np.array(lines), size)
    chance = chances(sampler)
    assert np.all((chance > 0) & (chance <= 1))
    assert chance.sum() <= size * (1 + 1e-9) or np.all(chance == 1)
    item, weight = sampler.draw(np.random.default_rng(0))
    assert np.all(np.isfinite(weight))
    assert item.size == np.unique(item).size
