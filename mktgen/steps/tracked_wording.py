"""What the daily wording model leaves in MLflow: a run and a version per day. Idempotent."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

from mktgen import config
from mktgen.copywriting.preference import Preference
from mktgen.copywriting.preference_serving import MODEL
from mktgen.documents import ModelEntry, WordingReport
from mktgen.model_run import Input, ModelRun, Roles
from mktgen.steps.runner import Run
from mktgen.steps.tracked import NOT_TRACKED
from mktgen.store import Manifest, sha256

WORDING: Final = "wording"
RULE: Final = (
    "Each day's version is used on that day: it holds all randomised sends of words.memory_days, the day before's too."
)
_CAVEAT: Final = (
    "What customers click, not what they buy. Learned from messages whose wording was drawn at random only; a trait's effect "
    "is claimed where a 95% band over all traits at once excludes 0."
)


def log_wording(run: Run, written: dict[str, Manifest]) -> list[str]:
    """The day's version where one was learned, which is the one that is used."""
    uri = run.platform.environment.mlflow_uri
    if not uri:
        return [NOT_TRACKED]
    report = run.platform.store.read_document(written["wording_report"], WordingReport)
    if not report.learned:
        return ["MLflow: nothing was learned of words, nothing to log"]
    from mktgen import tracking  # late: mlflow takes seconds to import

    server = tracking.connect(uri)
    manifest = written["wording_model"]
    content = run.platform.store.read_files(manifest, "")[MODEL]
    with tempfile.TemporaryDirectory(prefix="mktgen-log-") as place:
        (Path(place) / MODEL).write_bytes(content)
        server.log_model_run(_model_run(run, report, manifest, Path(place)))
    move = server.hand_on(Roles(WORDING, WORDING, run.day, {"champion": run.day}, report.reason, RULE))
    return [f"MLflow {move.name}: {'moved' if move.moved else 'unchanged'} {move.aliases}"]


def _model_run(run: Run, report: WordingReport, manifest: Manifest, directory: Path) -> ModelRun:
    assert report.click_rate is not None
    metrics = {
        "sends": float(report.sends), "clicks": float(report.clicks), "click_rate": report.click_rate.value,
        "wordings": float(len(report.wordings)), "pairs": float(report.pairs),
    }  # fmt: skip
    for line in report.traits:
        effect = line.log_odds
        metrics |= {
            f"trait.{line.trait}{end}": v
            for end, v in (("", effect.value), ("_low", effect.low), ("_high", effect.high))
        }
    days = [found.partition for found in run.inputs["wording_trials"]]
    entry = ModelEntry(
        kind=WORDING, directory="", metrics=metrics,
        parameters={**run.settings.words.model_dump(), "held_out_segments": " ".join(report.held_out_segments)},
    )  # fmt: skip
    return ModelRun(
        entry=entry,
        tasks=frozenset({WORDING}),
        description=(Preference.__doc__ or "").strip(),
        directory=directory,
        artefact_run=manifest.run,
        training_partition=run.day,
        evaluation_from=run.day,
        evaluation_to=run.day,
        inputs=[
            Input(
                name=f"wording_trials {days[0]} to {days[-1]}",
                uri=f"{run.platform.objects.uri('wording_trials')}/dt={days[0]}..{days[-1]}",
                sha256=sha256("".join(found.digest for found in run.inputs["wording_trials"]).encode()),
                context="training",
                rows=report.sends,
            )
        ],
        git_commit=config.git_commit() or None,
        notice=run.platform.source.notice,
        loader="mktgen.copywriting.preference_serving",
        caveat=_CAVEAT,
        judged="the sends that it was learned from; drafts are judged on held-out segments",
    )
