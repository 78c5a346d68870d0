"""What a request may ask for: each parameter by its shape, once, and nothing else. The rest is refused with a short message."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Final

from fastapi import HTTPException, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BeforeValidator

ROWS: Final = 200  # of a page, at most
_ID: Final = r"^[A-Za-z0-9_.:-]+$"
_DAY: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_LENGTH: Final = 128


def _day(value: object) -> object:
    """A date in its one form: pydantic alone would take a number of seconds for one."""
    if isinstance(value, str) and len(value) == len("2017-01-01") and value[4] == value[7] == "-" and value.isascii():
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass
    raise ValueError("is not a day: write YYYY-MM-DD")


Day = Annotated[date, BeforeValidator(_day)]
DayPath = Annotated[Day, Path()]
IdPath = Annotated[str, Path(pattern=_ID, max_length=_LENGTH)]
ArtefactPath = Annotated[str, Path(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
Id = Annotated[str, Query(pattern=r"^[A-Za-z0-9_.:-]*$", max_length=_LENGTH)]
Run = Annotated[str, Query(pattern=r"^[A-Za-z0-9_-]*$", max_length=64)]
Offset = Annotated[int, Query(ge=0, le=1_000_000_000)]
Limit = Annotated[int, Query(ge=1, le=ROWS)]
Money = Annotated[int, Query(ge=0, le=10**13)]
Share = Annotated[float, Query(ge=0.0, le=0.5, allow_inf_nan=False)]


def asked_properly(request: Request) -> None:
    """A dependency: 400 for a parameter that the route does not know, that comes twice, or that holds control characters."""
    route = request.scope.get("route")
    known = {field.alias for field in route.dependant.query_params} if isinstance(route, APIRoute) else set()
    seen: set[str] = set()
    for name, value in request.query_params.multi_items():
        if name not in known:
            raise HTTPException(
                400, f"there is no parameter {_shown(name)}; known here: {', '.join(sorted(known)) or 'none'}"
            )
        if name in seen:
            raise HTTPException(400, f"{name} is given more than once")
        if any(ord(character) < 32 or ord(character) == 127 for character in value):
            raise HTTPException(400, f"{name} holds control characters")
        seen.add(name)


def _shown(text: str) -> str:
    kept = "".join(character for character in text[:40] if character.isascii() and character.isprintable())
    return repr(kept)


def explained(error: RequestValidationError) -> str:
    """What was wrong with a request, without what was sent."""
    parts: list[str] = []
    for problem in error.errors():
        where = [str(part) for part in problem["loc"] if part not in ("path", "query")]
        parts.append(f"{'.'.join(where)}: {_message(problem)}")
    return "; ".join(parts)


def _message(problem: dict[str, Any]) -> str:
    message = str(problem.get("msg", "can't be used")).removeprefix("Value error, ")
    return "holds characters that no identifier has" if problem.get("type") == "string_pattern_mismatch" else message
