"""Typed, atomic artefacts on S3. The only import of boto3.

    <prefix>/<artefact>/dt=<partition>/run=<derivation>/part-00000.parquet    the data
                                                        _manifest.json        written last, by a conditional put
                                       _current.json                          which derivation readers take

A derivation is a hash of everything that determines the bytes: step, code, settings, seed, partition and the parents'
content. The same derivation written twice is either equal or an error. No manifest, no artefact.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Final, Literal, TypeVar

import boto3
import polars as pl
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from mktgen.contracts import ContractError, contract
from mktgen.documents import Document
from mktgen.errors import CorruptArtefact, MissingArtefact, NonDeterminism, PermanentError, TransientError
from mktgen.manifest import Manifest, Parent, Provenance, sha256
from mktgen.parts import Parts, divided, slices

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import ListObjectsV2OutputTypeDef

_THREADS: Final = 16
_PERMANENT: Final = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "NoSuchBucket", "403"}
D = TypeVar("D", bound=Document)
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class S3Location:
    """Where a store lives. Credentials come from the environment's usual AWS variables."""

    endpoint: str
    bucket: str
    prefix: str
    region: str = "us-east-1"


class ObjectStore:
    """Bytes on S3 with conditional puts: what the store and the send ledger are built on."""

    def __init__(self, location: S3Location) -> None:
        self.location = location
        self._session = boto3.session.Session()
        self._client: S3Client = self._session.client(
            "s3",
            endpoint_url=location.endpoint or None,
            region_name=location.region,
            config=Config(
                s3={"addressing_style": "path"},
                retries={"max_attempts": 6, "mode": "standard"},
                connect_timeout=5,
                read_timeout=60,
                max_pool_connections=2 * _THREADS,
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def uri(self, key: str) -> str:
        return f"s3://{self.location.bucket}/{self._key(key)}"

    # Every put says its body's MD5: where a sender dies between its headers and its body, SeaweedFS keeps an empty
    # object unless there is a checksum to compare, and for a conditional put that empty object would be final.
    def put(self, key: str, body: bytes) -> None:
        with self._explained():
            self._client.put_object(
                Bucket=self.location.bucket, Key=self._key(key), Body=body, ContentMD5=_content_md5(body)
            )

    def put_once(self, key: str, body: bytes) -> bool:
        """Put unless the key exists (If-None-Match: *). False: it exists, nothing was written."""
        with self._explained():
            try:
                self._client.put_object(
                    Bucket=self.location.bucket,
                    Key=self._key(key),
                    Body=body,
                    ContentMD5=_content_md5(body),
                    IfNoneMatch="*",
                )
            except ClientError as error:
                # A 409 (another put of the key is under way) tells neither: it is raised, to be tried again.
                if _code(error) in {"PreconditionFailed", "412"}:
                    return False
                raise
        return True

    def get(self, key: str) -> bytes | None:
        with self._explained():
            try:
                return self._client.get_object(Bucket=self.location.bucket, Key=self._key(key))["Body"].read()
            except ClientError as error:
                if _code(error) in {"NoSuchKey", "404"}:
                    return None
                raise

    def keys(self, prefix: str) -> list[str]:
        """Keys below a prefix, relative to the store's own, in order."""
        cut = len(self._key(""))
        found = [entry["Key"][cut:] for page in self._pages(prefix, "") for entry in page.get("Contents", [])]
        return sorted(found)

    def folders(self, prefix: str) -> list[str]:
        """Names of the folders directly below a prefix."""
        cut = len(self._key(prefix))
        pages = self._pages(prefix, "/")
        return sorted(entry["Prefix"][cut:].rstrip("/") for page in pages for entry in page.get("CommonPrefixes", []))

    def reading(self) -> dict[str, str]:
        """How polars reaches the same objects by their `uri`."""
        keys = self._session.get_credentials()
        where = self.location
        options = {"aws_region": where.region}
        if where.endpoint:
            options |= {"aws_endpoint_url": where.endpoint, "aws_allow_http": "true"}
        frozen = keys.get_frozen_credentials() if keys is not None else None
        if frozen is not None and frozen.access_key and frozen.secret_key:
            options |= {"aws_access_key_id": frozen.access_key, "aws_secret_access_key": frozen.secret_key}
            options |= {"aws_session_token": frozen.token} if frozen.token else {}
        return options

    def delete(self, key: str) -> None:
        with self._explained():
            self._client.delete_object(Bucket=self.location.bucket, Key=self._key(key))

    def _pages(self, prefix: str, delimiter: str) -> list[ListObjectsV2OutputTypeDef]:
        with self._explained():
            listing = self._client.get_paginator("list_objects_v2")
            return list(listing.paginate(Bucket=self.location.bucket, Prefix=self._key(prefix), Delimiter=delimiter))

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Errors of S3 as ours: wrong keys or bucket need a person (permanent), silence is worth another try."""
        where = self.location.endpoint or "S3"
        try:
            yield
        except ClientError as error:
            message = f"{where} refused: {error}"
            if _code(error) in _PERMANENT:
                raise PermanentError(
                    f"{message}. Check the AWS_* variables and bucket {self.location.bucket}."
                ) from error
            raise TransientError(message) from error
        except (BotoCoreError, HTTPClientError) as error:
            raise TransientError(f"{where} does not answer: {error}") from error

    def _key(self, key: str) -> str:
        return f"{self.location.prefix}/{key}" if self.location.prefix else key


def _content_md5(body: bytes) -> str:
    """The Content-MD5 header (RFC 1864): a check of what arrived, not a secret."""
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


class Store:
    """Artefacts by name and partition. Reads verify hashes and contract; writes are all or nothing."""

    def __init__(self, objects: ObjectStore) -> None:
        self.objects = objects

    # -- writing ------------------------------------------------------------------------------------------------------
    # `point`: readers take the artefact at once; a step points at all its outputs together when it is complete.
    def write_table(
        self, artefact: str, partition: date, frame: pl.DataFrame, source: Provenance, *, point: bool = True
    ) -> Manifest:
        """Check `frame` against its contract and store it. Raises ContractError or NonDeterminism."""
        schema = contract(artefact)
        frame = schema.check(frame)
        parts = divided(frame)
        return self._commit(artefact, partition, "table", schema.fingerprint, frame.height, parts, source, point)

    def write_parts(self, table: Parts, partition: date, source: Provenance, *, point: bool = True) -> Manifest:
        """The same for a table that came frame by frame, with the same bytes; one part in memory at a time."""
        files, fingerprint = table.files(), contract(table.artefact).fingerprint
        return self._commit(table.artefact, partition, "table", fingerprint, table.rows, files, source, point)

    def write_document(
        self, artefact: str, partition: date, document: Document, source: Provenance, *, point: bool = True
    ) -> Manifest:
        files = {"document.json": document.to_bytes()}
        return self._commit(artefact, partition, "document", type(document).fingerprint(), 1, files, source, point)

    def write_files(
        self, artefact: str, partition: date, files: dict[str, bytes], source: Provenance, *, point: bool = True
    ) -> Manifest:
        return self._commit(artefact, partition, "files", "files", len(files), files, source, point)

    def _commit(
        self,
        artefact: str,
        partition: date,
        kind: Literal["table", "document", "files"],
        fingerprint: str,
        rows: int,
        files: Mapping[str, bytes],
        source: Provenance,
        point: bool,
    ) -> Manifest:
        listed = tuple((name, sha256(body), len(body)) for name, body in sorted(files.items()))
        manifest = Manifest(
            artefact, partition.isoformat(), source.run, kind, fingerprint, rows, listed,
            source.step, source.code, source.config, source.seed, source.parents, source.info,
        )  # fmt: skip
        written = self.manifest_of_run(artefact, partition, source.run)
        if written is None:
            for name, body in files.items():
                self.objects.put(f"{manifest.folder}/{name}", body)
            if not self.objects.put_once(f"{manifest.folder}/_manifest.json", manifest.to_bytes()):
                written = self.manifest_of_run(artefact, partition, source.run)
        if written is not None and written.files != manifest.files:
            raise NonDeterminism(
                f"{artefact} dt={partition} run={source.run}: the same inputs gave other bytes "
                f"({_difference(written, manifest)}). The stored artefact was kept."
            )
        if point:
            self._point(manifest)
        return manifest

    def point(self, manifest: Manifest) -> None:
        """Make a complete artefact the one that readers of its partition take."""
        if self.objects.get(_pointer(manifest)) != _pointing(manifest):
            self._point(manifest)

    def withdraw(self, artefact: str, partition: date) -> None:
        """Let readers find no artefact of a partition; what was stored stays."""
        self.objects.delete(f"{artefact}/dt={partition.isoformat()}/_current.json")

    def _point(self, manifest: Manifest) -> None:
        self.objects.put(_pointer(manifest), _pointing(manifest))

    # -- finding ------------------------------------------------------------------------------------------------------
    def manifest_of_run(self, artefact: str, partition: date, run: str) -> Manifest | None:
        """Raises CorruptArtefact where what is stored is no manifest."""
        key = f"{artefact}/dt={partition.isoformat()}/run={run}/_manifest.json"
        raw = self.objects.get(key)
        try:
            return None if raw is None else Manifest.from_bytes(raw)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise CorruptArtefact(f"{self.objects.uri(key)} is no manifest: it was changed ({error})") from None

    def current(self, artefact: str, partition: date) -> Manifest | None:
        """The manifest that readers take; None: not written."""
        raw = self.objects.get(f"{artefact}/dt={partition.isoformat()}/_current.json")
        return None if raw is None else self.manifest_of_run(artefact, partition, json.loads(raw)["run"])

    def currents(self, artefact: str, partitions: Iterable[date]) -> list[Manifest]:
        """Manifests of the partitions that exist, in order."""
        found = parallel(lambda day: self.current(artefact, day), sorted(partitions))
        return [manifest for manifest in found if manifest is not None]

    def partitions(self, artefact: str) -> list[date]:
        """Days for which something of the artefact was begun, in order."""
        names = self.objects.folders(f"{artefact}/")
        return sorted(date.fromisoformat(name[3:]) for name in names if name.startswith("dt="))

    def need(self, artefact: str, partition: date) -> Manifest:
        manifest = self.current(artefact, partition)
        if manifest is None:
            raise MissingArtefact(
                f"{artefact} of {partition} has not been written (looked in {self.objects.uri(artefact)})"
            )
        return manifest

    # -- reading ------------------------------------------------------------------------------------------------------
    def read_table(self, manifests: Manifest | Sequence[Manifest]) -> pl.DataFrame:
        """Rows of one artefact over one or more partitions, in order; hashes and contract verified."""
        chosen = [manifests] if isinstance(manifests, Manifest) else list(manifests)
        if not chosen:
            raise MissingArtefact("read_table: no manifests were given")
        schema = contract(chosen[0].artefact)
        for manifest in chosen:
            _same_contract(manifest, schema.fingerprint)
        names = [(manifest, name) for manifest in chosen for name, _, _ in manifest.files]
        frames = parallel(lambda pair: pl.read_parquet(io.BytesIO(self._file(*pair))), names)
        return pl.concat(frames, how="diagonal" if schema.open_strings else "vertical", rechunk=True)

    def stream_table(self, manifests: Sequence[Manifest], artefact: str) -> Iterator[pl.DataFrame]:
        """The same rows, a slice at a time, one part in memory; one empty frame where there are no manifests."""
        schema = contract(artefact)
        for manifest in manifests:
            _same_contract(manifest, schema.fingerprint)
        for manifest in manifests:
            for name, _, _ in manifest.files:
                yield from slices(self._file(manifest, name))
        if not manifests:
            yield schema.empty()

    def pick(self, manifest: Manifest, query: Callable[[pl.LazyFrame], pl.LazyFrame]) -> pl.DataFrame:
        """What a query takes of one table, read from where it lies: only the columns and row groups that it needs.

        For showing and looking up: hashes are not verified, as that takes every byte. What is acted on comes by read_table.
        Raises CorruptArtefact where the parts can't be read, and what polars says of a wrong query.
        """
        _same_contract(manifest, contract(manifest.artefact).fingerprint)
        parts = [self.objects.uri(f"{manifest.folder}/{name}") for name, _, _ in manifest.files]
        table = pl.scan_parquet(parts, storage_options=self.objects.reading(), hive_partitioning=False, glob=False)
        try:
            return query(table).collect(engine="streaming")
        except (pl.exceptions.ComputeError, OSError) as error:
            raise CorruptArtefact(
                f"{self.objects.uri(manifest.folder)} can't be read where it lies ({type(error).__name__}). Is S3 up? "
                f"If it is, run step {manifest.step} for {manifest.partition} again."
            ) from error

    def read_document(self, manifest: Manifest, kind: type[D]) -> D:
        _same_contract(manifest, kind.fingerprint())
        return kind.model_validate_json(self._file(manifest, "document.json"))

    def read_files(self, manifest: Manifest, prefix: str = "") -> dict[str, bytes]:
        names = [name for name, _, _ in manifest.files if name.startswith(prefix)]
        return dict(zip(names, parallel(lambda name: self._file(manifest, name), names), strict=True))

    def _file(self, manifest: Manifest, name: str) -> bytes:
        body = self.objects.get(f"{manifest.folder}/{name}")
        expected = next(digest for listed, digest, _ in manifest.files if listed == name)
        if body is None or sha256(body) != expected:
            state = "is missing" if body is None else "does not match its manifest"
            raise CorruptArtefact(
                f"{self.objects.uri(manifest.folder)}/{name} {state}. Remove that run= folder and its _current.json, "
                f"then run step {manifest.step} for {manifest.partition} again."
            )
        return body


def _pointer(manifest: Manifest) -> str:
    return f"{manifest.artefact}/dt={manifest.partition}/_current.json"


def _pointing(manifest: Manifest) -> bytes:
    return json.dumps({"run": manifest.run, "digest": manifest.digest}, sort_keys=True).encode()


def _same_contract(manifest: Manifest, fingerprint: str) -> None:
    if manifest.contract != fingerprint:
        raise ContractError(
            f"{manifest.artefact} dt={manifest.partition} was written under another contract "
            f"({manifest.contract[:12]}, code expects {fingerprint[:12]}): run step {manifest.step} for that day again"
        )


def _difference(one: Manifest, other: Manifest) -> str:
    ours = {name: digest for name, digest, _ in one.files}
    theirs = {name: digest for name, digest, _ in other.files}
    names = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
    return ", ".join(names[:5])


def parallel(work: Callable[[T], R], items: Sequence[T], threads: int = _THREADS) -> list[R]:
    """Results of `work` over `items`, in order, by threads: for requests that wait on S3."""
    if len(items) < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(max_workers=min(threads, len(items))) as pool:
        return list(pool.map(work, items))


def parse_uri(uri: str) -> tuple[str, date, str]:
    """(artefact, partition, run) of `.../<artefact>/dt=<day>[/run=<id>]`; run "" is the current one."""
    pieces = uri.split("/")
    index = next((i for i, piece in enumerate(pieces) if piece.startswith("dt=")), None)
    if index is None or index == 0:
        raise ValueError(f"{uri}: not an artefact; expected .../<artefact>/dt=YYYY-MM-DD[/run=<id>]")
    run = next((piece[4:] for piece in pieces[index:] if piece.startswith("run=")), "")
    return pieces[index - 1], date.fromisoformat(pieces[index][3:]), run


__all__ = [
    "Manifest", "ObjectStore", "Parent", "Provenance", "S3Location", "Store", "parallel", "parse_uri", "sha256",
]  # fmt: skip
