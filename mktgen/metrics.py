"""CTR, CVR, ROI and the other figures of a campaign: each defined once, with what the data must record for it.

A metric whose capabilities are missing is refused by name, never estimated by stealth. Where they are computed:
feedback/metrics.py; off_policy_value in the evaluation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from mktgen.documents import Refusal
from mktgen.errors import PermanentError

# What a source can support; the names of sources/base.py: Capabilities.
CAPABILITIES: Final = (
    "has_impressions",
    "has_clicks",
    "has_propensity",
    "has_randomised_holdout",
    "has_cost",
    "has_offer_level_exposure",
)
LIVE: Final = "has_live_customers"  # its customers can have received what we sent; a replayed history's can't
# Whose contacts are measured: those the shop itself sent, as its source tells, or our own decisions.
Log = Literal["shop", "ours"]
# What our own decisions always record, whatever the source does: see strategy/policy.py.
OUR_OWN: Final = ("has_propensity", "has_randomised_holdout", "has_offer_level_exposure")


@dataclass(frozen=True)
class Metric:
    """numerator / denominator, of matured rows; `unit` of the result, `window` in which the numerator is counted.

    needs: capabilities without which the numbers would not be what the name says.
    """

    name: str
    numerator: str
    denominator: str
    unit: str
    window: str
    needs: tuple[str, ...]
    reason: str  # why it needs them, said to whoever asks for it in vain

    def needed(self, log: Log) -> tuple[str, ...]:
        """Of our own decisions, what we record ourselves is there; but customers must have been able to receive them."""
        if log == "shop":
            return self.needs
        return (LIVE, *(name for name in self.needs if name not in OUR_OWN))


METRICS: Final = (
    Metric(
        "ctr",
        "impressions of a message that were clicked at least once",
        "impressions of a message",
        "share of impressions",
        "words.click_days from the decision",
        ("has_impressions", "has_clicks"),
        "a click-through rate is clicks per impression, and both must be recorded",
    ),
    Metric(
        "cvr",
        "delivered contacts whose customer redeemed an offer of that campaign",
        "delivered contacts",
        "share of contacts",
        "from the contact to the end of the campaign or of feedback.window_days, whichever is first",
        (),
        "a conversion rate of messages needs customers who can have received them",
    ),
    Metric(
        "offer_response",
        "delivered contacts whose customer redeemed the offer that the contact held",
        "delivered contacts with that offer",
        "share of contacts, by offer",
        "as cvr",
        ("has_offer_level_exposure",),
        "which coupons a customer was sent is not recorded for every campaign; response is by campaign",
    ),
    Metric(
        "uplift",
        "mean merchandise spend of customers not held out less that of those held out, as drawn",
        "1",
        "minor units per customer and wave",
        "feedback.window_days from the contact",
        ("has_randomised_holdout",),
        "the mailing lists were not drawn at random, so those left out differ from those mailed; adjusted "
        "estimates fail their placebo and negative-control tests on such data",
    ),
    Metric(
        "roi",
        "incremental margin of customers not held out, less the incremental cost of contacts and redemptions",
        "that incremental cost",
        "share of cost",
        "feedback.window_days from the contact",
        ("has_randomised_holdout", "has_cost"),
        "a return is incremental margin over cost: it takes customers left alone at random, and recorded margins and "
        "contact costs; a value that is given without them rests on configured assumptions",
    ),
    Metric(
        "off_policy_value",
        "outcomes weighted by the other policy's probability of the logged action over the logged one",
        "sum of the weights",
        "as the outcome",
        "feedback.window_days from the contact",
        ("has_propensity",),
        "inverse weighting needs the probability with which each logged action was drawn; outcomes of actions that were "
        "not taken are unknown",
    ),
)  # fmt: skip
BY_NAME: Final = {metric.name: metric for metric in METRICS}


def refusal(metric: Metric, capabilities: Mapping[str, bool], log: Log = "shop") -> Refusal | None:
    """Why a metric can't be had, or None. A capability that is not given counts as missing."""
    missing = [name for name in metric.needed(log) if not capabilities.get(name, False)]
    if not missing:
        return None
    replay = "The source replays history: its customers can't have seen what we sent. " if LIVE in missing else ""
    return Refusal(metric=metric.name, missing=missing, reason=replay + metric.reason)


def refusals(capabilities: Mapping[str, bool], log: Log = "shop") -> list[Refusal]:
    """What can't be had, in the table's order. `capabilities` has exactly the names in CAPABILITIES, and LIVE for `ours`.

    Raises PermanentError for a name that is unknown or missing: a forgotten flag must not enable a metric.
    """
    names = {*CAPABILITIES, LIVE} if log == "ours" else set(CAPABILITIES)
    if set(capabilities) != names:
        wrong = sorted(set(capabilities) ^ names)
        raise PermanentError(f"capabilities of the source: {wrong} are missing or unknown; give {sorted(names)}")
    return [found for metric in METRICS if (found := refusal(metric, capabilities, log)) is not None]
