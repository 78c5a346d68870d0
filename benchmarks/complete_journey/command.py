"""What the commands of the Complete Journey benchmarks ask for alike."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.complete_journey.product import Retrain


def arguments(about: str | None, retrain: Retrain, kinds: str = "kinds of mktgen.models") -> argparse.ArgumentParser:
    """`about`: the module's text; `retrain`: what is done where nothing is said."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="folder for the canonical tables (160 MB)")
    parser.add_argument("--model", nargs="*", default=[], help=kinds)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--retrain", choices=("each-cut", "once"), default=retrain)
    parser.add_argument("--settings", nargs="*", default=[], help="overlays of the settings, for the models")
    parser.add_argument("--json", type=Path)
    return parser
