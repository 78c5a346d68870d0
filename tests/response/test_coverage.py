"""How often 95% intervals hold the truth, over many worlds. A few dozen always, hundreds where asked for (-m slow)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from mktgen.response.fitting import fit_response
from mktgen.settings import ResponseSettings
from tests.support.trial_world import PARTITION, make_trials

SETTINGS = ResponseSettings(hinged_covariates=2, crossed_covariates=2, boosting_from=100_000)
_Z = 1.96


@dataclass
class Tally:
    """Shares: of individual effects within their intervals; of mean effects within theirs; of lower ends above 0."""

    individual: float
    mean: float
    above: float


def tally(
    worlds: int, customers: int, spread: float, first_seed: int, base: float = -1.5, louder: float = 0.0
) -> Tally:
    """Worlds whose effects are drawn: a common and an own straight line of standard deviation `spread`, means of 40.

    louder: as in make_trials.
    """
    individual, mean, above = [], [], []
    for seed in range(first_seed, first_seed + worlds):
        rng = np.random.default_rng(seed)
        slopes = rng.normal(size=(4, 2)) * spread / 2 / np.sqrt(2) + rng.normal(size=(4, 1)) * spread / 2 / np.sqrt(2)
        level = 40.0 if spread else 0.0

        def effect(x: np.ndarray, slopes: np.ndarray = slopes, level: float = level) -> np.ndarray:
            moved: np.ndarray = level + x @ slopes
            return moved

        world = make_trials(customers, seed, effect, base=base, louder=louder)
        model, _ = fit_response(world.trials, world.covariates, SETTINGS, PARTITION, seed)
        table = model.effects(world.features)
        truth, low, high = world.truth["truth"].to_numpy(), table["low"].to_numpy(), table["high"].to_numpy()
        individual.append(float(((low <= truth) & (truth <= high)).mean()))
        above.append(float((low > 0).mean()))
        phi = model.basis.design(world.features).mean(axis=0)
        for number, action in enumerate(world.actions):
            centre, covariance = model._action(action, model.reward)
            wrong = phi @ centre - truth.reshape(-1, len(world.actions))[:, number].mean()
            mean.append(bool(abs(wrong) <= _Z * np.sqrt(phi @ covariance @ phi)))
    return Tally(float(np.mean(individual)), float(np.mean(mean)), float(np.mean(above)))


def test_a_few_dozen_worlds() -> None:
    found = tally(24, 600, 50.0, 0)
    assert 0.90 <= found.individual <= 1.0
    assert found.mean >= 0.85


@pytest.mark.slow
@pytest.mark.parametrize(("customers", "spread"), [(600, 50.0), (600, 120.0), (2400, 50.0)])
def test_hundreds_of_worlds(customers: int, spread: float) -> None:
    found = tally(300, customers, spread, 1000)
    assert 0.93 <= found.individual <= 0.98, found
    assert 0.93 <= found.mean <= 0.97, found


@pytest.mark.slow
@pytest.mark.parametrize("louder", [0.6, 1.15])
def test_hundreds_of_worlds_with_loud_and_quiet_customers(louder: float) -> None:
    """Noise of a customer one standard deviation out is 3 and 10 times that of one as far on the other side."""
    found = tally(300, 1200, 50.0, 9000, louder=louder)
    assert 0.92 <= found.individual <= 0.98, found
    assert 0.92 <= found.mean <= 0.97, found


@pytest.mark.slow
def test_hundreds_of_worlds_without_effects() -> None:
    found = tally(300, 600, 0.0, 5000)
    assert found.above <= 0.025, found
    assert 0.93 <= found.mean <= 0.98, found
