"""A person's answer to a day's strategy: whether one may be asked for, and how it is kept."""

from __future__ import annotations

from datetime import date
from typing import Final

from mktgen.documents import Approval, PublishedStrategy
from mktgen.errors import NotAllowed
from mktgen.execution import audit
from mktgen.execution.dispatch import check_allowed
from mktgen.execution.ledger import Ledger
from mktgen.steps import auditing, released, tracked_strategy
from mktgen.steps.released import strategy_run
from mktgen.steps.runner import Platform, StepResult
from mktgen.steps.sending import newest_published, superseded, taken_by_another
from mktgen.store import Manifest, Provenance

NO_REASON: Final = "no reason given"


def refusal(platform: Platform, day: date) -> str | None:
    """Why a day's strategy may not even be put before an approver; None: it may."""
    published = platform.store.current("published", day)
    newest = newest_published(platform)
    if published is None or newest is None:
        return f"no strategy of {day} is published"
    document = platform.store.read_document(published, PublishedStrategy)
    answered = platform.store.current("approval", day)
    if answered is not None and platform.store.read_document(answered, Approval).strategy_run == strategy_run(document):
        return f"this strategy of {day} was answered before: nobody is asked twice, nothing is sent twice"
    wished = Approval(partition=day, approved=True, responder="", strategy_run=strategy_run(document))
    try:
        check_allowed(wished, document, newest, platform.settings.execution.live_from, day)
    except NotAllowed as error:
        return str(error)
    taken = taken_by_another(Ledger(platform.objects).begun(day), strategy_run(document), day)
    return taken or superseded(platform, document)


def keep_answer(
    platform: Platform, day: date, approved: bool, responder: str, note: str, shown: str = ""
) -> StepResult:
    """Store an answer under the strategy it answers, and tell it in the audit trail; a later one changes nothing.

    Raises NotAllowed where something else was shown, another strategy of the day was begun, or, of an approval, where the
    strategy, its decisions or messages are not what was published.
    """
    with auditing.refusals_told(platform, day, responder):
        manifest, kept = _answer(platform, day, approved, responder, note, shown)
    platform.store.point(manifest)  # an attempt may have ended between the answer and its pointer
    first = platform.store.read_document(manifest, Approval)
    entry = auditing.answered(platform, manifest, first)
    told = tracked_strategy.log_answer(platform, first, entry)
    said = "approved" if first.approved else "rejected"
    return StepResult(
        step="record_approval", partition=day, run_id=manifest.run, reused=kept,
        artefacts={"approval": platform.objects.uri(manifest.folder)}, rows={"approval": 1},
        digests={"approval": manifest.digest}, seconds=0.0,
        notes=[f"{said} by {first.responder}{f': {first.note}' if first.note else ''}", *told],
    )  # fmt: skip


def _answer(
    platform: Platform, day: date, approved: bool, responder: str, note: str, shown: str
) -> tuple[Manifest, bool]:
    """The manifest of the answer that holds, and whether it was there before."""
    published = platform.store.need("published", day)
    if shown and shown != published.run:
        raise NotAllowed(
            f"the strategy of {day} was published anew (run {published.run}) after run {shown} was shown for approval. "
            "Nothing is sent; answer the approval of the newer run."
        )
    release = released.release_of(platform, published)
    taken = taken_by_another(Ledger(platform.objects).begun(day), release.run, day)
    if approved and taken is not None:
        raise NotAllowed(taken)
    identity = released.answer_run(day, release.run)
    kept = platform.store.manifest_of_run("approval", day, identity)
    if kept is not None:
        return kept, True
    if approved:
        auditing.require_as_published(platform, release)
        released.verify_files(platform, release)
    answer = Approval(
        partition=day, approved=approved, responder=responder, strategy_run=release.run,
        note=" ".join(note.split()) or ("" if approved else NO_REASON), newest_published=newest_published(platform),
        digests=release.digests if approved else release.shown,
        audit_head=audit.head(audit.read(platform.objects, day)),
    )  # fmt: skip
    source = Provenance("record_approval", identity, "", "", 0, (published.as_parent(),))
    return platform.store.write_document("approval", day, answer, source), False
