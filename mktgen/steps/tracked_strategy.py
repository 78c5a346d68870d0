"""What a strategy leaves in MLflow: one run, with what became of it added as it becomes known. Idempotent."""

from __future__ import annotations

from mktgen.documents import Approval
from mktgen.execution.audit import Entry
from mktgen.steps.runner import Platform


def log_answer(platform: Platform, answer: Approval, entry: Entry) -> list[str]:
    return []
