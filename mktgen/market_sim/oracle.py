"""Expected profit of every action for every customer, in closed form: the truth that a learner is measured against.

ONLY AN EVALUATOR MAY IMPORT THIS: a test or a benchmark. Nothing in mktgen does (import contract `oracle`).

    profit = -q m organic + (1 - q) p (kappa m (basket - borrowed later) - face (kappa + (1 - kappa) visits)) - contact

q annoyed, p answers, m margin; for an action that leaves the customer alone 0. Linear in what comes after the wave,
so it is exact given the panel's organic outcomes, and a best guess where these are replaced by what was to be expected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import polars as pl

from mktgen.market_sim.behaviour import Chances, chances
from mktgen.market_sim.chance import Floats
from mktgen.market_sim.panel import KNOWN_DAYS
from mktgen.market_sim.people import everybody_alike, nature
from mktgen.market_sim.reading import Message, click_chances
from mktgen.market_sim.scenario import Scenario

NODES: Final = 15  # of the Gauss-Hermite rule


@dataclass(frozen=True)
class _Organic:
    """What follows the wave without contact [N, 1]: spending of the window, whether there is a visit, the visit after it."""

    minor: Floats
    visits: Floats
    later_minor: Floats


def expected(panel: pl.DataFrame, scenario: Scenario) -> Floats:
    """E[profit_minor] of `respond` over seeds [N, A], given the panel's organic outcomes: exact, so nobody can act on it."""
    return _profit(chances(panel, nature(panel["customer_id"], scenario), scenario), _actual(panel), scenario)


def oracle_values(panel: pl.DataFrame, scenario: Scenario) -> Floats:
    """Expected profit [N, A] as known at the wave to someone who knows the scenario and the customers' nature.

    Spending of the window is the mean of the last 84 days, visits are Poisson with the rate of these days.
    """
    return _profit(
        chances(panel, nature(panel["customer_id"], scenario), scenario), _anticipated(panel, scenario), scenario
    )


def attainable_values(panel: pl.DataFrame, scenario: Scenario) -> Floats:
    """`oracle_values` for someone who can't see the customers' nature [N, A]: the mean over it, by quadrature.

    What a learner can reach that has the panel's covariates alone; one that remembers a customer's answers may pass it.
    """
    points, weights = np.polynomial.hermite_e.hermegauss(NODES)
    at = [chances(panel, everybody_alike(panel.height, float(point)), scenario) for point in points]
    share = (weights / weights.sum())[:, None, None]
    # Profit is linear in each of the two chances that nature moves, and these are independent: means are enough.
    annoyed = (share * np.stack([own.annoyed for own in at])).sum(axis=0)
    incremental = (share * np.stack([own.incremental for own in at])).sum(axis=0)
    mean = replace(at[0], annoyed=annoyed, incremental=incremental)
    return _profit(mean, _anticipated(panel, scenario), scenario)


def expected_costs(panel: pl.DataFrame, scenario: Scenario) -> Floats:
    """Contact cost + expected face value [N, A], as known at the wave to someone who knows all but the future."""
    own = chances(panel, nature(panel["customer_id"], scenario), scenario)
    return own.contact_minor + own.face_minor * _redeems(own, _anticipated(panel, scenario))


def reserved_costs(scenario: Scenario) -> Floats:
    """Contact cost + face value [A]: the most that an action can cost, what a cautious budget is charged."""
    contact = scenario.contact_cost_minor
    return np.array([0.0, *(contact + offer.face_value_minor for offer in scenario.offers.values())])


def click_rates(panel: pl.DataFrame, messages: Sequence[Message], scenario: Scenario) -> Floats:
    """P(clicks) of every message for every customer [N, M], to someone who knows what customers are by nature."""
    return click_chances(panel, nature(panel["customer_id"], scenario), messages, scenario)


def _profit(own: Chances, organic: _Organic, scenario: Scenario) -> Floats:
    bought = own.incremental * (own.basket_minor - own.borrowed * organic.later_minor)
    margin = (1 - own.annoyed) * own.answers * bought - own.annoyed * organic.minor
    return scenario.margin_share * margin - own.face_minor * _redeems(own, organic) - own.contact_minor


def _redeems(own: Chances, organic: _Organic) -> Floats:
    """P(the offer is redeemed); 0 where there is nothing to redeem."""
    on_visit = own.incremental + (1 - own.incremental) * organic.visits
    return (1 - own.annoyed) * own.answers * on_visit * (own.face_minor > 0)


def _actual(panel: pl.DataFrame) -> _Organic:
    came = panel["organic_orders"].to_numpy() > 0
    return _Organic(_column(panel, "organic_minor"), came.astype(np.float64)[:, None], _column(panel, "later_minor"))


def _anticipated(panel: pl.DataFrame, scenario: Scenario) -> _Organic:
    spent, came = _column(panel, "spend_minor_84d") / KNOWN_DAYS, _column(panel, "visits_84d") / KNOWN_DAYS
    mean_visit = spent / np.maximum(came, 1 / KNOWN_DAYS)
    comes_later = -np.expm1(-came * scenario.later_days)
    return _Organic(spent * scenario.window_days, -np.expm1(-came * scenario.window_days), comes_later * mean_visit)


def _column(panel: pl.DataFrame, name: str) -> Floats:
    return panel[name].cast(pl.Float64).to_numpy()[:, None]
