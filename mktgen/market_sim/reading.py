"""What customers make of the words of a message: it is clicked or it isn't. Judged is the text that they read, nothing else.

The market has cues of its own (`reading` in a scenario). It knows neither the traits that a learner describes wordings by nor
where a text came from, so a learner can be wrong about what matters, as it can be in a real shop.

    logit P(clicks) = whatever the words + strength * sum over the text's cues of their liking + hidden

A click is an outcome of its own: purchases and redemptions are drawn as if there were none, so that the truth of offers
(oracle.py) is the same whatever is written.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl
from scipy.special import expit

from mktgen.market_sim import chance
from mktgen.market_sim.chance import Floats
from mktgen.market_sim.covariates import standardised
from mktgen.market_sim.panel import wave_of
from mktgen.market_sim.people import Nature, nature
from mktgen.market_sim.scenario import Logit, Scenario

Message = tuple[str, str]  # subject, body
CLICKS: Final = {"customer_id": pl.String, "send_id": pl.String, "clicked_after_days": pl.Int64}


def click_chances(panel: pl.DataFrame, of: Nature, messages: Sequence[Message], scenario: Scenario) -> Floats:
    """P(clicks) of every message for every row of a panel [N, M]. `of`: nature of the same rows."""
    reading = scenario.reading
    has = np.array([_noticed(subject, body, scenario) for subject, body in messages], dtype=np.float64)
    liking = [_logit(panel, cue.liking) for cue in reading.cues.values()]
    words = np.stack(liking, axis=1) @ has.reshape(len(messages), len(liking)).T if liking else 0.0
    anyway = _logit(panel, reading.click) + reading.hidden * of.reader
    return np.asarray(expit(anyway[:, None] + reading.strength * words), dtype=np.float64)


def clicks(panel: pl.DataFrame, sent: pl.DataFrame, scenario: Scenario, seed: int) -> pl.DataFrame:
    """CLICKS of the messages that arrived at a panel's wave, sorted by customer.

    sent: customer_id, send_id, subject, body, one row a customer; of those who are in the panel. As in `respond` a draw
    belongs to seed, wave and customer: whoever would click this message clicks any that is as likely to be clicked.
    """
    read = panel.join(sent, on="customer_id", maintain_order="left")
    texts = read.select("subject", "body").unique(maintain_order=True)
    of_all = click_chances(read, nature(read["customer_id"], scenario), list(texts.iter_rows()), scenario)
    place = read.join(texts.with_row_index("text"), on=["subject", "body"], maintain_order="left")["text"].to_numpy()
    people, wave = chance.keys(read["customer_id"]), wave_of(panel).isoformat()
    clicked = chance.uniform(chance.salted(people, seed, wave, "clicks")) < of_all[np.arange(read.height), place]
    delays = np.array(scenario.reading.delay_days)
    late = delays[chance.choice(chance.salted(people, seed, wave, "click delay"), len(delays))]
    frame = read.select("customer_id", "send_id", clicked_after_days=pl.Series(late, dtype=pl.Int64))
    return frame.filter(pl.Series(clicked)).sort("customer_id")


def _noticed(subject: str, body: str, scenario: Scenario) -> list[bool]:
    parts = {"subject": subject, "body": body, "both": f"{subject}\n{body}"}
    cues = scenario.reading.cues.values()
    return [re.search(cue.pattern, parts[cue.part], re.IGNORECASE) is not None for cue in cues]


def _logit(panel: pl.DataFrame, logit: Logit) -> Floats:
    total = np.full(panel.height, logit.constant)
    for name, weight in logit.weights.items():
        total += weight * standardised(panel, name)
    return total
