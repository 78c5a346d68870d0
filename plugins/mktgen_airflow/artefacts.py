"""The store, for the few places that show an artefact to a person. Imported late: it brings polars and boto3."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mktgen.store import Store


def open_store() -> Store:
    """The store that the environment names. Raises ConfigError naming the variable that is missing."""
    from mktgen.config import environment
    from mktgen.store import ObjectStore, S3Location, Store

    place = environment()
    return Store(ObjectStore(S3Location(place.s3_endpoint, place.s3_bucket, place.s3_prefix, place.s3_region)))
