"""A strategy, and what came of it, as HTML pages that need nothing else: no script, no network, light and dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from mktgen.documents import EffectLine, Interval, Refusal, Strategy
from mktgen.metrics import METRICS

OUTCOME: Final = {True: "passed", False: "failed", None: "n/a"}
_WIDTH, _LABEL, _WORDS, _ROW, _FOOT = 760, 230, 190, 26, 34
_SHARES: Final = frozenset(one.name for one in METRICS if one.unit.startswith("share"))
_LETTERS: Final = 32  # of a label, which the labels' column holds


@dataclass(frozen=True)
class Line:
    """What somebody did to the strategy. at: ISO, UTC. hash: of its entry in the audit trail."""

    at: str
    what: str
    who: str
    note: str
    hash: str


@dataclass(frozen=True)
class Realised:
    """What is known of a day's contacts. metrics: as in a FeedbackReport, of this day's decisions alone; refused: of the
    report they were measured with; effects: of the wave that the day is part of, the programme ("") before its campaigns."""

    partition: date
    measured_on: date
    metrics: Mapping[str, float]
    refused: Sequence[Refusal] = ()
    effects: Sequence[EffectLine] = field(default_factory=list)


def strategy_report(strategy: Strategy, status: str, trail: Sequence[Line]) -> str:
    """status: how far it came. trail: in order; empty where nothing was done to it yet."""
    plan = strategy.allocation
    spend = {"budget": plan.budget_minor, "at worst": plan.worst_case_cost_minor, "expected": plan.expected_cost_minor}
    facts = [
        ("customers", f"{strategy.customers:,}"), ("contacted", f"{strategy.contacted:,}"),
        ("held out", f"{strategy.holdout:,}"), ("budget", _money(plan.budget_minor)),
        ("at worst", _money(plan.worst_case_cost_minor)), ("expected value", _money(plan.expected_value_minor)),
    ]  # fmt: skip
    named = [(campaign.name.get("en", campaign.campaign_id), campaign) for campaign in strategy.campaigns]
    comparisons = (
        [(f"against {one.incumbent}", one.difference) for one in strategy.launch.comparisons] if strategy.launch else []
    )
    charts = [
        chart("expected to redeem", [(name, one.expected_redemptions) for name, one in named], 1.0),
        chart("expected value", [(name, one.expected_value_minor) for name, one in named], 0.01),
    ]  # fmt: skip
    return _page(
        "report.html",
        title=f"Strategy of {strategy.partition}",
        strategy=strategy,
        status=status,
        trail=trail,
        facts=facts,
        outcome=OUTCOME,
        budget=bars(spend),
        campaign_charts=[one for one in charts if one["rows"]],
        class_chart=chart(
            "effect on profit", [(one.name.replace("_", " "), one.effect_minor) for one in strategy.classes], 0.01
        ),
        launch_chart=chart("profit per decision more than", comparisons, 0.01),
    )


def realised_report(found: Realised, source: str, notice: str) -> str:
    """source, notice: as in the strategy."""
    bounded = [name for name in found.metrics if {f"{name}_low", f"{name}_high"} <= found.metrics.keys()]
    rates = [(name, _interval(found.metrics, name)) for name in bounded if name.split(".")[0] in _SHARES]
    rows = [
        (f"{line.campaign_id or 'all campaigns'}: {name}", value)
        for line in found.effects
        for name, value in (("predicted", _exact(line.predicted_minor)), ("realised", line.realised))
    ]  # fmt: skip
    reasons = [line.reason for line in found.effects if line.realised is None and line.reason]
    return _page(
        "realised.html",
        title=f"What came of the strategy of {found.partition}",
        partition=found.partition,
        measured_on=found.measured_on,
        source=source,
        notice=notice,
        metrics=dict(found.metrics),
        refused=found.refused,
        rates=chart("share, with its 95% interval", rates, 1.0, decimals=4),
        effects=chart("profit against those left alone", rows, 0.01),
        effects_note=reasons[0] if reasons else "not known: the wave is not over, or nothing of it was delivered",
    )


def chart(
    title: str, values: Sequence[tuple[str, Interval | None]], unit: float, *, decimals: int = 1
) -> dict[str, Any]:
    """Points with their intervals beside one another, in pixels; rows without a value are left out."""
    known = [(name, value) for name, value in values if value is not None]
    ends = [end * unit for _, value in known for end in (value.low, value.high)]
    lowest, highest = min([0.0, *ends]), max([0.0, *ends])
    room, span = _WIDTH - _LABEL - _WORDS, (highest - lowest) or 1.0

    def place(value: float) -> float:
        return round(_LABEL + (value * unit - lowest) / span * room, 1)

    rows = [
        {
            "label": _short(name), "y": _ROW * number + 14, "value": place(value.value), "low": place(value.low),
            "high": place(value.high), "words": words(value, unit, decimals),
        }
        for number, (name, value) in enumerate(known)
    ]  # fmt: skip
    height = _ROW * len(rows) + _FOOT
    return {"title": title, "width": _WIDTH, "height": height, "left": _LABEL, "right": _WIDTH - _WORDS + 12,
            "zero": place(0.0), "rows": rows}  # fmt: skip


def bars(minor: Mapping[str, float]) -> dict[str, Any]:
    """Amounts as parts of the largest, in pixels."""
    room, most = _WIDTH - _LABEL - _WORDS, max([1.0, *minor.values()])
    rows = [
        {
            "label": name,
            "y": _ROW * number + 14,
            "value": round(max(value, 0.0) / most * room, 1),
            "words": _money(value),
        }
        for number, (name, value) in enumerate(minor.items())
    ]
    return {"width": _WIDTH, "height": _ROW * len(rows) + 8, "left": _LABEL, "span": room,
            "right": _WIDTH - _WORDS + 12, "rows": rows}  # fmt: skip


def words(value: Interval | None, unit: float, decimals: int = 1) -> str:
    """`12.3 (10.1 to 14.0)`, `12.3` of what is exact, and a dash where the data supports no estimate."""
    if value is None:
        return "–"
    point, low, high = (f"{part * unit:,.{decimals}f}" for part in (value.value, value.low, value.high))
    return point if value.low == value.high else f"{point} ({low} to {high})"


def _interval(metrics: Mapping[str, float], name: str) -> Interval:
    return Interval(value=metrics[name], low=metrics[f"{name}_low"], high=metrics[f"{name}_high"])


def _exact(value: float) -> Interval:
    return Interval(value=value, low=value, high=value)


def _short(name: str) -> str:
    return name if len(name) <= _LETTERS else f"{name[: _LETTERS - 1]}…"


def _money(minor: float) -> str:
    return f"{minor / 100:,.2f}"


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("mktgen.strategy"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip


def _page(template: str, **values: Any) -> str:
    return _templates().get_template(template).render(money=_money, words=words, **values)
