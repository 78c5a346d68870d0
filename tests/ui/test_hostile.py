"""Whatever is asked for: a short plain refusal or an answer, never what went on inside."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.pages_world import DAY
from tests.ui.conftest import Get, asked

PARAMETERS = {
    "/api/strategies": ("before", "limit"),
    f"/api/strategies/{DAY}": ("run",),
    f"/api/strategies/{DAY}/decisions": (
        "run", "offset", "limit", "search", "campaign", "segment", "contacted", "sort", "descending",
    ),
    f"/api/strategies/{DAY}/what-if/answer": ("budget", "holdout", "without"),
    "/api/learning": ("day",),
    "/api/compare": ("one", "other", "one_run", "other_run"),
}  # fmt: skip
NASTY = (
    "-1", "0", "1e400", "NaN", "inf", "99999999999999999999999999", "0x10", "1.5", "٣", "1_000", " 1", "1\n",
    "1;drop table decisions", "' OR '1'='1", "<script>alert(1)</script>", "../../etc/passwd", "..%2f..%2f", "%00", "\x00",
    "\x7f", "a" * 5_000, "é" * 200, "2017-02-31", "2017-13-01", "20170403", "2017-4-3", "0000-00-00", "9999-12-31",
    "1491177600", "true", "null", "[]", "{}", "$(id)", "`id`", "{{7*7}}", "${jndi:ldap://x}", "\U0001f600", "\u202e", "*", "%",
    "_", "s3://other/bucket",
)  # fmt: skip
PATHS = (
    "/strategies/{}", "/strategies/{}/decisions", f"/strategies/{DAY}/decisions/{{}}", "/strategies/{}/what-if",
    "/static/{}", "/api/strategies/{}", "/api/strategies/{}/decisions", f"/api/strategies/{DAY}/decisions/{{}}",
    "/api/strategies/{}/models", "/api/strategies/{}/what-if", "/api/artefacts/{}/2017-04-03/r",
    f"/api/artefacts/decisions/{DAY}/{{}}", "/api/artefacts/decisions/{}/r",
)  # fmt: skip
OUTSIDE = {"detail": "Not Found"}  # an address with a line break is not even below /mktgen
INSIDE = re.compile(r"Traceback|File \"|\.py|polars|botocore|pydantic|site-packages|Exception")
FEW = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)


def plain(answer: Any, *allowed: int) -> None:
    """A 4xx with one short line, or one of the statuses allowed."""
    assert answer.status_code in allowed or 400 <= answer.status_code < 500, (answer.status_code, answer.text[:300])
    if answer.status_code in allowed or answer.json() == OUTSIDE:
        return
    message = answer.json()["error"]
    assert set(answer.json()) == {"error"}
    assert 0 < len(message) < 600
    assert not INSIDE.search(message), message


@pytest.mark.parametrize("text", NASTY)
def test_a_nasty_path_is_refused_plainly(app: FastAPI, text: str) -> None:
    for path in PATHS:
        answer = asked(app, path.format(quote(text, safe="")))
        # Of these, some are days or ids in form, only that nothing is there: pages say so themselves.
        plain(answer, 200, 307)
        if answer.status_code == 200:
            assert re.search("strategies/9999-12-31|/decisions/", str(answer.url)), answer.url


@given(data=st.data())
@FEW
def test_any_parameter_is_answered_or_refused_plainly(app: FastAPI, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(PARAMETERS)))
    value = st.one_of(st.sampled_from(NASTY), st.text(max_size=40), st.integers().map(str), st.floats().map(str))
    chosen = data.draw(st.dictionaries(st.sampled_from(PARAMETERS[path]), value, min_size=1))
    query = "&".join(f"{name}={quote(text, safe='', errors='replace')}" for name, text in chosen.items())
    answer = asked(app, f"{path}?{query}")
    plain(answer, 200)
    if answer.status_code == 200:
        assert answer.headers["content-type"] == "application/json"


@given(st.binary(max_size=60))
@FEW
def test_any_bytes_after_the_question_mark_are_refused_plainly(app: FastAPI, raw: bytes) -> None:
    plain(asked(app, f"/api/strategies?{quote(raw)}"), 200)


@pytest.mark.parametrize("path", sorted(PARAMETERS))
def test_a_parameter_twice_or_unknown_is_refused(app: FastAPI, path: str) -> None:
    name = PARAMETERS[path][0]
    answer = asked(app, f"{path}?{name}=1&{name}=1")
    assert (answer.status_code, answer.json()["error"]) == (400, f"{name} is given more than once")
    unknown = asked(app, f"{path}?<b>=1")
    assert unknown.status_code == 400
    assert "there is no parameter" in unknown.json()["error"]


def test_control_characters_are_refused(get: Get) -> None:
    answer = get(f"/api/strategies/{DAY}/decisions", search="c\x001")
    assert (answer.status_code, answer.json()["error"]) == (400, "search holds control characters")


def test_a_refusal_does_not_repeat_what_was_sent(get: Get) -> None:
    answer = get(f"/api/strategies/{DAY}/decisions", search="<script>alert(1)</script>")
    assert answer.status_code == 422
    assert "script" not in answer.text
    assert answer.json()["error"] == "search: holds characters that no identifier has"


def test_a_page_is_never_larger_than_allowed(get: Get) -> None:
    assert get(f"/api/strategies/{DAY}/decisions", limit=201).status_code == 422
    far = get(f"/api/strategies/{DAY}/decisions", offset=999_999_999).json()
    assert far["rows"] == []


def test_what_breaks_inside_is_told_to_the_log_alone() -> None:
    from fastapi import Depends, FastAPI
    from mktgen_ui.app import make_app

    def broken() -> Any:
        raise ZeroDivisionError("secret of the inside")

    app = FastAPI(openapi_url=None)
    app.mount("/mktgen", make_app(Depends(lambda: None), platform=broken))
    answer = asked(app, "/api/strategies")
    assert answer.status_code == 500
    assert answer.json() == {"error": "something went wrong here; the API server's log says what"}
    assert "default-src 'none'" in answer.headers["content-security-policy"]
