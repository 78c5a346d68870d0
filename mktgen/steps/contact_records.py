"""Commands of a person about customers: consent, suppression, time zone. Records are only added; the latest holds."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, get_args

from mktgen.errors import PermanentError
from mktgen.execution.contact_book import ContactBook, Kind, Record
from mktgen.sources.base import pseudonym
from mktgen.steps.runner import Platform
from mktgen.store import parallel

_COLUMNS: Final = ("kind", "customer_id", "about", "value", "at")


def customer(platform: Platform, customer_id: str, source_id: str) -> str:
    """The pseudonym: as given, or of the identifier that the source uses."""
    return customer_id or pseudonym(source_id, platform.environment.pseudonym_key)


def add_records(platform: Platform, records: Iterable[Record]) -> tuple[int, int]:
    """How many were added, and how many were there already. Raises PermanentError for one that says nothing."""
    book = ContactBook(platform.objects)
    added = parallel(book.add, list(records))
    return sum(added), len(added) - sum(added)


def read_records(path: Path) -> list[Record]:
    """Records of a CSV file with columns kind, customer_id, about, value, at and, if wished, note.

    Raises PermanentError naming the line that can't be read; then nothing was added.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            missing = [name for name in _COLUMNS if name not in (rows.fieldnames or ())]
            if missing:
                raise PermanentError(f"{path}: no column {', '.join(missing)}; needed are {', '.join(_COLUMNS)}")
            return [_record(path, rows.line_num, row) for row in rows]
    except (OSError, UnicodeDecodeError) as error:
        raise PermanentError(f"{path} can't be read: {error}") from None


def _record(path: Path, line: int, row: Mapping[str, Any]) -> Record:
    kind: Kind = row["kind"]
    if kind not in get_args(Kind):
        raise PermanentError(f"{path} line {line}: kind {kind!r} is none of {', '.join(get_args(Kind))}")
    record = Record(kind, row["customer_id"], row["about"], row["value"], moment(row["at"]), row.get("note") or "")
    try:
        record.check()
    except PermanentError as error:
        raise PermanentError(f"{path} line {line}: {error}") from None
    return record


def moment(text: str) -> datetime:
    """An ISO time with its offset. Raises PermanentError."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise PermanentError(f"{text!r} is not a time; write e.g. 2017-10-03T09:00:00+00:00") from None
    if found.tzinfo is None:
        raise PermanentError(f"{text!r} has no offset; write e.g. 2017-10-03T09:00:00+00:00")
    return found.astimezone(UTC)
