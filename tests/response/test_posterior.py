"""The sums and the posterior against what they are meant to equal, computed another way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from mktgen.response import posterior
from mktgen.response.basis import fit_basis
from mktgen.response.held_out import expected, scores
from mktgen.response.moments import Errors, Layout, Moments, Weights, collect, errors, lay_out
from mktgen.response.posterior import components, held_out_mean, integrate
from mktgen.response.trials import Trials, admit
from mktgen.settings import ResponseSettings
from tests.support.trial_world import PARTITION, make_trials

SETTINGS = ResponseSettings(hinged_covariates=1, crossed_covariates=0)


class Fixture:
    """200 customers with two trials each, chances that differ between trials, and any prediction q of the outcome."""

    def __init__(self) -> None:
        world = make_trials(200, 3, days=2, covariates=3, explored=0.5)
        self.trials: Trials = admit(world.trials, PARTITION)
        known = self.trials.frame.select("customer_id", "decided_on").join(
            world.covariates, on=["customer_id", "decided_on"], how="left", maintain_order="left"
        )
        self.reward = self.trials.frame["reward_minor"].to_numpy()
        basis = fit_basis(known, self.reward, SETTINGS)
        self.design = basis.design(known)
        self.layout: Layout = lay_out(basis, 2, SETTINGS.max_coefficients)
        rng = np.random.default_rng(4)
        self.q = 300 + 50 * rng.normal(size=(400, 3))
        self.left = (self.reward - expected(self.q, self.trials))[:, None]
        self.weights = Weights(rng.uniform(0.5, 1.0, 400), rng.uniform(0.3, 1.7, 400))
        self.weight = self.weights.both
        self.fold = (np.arange(200) % 3)[self.trials.customer]
        self.moments: Moments = collect(self.layout, self.design, self.trials, self.left, self.weights, self.fold)

    def regressors(self) -> np.ndarray:
        contrast, layout = self.trials.contrast, self.layout
        parts = [contrast.sum(axis=1)[:, None] * self.design]
        parts += [contrast[:, [a]] * self.design[:, layout.terms] for a in range(2)]
        return np.hstack(parts)


@pytest.fixture(scope="module")
def made() -> Fixture:
    return Fixture()


def test_the_regression_is_generalised_least_squares_of_doubly_robust_scores(made: Fixture) -> None:
    """Its solution b solves sum w X' S^-1 (psi - X b) = 0 too: S = diag(1/e) + 11'/e_0, psi with b's own effects in q."""
    gram, side = made.moments.gram.sum(axis=0), made.moments.side.sum(axis=0)[:, 0]
    solution = np.linalg.lstsq(gram, side, rcond=None)[0]
    lines = np.zeros(
        (2, len(made.weight), made.layout.size)
    )  # [actions, n, D]: tau_a as a function of the coefficients
    for action in range(2):
        lines[action, :, : made.layout.basis] = made.design
        lines[action][:, made.layout.deviations(action)] = made.design[:, made.layout.terms]
    effect = (lines @ solution).T
    middle = (made.reward - made.left[:, 0]) - (made.trials.chance * effect).sum(axis=1)
    psi = scores(made.reward, np.column_stack([middle[:, None] + effect, middle]), made.trials)
    score = np.zeros(made.layout.size)
    for row, weight in enumerate(made.weight):
        covariance = np.diag(1 / made.trials.chance[row]) + 1 / made.trials.chance_none[row]
        score += weight * lines[:, row].T @ np.linalg.solve(covariance, psi[row] - effect[row])
    assert score == pytest.approx(0, abs=1e-6 * np.abs(side).max())


def test_sums_are_those_of_the_whole_design(made: Fixture) -> None:
    z = made.regressors()
    assert made.moments.gram.sum(axis=0) == pytest.approx((z * made.weight[:, None]).T @ z)
    first = made.fold == 0
    assert made.moments.side[0, :, 0] == pytest.approx(z[first].T @ (made.weight * made.left[:, 0])[first])
    assert made.moments.effective[0] == pytest.approx(
        (made.weight @ z[:, 0] ** 2) ** 2 / (made.weights.age @ (made.weights.precision * z[:, 0] ** 2) ** 2)
    )


def test_errors_add_up_a_customer_before_they_are_squared(made: Fixture) -> None:
    z, coefficients = made.regressors(), np.full((made.layout.size, 1), 3.0)
    found = errors(made.layout, made.design, made.trials, made.left, made.weights, coefficients)[0]
    residual = made.left[:, 0] - z @ coefficients[:, 0]
    s = z * (np.sqrt(made.weights.age) * made.weights.precision * residual)[:, None]
    by_customer = s[0::2] + s[1::2]
    assert found.meat == pytest.approx(by_customer.T @ by_customer)


def test_where_the_noise_is_what_the_weights_say_errors_are_the_modelled_ones(made: Fixture) -> None:
    rng, draws = np.random.default_rng(6), 400
    weights = Weights(
        np.ones(400), np.where(np.arange(400) % 7 < 3, 0.1, 1.675)
    )  # ten to one, in standard deviations 1:4
    gram = collect(made.layout, made.design, made.trials, made.left, weights, made.fold).gram.sum(axis=0)
    noise = 90.0 * rng.normal(size=(400, draws)) / np.sqrt(weights.precision)[:, None]
    found = errors(made.layout, made.design, made.trials, noise, weights, np.zeros((made.layout.size, draws)))
    meat = np.mean([each.meat for each in found], axis=0)
    assert np.diag(meat) == pytest.approx(90.0**2 * np.diag(gram), rel=0.12)
    assert np.mean([each.kurtosis for each in found]) == pytest.approx(3.0, abs=0.1)


def test_the_gradient_of_the_marginal_likelihood_is_right(made: Fixture) -> None:
    noise = float(made.left.var())
    gram, side = made.moments.gram.sum(axis=0) / noise, made.moments.side[:, :, 0].sum(axis=0) / noise
    centre = posterior._centre(made.layout, 0.2)
    objective = posterior._Objective(made.layout, gram, np.sqrt(noise) * side, noise, centre)
    start = centre + 0.3

    def value(place: np.ndarray) -> float:
        return objective(place)[0]

    numeric = approx_fprime(start, value, 1e-6)
    assert objective(start)[1] == pytest.approx(numeric, abs=1e-3)


def test_with_plain_noise_the_robust_posterior_is_the_bayesian_one(made: Fixture) -> None:
    """Meat = gram * noise: the covariance must be the inverse precision, here at fixed variances of effects."""
    found = components(made.layout, made.moments, 0, 1e-9)
    gram = made.moments.gram.sum(axis=0)
    scales = posterior._scales(made.layout, found.log_spread) * found.scale
    plain = np.linalg.inv(gram / found.noise + np.diag(1 / scales**2))
    # Fixed: a prior of no width around the mode.
    fixed = replace(found, precision=1e12 * np.eye(len(found.log_spread)), used=0.0)
    known = integrate(made.layout, made.moments, 0, fixed, Errors(gram * found.noise, 3.0), seed=1)
    assert known.covariance == pytest.approx(plain, rel=1e-3, abs=1e-3 * np.diag(plain).max())
    side = made.moments.side[:, :, 0].sum(axis=0)
    assert known.mean == pytest.approx(plain @ side / found.noise, rel=1e-3, abs=0.05)


def test_unknown_variances_of_effects_widen_the_posterior(made: Fixture) -> None:
    found = components(made.layout, made.moments, 0, 1e-9)
    wrong = Errors(made.moments.gram.sum(axis=0) * found.noise, 3.0)
    fixed = replace(found, precision=1e12 * np.eye(len(found.log_spread)), used=0.0)
    narrow, wide = (integrate(made.layout, made.moments, 0, each, wrong, seed=1) for each in (fixed, found))
    assert np.trace(wide.covariance) > np.trace(narrow.covariance)


def test_what_is_held_out_of_a_fold_is_what_its_trials_alone_would_not_change(made: Fixture) -> None:
    found = components(made.layout, made.moments, 0, 1e-9)
    mean = held_out_mean(made.layout, made.moments, 0, found, 1)
    changed = made.moments.side.copy()
    changed[1] += 1e6
    other = Moments(made.moments.gram, changed, made.moments.square, made.moments.effective, made.moments.weight)
    assert (held_out_mean(made.layout, other, 0, found, 1) == mean).all()
    assert (held_out_mean(made.layout, other, 0, found, 0) != mean).any()


def test_many_actions_differ_in_fewer_terms() -> None:
    world = make_trials(100, 1)
    basis = fit_basis(world.covariates, world.trials["reward_minor"].to_numpy(), ResponseSettings())
    full, lean = lay_out(basis, 4, 1500), lay_out(basis, 4, basis.size + 20)
    assert len(full.terms) == basis.size
    assert lean.size <= basis.size + 20
    assert lay_out(basis, 40, 50).terms.tolist() == [0]
