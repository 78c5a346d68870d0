"""The next experiment is the one whose answer is worth most, and it is as large as it must be."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from mktgen.evaluation.power import customers_per_arm, minimal_detectable_difference
from mktgen.strategy.next_experiment import Design, days_needed, propose, value_of_information

DESIGN = Design(
    per_arm=900, detectable_minor=50.0, power=0.8, alpha=0.05, reward_sd_minor=400.0, window_days=7,
    daily_budget_minor=1_000_000,
)  # fmt: skip


def candidates(offers: dict[str, tuple[int, float, float]], seed: int = 0) -> tuple[pl.DataFrame, pl.DataFrame]:
    """offer -> (eligible customers, mean effect, sd of the mean effect); each customer's draws share the offer's."""
    rng, rows, draws = np.random.default_rng(seed), [], []
    for name, (count, mean, sd) in offers.items():
        shared = mean + sd * (z := rng.standard_normal(400)) - sd * z.mean()
        for customer in range(count):
            rows.append((f"c{customer:04d}", name.split(":")[0], name, 100, mean))
            draws.append((f"c{customer:04d}", name, shared.tolist()))
    schema = {"customer_id": pl.String, "campaign_id": pl.String, "offer_id": pl.String, "cost_minor": pl.Int64,
              "value_minor": pl.Float64}  # fmt: skip
    drawn = {"customer_id": pl.String, "offer_id": pl.String, "draws": pl.Array(pl.Float64, 400)}
    return pl.DataFrame(rows, schema=schema, orient="row"), pl.DataFrame(draws, schema=drawn, orient="row")


def test_the_value_of_information_is_that_of_a_simulated_decision() -> None:
    rng = np.random.default_rng(1)
    for mean, sd in ((0.0, 10.0), (5.0, 10.0), (-8.0, 4.0), (30.0, 5.0)):
        m = mean + sd * rng.standard_normal(2_000_000)
        assert value_of_information(mean, sd) == pytest.approx(np.maximum(m, 0).mean() - max(mean, 0.0), abs=0.03)
    assert value_of_information(3.0, 0.0) == 0.0


def test_an_offer_that_may_gain_or_lose_goes_before_a_sure_one_and_a_small_one() -> None:
    found = propose(
        *candidates({"1:sure": (300, 60.0, 10.0), "1:open": (300, 1.0, 10.0), "1:small": (20, 0.0, 10.0)}), DESIGN
    )
    assert found is not None
    assert [found.offer.offer_id, *(one.offer_id for one in found.others)] == ["1:open", "1:small", "1:sure"]
    effect = found.offer.effect_minor
    assert effect is not None
    assert effect.low < 0 < effect.high
    assert effect.high - effect.low == pytest.approx(2 * 1.96 * 10, rel=0.1)
    assert "may gain or lose" in found.reason
    assert found.offer.information_minor == pytest.approx(300 * value_of_information(1.0, 10.0), rel=0.1)


def test_more_doubt_and_more_customers_are_worth_more() -> None:
    wide = propose(*candidates({"1:a": (100, 0.0, 20.0), "1:b": (100, 0.0, 10.0)}), DESIGN)
    many = propose(*candidates({"1:a": (100, 0.0, 10.0), "1:b": (300, 0.0, 10.0)}), DESIGN)
    assert wide is not None
    assert many is not None
    assert (wide.offer.offer_id, many.offer.offer_id) == ("1:a", "1:b")


def test_without_a_model_the_offer_with_most_customers_is_named_and_no_figure_is_made_up() -> None:
    eligible, _ = candidates({"1:a": (30, 5.0, 1.0), "1:b": (50, 1.0, 1.0)})
    found = propose(eligible, None, DESIGN)
    assert found is not None
    assert found.offer.offer_id == "1:b"
    assert found.offer.effect_minor is None
    assert found.offer.information_minor is None
    assert "nothing is known yet" in found.reason


def test_nobody_to_contact_no_proposal_and_the_order_of_rows_changes_nothing() -> None:
    eligible, draws = candidates({"1:a": (30, 5.0, 9.0), "1:b": (50, 1.0, 9.0)})
    assert propose(eligible.clear(), None, DESIGN) is None
    assert propose(eligible.reverse(), draws.reverse(), DESIGN) == propose(eligible, draws, DESIGN)


@pytest.mark.parametrize(
    ("eligible", "cost", "budget", "days"),
    [(1_800, 100.0, 1_000_000, 7), (1_799, 100.0, 1_000_000, 14), (100, 100.0, 1_000_000, 126),
     (1_800, 100.0, 1_000, 96), (1_800, 100.0, 0, 90_006)],
)  # fmt: skip
def test_days_follow_from_customers_or_from_the_budget(eligible: int, cost: float, budget: int, days: int) -> None:
    design = Design(900, 50.0, 0.8, 0.05, 400.0, 7, budget)
    assert days_needed(eligible, cost, design) == days


def test_the_sample_size_gives_the_power_it_promises() -> None:
    """4,000 experiments with a true effect of the size asked for: eight in ten find it."""
    size = customers_per_arm(sd=400.0, difference=50.0, alpha=0.05, power=0.8)
    assert minimal_detectable_difference(400.0, size, size, 0.05, 0.8) <= 50.0
    assert minimal_detectable_difference(400.0, size - 1, size - 1, 0.05, 0.8) > 50.0
    rng = np.random.default_rng(3)
    error = 400.0 * np.sqrt(2 / size)
    found = np.abs(50.0 + error * rng.standard_normal(4_000)) / error > 1.96
    assert found.mean() == pytest.approx(0.8, abs=3 * np.sqrt(0.16 / 4_000))
    with pytest.raises(ValueError, match="above 0"):
        customers_per_arm(400.0, 0.0, 0.05, 0.8)
