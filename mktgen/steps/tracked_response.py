"""What the daily response model leaves in MLflow: a run and a version per day, and who serves. Idempotent."""

from __future__ import annotations

import tempfile
from datetime import date
from pathlib import Path
from typing import Final

from mktgen import config
from mktgen.documents import ModelEntry, ResponsePromotion, ResponseReport
from mktgen.model_run import Input, ModelRun, Roles
from mktgen.response.model import ResponseModel
from mktgen.steps.responding import MODEL
from mktgen.steps.runner import Run
from mktgen.steps.tracked import NOT_TRACKED
from mktgen.store import Manifest, sha256

RESPONSE: Final = "response"
_CAVEAT: Final = (
    "Incremental effects against no contact, learned from randomised decisions only. For customers like those that were "
    "tried; intervals are 95%."
)


def log_response(run: Run, written: dict[str, Manifest]) -> list[str]:
    """The day's version where one was learned, and the aliases as the day's promotion decided."""
    uri = run.platform.environment.mlflow_uri
    if not uri:
        return [NOT_TRACKED]
    from mktgen import tracking  # late: mlflow takes seconds to import

    server = tracking.connect(uri)
    report = run.document("response_report", ResponseReport)
    promotion = run.platform.store.read_document(written["response_promotion"], ResponsePromotion)
    files = run.files("response_model")
    if MODEL in files:
        with tempfile.TemporaryDirectory(prefix="mktgen-log-") as place:
            (Path(place) / MODEL).write_bytes(files[MODEL])
            server.log_model_run(_model_run(run, report, promotion, Path(place)))
    move = server.hand_on(_roles(run.day, promotion))
    return [f"MLflow {move.name}: {'moved' if move.moved else 'unchanged'} {move.aliases}"]


def _roles(day: date, promotion: ResponsePromotion) -> Roles:
    """Alias -> day of the version that has it."""
    wanted = {"champion": promotion.serving, "rollback": promotion.previous}
    if promotion.role in ("challenger", "shadow"):
        wanted[promotion.role] = day
    days = {alias: version for alias, version in wanted.items() if version is not None}
    return Roles(RESPONSE, RESPONSE, day, days, promotion.reason, promotion.rule)


def _model_run(run: Run, report: ResponseReport, promotion: ResponsePromotion, directory: Path) -> ModelRun:
    metrics = {name: float(value) for name, value in report.facts.items() if not isinstance(value, str)}
    against = report.against
    if against is not None and against.gain is not None:
        gain = against.gain
        metrics |= {
            "gain_over_champion": gain.value,
            "gain_over_champion_low": gain.low,
            "gain_over_champion_high": gain.high,
        }
    told: dict[str, float | int | str | bool] = {n: v for n, v in report.facts.items() if isinstance(v, str)}
    told |= {"alike": report.alike, "doubted_before": str(report.doubted_before or ""), "actions": len(report.actions)}
    first, last = (date.fromisoformat(str(report.facts[name])) for name in ("first_day", "last_day"))
    manifest = run.inputs["response_model"][-1]
    entry = ModelEntry(
        kind=RESPONSE, directory="", metrics={_plain(name): value for name, value in metrics.items()},
        parameters={_plain(name): value for name, value in told.items()}, gates=report.gates,
    )  # fmt: skip
    return ModelRun(
        entry=entry,
        tasks=frozenset({RESPONSE}),
        description=(ResponseModel.__doc__ or "").strip(),
        directory=directory,
        artefact_run=manifest.run,
        training_partition=run.day,
        evaluation_from=first,
        evaluation_to=last,
        inputs=[_trials(run, manifest)],
        git_commit=config.git_commit() or None,
        notice=run.platform.source.notice,
        loader="mktgen.response.serving",
        caveat=_CAVEAT,
        judged="trials of customers that were left out of the fit",
        tags={"mktgen.role": promotion.role, "mktgen.role_reason": promotion.reason},
    )


def _plain(name: str) -> str:
    """A name that MLflow takes: letters, digits, and a few signs."""
    return "".join(letter if letter.isalnum() or letter in "_-. /" else " " for letter in name)


def _trials(run: Run, manifest: Manifest) -> Input:
    """The trials that the version was learned from, as its manifest names them."""
    parents = [parent for parent in manifest.parents if parent.artefact == "trials"]
    return Input(
        name=f"trials {parents[0].partition} to {parents[-1].partition}",
        uri=f"{run.platform.objects.uri('trials')}/dt={parents[0].partition}..{parents[-1].partition}",
        sha256=sha256("".join(parent.digest for parent in parents).encode()),
        context="training",
        rows=run.document("response_report", ResponseReport).trials,
    )
