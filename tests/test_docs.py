"""What the documents show and name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_and_pictures_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_gates_that_an_analyst_reads_about_exist() -> None:
    section = (ROOT / "docs" / "operating.md").read_text().split("## Read a failed gate")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    code = "".join(path.read_text() for path in (ROOT / "mktgen" / "evaluation").rglob("*.py"))
    assert len(named) > 8
    assert [name for name in named if f'"{name}"' not in code] == []
