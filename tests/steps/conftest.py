"""A platform on a real S3, with the settings a test asks for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mktgen.config import Environment
from mktgen.settings import Settings
from mktgen.steps.runner import Platform
from mktgen.store import ObjectStore

PlatformOf = Callable[..., Platform]


@pytest.fixture
def platform_of(object_store: ObjectStore) -> PlatformOf:
    """platform_of(prefix="", source={...}, ...): a platform whose settings differ from the defaults as given."""

    def make(prefix: str = "", mlflow_uri: str = "", **sections: Any) -> Platform:
        return platform_on(object_store, prefix, mlflow_uri, **sections)

    return make


def platform_on(objects: ObjectStore, prefix: str = "", mlflow_uri: str = "", **sections: Any) -> Platform:
    """A platform on a store's place, with the settings given."""
    place = objects.location
    environment = Environment(
        s3_endpoint=place.endpoint,
        s3_bucket=place.bucket,
        s3_prefix=place.prefix + prefix,
        s3_region=place.region,
        mlflow_uri=mlflow_uri,
        pseudonym_key="a key of this test session, 32 ch.",
        train_processes=1,
        smtp_login=None,
        overlays=(),
    )
    return Platform(Settings.model_validate(sections), environment)


@pytest.fixture
def drop_dir(tmp_path: Path) -> Path:
    (tmp_path / "drop" / "transactions").mkdir(parents=True)
    return tmp_path / "drop"
