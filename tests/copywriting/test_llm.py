"""Language models that misbehave, over a real connection: nothing they do stops a run or gets a false word through."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from mktgen.copywriting.llm import OpenAICompatible, Reply
from mktgen.copywriting.phrasing import Budget, Phraser
from mktgen.copywriting.request import Request
from mktgen.errors import PermanentError
from tests.support.llm_server import Server, said

KNOWN = frozenset({"item", "valid_to"})
SMS = Request.of("sms", "en", "deal", KNOWN)
EMAIL = Request.of("email", "en", "deal", KNOWN)
GOOD = json.dumps({"body": "Your coupon for {{item}} is valid until {{valid_to}}."})


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


@pytest.fixture
def model(server: Server) -> Iterator[OpenAICompatible]:
    client = OpenAICompatible(server.url, "some-model", key="secret")
    yield client
    client.close()


def ask(model: OpenAICompatible, timeout_s: float = 5.0) -> Reply:
    return model.write(SMS, seed=1, max_tokens=80, timeout_s=timeout_s)


def test_an_answer_is_taken_and_its_tokens_counted(server: Server, model: OpenAICompatible) -> None:
    server.script = [said(GOOD)]
    reply = ask(model)
    assert (reply.text, reply.tokens, reply.trouble) == (GOOD, 50, "")
    asked = server.asked[0]
    assert asked["response_format"]["json_schema"]["schema"] == SMS.schema
    assert "Soft" not in json.dumps(asked), "no product's name reaches a model"
    assert asked["seed"] == 1


def test_an_error_of_the_server_is_tried_again_and_then_given_up(server: Server, model: OpenAICompatible) -> None:
    server.script = [(500, b"oops"), (503, b""), said(GOOD)]
    assert ask(model, 20).text == GOOD
    server.script = [(500, b"oops")]
    reply = ask(model, 20)
    assert (reply.text, reply.trouble) == (None, "server answered 500")


def test_a_slow_server_costs_its_time_and_no_more(server: Server, model: OpenAICompatible) -> None:
    server.script = [3.0, said(GOOD)]
    begun = time.monotonic()
    reply = ask(model, 0.5)
    assert time.monotonic() - begun < 2.5
    assert (reply.text, reply.trouble) == (None, "server: ReadTimeout")


@pytest.mark.parametrize(
    ("answer", "trouble"),
    [
        (said('{"body": "Your coup', "length"), "cut off by the token limit"),
        ((200, b"not json"), "an answer without choices"),
        ((200, b'{"choices": []}'), "an answer without choices"),
        ((200, b'{"choices": [{"message": {"content": null}}]}'), "an answer without text"),
        ((401, b""), "server answered 401"),
    ],
)
def test_what_is_no_answer_is_none(server: Server, model: OpenAICompatible, answer: Any, trouble: str) -> None:
    server.script = [answer]
    assert (ask(model).text, ask(model).trouble) == (None, trouble)


def test_nobody_listening_is_no_error(model: OpenAICompatible) -> None:
    gone = OpenAICompatible("http://127.0.0.1:9/v1", "m")
    assert ask(gone).trouble == "server: ConnectError"
    gone.close()


def test_a_server_that_knows_no_schema_is_asked_otherwise(server: Server, model: OpenAICompatible) -> None:
    server.script = [(400, b"unknown response_format"), (400, b"unknown"), said(GOOD)]
    assert ask(model).text == GOOD
    assert [one.get("response_format", {}).get("type") for one in server.asked] == ["json_schema", "json_object", None]
    ask(model)
    assert "response_format" not in server.asked[-1], "and that is remembered"


def test_an_address_that_is_none_is_refused_with_an_example() -> None:
    with pytest.raises(PermanentError, match=r"http://127\.0\.0\.1:8000/v1"):
        OpenAICompatible("localhost:8000", "m")


# -- phrasing -------------------------------------------------------------------------------------------------------------
def phraser(model: OpenAICompatible, budget: Budget | None = None, cache: dict[str, str] | None = None) -> Phraser:
    return Phraser(model, budget or Budget(), 1, {} if cache is None else cache, time.monotonic)


def test_only_what_the_verifier_lets_pass_is_kept_and_all_of_it_is_counted(
    server: Server, model: OpenAICompatible
) -> None:
    lie = json.dumps({"body": "{{item}} is free until {{valid_to}}."})
    unknown = json.dumps({"body": "{{item}} for {{price}} until {{valid_to}}."})
    nothing = json.dumps({"subject": "x", "body": "schema ignored"})
    server.script = [
        said(lie),
        said(unknown),
        said(nothing),
        said(GOOD),
        said(GOOD),
        (401, b""),
        said("hello"),
        said(GOOD),
    ]
    asking = phraser(model)
    found = asking.drafts(SMS, 4)
    assert [draft.body for draft in found] == ["Your coupon for {{item}} is valid until {{valid_to}}."]
    tally = asking.tally
    assert tally.asked == 8 == tally.troubled + tally.malformed + tally.refused + tally.repeated + tally.verified
    assert (tally.troubled, tally.malformed, tally.refused, tally.repeated, tally.verified) == (1, 2, 2, 2, 1)
    assert tally.rules == {"word": 1, "slot": 1}
    assert tally.fallback_share == pytest.approx(0.75)


def test_a_rerun_asks_for_nothing_again(server: Server, model: OpenAICompatible) -> None:
    server.script = [said(GOOD)]
    cache: dict[str, str] = {}
    first = phraser(model, cache=cache).drafts(SMS, 1)
    asked = len(server.asked)
    again = phraser(model, cache=cache)
    assert again.drafts(SMS, 1) == first
    assert len(server.asked) == asked
    assert (again.tally.cached, again.tally.tokens, again.tally.seconds) == (1, 50, 0.0)


def test_a_rerun_comes_to_the_same_where_the_first_run_met_trouble(server: Server, model: OpenAICompatible) -> None:
    server.script = [(401, b""), said("nonsense"), said(GOOD)]
    cache: dict[str, str] = {}
    first = phraser(model, cache=cache)
    found = first.drafts(SMS, 2)
    server.script = [said(json.dumps({"body": "Use this coupon for {{item}} until {{valid_to}}."}))]
    again = phraser(model, cache=cache)
    assert again.drafts(SMS, 2) == found
    assert replace(again.tally, cached=0) == replace(first.tally, seconds=0.0)
    assert again.tally.cached == again.tally.asked == 4


def test_what_is_not_asked_for_want_of_time_is_not_asked_on_a_rerun_either(
    server: Server, model: OpenAICompatible
) -> None:
    server.script = [said(GOOD)]
    cache: dict[str, str] = {}
    assert phraser(model, Budget(seconds=0.0), cache).drafts(SMS, 1) == []
    again = phraser(model, cache=cache)
    assert (again.drafts(SMS, 1), again.tally.stopped) == ([], "300 s are over")


def test_a_budget_of_tokens_or_of_time_ends_the_asking(server: Server, model: OpenAICompatible) -> None:
    server.script = [said("nonsense")]
    by_tokens = phraser(model, Budget(tokens=120, tries=100))
    assert by_tokens.drafts(SMS, 5) == []
    assert (by_tokens.tally.asked, by_tokens.tally.stopped) == (3, "150 tokens spent, 120 allowed")
    by_time = phraser(model, Budget(seconds=0.0))
    assert by_time.drafts(EMAIL, 5) == []
    assert (by_time.tally.asked, by_time.tally.troubled, by_time.tally.stopped) == (1, 1, "0 s are over")
    assert by_time.tally.fallback_share == 1.0
