"""What customers are by nature and nobody can see. It follows from the scenario and the identifier; no table holds it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from mktgen.market_sim import chance
from mktgen.market_sim.chance import Floats
from mktgen.market_sim.scenario import Scenario


@dataclass(frozen=True)
class Nature:
    """Standard normal terms [N], independent of each other and of every covariate."""

    persuadable: Floats
    annoyed: Floats
    reader: Floats


def nature(customers: pl.Series, scenario: Scenario) -> Nature:
    people = chance.keys(customers)
    names = ("persuadable", "annoyed", "reader")
    return Nature(*(chance.normal(chance.salted(people, scenario.people_seed, name)) for name in names))


def everybody_alike(customers: int, term: float) -> Nature:
    """All terms the same for all: a node of an integral over what can't be seen."""
    return Nature(*(np.full(customers, term) for _ in range(3)))
