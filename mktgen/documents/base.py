"""What every document is, and the parts that many of them hold."""

from __future__ import annotations

import hashlib
import json

from pydantic import BaseModel, ConfigDict


class Document(BaseModel):
    """Stored as canonical JSON (sorted keys), so that equal documents are equal bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def fingerprint(cls) -> str:
        return hashlib.sha256(json.dumps(cls.model_json_schema(), sort_keys=True).encode()).hexdigest()

    def to_bytes(self) -> bytes:
        body = self.model_dump(mode="json")
        return (json.dumps(body, sort_keys=True, ensure_ascii=False, indent=1) + "\n").encode()


class Interval(Document):
    """A point estimate with its 95% interval; `method` names how the interval was made."""

    value: float
    low: float
    high: float
    method: str = ""


class Refusal(Document):
    """A metric that the data can't support, and the capability that is missing."""

    metric: str
    missing: list[str]
    reason: str


class Gate(Document):
    """One check. `passed` None: not applicable today, `detail` says why."""

    name: str
    passed: bool | None
    detail: str
    value: float | None = None
    threshold: float | None = None
