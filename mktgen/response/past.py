"""What was foretold for each past trial by models that had not seen its customer, as a table: for judging policies."""

from __future__ import annotations

import numpy as np
import polars as pl

from mktgen.contracts import HELD_OUT_EFFECTS
from mktgen.response.held_out import HeldOut
from mktgen.response.trials import NO_CONTACT


def held_out_effects(held_out: HeldOut) -> pl.DataFrame:
    """contracts.HELD_OUT_EFFECTS: one row per trial and action that was possible, no contact included; sorted.

    What: effect and expected reward by the trials of other folds of customers. Assumption: customers are independent; the
    variances of the prior and the functions of the basis were chosen on all of them, which a single trial hardly moves. When
    it fails: with few customers per fold, where that choice is a fit.
    """
    trials, reward = held_out.trials, held_out.reward
    possible = np.column_stack([trials.chance, trials.chance_none]) > 0
    rows, columns = np.nonzero(possible)
    effect = np.column_stack([reward.effect, np.zeros(len(possible))])
    names = pl.Series([*trials.actions, NO_CONTACT], dtype=pl.String)
    table = trials.frame.select("decision_id")[rows.tolist()].with_columns(
        action=names.gather(columns),
        effect_minor=pl.Series(effect[rows, columns], dtype=pl.Float64),
        expected_minor=pl.Series(reward.q[rows, columns], dtype=pl.Float64),
    )
    return HELD_OUT_EFFECTS.check(table.sort("decision_id", "action"))
