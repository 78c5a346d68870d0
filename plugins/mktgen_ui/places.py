"""Where the pages' links lead."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Places:
    """airflow: its path on the same host, ends with "/"; "" where the pages stand alone, then nothing links there. mlflow: as
    this process reaches it; mlflow_public: as a browser does; "" where there is none."""

    airflow: str = ""
    mlflow: str = ""
    mlflow_public: str = ""
