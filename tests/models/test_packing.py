"""What a packing takes along when it is moved, and what importing the backbone costs."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import torch

from mktgen.models._packing import Packing


def test_rectangles_are_laid_out_where_the_packing_is_and_only_when_asked_for() -> None:
    packing = Packing.of(np.array([9, 8, 3, 1]))
    moved = packing.to(torch.device("meta"))
    assert moved.layout is packing.layout
    assert {each.slots.device.type for each in moved.layout} == {"cpu"}
    assert {each.slots.device.type for each in moved.rectangles} == {"meta"}
    assert moved.rectangles is moved.rectangles
    assert [each.rows for each in packing.rectangles] == [17, 3, 1]


def test_the_backbone_does_not_import_the_compiler() -> None:
    """It would double the time that every process with a model needs to start."""
    code = "import sys, mktgen.models._backbone; sys.exit('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
