"""A language model's server that does what a test says, over a real connection."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Server:
    """Answers /v1/chat/completions as `script` says: (status, body), seconds to wait before the next one, or a function of
    what was asked. The last entry stays."""

    def __init__(self) -> None:
        self.script: list[Any] = []
        self.asked: list[dict[str, Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                step = outer.script.pop(0) if len(outer.script) > 1 else outer.script[0]
                if isinstance(step, float):
                    time.sleep(step)
                    step = outer.script.pop(0) if len(outer.script) > 1 else outer.script[0]
                status, body = step(outer.asked[-1]) if callable(step) else step
                try:
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except (BrokenPipeError, ConnectionResetError):
                    pass  # the client went away: that is what some tests are about

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


def said(text: str, ended: str = "stop") -> tuple[int, bytes]:
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": ended}
    return 200, json.dumps({"choices": [choice], "usage": {"total_tokens": 50}}).encode()
