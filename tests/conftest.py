"""Fixtures that all tests may use: real servers, started once per test process."""

from tests.support.mlflow_server import mlflow_uri
from tests.support.s3_server import object_store, s3_server

__all__ = ["mlflow_uri", "object_store", "s3_server"]
