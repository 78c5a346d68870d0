from tests.support.mlflow_server import mlflow_uri

__all__ = ["mlflow_uri"]
