"""An independent check of one dispatch: was everybody contacted once, as decided and approved, and by the rules?

It reads what is stored (decisions, approval, ledger, contact records, outbox) and shares no code with dispatch.py or rules.py;
pyproject.toml holds it to that. What the proof document says is compared with what is found, never believed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from mktgen.execution.prover_accounts import ACCOUNTS
from mktgen.execution.prover_evidence import Evidence
from mktgen.execution.prover_rules import RULES

EXAMPLES: Final = 5


@dataclass(frozen=True)
class Check:
    """One rule: how many things were checked, and what was wrong, in words."""

    rule: str
    checked: int
    violations: tuple[str, ...]


def prove(evidence: Evidence) -> list[Check]:
    """Every check, in a fixed order. The dispatch is proven if none has a violation."""
    proof, found = evidence.proof, evidence.tables
    sizes = {
        "approval": 1, "inputs": len(proof.inputs), "ledger": len(evidence.ledger), "records": proof.records,
        "decisions": found["decisions"].height if "decisions" in found else 0, "outbox": len(evidence.outbox),
        "counts": len(proof.counts),
    }  # fmt: skip
    pieces = Check("pieces", len(evidence.digests) + len(evidence.missing), evidence.missing)
    accounts = [_check(name, sizes[name], partial(account, evidence)) for name, account in ACCOUNTS.items()]
    contacts = len(proof.contacts)
    rules = [_check(name, contacts, lambda rule=rule: rule(evidence.scene)) for name, rule in RULES.items()]  # type: ignore[misc]
    return [pieces, *accounts, *rules]


def _check(name: str, checked: int, violations: Callable[[], Iterator[str]]) -> Check:
    """What can't be read is a violation like any other: nothing is taken for proven because it could not be checked."""
    try:
        return Check(name, checked, tuple(violations()))
    except (ValueError, KeyError, TypeError) as error:
        return Check(name, checked, (f"can't be checked: {error}",))


def render(evidence: Evidence, checks: list[Check]) -> str:
    """What `python -m mktgen prove` prints."""
    proof, counts = evidence.proof, evidence.proof.counts
    refused = ", ".join(f"{rule} {count}" for rule, count in proof.refused.items())
    lines = [
        f"Dispatch of {proof.partition} by {proof.channel}, planned for {proof.planned_send_at}",
        f"  decisions {counts.get('decisions')} = contacts {counts.get('contacts')} + no contact {counts.get('no_contact')} "
        f"+ held out {counts.get('held_out')}",
        f"  contacts {counts.get('contacts')} = sent {counts.get('sent')} + already sent {counts.get('already_sent')} "
        f"+ unconfirmed {counts.get('unconfirmed')} + refused {counts.get('refused')}"
        + (f" ({refused})" if refused else ""),
        "",
        f"  {'rule':<18} {'checked':>8} {'violations':>11}",
    ]
    for check in checks:
        lines.append(f"  {check.rule:<18} {check.checked:>8} {len(check.violations):>11}")
        lines += [f"      {words}" for words in check.violations[:EXAMPLES]]
        if len(check.violations) > EXAMPLES:
            lines.append(f"      and {len(check.violations) - EXAMPLES} more")
    wrong = sum(len(check.violations) for check in checks)
    return "\n".join([*lines, "", f"  DOES NOT HOLD: {wrong} violations" if wrong else "  holds"])
