"""A decision's explanation as text for a terminal of 80 columns."""

from __future__ import annotations

import textwrap
from typing import Final

from mktgen.documents.why import WhyDecision, WhyOption
from mktgen.strategy.why import money

WIDTH: Final = 80
_ACTION: Final = 20


def render(why: WhyDecision) -> str:
    """Lines of at most WIDTH characters, ending with a newline."""
    lines = [
        f"Decision {why.decision_id}",
        f"  day {why.partition}, customer {why.customer_id}, arm {why.arm}",
        *_wrapped(f"source {why.source}: {why.notice}", "  "),
        "",
        "What was possible (per customer, in currency units)",
        f"  {'action':<{_ACTION}}{'worth':>9}{'95% interval':>21}{'cost':>8}{'at price':>9}{'chance':>8}",
        *(_option(option) for option in why.options),
        *_wrapped("worth: " + "; ".join(sorted({o.value_rests_on for o in why.options if o.campaign_id})), "  "),
        "",
        f"What decided: {why.decided_by}",
        *(line for sentence in why.because for line in _wrapped(sentence, "  ")),
        *_wrapped(why.draw, "  "),
        "",
        "The day",
        *(line for note in why.day for line in _wrapped(note, "  ")),
        "",
        "Past events that mattered",
        *(line for event in why.events or ["none are stored for this decision"] for line in _wrapped(event, "  ")),
        "",
        f"What became of it: {why.sending.status}",
        *_wrapped(_sending(why), "  "),
        "",
        "Versions",
        *(line for name, value in why.versions.items() for line in _wrapped(f"{name}: {value}", "  ")),
        *(line for note in why.notes for line in _wrapped(f"note: {note}", "  ")),
    ]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _option(option: WhyOption) -> str:
    name = option.action if len(option.action) < _ACTION else option.action[: _ACTION - 2] + "~"
    interval = "" if option.low_minor is None else f"{money(option.low_minor)} to {money(option.high_minor or 0.0)}"
    chance = "left out" if option.propensity is None else f"{option.propensity:.2%}"
    row = f"  {name:<{_ACTION}}{money(option.value_minor):>9}{interval:>21}{money(option.cost_minor):>8}"
    return f"{row}{money(option.net_minor):>9}{chance:>9}{' *' if option.drawn else ''}"


def _sending(why: WhyDecision) -> str:
    parts = [why.sending.detail]
    if why.sending.rule:
        parts.append(f"rule {why.sending.rule}")
    if why.sending.when:
        parts.append(f"to reach the customer at {why.sending.when}")
    return "; ".join(part for part in parts if part)


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(" ".join(text.split()), WIDTH, initial_indent=indent, subsequent_indent=indent + "  ")
