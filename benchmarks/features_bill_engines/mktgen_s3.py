"""The product's onboarding as it is: artefacts, manifests and lineage on a SeaweedFS on loopback."""

from __future__ import annotations

import resource
import tempfile
from datetime import date
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.features_bill_engines.mktgen import KEY, comparable
from mktgen import config, pipeline
from mktgen.features.state import State
from mktgen.settings import Settings
from mktgen.steps.data import STATE
from mktgen.steps.runner import Platform
from tests.support.s3_server import serve


def run(first: date, last: date) -> dict[str, Any]:
    before = _children_cpu()
    with tempfile.TemporaryDirectory() as directory:
        with serve(Path(directory)) as server, patch.dict("os.environ", server.environment):
            places = {"MKTGEN_S3_ENDPOINT": server.endpoint, "MKTGEN_S3_BUCKET": server.bucket}
            environment = config.environment({**server.environment, **places, "MKTGEN_PSEUDONYM_KEY": KEY})
            platform = Platform(_settings(), environment)
            pipeline.onboard("complete_journey", first, last, platform=platform)
            tables = {name: platform.store.read_table(platform.store.need(name, last)) for name in STATE}
        # the server has ended: the kernel has added its seconds to this process's children
        server_cpu = _children_cpu() - before
    return {"tables": lambda: comparable(State(**tables), KEY), "server_cpu_s": server_cpu}


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _settings() -> Settings:
    settings = Settings()
    # all days stay in the state, so that the whole tables can be compared
    everything = settings.features.model_copy(update={"window_days": 400, "item_window_days": 400})
    return settings.model_copy(update={"features": everything})
