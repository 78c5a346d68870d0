"""What the copywriter leaves in MLflow: a run and a version per adapter, and who writes. Idempotent."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

from mktgen import config
from mktgen.copywriting import _weights
from mktgen.copywriting.lessons import cells
from mktgen.copywriting.llm import SYSTEM
from mktgen.copywriting.serving import ADAPTER
from mktgen.documents import CopyPromotion, CopywriterTraining, ModelEntry
from mktgen.model_run import Input, ModelRun, Roles
from mktgen.steps.runner import Run
from mktgen.steps.tracked import NOT_TRACKED
from mktgen.steps.training_words import LANGUAGE, LESSONS
from mktgen.store import Manifest

COPYWRITER: Final = "copywriter"
PROMPT: Final = "mktgen-copywriter-prompts"  # in MLflow's prompt registry: of every cell, as the small model is asked
_CAVEAT: Final = (
    "Wordings only: the product fills in the facts, and every message is verified before it is sent. Judged on cells (form, "
    "tone, facts) that were kept from training; answers that the verifier refuses come from the template bank."
)
_DESCRIPTION: Final = (
    f"A low-rank adapter of {_weights.BASE} (Apache-2.0): learned from the template bank by likelihood, then from pairs of "
    "wordings of which one was clicked more, by direct preference optimisation. English."
)


def log_copywriter(run: Run, written: dict[str, Manifest]) -> list[str]:
    """The training day's adapter where one was learned, and the aliases as the promotion decided."""
    uri = run.platform.environment.mlflow_uri
    if not uri:
        return [NOT_TRACKED]
    promotion = run.platform.store.read_document(written["copy_promotion"], CopyPromotion)
    if promotion.challenger is None:
        return ["MLflow: no adapter was learned, nothing to log"]
    from mktgen import tracking  # late: mlflow takes seconds to import

    server = tracking.connect(uri)
    prompts = "\n".join(f"{cell.key}\n{cell.short}\n" for cell in cells(LANGUAGE))
    version = server.keep_prompt(PROMPT, f"{SYSTEM}\n\n{prompts}")
    with tempfile.TemporaryDirectory(prefix="mktgen-log-") as place:
        (Path(place) / ADAPTER).write_bytes(run.files("copywriter")[ADAPTER])
        server.log_model_run(_model_run(run, promotion, Path(place), version))
    wanted = {"champion": promotion.serving, "rollback": promotion.previous}
    if promotion.role == "challenger":
        wanted["challenger"] = run.day
    days = {alias: day for alias, day in wanted.items() if day is not None}
    move = server.hand_on(Roles(COPYWRITER, COPYWRITER, run.day, days, promotion.reason, promotion.rule))
    return [f"MLflow {move.name}: {'moved' if move.moved else 'unchanged'} {move.aliases}"]


def _model_run(run: Run, promotion: CopyPromotion, directory: Path, prompts: str) -> ModelRun:
    trained = run.document("copywriter_training", CopywriterTraining)
    judged = promotion.challenger
    assert judged is not None
    tally = judged.tally
    metrics = {
        **trained.figures,
        "judged.answers": float(tally.asked),
        "judged.well_formed": (tally.asked - tally.malformed - tally.troubled) / tally.asked,
        "judged.verified": tally.verified / tally.asked,
        "judged.fallback_share": tally.fallback_share,
        "judged.verbatim_share": tally.verbatim_share,
    }
    for name, interval in (("verified_difference", promotion.verified), ("expected_click_gain", promotion.gain)):
        if interval is not None:
            metrics |= {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
    entry = ModelEntry(
        kind=COPYWRITER, directory="", metrics=metrics, gates=promotion.gates,
        curves={name: curve for name, curve in trained.curves.items() if curve},
        parameters={
            **trained.parameters, "wordings": trained.wordings, "pairs": trained.pairs, "base": trained.model,
            "adapter_sha256": trained.adapter_sha256, "prompts_sha256": trained.prompts_sha256,
        },
    )  # fmt: skip
    return ModelRun(
        entry=entry,
        tasks=frozenset({COPYWRITER}),
        description=_DESCRIPTION,
        directory=directory,
        artefact_run=run.inputs["copywriter"][-1].run,
        training_partition=run.day,
        evaluation_from=run.day,
        evaluation_to=run.day,
        inputs=_inputs(run, trained),
        git_commit=config.git_commit() or None,
        notice=run.platform.source.notice,
        loader="mktgen.copywriting.serving",
        caveat=_CAVEAT,
        judged="answers for cells that were kept from training",
        packages=("xllamacpp",),
        tags={
            "mktgen.role": promotion.role,
            "mktgen.role_reason": promotion.reason,
            "mktgen.prompts": f"prompts:/{PROMPT}/{prompts}",
        },
    )


def _inputs(run: Run, trained: CopywriterTraining) -> list[Input]:
    """What was learned from: the lessons beside the adapter, and the pairs that its manifest names."""
    lessons = f"{run.uri('copywriter')}/{LESSONS}"
    found = [Input("wordings of the template bank", lessons, trained.lessons_sha256, "training", trained.wordings)]
    for parent in run.inputs["copywriter"][-1].parents:
        if parent.artefact == "wording_pairs":
            where = f"{run.platform.objects.uri(parent.artefact)}/dt={parent.partition}"
            found.append(Input(f"wording_pairs {parent.partition}", where, parent.digest, "training", trained.pairs))
    return found
