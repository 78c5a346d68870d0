"""Past decisions as trials. Only a day that was one experiment, and was carried out as drawn, teaches anything."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final

import polars as pl

from mktgen.contracts import OFFERS, TRIALS
from mktgen.documents import Approval, ContactProof
from mktgen.feedback.trials import matured_trials
from mktgen.steps.dispatched import approvals, decisions_in_force, dispatched_decisions, dispatches
from mktgen.steps.runner import Outcome, Platform, Read, Run
from mktgen.steps.training import campaign_reads
from mktgen.store import Manifest

# Refusals that say how the dispatch went and nothing of the customer: they befall contacts alone, not both sides of a draw.
_OF_THE_DISPATCH: Final = frozenset({"too_late", "superseded", "overtaken", "other_campaign"})


def trial_reads(day: date, platform: Platform) -> list[Read]:
    decided = day - timedelta(days=platform.settings.response.matured_after_days)
    sends = dispatches(platform, decided)
    within = [decided + timedelta(days=n) for n in range(1, platform.settings.response.window_days)]
    after = decisions_in_force(platform, [later for later in within if platform.store.current("sends", later)])
    proofs = (platform.store.manifest_of_run("contact_proof", decided, found.run) for found in sends[-1:])
    offers = (read for read in campaign_reads(day, platform) if read.artefact == "offers")
    return [
        Read("outcomes", (day,), True, "collect_outcomes"),
        Read("decisions", (), manifests=(*dispatched_decisions(platform, sends), *after)),
        Read("sends", (), manifests=sends[-1:]),
        Read("contact_proof", (), manifests=tuple(proof for proof in proofs if proof is not None)),
        Read("approval", (), manifests=approvals(platform, decided)),
        *offers,
    ]


def collect_trials(run: Run) -> Outcome:
    """The decisions that mature today: what was drawn, and what came of it; or why that day teaches nothing."""
    decided = run.day - timedelta(days=run.settings.response.matured_after_days)
    ours = [found for found in run.inputs["decisions"] if found.partition == decided.isoformat()]
    hindrance = _not_one_experiment(run, decided, ours) or _not_carried_out(run, decided) or _overlapping(run, ours)
    if hindrance is not None:
        return Outcome(tables={"trials": TRIALS.empty()}, notes=[f"no trials: {hindrance}"])
    offers = run.table("offers").unique("offer_id", keep="last", maintain_order=True)
    found = matured_trials(
        run.platform.read(ours[0]), run.table("sends"), run.table("outcomes"), OFFERS.check(offers), decided,
        decided + timedelta(days=run.settings.response.window_days), run.day, run.settings.strategy,
    )  # fmt: skip
    return Outcome(tables={"trials": found}, notes=[f"{found.height} trials of {decided} matured"])


def _not_one_experiment(run: Run, decided: date, ours: list[Manifest]) -> str | None:
    """Several sets of decisions reached customers, or may have: which draw reached whom is then not known of everybody."""
    if not run.has("sends"):
        return f"nothing was dispatched for {decided}"
    if not ours:
        return f"the decisions of {decided} that were dispatched were written under another contract"
    store = run.platform.store
    said = [store.read_document(found, Approval) for found in run.inputs["approval"]]
    if len(ours) > 1 or len({answer.strategy_run for answer in said if answer.approved}) > 1:
        return f"{decided} was decided anew after a strategy had been approved: which draw reached whom is not one experiment"
    reached = run.table("sends").filter(pl.col("status") != "refused")
    others = reached.join(run.platform.read(ours[0]), on="decision_id", how="anti").height
    return (
        f"{others} contacts of {decided} belong to decisions that were made anew before they were sent"
        if others
        else None
    )


def _not_carried_out(run: Run, decided: date) -> str | None:
    """Contacts that were drawn and not made for reasons that no customer has part in: neither contacts nor controls."""
    sends = run.table("sends")
    if sends.height and (sends["status"] == "refused").all():
        return f"none of the {sends.height} contacts drawn for {decided} was made"
    proofs = [run.platform.store.read_document(found, ContactProof) for found in run.inputs["contact_proof"]]
    rules = {contact.rule for proof in proofs for contact in proof.contacts if contact.status == "refused"}
    named = sorted(rules & _OF_THE_DISPATCH)
    return f"contacts drawn for {decided} were refused by {', '.join(named)}" if named else None


def _overlapping(run: Run, ours: list[Manifest]) -> str | None:
    """Customers drawn again inside the window: the second contact's gain and cost would count for the first draw."""
    later = [found for found in run.inputs["decisions"] if found.partition != ours[0].partition]
    choice = pl.col("action_set").list.len() > 1
    first = run.platform.read(ours[0]).filter(choice).select("customer_id")
    again = [run.platform.read(found).filter(choice).select("customer_id") for found in later]
    twice = first.join(pl.concat(again), on="customer_id", how="semi").height if again else 0
    return f"{twice} customers were drawn again before what followed was over" if twice else None
