"""Metrics that a source can't support are refused by name, with the capability that is missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mktgen.documents import Refusal
from mktgen.errors import PermanentError

CAPABILITIES: Final = (
    "has_impressions",
    "has_clicks",
    "has_propensity",
    "has_randomised_holdout",
    "has_cost",
    "has_offer_level_exposure",
)


@dataclass(frozen=True)
class Requirement:
    metric: str
    needs: tuple[str, ...]
    reason: str


REQUIREMENTS: Final = (
    Requirement("ctr", ("has_impressions", "has_clicks"), "a click-through rate is clicks per impression"),
    Requirement(
        "uplift",
        ("has_randomised_holdout",),
        "the mailing lists were not drawn at random, so those left out differ from those mailed; adjusted "
        "estimates fail their placebo and negative-control tests on such data",
    ),
    Requirement(
        "off_policy_value",
        ("has_propensity",),
        "inverse weighting needs the probability with which each logged action was drawn",
    ),
    Requirement(
        "roi",
        ("has_cost",),
        "the source has no margins and no contact costs; the value given rests on configured assumptions",
    ),
    Requirement(
        "offer_response",
        ("has_offer_level_exposure",),
        "which coupons a customer was sent is not recorded for every campaign; response is by campaign",
    ),
)


def refusals(capabilities: dict[str, bool]) -> list[Refusal]:
    """What this source can't support. `capabilities` has exactly the names in CAPABILITIES.

    Raises PermanentError for a name that is unknown or missing: a forgotten flag must not enable a metric.
    """
    if set(capabilities) != set(CAPABILITIES):
        wrong = sorted(set(capabilities) ^ set(CAPABILITIES))
        raise PermanentError(f"capabilities of the source: {wrong} are missing or unknown; give {list(CAPABILITIES)}")
    refused = []
    for requirement in REQUIREMENTS:
        missing = [name for name in requirement.needs if not capabilities[name]]
        if missing:
            refused.append(Refusal(metric=requirement.metric, missing=missing, reason=requirement.reason))
    return refused
