"""What is stored beside every artefact: what it consists of, and what it was made from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Parent:
    """An artefact that another was made from."""

    artefact: str
    partition: str
    run: str
    digest: str


@dataclass(frozen=True)
class Manifest:
    """The proof that an artefact is complete. `digest` identifies its content, `run` its derivation."""

    artefact: str
    partition: str
    run: str
    kind: Literal["table", "document", "files"]
    contract: str
    rows: int
    files: tuple[tuple[str, str, int], ...]  # name, sha256, bytes
    step: str
    code: str
    config: str
    seed: int
    parents: tuple[Parent, ...]
    info: dict[str, str] = field(default_factory=dict, compare=False)

    @property
    def digest(self) -> str:
        return sha256(json.dumps([self.contract, self.rows, self.files]).encode())

    @property
    def folder(self) -> str:
        return f"{self.artefact}/dt={self.partition}/run={self.run}"

    def as_parent(self) -> Parent:
        return Parent(self.artefact, self.partition, self.run, self.digest)

    def to_bytes(self) -> bytes:
        body = {key: value for key, value in self.__dict__.items() if key != "parents"}
        body["parents"] = [list(parent.__dict__.values()) for parent in self.parents]
        return (json.dumps(body, sort_keys=True, indent=1) + "\n").encode()

    @classmethod
    def from_bytes(cls, raw: bytes) -> Manifest:
        body = json.loads(raw)
        body["parents"] = tuple(Parent(*values) for values in body["parents"])
        body["files"] = tuple((name, digest, size) for name, digest, size in body["files"])
        return cls(**body)


@dataclass(frozen=True)
class Provenance:
    """What a step says about an output: goes into the manifest, all but `info` determines the derivation."""

    step: str
    run: str
    code: str
    config: str
    seed: int
    parents: tuple[Parent, ...]
    info: dict[str, str] = field(default_factory=dict)


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
