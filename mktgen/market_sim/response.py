"""What happens at a wave: the structural equations with chance drawn."""

from __future__ import annotations

from datetime import date
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mktgen.market_sim import chance
from mktgen.market_sim.behaviour import Chances, chances
from mktgen.market_sim.chance import Keys
from mktgen.market_sim.panel import PanelError, wave_of
from mktgen.market_sim.people import nature
from mktgen.market_sim.scenario import Scenario

RESPONSE: Final[dict[str, pl.DataType | type[pl.DataType]]] = {
    "customer_id": pl.String,
    "wave": pl.Date,
    "action": pl.String,
    # What was changed. No table of a source shows it.
    "stays_away": pl.Boolean,
    "incremental": pl.Boolean,
    "visit_day": pl.Int64,  # of an incremental visit, days after the wave
    "borrows": pl.Boolean,  # and it replaces the first visit after the window
    "incremental_minor": pl.Int64,
    "skipped_minor": pl.Int64,  # organic spending of the window lost to annoyance
    "pull_forward_minor": pl.Int64,  # organic spending after the window that doesn't come any more
    "face_value_minor": pl.Int64,
    "contact_minor": pl.Int64,
    "profit_minor": pl.Float64,  # margin of the changes - face value - contact cost; 0 if left alone
    # What a shop sees of the window.
    "orders": pl.Int64,
    "net_minor": pl.Int64,
    "redeemed": pl.Boolean,
    "reported_after_days": pl.Int64,  # null: not redeemed, or the report was lost
    "reward_minor": pl.Float64,  # margin of net - face value - contact cost
}


def respond(panel: pl.DataFrame, actions: pl.Series, scenario: Scenario, seed: int) -> pl.DataFrame:
    """RESPONSE to one action per row of a panel, in its order.

    Each draw belongs to seed, wave and customer: another order or other rows beside it change nothing, and the potential
    outcomes of all actions use the same draws. Raises PanelError for an action that the scenario doesn't have.
    """
    unknown = sorted(set(actions.unique().to_list()) - set(scenario.actions))
    if unknown or len(actions) != panel.height:
        raise PanelError(
            f"one of {scenario.actions} per row is needed; got {len(actions)} for {panel.height} rows, unknown: {unknown}"
        )
    wave = wave_of(panel)
    people = chance.keys(panel["customer_id"])
    index = actions.replace_strict({name: place for place, name in enumerate(scenario.actions)}, return_dtype=pl.Int64)
    of_all = chances(panel, nature(panel["customer_id"], scenario), scenario)
    return _outcome(panel, actions, _chosen(of_all, index.to_numpy()), people, wave, scenario, seed)


def _chosen(of_all: Chances, index: NDArray[np.int64]) -> Chances:
    rows = np.arange(len(index))
    return Chances(*(values[rows, index] for values in vars(of_all).values()))


def _outcome(
    panel: pl.DataFrame, actions: pl.Series, own: Chances, people: Keys, wave: date, scenario: Scenario, seed: int
) -> pl.DataFrame:
    def draw(name: str) -> Keys:
        return chance.salted(people, seed, wave.isoformat(), name)

    organic, later = panel["organic_minor"].to_numpy(), panel["later_minor"].to_numpy()
    organic_orders = panel["organic_orders"].to_numpy()
    away = chance.uniform(draw("annoyed")) < own.annoyed
    answers = ~away & (chance.uniform(draw("answers")) < own.answers)
    incremental = answers & (chance.uniform(draw("incremental")) < own.incremental)
    borrows = incremental & (chance.uniform(draw("borrows")) < own.borrowed)
    redeemed = answers & (incremental | (organic_orders > 0)) & (own.face_minor > 0)
    noise = np.exp(scenario.basket_noise * chance.normal(draw("basket")) - scenario.basket_noise**2 / 2)
    bought = np.where(incremental, np.maximum(np.rint(own.basket_minor * noise), 1.0), 0.0)
    skipped, pulled = away * organic, borrows * later
    cost = redeemed * own.face_minor + own.contact_minor
    net = organic - skipped + bought
    frame = pl.DataFrame(
        {
            "stays_away": away,
            "incremental": incremental,
            "visit_day": chance.choice(draw("day"), scenario.window_days),
            "borrows": borrows,
            "incremental_minor": bought,
            "skipped_minor": skipped,
            "pull_forward_minor": pulled,
            "face_value_minor": redeemed * own.face_minor,
            "contact_minor": own.contact_minor,
            "profit_minor": scenario.margin_share * (bought - skipped - pulled) - cost,
            "orders": organic_orders * ~away + incremental,
            "net_minor": net,
            "redeemed": redeemed,
            "reward_minor": scenario.margin_share * net - cost,
        }
    )
    named = panel.select("customer_id", "wave").with_columns(actions.alias("action"))
    whole = pl.concat([named, frame, _reports(draw("reported"), draw("delay"), redeemed, scenario)], how="horizontal")
    return whole.select(pl.col(name).cast(dtype) for name, dtype in RESPONSE.items())


def _reports(lost: Keys, delay: Keys, redeemed: NDArray[np.bool_], scenario: Scenario) -> pl.DataFrame:
    reporting = scenario.reporting
    days = np.array(reporting.delay_days)[chance.choice(delay, len(reporting.delay_days))]
    arrives = redeemed & (chance.uniform(lost) >= reporting.lost)
    return pl.DataFrame({"reported_after_days": days, "arrives": arrives}).select(
        pl.when("arrives").then("reported_after_days")
    )
