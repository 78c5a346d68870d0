"""SIMULATED: the small model's drafts before and after preference tuning, by their true click rate on held-out segments.

    python -m benchmarks.copy_tuning [--seed 0] [--waves 6] [--copies 3] [--steps 80] [--preference-steps 24] [--drafts 20]

Clicks of some waves (benchmarks/copy_learning.py) make pairs, from segments that are not held out. One adapter is taught by the
template bank; the same adapter then learns the pairs. Both are asked for as many e-mails in each tone; what the verifier lets
pass is told by the market's truth to customers of the held-out segments. Printed: verified of asked, share that the bank could
have written, true click rate, and the gain that the product's judge expects (posterior of the held-out segments alone).
Drafts are kept beside each other in the folder --out, as JSON lines.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.copy_learning import KNOWN, SEGMENTS, WORDS, learned, true_rate, waves
from mktgen.copywriting.lessons import Lesson, Pair, lessons, pairs, verbatim_share
from mktgen.copywriting.llm import Embedded
from mktgen.copywriting.phrasing import Budget, faults
from mktgen.copywriting.preference_fit import fit
from mktgen.copywriting.preference_use import expected_gain, held_out, preference_pairs, split
from mktgen.copywriting.request import Request
from mktgen.copywriting.tuning import ADAPTER, Tuner
from mktgen.copywriting.wording import Wording
from mktgen.market_sim.scenario import load
from mktgen.settings.words import TuningSettings


@dataclass
class Kept:
    """Checkpoints of one training in memory, by step."""

    by_step: dict[int, bytes] = field(default_factory=dict)

    def load(self) -> dict[str, bytes] | None:
        return None

    def save(self, files: dict[str, bytes]) -> None:
        self.by_step[int(json.loads(files["progress.json"])["step"])] = files[ADAPTER]


def trained(tuning: TuningSettings, told: list[list[Lesson]], known: list[Pair], seed: int, out: Path) -> list[Path]:
    """GGUF files of the adapter before and after it learned the pairs."""
    tuner, kept = Tuner(tuning, seed, tuning.threads), Kept()
    tuner.learn(told, known, kept, lambda line: print(line, flush=True))
    files = []
    for name, step in (("before", len(told)), ("after", max(kept.by_step))):
        tuner.take(kept.by_step[step])
        files.append(out / f"{name}.gguf")
        files[-1].write_bytes(tuner.gguf())
    return files


def written(adapter: Path, count: int) -> tuple[int, list[Wording]]:
    """How many answers were asked for, and those that the verifier lets pass."""
    model, budget, passed, asked = Embedded(adapter, adapter.name), Budget(), [], 0
    for tone in sorted({SEGMENTS[name] for name in SEGMENTS if held_out(name, WORDS.held_out_share)}):
        request = Request.of("email", "en", tone, KNOWN)
        for seed in range(count):
            asked += 1
            reply = model.write(request, seed, budget.answer_tokens, budget.answer_seconds)
            draft = request.parse(reply.text) if reply.text is not None else None
            if draft is not None and not faults(draft, request):
                passed.append(draft)
    model.close()
    return asked, passed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--waves", type=int, default=6)
    parser.add_argument("--copies", type=int, default=3)
    parser.add_argument("--steps", type=int, default=80, help="a multiple of 10")
    parser.add_argument("--preference-steps", type=int, default=24)
    parser.add_argument("--drafts", type=int, default=20, help="answers asked for in each tone")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    scenario = load("strong")
    run = waves(scenario, arguments.copies, arguments.waves)
    _, past = learned(run, scenario, arguments.seed)
    teaching, apart = split(past, WORDS.held_out_share)
    found = preference_pairs(fit(teaching, WORDS.min_clicks), teaching, WORDS.sure_from, arguments.seed)
    judge = fit(apart, WORDS.min_clicks)
    tuning = TuningSettings(steps=arguments.steps, preference_steps=arguments.preference_steps, checkpoint_every=10)
    told = lessons("en", tuning.steps, tuning.prompts, tuning.answers, arguments.seed)
    known, _ = pairs(found, "en")
    print(f"SIMULATED: {found.height} pairs, {len(known)} to learn from, of {past['clicks'].sum()} clicks", flush=True)
    begun = time.monotonic()
    files = trained(tuning, told, known, arguments.seed, arguments.out)
    print(f"trained in {time.monotonic() - begun:.0f} s", flush=True)
    sides = []
    for file in files:
        asked, passed = written(file, arguments.drafts)
        rows = [
            {name: getattr(one, name) for name in ("form", "language", "tone", "subject", "body")} for one in passed
        ]
        file.with_suffix(".jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        rate = true_rate(run[-1], passed, scenario) if passed else 0.0
        print(
            f"{file.stem}: {len(passed)} of {asked} verified, {verbatim_share(passed):.0%} verbatim, {rate:.2%} clicked"
        )
        sides.append(passed)
    gain = expected_gain(judge, sides[1], sides[0], arguments.seed)
    if gain is not None:
        print(f"gain expected by the held-out posterior {gain.value:.2%} ({gain.low:.2%} to {gain.high:.2%})")


if __name__ == "__main__":
    main()
