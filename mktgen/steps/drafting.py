"""Wordings that a language model proposes: asked for within a budget, verified, kept by content, beside the template bank."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Final

import polars as pl

from mktgen.contracts import WORDINGS
from mktgen.copywriting import _weights
from mktgen.copywriting.lessons import cells, verbatim_share
from mktgen.copywriting.llm import Embedded, LanguageModel, OpenAICompatible
from mktgen.copywriting.phrasing import Budget, Phraser, Tally
from mktgen.copywriting.request import Request
from mktgen.copywriting.serving import ADAPTER
from mktgen.copywriting.wording import Wording
from mktgen.documents import CopyPromotion, CopyReport, CopyTally
from mktgen.errors import PermanentError
from mktgen.execution.channels import channel_class
from mktgen.steps.runner import Outcome, Platform, Read, Run
from mktgen.steps.training import campaign_reads, training_day
from mktgen.store import ObjectStore, sha256

NOBODY: Final = "copywriting.engine is template: no model is asked, the template bank writes"


class Answers(MutableMapping[str, str]):
    """What came of each question, on S3, never changed. Under the run's derivation all of it, so that a rerun comes to the
    same; by content what a model really said, so that another day asks for nothing that was answered before."""

    def __init__(self, objects: ObjectStore, run_id: str) -> None:
        self._objects, self._own, self._shared = objects, f"cache/copy/run={run_id}", "cache/copy/answers"

    def __getitem__(self, key: str) -> str:
        own = self._objects.get(f"{self._own}/{key}.json")
        if own is not None:
            return own.decode()
        shared = self._objects.get(f"{self._shared}/{key}.json")
        if shared is None:
            raise KeyError(key)
        self._objects.put_once(f"{self._own}/{key}.json", shared)
        return self[key]

    def __setitem__(self, key: str, value: str) -> None:
        if json.loads(value)["text"] is not None:
            self._objects.put_once(f"{self._shared}/{key}.json", value.encode())
        self._objects.put_once(f"{self._own}/{key}.json", value.encode())

    def __delitem__(self, key: str) -> None:
        raise TypeError("answers are kept: delete cache/copy/ on S3 by hand where they must go")

    def __iter__(self) -> Iterator[str]:
        return (Path(key).stem for key in self._objects.keys(f"{self._own}/"))

    def __len__(self) -> int:
        return sum(1 for _ in self)


# -- the engine ---------------------------------------------------------------------------------------------------------
@contextmanager
def embedded(run: Run, adapter: bytes) -> Iterator[LanguageModel]:
    """The small model with an adapter (GGUF)."""
    if run.scratch is None:
        raise RuntimeError("an adapter is unpacked by a step's body, while it runs")
    digest = sha256(adapter)
    path = run.scratch / f"{digest[:16]}.gguf"
    path.write_bytes(adapter)
    model = Embedded(path, digest[:16])
    try:
        yield model
    finally:
        model.close()


@contextmanager
def served(run: Run) -> Iterator[LanguageModel]:
    """The model behind the server that the settings name. Raises PermanentError where they name none."""
    settings = run.settings.copywriting
    if not settings.model:
        raise PermanentError("copywriting.engine is server: say copywriting.base_url and copywriting.model")
    model = OpenAICompatible(settings.base_url, settings.model, run.platform.environment.copy_api_key)
    try:
        yield model
    finally:
        model.close()


def phraser(run: Run, model: LanguageModel) -> Phraser:
    """Asks the model within the budget of the settings; answers are kept on S3."""
    settings = run.settings.copywriting
    budget = Budget(settings.tokens, settings.seconds, settings.answer_tokens, settings.answer_seconds, settings.tries)
    return Phraser(model, budget, run.settings.seed, Answers(run.platform.objects, run.run_id), time.monotonic)


def counted(tally: Tally, drafts: Sequence[Wording]) -> CopyTally:
    """What goes into a document: nothing that another run would take another time for."""
    facts = {name: getattr(tally, name) for name in CopyTally.model_fields if hasattr(tally, name)}
    facts |= {"troubles": dict(sorted(tally.troubles.items())), "rules": dict(sorted(tally.rules.items()))}
    return CopyTally(**facts, verbatim_share=verbatim_share(drafts))


def prompts_digest(prompts: Iterable[str]) -> str:
    return sha256("\x1f".join(prompts).encode())


# -- the step -----------------------------------------------------------------------------------------------------------
def draft_reads(day: date, platform: Platform) -> list[Read]:
    training = training_day(day, platform)
    promoted = platform.store.current("copy_promotion", training)
    serving = platform.store.read_document(promoted, CopyPromotion).serving if promoted else None
    return [
        Read("copy_promotion", (training,), True, "promote_copywriter"),
        Read("copywriter", (serving,) if serving else (), True, "train_copywriter"),
        *(read for read in campaign_reads(day, platform) if read.artefact == "offers"),
    ]


def write_copy(run: Run) -> Outcome:
    """Verified drafts for everything that the day's messages may ask for; none where nobody is asked."""
    settings = run.settings.copywriting
    promotion = run.document("copy_promotion", CopyPromotion)
    if settings.engine == "template":
        return _drafted(run, NOBODY, "", None, {}, [], [], Tally())
    if settings.engine == "server":
        with served(run) as model:
            return _ask(run, model, "as the settings say", None, run.settings.strategy.languages)
    if promotion.serving is None:
        return _drafted(run, f"no adapter serves: {promotion.reason}", "", None, {}, [], [], Tally())
    with embedded(run, run.files("copywriter")[ADAPTER]) as model:
        return _ask(run, model, promotion.reason, promotion.serving, _weights.LANGUAGES)


def _ask(run: Run, model: LanguageModel, reason: str, learned_on: date | None, languages: Sequence[str]) -> Outcome:
    asking, wanted = phraser(run, model), wanted_cells(run)
    asked = [cell for cell in wanted if cell.language in languages]
    drafts = [draft for cell in asked for draft in asking.drafts(cell, run.settings.copywriting.drafts)]
    who: dict[str, str] = {
        cell.language: model.name if cell in asked else f"template bank: {model.name} does not write it"
        for cell in wanted
    }
    prompts = [model.asks(cell) for cell in asked]
    made = _drafted(run, reason, model.name, learned_on, who, prompts, drafts, asking.tally)
    seconds = asking.tally.seconds
    each = f", {seconds / max(asking.tally.asked - asking.tally.cached, 1):.2f} s each" if seconds else ""
    made.notes.append(f"{asking.tally.asked} answers, {asking.tally.cached} of them kept from before{each}")
    return made


def wanted_cells(run: Run) -> list[Request]:
    """What messages of the day may be asked for: the channel's form in the strategy's languages; with a discount where the
    face value of an offer is known, and without one where that of an offer is not."""
    form = channel_class(run.settings.strategy.channel).form
    known = run.table("offers")["face_value_minor"].is_not_null()
    told = {bool(value) for value in known.unique()} or {False}
    every = [cell for language in run.settings.strategy.languages for cell in cells(language)]
    return [cell for cell in every if cell.form == form and ("discount" in cell.slots) in told]


def _drafted(
    run: Run,
    reason: str,
    model: str,
    learned_on: date | None,
    languages: Mapping[str, str],
    prompts: list[str],
    drafts: list[Wording],
    tally: Tally,
) -> Outcome:
    unlike = {draft.id: draft for draft in drafts}
    report = CopyReport(
        partition=run.day, engine=run.settings.copywriting.engine, reason=reason, model=model, learned_on=learned_on,
        prompts_sha256=prompts_digest(prompts) if prompts else "", languages=dict(languages), cells=len(prompts),
        tally=counted(tally, list(unlike.values())),
    )  # fmt: skip
    return Outcome(
        tables={"wordings": table_of(unlike.values())}, documents={"copy_report": report}, notes=[told(report)]
    )


def told(report: CopyReport) -> str:
    """Who wrote the day's words, and what the template bank had to give, for the notes of the strategy."""
    if not report.model:
        return f"words: by the template bank; {report.reason}"
    counts = report.tally
    early = f"; asking ended early: {counts.stopped}" if counts.stopped else ""
    return (
        f"words: {report.model} gave {counts.verified} of {counts.wanted} wordings wanted beside the template bank "
        f"(fallback {counts.fallback_share:.0%}), {counts.verbatim_share:.0%} of them the bank's own{early}"
    )


def table_of(drafts: Iterable[Wording]) -> pl.DataFrame:
    """contracts.WORDINGS, by wording_id."""
    rows = [
        {
            "wording_id": one.id, "form": one.form, "language": one.language, "tone": one.tone, "subject": one.subject,
            "body": one.body, "slots": " ".join(sorted(one.slots)), "origin": one.origin,
        }
        for one in drafts
    ]  # fmt: skip
    return WORDINGS.check(pl.DataFrame(rows, schema=WORDINGS.columns).sort("wording_id"))


def drafts_of(wordings: pl.DataFrame) -> list[Wording]:
    """The other way."""
    columns = ("form", "language", "tone", "subject", "body", "origin")
    return [Wording(**row) for row in wordings.select(columns).iter_rows(named=True)]
