"""What the loop learned: predicted against realised, drift, requests for training, the next experiment."""

from __future__ import annotations

from datetime import date
from typing import Any, Final

from mktgen.documents import AllocationReport, EffectReports, FeedbackReport, RetrainingRequest
from mktgen.documents.response import ResponsePromotion, ResponseReport
from mktgen.store import Store
from mktgen_ui.words import stored

Json = dict[str, Any]
DAYS: Final = 60  # of requests and verdicts looked back on


def learned(store: Store, day: date | None) -> Json:
    """As known at the end of a day; None: of the newest one that has feedback."""
    days = store.partitions("feedback_report")
    chosen = day if day is not None else (days[-1] if days else None)
    if chosen is None:
        return {"day": None, "days": []}
    return {
        "day": chosen,
        "days": list(reversed(days[-DAYS:])),
        "ledger": _rows(store, "effect_ledger", chosen),
        "drift": _rows(store, "drift", chosen),
        "report": _document(store, "feedback_report", chosen, FeedbackReport),
        "requests": _requests(store, chosen),
        "verdicts": _verdicts(store, chosen),
        "words": stored(store, "wording_report", chosen),
        "response": _document(store, "response_report", chosen, ResponseReport),
        "serving": _document(store, "response_promotion", chosen, ResponsePromotion),
        "next_experiment": (_document(store, "allocation", chosen, AllocationReport) or {}).get("next_experiment"),
    }


def _rows(store: Store, artefact: str, day: date) -> list[Json]:
    manifest = store.current(artefact, day)
    return [] if manifest is None else store.read_table(manifest).to_dicts()


def _document(store: Store, artefact: str, day: date, kind: Any) -> Json | None:
    manifest = store.current(artefact, day)
    if manifest is None:
        return None
    body: Json = store.read_document(manifest, kind).model_dump(mode="json")
    return body


def _up_to(store: Store, artefact: str, day: date) -> list[date]:
    return [found for found in store.partitions(artefact) if found <= day][-DAYS:]


def _requests(store: Store, day: date) -> list[Json]:
    """Of the last days, those that asked for training."""
    manifests = store.currents("retraining_request", _up_to(store, "retraining_request", day))
    said = (store.read_document(found, RetrainingRequest) for found in manifests)
    return [request.model_dump(mode="json") for request in said if request.requested][::-1]


def _verdicts(store: Store, day: date) -> list[Json]:
    """What campaigns did, as reported on the last days that had something to report, newest first."""
    manifests = store.currents("effect_reports", _up_to(store, "effect_reports", day))
    reports = (report for found in manifests for report in store.read_document(found, EffectReports).reports)
    return [report.model_dump(mode="json") for report in reports][::-1][:DAYS]
