"""Past trials as a log on which policies can be judged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from mktgen.errors import PermanentError
from mktgen.evaluation.off_policy.logged import Floats, Logged

NO_CONTACT = "no_contact"


@dataclass(frozen=True)
class TrialLog:
    """n trials, A actions of which the last is no contact. trials: contracts.TRIALS, by decision_id; q_hat [n, A]."""

    trials: pl.DataFrame
    actions: list[str]
    logging: Floats
    q_hat: Floats

    @classmethod
    def of(cls, trials: pl.DataFrame, expected: pl.DataFrame) -> TrialLog:
        """trials: contracts.TRIALS with propensities. expected: decision_id, action, expected_minor, not fitted on the
        decision's own customer; for each action that was possible. The order of rows changes nothing.

        Raises PermanentError where a possible action has no expected reward.
        """
        ordered = trials.sort("decision_id")
        pairs = ordered.select("decision_id", action="action_set", p="action_propensities").explode("action", "p")
        pairs = pairs.filter(pl.col("p") > 0)
        lacking = pairs.join(expected, on=["decision_id", "action"], how="anti")
        if lacking.height:
            raise PermanentError(f"{lacking.height} possible actions have no expected reward, e.g. {lacking.row(0)}")
        names = sorted(set(pairs["action"].to_list()) - {NO_CONTACT})
        log = cls(ordered, [*names, NO_CONTACT], np.zeros((0, 0)), np.zeros((0, 0)))
        logging = log.table(pairs, "p")
        return cls(ordered, log.actions, logging, log.table(expected, "expected_minor"))

    def table(self, rows: pl.DataFrame, column: str) -> Floats:
        """[n, A] of `column` by decision_id and action; 0 where there is no row. Rows of other decisions are ignored."""
        place = self.trials.select("decision_id").with_row_index("row")
        number = pl.DataFrame({"action": self.actions}).with_row_index("number")
        known = rows.join(place, on="decision_id").join(number, on="action")
        result = np.zeros((self.trials.height, len(self.actions)))
        result[known["row"].to_numpy(), known["number"].to_numpy()] = known[column].to_numpy()
        return result

    @property
    def no_contact(self) -> Floats:
        """[n, A]: the policy that leaves everybody alone."""
        return np.tile(np.eye(len(self.actions))[-1], (self.trials.height, 1))

    def under(self, policy: Floats) -> Logged:
        """The log, to judge `policy` [n, A] on it; customers are what is independent. Raises RefusedLog."""
        number = {name: place for place, name in enumerate(self.actions)}
        return Logged(
            action=self.trials["action"].replace_strict(number, return_dtype=pl.Int64).to_numpy(),
            reward=self.trials["reward_minor"].to_numpy(),
            propensity=self.logging,
            policy=policy,
            q_hat=self.q_hat,
            cluster=self.trials["customer_id"].to_numpy().astype(np.str_),
        )
