"""Clicks: of the text that is read, by chances that the oracle knows, and of no consequence for what is bought."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from mktgen.market_sim.oracle import click_rates
from mktgen.market_sim.reading import clicks
from mktgen.market_sim.scenario import Cue, Reading, Scenario, load

PLAIN = ("A coupon", "Your coupon is valid until November 8.")
ASKING = ("Ready?", "Your coupon is valid until November 8.")
AMOUNT = ("$1.00 off", "Your coupon is valid until November 8.")


def sent(panel: pl.DataFrame, text: tuple[str, str]) -> pl.DataFrame:
    return panel.select("customer_id", send_id=pl.format("s{}", "customer_id")).with_columns(
        subject=pl.lit(text[0]), body=pl.lit(text[1])
    )


def test_as_many_click_as_the_oracle_says(small: pl.DataFrame, strong: Scenario) -> None:
    expected = click_rates(small, [PLAIN, ASKING, AMOUNT], strong)
    for column, text in enumerate((PLAIN, ASKING, AMOUNT)):
        counts = [clicks(small, sent(small, text), strong, seed).height for seed in range(60)]
        chance = expected[:, column]
        error = np.sqrt((chance * (1 - chance)).sum() / 60)
        assert np.mean(counts) == pytest.approx(chance.sum(), abs=4 * error)


def test_words_matter_and_to_some_more_than_to_others(small: pl.DataFrame, strong: Scenario) -> None:
    plain, asking, amount = click_rates(small, [PLAIN, ASKING, AMOUNT], strong).T
    assert (amount != plain).all()
    change = np.log(asking / (1 - asking)) - np.log(plain / (1 - plain))
    assert change.std() > 0.05


def test_in_the_null_market_no_word_matters_and_yet_they_click(small: pl.DataFrame) -> None:
    rates = click_rates(small, [PLAIN, ASKING, AMOUNT], load("null"))
    assert np.ptp(rates, axis=1).max() == 0
    assert 0.01 < rates.mean() < 0.2


def test_a_draw_belongs_to_its_customer(small: pl.DataFrame, strong: Scenario) -> None:
    whole = clicks(small, sent(small, PLAIN), strong, 1)
    half = small.sort("customer_id", descending=True).head(small.height // 2)
    alone = clicks(half, sent(half, PLAIN), strong, 1)
    assert alone.equals(whole.join(half.select("customer_id"), on="customer_id", how="semi").sort("customer_id"))


def test_whoever_clicks_clicks_what_is_liked_better_too(small: pl.DataFrame, strong: Scenario) -> None:
    plain, amount = click_rates(small, [PLAIN, AMOUNT], strong).T
    before, after = (set(clicks(small, sent(small, text), strong, 3)["customer_id"]) for text in (PLAIN, AMOUNT))
    better = set(small.filter(pl.Series(amount >= plain))["customer_id"])
    assert before & better <= after


def test_late_clicks_come_on_days_of_the_scenario(small: pl.DataFrame, strong: Scenario) -> None:
    days = {day for seed in range(50) for day in clicks(small, sent(small, PLAIN), strong, seed)["clicked_after_days"]}
    assert days == set(strong.reading.delay_days)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Cue(pattern="(", liking={}), "pattern '\\('"),  # type: ignore[arg-type]
        (lambda: Cue(pattern="a", liking={"weights": {"affinity": 1.0}}), "affinity"),  # type: ignore[arg-type]
        (lambda: Reading(click={}, delay_days=(-1,)), "before it is there"),  # type: ignore[arg-type]
    ],
)
def test_what_makes_no_sense_is_refused(make: object, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        make()  # type: ignore[operator]
