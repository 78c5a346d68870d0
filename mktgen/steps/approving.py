"""A person's answer to a day's strategy: whether one may be asked for, and how it is kept."""

from __future__ import annotations

from datetime import date

from mktgen.documents import Approval, PublishedStrategy
from mktgen.errors import NotAllowed
from mktgen.execution.dispatch import check_allowed
from mktgen.execution.ledger import Ledger
from mktgen.steps.runner import Platform, StepResult
from mktgen.steps.sending import answer_run, newest_published, strategy_run, superseded, taken_by_another
from mktgen.store import Provenance


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
    """Store an answer under the strategy it answers; a later one finds the first and changes nothing."""
    published = platform.store.need("published", day)
    if shown and shown != published.run:
        raise NotAllowed(
            f"the strategy of {day} was published anew (run {published.run}) after run {shown} was shown for approval. "
            "Nothing is sent; answer the approval of the newer run."
        )
    run = strategy_run(platform.store.read_document(published, PublishedStrategy))
    taken = taken_by_another(Ledger(platform.objects).begun(day), run, day)
    if approved and taken is not None:
        raise NotAllowed(taken)
    answer = Approval(
        partition=day, approved=approved, responder=responder, strategy_run=run, note=note,
        newest_published=newest_published(platform),
    )  # fmt: skip
    identity = answer_run(day, run)
    source = Provenance("record_approval", identity, "", "", 0, (published.as_parent(),))
    kept = platform.store.manifest_of_run("approval", day, identity)
    manifest = kept or platform.store.write_document("approval", day, answer, source)
    platform.store.point(manifest)  # an attempt may have ended between the answer and its pointer
    first = platform.store.read_document(manifest, Approval)
    said = "approved" if first.approved else "rejected"
    return StepResult(
        step="record_approval", partition=day, run_id=identity, reused=kept is not None,
        artefacts={"approval": platform.objects.uri(manifest.folder)}, rows={"approval": 1},
        digests={"approval": manifest.digest}, seconds=0.0, notes=[f"{said} by {first.responder}"],
    )  # fmt: skip
