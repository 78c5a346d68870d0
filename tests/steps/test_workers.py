"""Kinds are shared out between processes: each once, about evenly; a process that ends badly is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mktgen import models
from mktgen.config import environment
from mktgen.errors import TransientError
from mktgen.steps.workers import run_workers, shared_out

KEYS = {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none", "MKTGEN_PSEUDONYM_KEY": "none"}


@settings(deadline=None)  # the first example imports the kinds
@given(st.lists(st.sampled_from(models.kinds()), unique=True), st.integers(1, 4))
def test_every_kind_is_learnt_once_and_shares_are_even(kinds: list[str], at_once: int) -> None:
    shares = shared_out(kinds, at_once)
    assert sorted(kind for share in shares for kind in share) == sorted(kinds)
    assert all(shares)
    assert len(shares) == min(at_once, len(kinds))
    efforts = [models.model_class(kind).effort for kind in kinds]
    loads = [sum(models.model_class(kind).effort for kind in share) for share in shares]
    assert max(loads, default=0.0) <= sum(efforts) / at_once + max(efforts, default=0.0)
    assert shared_out(kinds[::-1], at_once) == shares


def test_a_process_that_ends_badly_is_named_with_its_last_words(tmp_path: Path) -> None:
    places = environment({**KEYS, "MKTGEN_TRAIN_AT_ONCE": "2"})
    with pytest.raises(
        TransientError, match=r"that learns (popularity|item_knn) ended with status 1 .*resumes"
    ) as found:
        run_workers(tmp_path, ["popularity", "item_knn"], places)
    assert str(tmp_path) not in str(found.value).split("(last line")[0]


def test_nothing_to_learn_is_nothing(tmp_path: Path) -> None:
    run_workers(tmp_path, [], environment(KEYS))
