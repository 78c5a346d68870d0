"""Settings from YAML, places from the environment. The only reader of the environment in mktgen.

Settings (what changes results) = conf/base.yaml, then the overlays of MKTGEN_CONFIG, merged key by key.
Environment (where things are) = endpoints, credentials, the pseudonym key: never part of an artefact's identity.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from mktgen.errors import PermanentError
from mktgen.settings import Settings
from mktgen.settings.base import Section

PACKAGE = Path(__file__).parent


class ConfigError(PermanentError):
    """A setting is missing, misspelt or out of bounds; the message names file and key."""


class Environment(BaseModel):
    """Where the parts are."""

    model_config = ConfigDict(frozen=True)

    s3_endpoint: str
    s3_bucket: str
    s3_prefix: str
    s3_region: str
    mlflow_uri: str
    pseudonym_key: str
    train_processes: int  # ranks that learn one kind together
    train_at_once: int = 1  # kinds that learn side by side
    copy_api_key: str = ""  # of the language model's server
    smtp_login: tuple[str, str] | None
    overlays: tuple[str, ...]


def environment(env: Mapping[str, str] | None = None) -> Environment:
    """Read the places from environment variables. Raises ConfigError naming the variable that is missing."""
    env = os.environ if env is None else env
    missing = [
        name for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "MKTGEN_PSEUDONYM_KEY") if not env.get(name)
    ]
    if missing:
        raise ConfigError(f"{', '.join(missing)} not set. On one machine: make up, then `. .mktgen/env` in this shell.")
    return Environment(
        s3_endpoint=env.get("MKTGEN_S3_ENDPOINT", ""),
        s3_bucket=env.get("MKTGEN_S3_BUCKET", "mktgen"),
        s3_prefix=env.get("MKTGEN_S3_PREFIX", "store"),
        s3_region=env.get("AWS_REGION", "us-east-1"),
        mlflow_uri=env.get("MLFLOW_TRACKING_URI", ""),
        pseudonym_key=env["MKTGEN_PSEUDONYM_KEY"],
        train_processes=int(env.get("MKTGEN_TRAIN_PROCESSES", "1")),
        train_at_once=int(env.get("MKTGEN_TRAIN_AT_ONCE", "1")),
        copy_api_key=env.get("MKTGEN_COPY_API_KEY", ""),
        smtp_login=(env["MKTGEN_SMTP_USER"], env.get("MKTGEN_SMTP_PASSWORD", ""))
        if env.get("MKTGEN_SMTP_USER")
        else None,
        overlays=tuple(part for part in env.get("MKTGEN_CONFIG", "").split(":") if part),
    )


def settings(overlays: tuple[str, ...] = ()) -> Settings:
    """Base settings with overlays merged over them. Raises ConfigError naming file and key."""
    merged: dict[str, Any] = {}
    for path in (PACKAGE / "conf" / "base.yaml", *map(Path, overlays)):
        try:
            body = yaml.safe_load(path.read_text()) or {}
        except FileNotFoundError:
            raise ConfigError(f"settings file {path} does not exist (MKTGEN_CONFIG)") from None
        except yaml.YAMLError as error:
            raise ConfigError(f"settings file {path} is not YAML: {error}") from None
        if not isinstance(body, dict):
            raise ConfigError(f"settings file {path}: expected sections, found {type(body).__name__}")
        merged = _merge(merged, body)
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise ConfigError(f"settings ({', '.join(overlays) or 'base.yaml'}): {'; '.join(lines)}") from None


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        result[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def config_version(sections: tuple[Section, ...]) -> str:
    """SHA-256 of the settings a step depends on."""
    return values_version([section.model_dump(mode="json") for section in sections])


def values_version(values: list[Any]) -> str:
    """The same of sections as JSON values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


@cache
def code_version(packages: tuple[str, ...]) -> str:
    """SHA-256 of the source of the named packages or modules of mktgen (and of the shared vocabulary)."""
    digest = hashlib.sha256()
    for name in sorted({*packages, "contracts", "documents"}):
        place = PACKAGE / name.replace(".", "/")
        suffixes = {".py", ".yaml", ".txt", ".html", ".md", ".j2"}
        files = (
            sorted(p for p in place.rglob("*") if p.suffix in suffixes)
            if place.is_dir()
            else [place.with_suffix(".py")]
        )
        for file in files:
            digest.update(str(file.relative_to(PACKAGE)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


@cache
def git_commit() -> str:
    """Commit of the checkout the code runs from; "" where there is none (an installed package). Information only."""
    try:
        found = subprocess.run(
            ["git", "-C", str(PACKAGE), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""
