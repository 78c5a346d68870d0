"""Language models behind one protocol: the small one in this process, or any OpenAI-compatible server.

A model only proposes. It may be slow, down, cut off or talking nonsense: whatever it gives is parsed and verified by others,
and what it fails to give is a None here, with the reason, never an exception that stops a run.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import httpx

from mktgen.copywriting import _weights
from mktgen.copywriting.request import Request
from mktgen.errors import PermanentError

SYSTEM: Final = "You write for a shop."
TEMPERATURE: Final = 0.9
TOP_P: Final = 0.95
RETRY_AFTER_S: Final = (0.5, 2.0)  # of a server that answers 429 or 5xx
CONTEXT: Final = 1024  # tokens of the small model's prompt and answer together


@dataclass(frozen=True)
class Reply:
    """text: None where there is none, and then `trouble` says why. tokens: prompt and answer together."""

    text: str | None
    tokens: int
    seconds: float
    trouble: str = ""


class LanguageModel(Protocol):
    """name: which model, adapter and prompt, for logs and caches; the same name gives the same words for the same seed."""

    @property
    def name(self) -> str: ...

    def asks(self, request: Request) -> str:
        """What it is asked with."""
        ...

    def write(self, request: Request, seed: int, max_tokens: int, timeout_s: float) -> Reply: ...

    def close(self) -> None: ...


class Embedded:
    """SmolLM2-135M under llama.cpp, on this machine's processor, with an adapter or bare. English only.

    One request at a time and no prompt kept from the one before: an answer depends on request, seed and adapter alone,
    whatever was asked before. One thread: several wait for each other in busy loops, and where a core is shared, a second
    one has made answers twenty times slower, not faster. An answer is bounded by its tokens, not by a clock: the
    runtime can't be interrupted, and 160 tokens take two seconds. Raises PermanentError where weights or adapter are unusable.
    """

    def __init__(self, adapter: Path | None, name: str) -> None:
        import xllamacpp  # late: a hundred megabytes

        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(_weights.weights())
        if adapter is not None:
            parameters.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(adapter), 1.0)]
        parameters.n_ctx, parameters.n_parallel, parameters.n_gpu_layers = CONTEXT, 1, 0
        parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
        parameters.verbosity, parameters.warmup, parameters.ui = -1, False, False
        # It listens on loopback besides; nobody else shall be answered there.
        parameters.port, parameters.api_keys = 0, [secrets.token_urlsafe(32)]
        try:
            self._server = xllamacpp.Server(parameters)
        except RuntimeError as error:
            raise PermanentError(
                f"llama.cpp can't load {_weights.FILE} with adapter {adapter}: {error} Train the adapter again "
                "(train_copywriter) or set copywriting.engine to template."
            ) from error
        self.name = f"{_weights.BASE}+{name}"

    def asks(self, request: Request) -> str:
        return request.short

    def write(self, request: Request, seed: int, max_tokens: int, timeout_s: float) -> Reply:
        if request.language not in _weights.LANGUAGES:
            raise PermanentError(
                f"{_weights.BASE} was asked for {request.language}; it writes {', '.join(_weights.LANGUAGES)} only. Other "
                "languages come from the template bank."
            )
        begun = time.monotonic()
        # fmt: off
        answer = self._server.handle_chat_completions({
            **_body(self.asks(request), seed, max_tokens), **_formats(request)[0], "cache_prompt": False,
        })
        # fmt: on
        seconds = time.monotonic() - begun
        if "error" in answer:
            return Reply(None, 0, seconds, f"llama.cpp: {answer['error'].get('type', 'error')}")
        return _reply(answer, seconds)

    def close(self) -> None:
        del self._server


class OpenAICompatible:
    """Any server with POST <base_url>/chat/completions. It is asked by schema, then for any JSON object, then for text."""

    def __init__(self, base_url: str, model: str, key: str = "") -> None:
        if not base_url.startswith(("http://", "https://")):
            raise PermanentError(f"copywriting.base_url {base_url!r} is no http address, e.g. http://127.0.0.1:8000/v1")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.Client(base_url=base_url.rstrip("/"), headers=headers)
        self._model, self._format = model, 0
        self.name = f"{model}@{httpx.URL(base_url).host}"

    def asks(self, request: Request) -> str:
        return request.prompt

    def write(self, request: Request, seed: int, max_tokens: int, timeout_s: float) -> Reply:
        begun = time.monotonic()
        body = {"model": self._model, **_body(self.asks(request), seed, max_tokens)}
        formats = _formats(request)
        while True:
            body |= formats[self._format]
            reply, status = self._post(body, begun, timeout_s)
            if status != httpx.codes.BAD_REQUEST or self._format == len(formats) - 1:
                return reply
            body.pop("response_format", None)
            self._format += 1  # it doesn't know this way of asking: remembered for the requests to come

    def _post(self, body: dict[str, Any], begun: float, timeout_s: float) -> tuple[Reply, int]:
        for wait in (*RETRY_AFTER_S, None):
            left = timeout_s - (time.monotonic() - begun)
            if left <= 0:
                break
            try:
                answer = self._client.post("/chat/completions", json=body, timeout=left)
            except httpx.HTTPError as error:
                return Reply(None, 0, time.monotonic() - begun, f"server: {type(error).__name__}"), 0
            if answer.status_code == httpx.codes.OK:
                return _reply(_json(answer), time.monotonic() - begun), answer.status_code
            if wait is None or not (answer.status_code == httpx.codes.TOO_MANY_REQUESTS or answer.is_server_error):
                return Reply(
                    None, 0, time.monotonic() - begun, f"server answered {answer.status_code}"
                ), answer.status_code
            time.sleep(min(wait, max(left, 0.0)))
        return Reply(None, 0, time.monotonic() - begun, f"no answer within {timeout_s:.0f} s"), 0

    def close(self) -> None:
        self._client.close()


def _body(prompt: str, seed: int, max_tokens: int) -> dict[str, Any]:
    return {
        "seed": seed, "max_tokens": max_tokens, "temperature": TEMPERATURE, "top_p": TOP_P,
        "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": prompt}],
    }  # fmt: skip


def _formats(request: Request) -> list[dict[str, Any]]:
    """Ways of asking for an object, the strictest first."""
    schema = {"name": "message", "strict": True, "schema": request.schema}
    formats = ({"type": "json_schema", "json_schema": schema}, {"type": "json_object"})
    return [*({"response_format": one} for one in formats), {}]


def _json(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        return None


def _reply(answer: Any, seconds: float) -> Reply:
    try:
        choice = answer["choices"][0]
        text, ended = choice["message"]["content"], choice.get("finish_reason")
        tokens = int((answer.get("usage") or {}).get("total_tokens", 0))
    except (KeyError, IndexError, TypeError, ValueError):
        return Reply(None, 0, seconds, "an answer without choices")
    if ended == "length":
        return Reply(None, tokens, seconds, "cut off by the token limit")
    if not isinstance(text, str):
        return Reply(None, tokens, seconds, "an answer without text")
    return Reply(text, tokens, seconds)
