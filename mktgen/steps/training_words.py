"""The small model's adapter: learned on a training day from the bank and from preferences, and whether it may write."""

from __future__ import annotations

import json
from datetime import date
from typing import Final

from mktgen.contracts import WORDING_PAIRS
from mktgen.copywriting import _weights
from mktgen.copywriting.judging import Answers as Judged
from mktgen.copywriting.judging import answers, drafts, judged_cells, verified_difference
from mktgen.copywriting.lessons import cells, kept_back, kept_wordings, lessons, pairs
from mktgen.copywriting.preference import Preference
from mktgen.copywriting.preference_use import expected_gain
from mktgen.copywriting.serving import ADAPTER
from mktgen.documents import CopyJudgement, CopyPromotion, CopywriterTraining, Gate, Interval
from mktgen.settings.words import CopySettings
from mktgen.steps.drafting import NOBODY, counted, embedded, phraser, prompts_digest
from mktgen.steps.learning_words import JUDGE
from mktgen.steps.runner import Outcome, Platform, Read, Run
from mktgen.steps.training import checkpoint_prefix
from mktgen.store import sha256

LANGUAGE: Final = "en"
LESSONS: Final = "lessons.jsonl"  # what an adapter learned from the bank
RULE: Final = (
    "An adapter serves where its answers are well-formed and verified often enough on cells that were kept from it; where one "
    "serves, only if its verified share has not fallen (neither shown to, nor by more than copywriting.max_verified_loss as "
    "counted) and it is shown to be better: by the click rate expected on held-out segments, or, where no clicks were seen, by "
    "its verified share. Shown: by a 95% interval."
)


def newest_before(artefact: str, day: date, platform: Platform) -> tuple[date, ...]:
    """The last day before this one on which it was written; empty: never."""
    earlier = reversed([found for found in platform.store.partitions(artefact) if found < day])
    return next(((found,) for found in earlier if platform.store.current(artefact, found)), ())


# -- learning -------------------------------------------------------------------------------------------------------------
def train_reads(training: date, platform: Platform) -> list[Read]:
    if platform.settings.copywriting.engine != "embedded":
        return []
    return [Read("wording_pairs", newest_before("wording_pairs", training, platform), required=False)]


def train_copywriter(run: Run) -> Outcome:
    """The adapter of a training day, from scratch: the bank's wordings, then every preference known by then."""
    settings = run.settings.copywriting
    if settings.engine != "embedded":
        reason = NOBODY if settings.engine == "template" else "the server's model is used as it is: nothing is trained"
        return Outcome(
            documents={"copywriter_training": _untrained(run, reason)}, files={"copywriter": {}}, notes=[reason]
        )
    from mktgen.copywriting.tuning import Tuner  # late: torch and transformers take seconds to import
    from mktgen.steps.train_worker import S3Checkpoints

    known = run.table("wording_pairs") if run.has("wording_pairs") else WORDING_PAIRS.empty()
    learned, judged = pairs(known, LANGUAGE)
    tuning, seed = settings.tuning, run.settings.seed
    told = lessons(LANGUAGE, tuning.steps, tuning.prompts, tuning.answers, seed)
    tuner = Tuner(tuning, seed, tuning.threads)
    checkpoints = S3Checkpoints(run.platform.objects, f"{checkpoint_prefix(run.run_id)}copywriter", writes=True)
    progress = tuner.learn(told, learned, checkpoints, lambda line: print(f"[copywriter] {line}", flush=True))
    figures = {"kept_wordings_nats": tuner.likelihood(kept_wordings(LANGUAGE))}
    if judged:
        margins = tuner.margins(judged)
        figures["kept_pairs_preferred"] = sum(margin > 0 for margin in margins) / len(margins)
    adapter, body = tuner.gguf(), "".join(f"{json.dumps(vars(one))}\n" for batch in told for one in batch).encode()
    taught = [cell.short for cell in cells(LANGUAGE) if not kept_back(cell.key)]
    report = CopywriterTraining(
        training_partition=run.day, reason="as the settings say", model=_weights.BASE, adapter_sha256=sha256(adapter),
        prompts_sha256=prompts_digest(taught), lessons_sha256=sha256(body),
        wordings=sum(len(one.answers) for batch in told for one in batch),
        pairs=len(learned), parameters={**tuning.model_dump(), "pairs_judged": len(judged)},
        curves={"likelihood": progress.likelihood, "preference": progress.preference}, figures=figures,
    )  # fmt: skip
    note = (
        f"{report.wordings} wordings and {report.pairs} pairs; loss {progress.likelihood[0]:.2f} to "
        f"{progress.likelihood[-1]:.2f} nats a token, {figures['kept_wordings_nats']:.2f} of wordings kept back"
    )
    return Outcome(
        documents={"copywriter_training": report}, files={"copywriter": {ADAPTER: adapter, LESSONS: body}}, notes=[note]
    )


def _untrained(run: Run, reason: str) -> CopywriterTraining:
    return CopywriterTraining(
        training_partition=run.day, reason=reason, model="", adapter_sha256="", prompts_sha256="", lessons_sha256="",
        wordings=0, pairs=0, parameters={}, curves={}, figures={},
    )  # fmt: skip


# -- who writes -----------------------------------------------------------------------------------------------------------
def promote_reads(training: date, platform: Platform) -> list[Read]:
    own = Read("copywriter_training", (training,), True, "train_copywriter")
    if platform.settings.copywriting.engine != "embedded":
        return [own]
    before = newest_before("copy_promotion", training, platform)
    found = platform.store.currents("copy_promotion", before)
    serving = platform.store.read_document(found[0], CopyPromotion).serving if found else None
    return [
        own,
        Read("copywriter", (*((serving,) if serving else ()), training), True, "train_copywriter"),
        Read("copy_promotion", before, required=False),
        Read("wording_model", newest_before("wording_model", training, platform), required=False),
    ]


def promote_copywriter(run: Run) -> Outcome:
    """Who writes from this training day on: the new adapter only where it is shown to be better than the one that serves."""
    settings = run.settings.copywriting
    if settings.engine != "embedded":
        reason = run.document("copywriter_training", CopywriterTraining).reason
        return _decided(run, CopyPromotion(
            training_partition=run.day, serving=None, previous=None, role="none", reason=reason, rule=RULE, gates=[],
            challenger=None, champion=None, verified=None, gain=None,
        ))  # fmt: skip
    before = run.document("copy_promotion", CopyPromotion) if run.has("copy_promotion") else None
    serving = before.serving if before else None
    said, challenger = _judge(run, run.day)
    gates = _gates(challenger, settings)
    failed = [gate.detail for gate in gates if not gate.passed]
    verified = gain = champion = None
    if serving is not None:
        theirs, champion = _judge(run, serving)
        verified, gain = verified_difference(said, theirs), _gain(run, said, theirs)
    wins, reason = _verdict(failed, verified, gain, settings)
    return _decided(run, CopyPromotion(
        training_partition=run.day,
        serving=run.day if wins else serving,
        previous=(serving if wins else before.previous) if before else None,
        role="champion" if wins else "challenger",
        reason=reason, rule=RULE, gates=gates, challenger=challenger, champion=champion, verified=verified, gain=gain,
    ))  # fmt: skip


def _decided(run: Run, promotion: CopyPromotion) -> Outcome:
    judged = promotion.challenger
    counts = [] if judged is None else [
        f"{judged.tally.verified} of {judged.tally.asked} answers verified on {len(judged_cells(LANGUAGE))} cells kept back"
    ]  # fmt: skip
    return Outcome(documents={"copy_promotion": promotion}, notes=[f"copywriter: {promotion.reason}", *counts])


def _judge(run: Run, learned_on: date) -> tuple[Judged, CopyJudgement]:
    manifest = next(found for found in run.inputs["copywriter"] if found.partition == learned_on.isoformat())
    adapter = run.platform.store.read_files(manifest)[ADAPTER]
    with embedded(run, adapter) as model:
        asking = phraser(run, model)
        said = answers(asking, LANGUAGE, run.settings.copywriting.judged_answers)
    tally = counted(asking.tally, drafts(said))
    return said, CopyJudgement(learned_on=learned_on, adapter_sha256=sha256(adapter), tally=tally)


def _gates(judged: CopyJudgement, settings: CopySettings) -> list[Gate]:
    tally = judged.tally
    formed = (tally.asked - tally.malformed - tally.troubled) / tally.asked
    return [
        Gate(
            name=name, passed=value >= threshold, value=value, threshold=threshold,
            detail=f"{value:.0%} of {tally.asked} answers are {said}, {threshold:.0%} are needed",
        )
        for name, said, value, threshold in (
            ("well_formed", "well-formed", formed, settings.min_well_formed),
            ("verified", "let pass by the verifier", tally.verified / tally.asked, settings.min_verified),
        )
    ]  # fmt: skip


def _gain(run: Run, challenger: Judged, champion: Judged) -> Interval | None:
    files = run.files("wording_model") if run.has("wording_model") else {}
    if JUDGE not in files:
        return None
    return expected_gain(Preference.from_bytes(files[JUDGE]), drafts(challenger), drafts(champion), run.settings.seed)


def _verdict(
    failed: list[str], verified: Interval | None, gain: Interval | None, settings: CopySettings
) -> tuple[bool, str]:
    if failed:
        return False, f"the new adapter may not write: {'; '.join(failed)}"
    if verified is None:
        return True, "the first adapter that passed its checks"
    told = f"{verified.value:+.1%} [{verified.low:+.1%}, {verified.high:+.1%}] verified answers"
    if verified.high < 0 or verified.value < -settings.max_verified_loss:
        return False, f"{told} than the adapter that serves: its fallback rate has risen"
    better, name = (verified, "verified share") if gain is None else (gain, "expected click rate on held-out segments")
    told += "" if gain is None else f", {gain.value:+.2%} [{gain.low:+.2%}, {gain.high:+.2%}] expected clicks"
    verdict = "shown to be better" if better.low > 0 else "not shown to be better"
    return better.low > 0, f"the new adapter is {verdict} than the one that serves by its {name}: {told}"
