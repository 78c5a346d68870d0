"""llama.cpp's own OpenAI-compatible server with the small model, in a process of its own.

`python -m tests.support.llama_server` prints its address, and ends with its standard input.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

KEY = "a key of this test"


@contextmanager
def llama_server() -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Its base URL and its process."""
    command = [sys.executable, "-m", "tests.support.llama_server"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            assert address.startswith("http://127.0.0.1:"), address
            yield f"{address}/v1", process
        finally:
            process.kill()


def main() -> None:
    import xllamacpp

    from mktgen.copywriting._weights import weights

    parameters = xllamacpp.CommonParams()
    parameters.model.path, parameters.port, parameters.api_keys = str(weights()), 0, [KEY]
    parameters.n_ctx, parameters.n_parallel, parameters.n_gpu_layers, parameters.warmup = 1024, 1, 0, False
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
    server = xllamacpp.Server(parameters)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
