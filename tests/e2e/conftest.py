"""The parts for a whole module: started once, ended with it, nothing left running."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local.parts import Parts
from tests.e2e.instance import own_instance


@pytest.fixture(scope="module")
def instance(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    """A module's own instance. Its settings beyond the small ones: the module's SECTIONS, by section name."""
    home = tmp_path_factory.mktemp(request.module.__name__.rpartition(".")[2])
    with own_instance(home, **getattr(request.module, "SECTIONS", {})) as running:
        yield running
