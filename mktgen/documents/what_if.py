"""What a day's plan would bring under another budget, without an offer or with another holdout: curves made beforehand."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from datetime import date
from typing import Final

from mktgen.documents.base import Document, Interval, Refusal

_Z: Final = 1.96


def spread(value: float, totals: Sequence[float]) -> Interval | None:
    """An estimate with 1.96 standard deviations of its totals over the draws of the posterior; None without draws."""
    if not totals:
        return None
    half = _Z * statistics.stdev(totals)
    return Interval(value=value, low=value - half, high=value + half, method="response posterior, normal, 95%")


class WhatIfPoint(Document):
    """The best allocation at one budget of the day, in minor units and for all customers.

    value_minor: expected profit of the policy's customers. price: value per further minor unit. totals: of the same
    allocation under each draw of the posterior, whole minor units; empty where nothing was learned.
    """

    budget_minor: int
    value_minor: float
    cost_minor: int
    contacts: int
    price: float
    totals: list[int] = []

    def interval(self) -> Interval | None:
        """95%, by the totals; None where nothing was learned."""
        return spread(self.value_minor, self.totals)


class WhatIfWithout(Document):
    """The curve without one offer. customers: to whom it could be given. The last point's budget is the highest computed."""

    offer_id: str
    campaign_id: str
    customers: int
    points: list[WhatIfPoint]


class WhatIf(Document):
    """Curves of a day, in order of budget; the plan's own budget is among them.

    holdout_share, usual_share: of all customers, as decided. customers: of the policy, with something to choose; sampled: of
    them, those that the curves were made from. refused: why no value is incremental, and none has an interval. not_computed:
    further offers, with fewer customers, without a curve of their own.
    """

    partition: date
    budget_minor: int
    holdout_share: float
    usual_share: float
    customers: int
    sampled: int
    refused: Refusal | None
    points: list[WhatIfPoint]
    without: list[WhatIfWithout]
    not_computed: int
    assumptions: list[str]


class WhatIfAnswer(Document):
    """An estimate read off the curves. difference: to the plan. error_ratio: standard error of the programme's measured
    effect over the plan's, by the sizes of the two groups alone. beyond: the curve ends before this budget, what lies past
    its end is counted as nothing."""

    budget_minor: int
    without: str
    holdout_share: float
    value_minor: float
    value: Interval | None
    difference_minor: float
    difference: Interval | None
    cost_minor: float
    contacts: float
    price: float
    error_ratio: float
    beyond: bool
