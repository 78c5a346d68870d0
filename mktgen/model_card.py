"""What is shown of a trained model beside its numbers: a short card and three plots. Knows nothing of MLflow."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import polars as pl
from matplotlib.figure import Figure

from mktgen.documents import Gate
from mktgen.model_run import ModelRun

# Of registered models: what each is for, and who decides which version is used.
DESCRIPTIONS: Final = {
    "ranking": "Which items a customer buys next. champion is used; rollback was champion before; challenger lost last.",
    "customer": "Purchase and churn of a customer. champion is used; rollback was champion before; challenger lost last.",
    "redemption": "Whether a mailed customer redeems. One recipe, fitted anew for each training day; the newest is used.",
    "response": "What offers change, learned daily from randomised decisions. champion is used; the rule is in mktgen.rule.",
    "wording": "What customers click in wordings, learned daily from randomised sends. champion is used; see mktgen.rule.",
    "copywriter": "Adapters of the small language model that proposes wordings. champion is used; the rule is in mktgen.rule.",
}
OUTCOME: Final = {True: "passed", False: "FAILED", None: "n/a"}
_BLUE, _GREY = "#1f5fa8", "#9aa3ad"
_RANKED_BY = "ranking.ndcg_at_10"
_PANELS: Final = 4  # curves beside one another


def markdown(run: ModelRun) -> str:
    """The card of one model."""
    entry = run.entry
    lines = [
        f"# {entry.kind}",
        "",
        run.description.strip() or "(no description)",
        "",
        f"- tasks: {', '.join(sorted(run.tasks))}",
        f"- trained for: {run.training_partition}, on what lies before {run.evaluation_from}",
        f"- evaluated on: {run.evaluation_from} to {run.evaluation_to}, {run.judged}",
        *([f"- about the data: {run.notice}"] if run.notice else []),
        "",
        "## Results",
        "",
        "| metric | value |",
        "|---|---|",
        *(f"| {name} | {entry.metrics[name]:.4f} |" for name in sorted(entry.metrics)),
        "",
        run.caveat,
        "",
        *_gates(entry.gates),
        "## Data",
        "",
        *(f"- {item.name}: `{item.uri}` (sha256 {item.sha256})" for item in run.inputs),
        "",
        "## Use",
        "",
        f"Load with `mlflow.pyfunc.load_model` where `mktgen` itself is installed; `{run.loader}` describes the",
        "request. Stored as JSON, safetensors and skops; no pickles.",
    ]
    return "\n".join(lines) + "\n"


def _gates(gates: Sequence[Gate]) -> list[str]:
    """The honesty gates as a section; none where the model has none."""
    if not gates:
        return []
    head = ["## Gates", "", f"{verdict(gates)}. A model that failed one can't become champion.", ""]
    rows = [f"| {gate.name} | {OUTCOME[gate.passed]} | {gate.detail.replace('|', '/')} |" for gate in gates]
    return [*head, "| gate | | |", "|---|---|---|", *rows, ""]


def verdict(gates: Sequence[Gate]) -> str:
    failed = [gate.name for gate in gates if gate.passed is False]
    return f"failed: {', '.join(failed)}" if failed else "passed"


def training_curves(curves: Mapping[str, Sequence[float]]) -> Figure:
    """One panel per curve, by epoch, iteration or part of an epoch (a tenth, where a network learns)."""
    names = sorted(curves)
    columns = min(len(names), _PANELS)
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(4.2 * columns, 3.2 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, name in zip(axes, names, strict=False):
        axis.plot(range(1, len(curves[name]) + 1), curves[name], marker="o", color=_BLUE)
        axis.set(title=name, xlabel="epoch, or part of one")
        axis.grid(alpha=0.3)
    for axis in axes[len(names) :]:
        axis.set_axis_off()
    return figure


def reliability_diagram(table: pl.DataFrame, title: str) -> Figure:
    """Predicted against observed shares of evaluation.classification.reliability's table."""
    figure = Figure(figsize=(4.6, 4.2), layout="constrained")
    axis = figure.subplots()
    top = max(float(table.select(pl.max_horizontal("predicted", "observed").max()).item()), 0.01) * 1.05
    axis.plot([0, top], [0, top], color=_GREY, linestyle="--", label="perfectly calibrated")
    axis.plot(table["predicted"].to_list(), table["observed"].to_list(), marker="o", color=_BLUE, label="groups")
    axis.set(title=title, xlabel="predicted", ylabel="observed", xlim=(0, top), ylim=(0, top))
    axis.grid(alpha=0.3)
    axis.legend(loc="upper left")
    return figure


def ranking_comparison(metrics: Mapping[str, Mapping[str, float]], kind: str) -> Figure:
    """NDCG@10 of all kinds on the same cut, `kind` emphasised; overall, repeat-only and novel-only side by side."""
    parts = ("ranking.ndcg_at_10", "ranking.repeat.ndcg_at_10", "ranking.novel.ndcg_at_10")
    kinds = sorted((name for name in metrics if _RANKED_BY in metrics[name]), key=lambda k: (metrics[k][_RANKED_BY], k))
    figure = Figure(figsize=(11.0, 0.7 + 0.38 * max(3, len(kinds))), layout="constrained")
    for axis, part in zip(figure.subplots(1, len(parts), sharey=True), parts, strict=True):
        values = [metrics[name].get(part, 0.0) for name in kinds]
        axis.barh(kinds, values, color=[_BLUE if name == kind else _GREY for name in kinds])
        for place, value in enumerate(values):
            axis.text(value, place, f" {value:.3f}", va="center", fontsize=8)
        axis.set(title=part, xlim=(0, max([*values, 0.01]) * 1.2))
    return figure


def write(directory: Path, card: str, run: ModelRun) -> None:
    """Write model_card.md, gates.json and plots/*.png into `directory`; what the model has nothing for is left out."""
    (directory / "plots").mkdir(parents=True)
    (directory / "model_card.md").write_text(card, encoding="utf-8")
    kind = run.entry.kind
    if run.entry.gates:
        gates = [gate.model_dump() for gate in run.entry.gates]
        (directory / "gates.json").write_text(json.dumps(gates, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    figures: dict[str, Figure] = {}
    if run.entry.curves:
        figures["training_curves"] = training_curves(run.entry.curves)
    if run.reliability is not None:
        figures["reliability_churn_28d"] = reliability_diagram(run.reliability, f"{kind}: churn within 28 days")
    if _RANKED_BY in run.comparison.get(kind, {}):
        figures["ranking_comparison"] = ranking_comparison(run.comparison, kind)
    for name, figure in figures.items():
        figure.savefig(directory / "plots" / f"{name}.png", dpi=90, metadata={"Software": None})
