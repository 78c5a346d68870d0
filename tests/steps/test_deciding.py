"""What the deciding steps read."""

from __future__ import annotations

from datetime import date, timedelta

from mktgen.documents import TrainingPlan
from mktgen.steps.deciding import allocate_reads, recent_sends
from mktgen.store import Provenance
from mktgen.strategy.mailings import AFFINITY_DAYS
from tests.steps.conftest import PlatformOf

DAY = date(2017, 10, 3)
NOBODY = Provenance("test", "r", "", "", 0, ())


def test_affinity_is_decided_on_the_lines_it_was_learned_on(platform_of: PlatformOf) -> None:
    """84 days of order lines, today included: sequences would hold less of a heavy buyer."""
    platform = platform_of()
    plan = TrainingPlan(
        partition=DAY, training_partition=DAY, evaluation_from=DAY, evaluation_to=DAY, reason="weekly schedule"
    )
    platform.store.write_document("training_plan", DAY, plan, NOBODY)
    lines = [read for read in allocate_reads(DAY, platform) if read.artefact == "order_lines"]
    assert [(read.days[0], read.days[-1], read.required) for read in lines] == [
        (DAY - timedelta(days=AFFINITY_DAYS - 1), DAY, True)
    ]


def test_a_contact_a_whole_cap_ago_is_out_of_the_window_as_in_the_ledger(platform_of: PlatformOf) -> None:
    platform = platform_of(strategy={"contact_cap_days": 7})
    for back in (0, 1, 6, 7):
        platform.objects.put(f"sends/dt={DAY - timedelta(days=back)}/_current.json", b"{}")
    assert recent_sends(DAY, platform).days == (DAY - timedelta(days=6), DAY - timedelta(days=1))
