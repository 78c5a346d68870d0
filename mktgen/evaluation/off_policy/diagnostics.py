"""What the weights say about a log and a policy, and the refusals: no figure where the log can't carry one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from scipy.special import stdtr

from mktgen.documents import Refusal
from mktgen.evaluation.off_policy.estimators import Terms, mean
from mktgen.evaluation.off_policy.intervals import normal, totals
from mktgen.evaluation.off_policy.logged import Floats, Logged
from mktgen.settings import OffPolicySettings

METRIC: Final = "off_policy_value"
MIN_TAKEN: Final = 20  # expected rows of an action before its frequency is tested

Reason = Literal[
    "unsupported_actions", "effective_sample", "clusters", "max_weight_share", "mean_weight", "action_balance",
    "reward_balance", "no_interval",
]  # fmt: skip


@dataclass(frozen=True)
class Diagnostics:
    """effective_sample: (sum W)^2 / sum W^2 over clusters' total weights W (Kish 1965). overlap: share of the judged policy
    on actions that the logging policy takes. mean_weight: 1 up to chance where propensities are true and cover the policy;
    low, high at 95%. The p-values ask whether weights give what true propensities give: in all, by action, and for the
    expected rewards (None: nothing to ask)."""

    rows: int
    clusters: int
    effective_sample: float
    max_weight: float
    max_weight_share: float
    mean_weight: float
    mean_weight_low: float | None
    mean_weight_high: float | None
    overlap: float
    cut: float
    mean_weight_p: float | None
    action_balance_p: float | None
    reward_balance_p: float | None


def diagnose(log: Logged, terms: Terms, settings: OffPolicySettings) -> Diagnostics:
    """What is to be known before a value is believed. `terms`: of the estimator that is to speak."""
    weights = totals(log.weight, log.groups)
    total, largest = float(weights.sum()), float(weights.max())
    bounds = normal(mean(log.weight), log.weight - mean(log.weight), log.groups, 0.05)
    return Diagnostics(
        rows=log.rows,
        clusters=log.clusters,
        effective_sample=total**2 / float((weights**2).sum()) if total else 0.0,
        max_weight=float(log.weight.max()),
        max_weight_share=largest / total if total else 1.0,
        mean_weight=mean(log.weight),
        mean_weight_low=bounds.low,
        mean_weight_high=bounds.high,
        overlap=_overlap(log, settings.propensity_floor),
        cut=terms.cut,
        mean_weight_p=_weights_balance(log, log.weight, np.ones(log.rows), _drawn_se(log, _weights(log))),
        action_balance_p=_action_balance(log),
        reward_balance_p=_reward_balance(log),
    )


def refusals(found: Diagnostics, terms: Terms, settings: OffPolicySettings) -> list[Refusal]:
    """Why no value may be given, by name; empty: it may. Raises nothing."""
    at_least = f"of {found.clusters} in the log, {settings.min_effective_sample:.0f} are needed"
    low_p = f"p < {settings.weight_alpha}; the propensities are not those that drew the actions, or rows are missing"
    checks: list[tuple[Reason, bool, str]] = [
        ("unsupported_actions", 1 - found.overlap > settings.max_unsupported,
         f"{1 - found.overlap:.1%} of the policy is on actions that were logged with a probability below "
         f"{settings.propensity_floor}, or never; log them by exploration first"),
        ("effective_sample", found.effective_sample < settings.min_effective_sample,
         f"under this policy the log is worth {found.effective_sample:.1f} customers {at_least}"),
        ("clusters", found.clusters < settings.min_clusters,
         f"{found.clusters} customers; intervals need {settings.min_clusters}"),
        ("max_weight_share", found.max_weight_share > settings.max_weight_share,
         f"one customer has {found.max_weight_share:.1%} of the weight; {settings.max_weight_share:.1%} is allowed"),
        ("mean_weight", _low(found.mean_weight_p, settings),
         f"weights have a mean of {found.mean_weight:.3f}, not 1 ({low_p})"),
        ("action_balance", _low(found.action_balance_p, settings),
         f"an action was taken more or less often than its propensities say ({low_p})"),
        ("reward_balance", _low(found.reward_balance_p, settings),
         f"expected rewards of the actions taken don't weigh up to those of the policy ({low_p})"),
        ("no_interval", terms.biased,
         "the estimator is biased by its model or by cut weights, which no standard error shows"),
    ]  # fmt: skip
    return [Refusal(metric=METRIC, missing=[name], reason=text) for name, refused, text in checks if refused]


def _low(p: float | None, settings: OffPolicySettings) -> bool:
    return p is not None and p < settings.weight_alpha


def _overlap(log: Logged, floor: float) -> float:
    """Share of the policy on supported actions: with all propensities by row, else on actions seen with at least `floor`."""
    if log.logging is not None:
        return mean((log.policy * (log.logging >= floor)).sum(axis=1))
    seen = np.zeros(log.actions, dtype=bool)
    seen[log.action[log.taken >= floor]] = True
    return mean(log.policy[:, seen].sum(axis=1))


def _action_balance(log: Logged) -> float | None:
    """Least p-value over actions, times their number (Bonferroni).

    With all propensities: how often an action was taken against the sum of its propensities; else the weights of the rows
    that took it against the policy's mass on it.
    """
    known = log.logging
    weight = log.weight if known is None else np.ones(log.rows)
    expected = log.policy if known is None else known
    values = []
    for action in range(log.actions):
        rows = log.action == action
        share = mean(expected[:, action])
        taken = np.where(rows, weight, 0.0)
        typical = mean(weight[rows]) if rows.any() else 1.0
        if share * log.rows / max(typical, 1.0) >= MIN_TAKEN:
            one = np.zeros(log.policy.shape)
            one[:, action] = 1.0
            values.append(_weights_balance(log, taken, expected[:, action], _drawn_se(log, one)))
    asked = [p for p in values if p is not None]
    return min(1.0, min(asked) * len(asked)) if asked else None


def _reward_balance(log: Logged) -> float | None:
    if log.q_hat is None:
        return None
    centred = log.q_hat - mean(log.expected(log.q_hat))
    least = _drawn_se(log, _weights(log) * centred)
    return _balance(log, log.weight * log.at_action(centred), log.expected(centred), least=least)


def _weights(log: Logged) -> Floats:
    """[n, A] the policy's probability over the logged one; 0 where the log can't take the action."""
    known = log.policy if log.logging is None else log.logging
    return np.divide(log.policy, known, out=np.zeros_like(log.policy), where=known > 0)


def _drawn_se(log: Logged, value: Floats) -> float:
    """Standard error of the mean of value [n, A] at the action drawn, by the logged probabilities themselves; 0 where they
    aren't known for all actions. With rare actions and few of them drawn, the spread that is seen is too small: skewed."""
    known = log.logging
    if known is None:
        return 0.0
    variance = (known * value**2).sum(axis=1) - (known * value).sum(axis=1) ** 2
    return math.sqrt(max(float(variance.sum()), 0.0)) / log.rows


def _weights_balance(log: Logged, drawn: Floats, expected: Floats, least: float = 0.0) -> float | None:
    """As _balance, for amounts that can't be negative: with too few rows drawn the spread seen would be too small as well,
    so it is scaled up to the amount expected."""
    total, wanted = mean(drawn), mean(expected)
    scale = math.sqrt(max(1.0, wanted / total)) if total > 0 else 1.0
    least = max(least, math.sqrt(wanted / log.rows) if total == 0 else 0.0)
    return _balance(log, drawn, expected, scale, least)


def _balance(log: Logged, drawn: Floats, expected: Floats, scale: float = 1.0, least: float = 0.0) -> float | None:
    """p-value of mean(drawn) = mean(expected), two-sided, by clusters; None: one cluster."""
    gap = drawn - expected
    bounds = normal(0.0, gap - mean(gap), log.groups, 0.05)
    if bounds.se is None:
        return None
    se, off = max(bounds.se * scale, least), abs(mean(gap))
    if se <= _STILL * max(1.0, off):
        return 1.0 if off <= _STILL * max(1.0, abs(mean(expected))) else 0.0
    return float(2 * stdtr(log.clusters - 1, -off / se))


_STILL: Final = 1e-9
