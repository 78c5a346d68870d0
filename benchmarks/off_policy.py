"""Off-policy values beside the Open Bandit Pipeline's, on the same logs: errors relative to the truth, and seconds.

    python -m benchmarks.off_policy --peer PEER/bin/python [--worlds synthetic digits open_bandit] [--runs 20]
        [--first 0] [--cache DIR] [--json FILE]

The peer has an environment of its own, never the project's (0.5.5 is the last with the reward function that the published
tables were made with; 0.4.1 has no tuned estimators, and 0.5.7 no longer standardises its logits):

    python3 -m venv PEER
    PEER/bin/pip install torch==2.13.0 numpy==1.26.4 pandas==1.5.3 scikit-learn==1.1.3 'scipy<1.12' matplotlib seaborn \
        tqdm pyyaml mypy_extensions pyieoe
    PEER/bin/pip install --no-deps --ignore-requires-python obp==0.5.5

benchmarks/off_policy_peer.py runs there, draws the logs with the peer's own classes and the settings of its examples, and
keeps its estimates. synthetic: 10,000 rounds, 30 actions, beta -3. digits: classification as a bandit, 1,258 rounds, 10
actions. open_bandit: the sample inside the peer's package, random log, Thompson sampling judged, 30 resamples of one
log; its "truth" is the mean of 42 clicks in 10,000 rows, known to +-15% itself, so errors below that say nothing.

Lines: the peer's own; `same q` ours with the peer's expected rewards (equal to the last digits where the formula is the
same); `true q` doubly robust with the very chances that rewards were drawn with, which nobody has: what is left is the luck
of the draw; `ours` with our cross-fitted ones. The product's default, settled before these logs were looked at (on other seeds,
--first 1000), is calibrated_dr with cross_fitted. Views: mean of |V - truth| / |truth| over runs, its spread, and the root
of the mean square; then the default against the peer's best line, run by run.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from mktgen.evaluation.off_policy.estimate import ESTIMATORS
from mktgen.evaluation.off_policy.logged import Floats, Logged
from mktgen.evaluation.off_policy.reward_model import cross_fitted

RUNS: Final = {"synthetic": 20, "digits": 30, "open_bandit": 30}  # as published
GOALS: Final = {"synthetic": 0.0055, "digits": 0.014}
PUBLISHED: Final = {
    "synthetic": {"dm": 0.0744, "ipw": 0.0095, "snipw": 0.0067, "dr": 0.0062, "sndr": 0.0061, "switch-dr": 0.0062,
                  "dr-os": 0.0220},
    "digits": {"dm": 0.437, "ipw": 0.0303, "snipw": 0.0228, "dr": 0.0162, "sndr": 0.0221, "switch-dr": 0.0347,
               "dr-os": 0.0159},
    "open_bandit": {"dm": 0.157, "ipw": 0.311, "snipw": 0.312, "dr": 0.292, "sndr": 0.302, "switch-dr": 0.258,
                    "dr-os": 0.160},
}  # fmt: skip
SAME: Final = {"dm": "dm", "ipw": "ips", "snipw": "snips", "dr": "dr", "sndr": "sndr"}
DEFAULT: Final = "ours calibrated_dr"
FLOORS: Final = ("dr", "sndr")
SEED: Final = 0


@dataclass
class Outcome:
    """Signed relative errors by line [runs], seconds by side, and the largest gap between equal formulas."""

    errors: dict[str, list[float]] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    largest_gap: float = 0.0
    version: str = ""

    def add(self, line: str, value: float, truth: float) -> None:
        self.errors.setdefault(line, []).append((value - truth) / abs(truth))


def drawn(peer: Path, world: str, runs: int, first: int, cache: Path) -> list[Path]:
    """Paths of the peer's logs; drawn in its environment where they are not in `cache` yet."""
    paths = [cache / f"{world}-{run:05d}.npz" for run in range(first, first + runs)]
    if not all(path.exists() for path in paths):
        script = Path(__file__).parent / "off_policy_peer.py"
        asked = ["--world", world, "--runs", str(runs), "--first", str(first), "--out", str(cache)]
        subprocess.run([str(peer), str(script), *asked], check=True)
    return paths


def judged(paths: list[Path]) -> Outcome:
    found = Outcome()
    for path in paths:
        with np.load(path) as stored:
            _judge(dict(stored), found)
    return found


def _judge(stored: Mapping[str, Any], found: Outcome) -> None:
    truth, peers = float(stored["truth"]), dict(zip(stored["peer_names"], stored["peer_values"], strict=True))
    found.version = str(stored["peer_version"])
    for name, value in peers.items():
        found.add(f"peer {name}", float(value), truth)
    log = Logged(stored["action"], stored["reward"], stored["propensity"], stored["policy"], stored["q_hat"])
    for theirs, ours in SAME.items():
        found.largest_gap = max(found.largest_gap, abs(ESTIMATORS[ours](log).value - float(peers[theirs])))
    found.add("same q calibrated_dr", ESTIMATORS["calibrated_dr"](log).value, truth)
    if len(expected := stored.get("expected", ())):
        knowing = Logged(log.action, log.reward, log.propensity, log.policy, expected)
        for name in FLOORS:
            found.add(f"true q {name}", ESTIMATORS[name](knowing).value, truth)
    started = time.perf_counter()
    own = Logged(log.action, log.reward, log.propensity, log.policy, cross_fitted(log, context_of(stored), seed=SEED))
    model = time.perf_counter() - started
    for name in ESTIMATORS:
        started = time.perf_counter()
        found.add(f"ours {name}", ESTIMATORS[name](own).value, truth)
        found.seconds.setdefault(f"ours {name}", []).append(time.perf_counter() - started)
    found.seconds.setdefault("ours, reward model", []).append(model)
    found.seconds.setdefault("peer, reward model", []).append(float(stored["peer_model_seconds"]))
    for name, seconds in zip(stored["peer_names"], stored["peer_seconds"], strict=True):
        found.seconds.setdefault(f"peer {name}", []).append(float(seconds))


def context_of(stored: Mapping[str, Any]) -> Floats:
    """[n, d] context, with the position on the page where there are several."""
    context, position = stored["context"], stored["position"]
    return np.column_stack([context, np.eye(position.max() + 1)[position]]) if position.any() else context


def show(world: str, found: Outcome) -> dict[str, Any]:
    runs = len(next(iter(found.errors.values())))
    print(f"\n{world}: {runs} runs, peer {found.version}; relative error of the value")
    print(f"{'line':24s} {'mean':>8s} {'spread':>8s} {'rms':>8s} {'bias':>9s} {'published':>10s}")
    views = {}
    for line, errors in found.errors.items():
        size = np.abs(errors)
        views[line] = {"mean": float(size.mean()), "spread": float(size.std(ddof=1)) if runs > 1 else math.nan,
                       "rms": float(np.sqrt(np.mean(np.square(errors)))), "bias": float(np.mean(errors))}  # fmt: skip
        published = PUBLISHED[world].get(line.removeprefix("peer "), None) if line.startswith("peer") else None
        row = " ".join(f"{views[line][view]:8.4f}" for view in ("mean", "spread", "rms"))
        print(f"{line:24s} {row} {views[line]['bias']:+9.4f} {f'{published:.4f}' if published else '':>10s}")
    best = min((line for line in views if line.startswith("peer")), key=lambda line: views[line]["mean"])
    closer = np.abs(found.errors[DEFAULT]) - np.abs(found.errors[best])
    half = 1.96 * float(closer.std(ddof=1)) / math.sqrt(runs) if runs > 1 else math.nan
    ratio = views[DEFAULT]["mean"] / views[best]["mean"]
    print(f"default {DEFAULT} {views[DEFAULT]['mean']:.4f}; the peer's best line, chosen after the fact, {best} "
          f"{views[best]['mean']:.4f}: ratio {ratio:.2f}; run by run {closer.mean():+.4f} +- {half:.4f}, nearer in "
          f"{int((closer < 0).sum())} of {runs}")  # fmt: skip
    if world in GOALS:
        print(f"goal {GOALS[world]}: {'met' if views[DEFAULT]['mean'] <= GOALS[world] else 'missed'}")
    print(f"same formulas, same expected rewards: largest gap of values {found.largest_gap:.1e}")
    seconds = {name: float(np.median(taken)) for name, taken in found.seconds.items()}
    print("seconds, medians of a run: " + ", ".join(f"{name} {taken:.4f}" for name, taken in seconds.items()))
    for ours, theirs in (
        ("ours, reward model", "peer, reward model"),
        ("ours dr", "peer dr"),
        ("ours dros", "peer dr-os"),
    ):
        print(f"  {ours} / {theirs}: {seconds[ours] / seconds[theirs]:.2f}")
    return {"views": views, "seconds": seconds, "ratio_to_best_peer": ratio, **asdict(found)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, required=True, help="python of the peer's environment")
    parser.add_argument("--worlds", nargs="+", choices=sorted(RUNS), default=list(RUNS))
    parser.add_argument("--runs", type=int, help="as published where not given")
    parser.add_argument("--first", type=int, default=0, help="seed of the first run; published: 0")
    parser.add_argument("--cache", type=Path, help="keep the peer's logs here, and take those that are there")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    if not asked.peer.exists():
        raise SystemExit(f"no {asked.peer}: make the peer's environment as the docstring says")
    told = {}
    with tempfile.TemporaryDirectory() as scratch:
        cache = asked.cache or Path(scratch)
        for world in asked.worlds:
            runs = asked.runs or RUNS[world]
            told[world] = show(world, judged(drawn(asked.peer, world, runs, asked.first, cache)))
    if asked.json:
        asked.json.write_text(json.dumps(told, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
