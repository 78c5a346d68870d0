"""What is to come: demand, churn, and the reasons behind both."""

from __future__ import annotations

from pydantic import Field

from mktgen.settings.base import Section


class ForesightSettings(Section):
    origins: int = Field(26, ge=8, description="past weeks on which the ways to forecast are compared")
    min_history_days: int = Field(56, ge=28, description="days of sales before the first of those weeks")
    churn_from: float = Field(0.5, ge=0, le=1, description="warn of customers at least so likely to stay away 28 days")
    stake_from_minor: int = Field(1_000, ge=0, description="and who would spend at least so much in 28 days if kept")
    warnings_per_day: int = Field(100, ge=1, description="at most so many, the largest expected loss first")
    explained_customers: int = Field(250, ge=0, description="contacted customers whose recommendations are explained")
    explained_items: int = Field(2, ge=1, description="recommended items explained per customer")
    reasons_per_target: int = Field(3, ge=1, description="groups of past events named per recommendation or warning")
    recent_baskets: int = Field(3, ge=1, description="last baskets that are taken out one by one")
    check_targets: int = Field(100, ge=0, description="explanations per kind that are tested against random events")
