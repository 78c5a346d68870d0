"""A training that is killed and resumed, or shared by several processes, ends where an undisturbed one does."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
import torch

from mktgen.models import model_class
from mktgen.models._checkpoint import PROGRESS, Envelope
from mktgen.models._neural import NeuralModel
from mktgen.models.base import FitReport, Session
from tests.models.train_process import CUT, SETTINGS
from tests.support.shop import make_shop
from tests.support.training import Lines, MemoryCheckpoints, session

SHOP = make_shop(customers=24, items=40, days=150)
KINDS = ("transformer", "lstm")


class KilledError(Exception):
    pass


@dataclass
class Fatal(MemoryCheckpoints):
    """Kills the training right after its `after`-th save; what was saved stays."""

    after: int = 1
    seen: list[int] = field(default_factory=list)

    def save(self, files: dict[str, bytes]) -> None:
        super().save(files)
        if self.saves == self.after:
            raise KilledError


def train(
    kind: str, directory: Path, checkpoints: MemoryCheckpoints, seed: int = 7
) -> tuple[dict[str, bytes], FitReport]:
    model = model_class(kind)()
    report = model.fit(SHOP.training_set(CUT, cuts=3), SETTINGS, Session(seed, checkpoints, Lines()))
    model.save(directory)
    return read(directory), report


def read(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


@pytest.mark.parametrize("kind", KINDS)
def test_resumes_exactly_after_a_death_at_any_checkpoint(kind: str, tmp_path: Path) -> None:
    undisturbed = MemoryCheckpoints()
    expected, report = train(kind, tmp_path / "whole", undisturbed)
    assert undisturbed.saves >= 6
    for after in range(1, undisturbed.saves + 1):
        checkpoints = Fatal(after=after)
        with pytest.raises(KilledError):
            train(kind, tmp_path / "never", checkpoints)
        resumed, again = train(kind, tmp_path / f"resumed{after}", MemoryCheckpoints(checkpoints.files))
        assert resumed == expected
        assert again.curves["loss_ranking"] == report.curves["loss_ranking"]
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_a_finished_training_is_not_repeated(kind: str, tmp_path: Path) -> None:
    checkpoints = MemoryCheckpoints()
    expected, _ = train(kind, tmp_path / "a", checkpoints)
    saves = checkpoints.saves
    again, _ = train(kind, tmp_path / "b", checkpoints)
    assert again == expected
    assert checkpoints.saves == saves


def test_a_checkpoint_of_another_training_is_left_aside(tmp_path: Path) -> None:
    foreign, fresh = MemoryCheckpoints(), MemoryCheckpoints()
    train("transformer", tmp_path / "other", foreign, seed=8)
    expected, _ = train("transformer", tmp_path / "fresh", fresh)
    lines = Lines()
    model = model_class("transformer")()
    model.fit(SHOP.training_set(CUT, cuts=3), SETTINGS, Session(7, MemoryCheckpoints(foreign.files), lines))
    model.save(tmp_path / "mixed")
    assert read(tmp_path / "mixed") == expected
    assert any("another training" in line for line in lines.lines)


def test_losses_fall_and_the_report_says_what_was_trained() -> None:
    lines = Lines()
    settings = SETTINGS.model_copy(
        update={"transformer": SETTINGS.transformer.model_copy(update={"epochs": 6, "learning_rate": 0.01})}
    )
    report = model_class("transformer")().fit(
        SHOP.training_set(CUT, cuts=3), settings, Session(7, session().checkpoints, lines)
    )
    epoch = len(report.curves["loss_ranking"]) // 6
    fall = {name: (sum(values[-epoch:]) - sum(values[:epoch])) / epoch for name, values in report.curves.items()}
    assert fall["loss_ranking"] < -0.05
    assert fall["loss_purchase"] < 0
    lengths = {len(values) for values in (*report.curves.values(), *report.speeds.values())}
    assert len(lengths) == 1
    assert lengths.pop() >= 6, "at least a point for each epoch"
    assert report.parameters["device"] in ("cpu", "cuda")
    assert report.parameters["threads"] == 1
    assert int(report.parameters["weights"]) > 1_000
    assert any("epoch 6/6" in line and "s left" in line for line in lines.lines)


def test_an_envelope_keeps_its_files() -> None:
    files = {"b": b"\x00\xff" * 5, "a": b"", "ä": b"x"}
    assert Envelope.from_bytes(Envelope(files).to_bytes()).files == files


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, *map(str, arguments)]


def test_kill_minus_nine_and_resume(tmp_path: Path) -> None:
    module = ("-m", "tests.models.train_process", "transformer")
    saved = tmp_path / "checkpoint"
    with subprocess.Popen(
        command(*module, saved, tmp_path / "killed", "--pause", "1"), stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        for _ in range(3):
            assert child.stdout.readline() == "saved\n"
            if child.poll() is None and _ == 2:
                child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed").exists()
    before = json.loads((saved / PROGRESS).read_bytes())
    assert (before["epoch"], before["step"]) != (0, 0)
    done = subprocess.run(
        command(*module, saved, tmp_path / "resumed"), capture_output=True, text=True, check=True, timeout=120
    )
    assert "resuming at epoch" in done.stdout
    expected, _ = train("transformer", tmp_path / "whole", MemoryCheckpoints())
    assert read(tmp_path / "resumed" / "rank0") == expected


@pytest.mark.parametrize("negatives", ["0", "8"], ids=["whole catalogue", "rows of a sample"])
def test_two_processes_agree_and_resume(negatives: str, tmp_path: Path) -> None:
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    module = ("-m", "tests.models.train_process", "transformer", tmp_path / "checkpoint")
    for run in ("first", "again"):
        subprocess.run(
            command(*launcher, *module, tmp_path / run, "--negatives", negatives),
            capture_output=True,
            text=True,
            check=True,
            timeout=180,
        )
    first = [read(tmp_path / "first" / f"rank{rank}") for rank in (0, 1)]
    assert first[0] == first[1]
    assert read(tmp_path / "again" / "rank1") == first[0]


def test_sharded_processes_take_equally_many_micro_batches_of_an_odd_step(tmp_path: Path) -> None:
    """Three windows on two processes in two micro-batches: one process has two of them, the other one. FSDP gathers the
    weights in every forward pass, so a pass more on one side would wait for ever."""
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    options = ("--sharding", "sharded", "--batch", "3", "--accumulate", "2")
    module = ("-m", "tests.models.train_process", "transformer", tmp_path / "checkpoint", tmp_path / "out", *options)
    subprocess.run(command(*launcher, *module), capture_output=True, text=True, check=True, timeout=180)
    first = [read(tmp_path / "out" / f"rank{rank}") for rank in (0, 1)]
    assert first[0] == first[1]


def test_the_newest_week_chooses_the_epoch_and_is_not_learned() -> None:
    """With a rate at which the loss of a week that was not learned soon rises, a patient training stops before its end."""
    data, lines = SHOP.training_set(CUT, cuts=6), Lines()
    recipe = SETTINGS.transformer.model_copy(update={"epochs": 12, "learning_rate": 0.1, "patience": 1, "average": 0.0})
    report = model_class("transformer")().fit(
        data, SETTINGS.model_copy(update={"transformer": recipe}), Session(7, session().checkpoints, lines)
    )
    judged = report.curves["judgement"]
    assert 2 <= len(judged) < 12
    assert judged[-1] < max(judged)
    assert judged.index(max(judged)) == len(judged) - 2, "stopped one epoch after the best"
    whole = model_class("transformer")().fit(data, SETTINGS, session())
    assert report.metrics["states"] < whole.metrics["states"]


def test_what_the_newest_week_holds_changes_no_learned_weight() -> None:
    """Other purchases in its place are judged differently, and the weights of the epoch are the same."""
    recipe = SETTINGS.transformer.model_copy(update={"epochs": 1, "patience": 1})
    settings = SETTINGS.model_copy(update={"transformer": recipe})
    data = SHOP.training_set(CUT, cuts=6)
    newest = pl.col("business_date") >= CUT - timedelta(days=7)
    goods = ("item_id", "category")
    other = data.events.with_columns(pl.when(newest).then(pl.col(name).shuffle(1)).otherwise(name) for name in goods)
    weights, judgements = [], []
    for events in (data.events, other):
        model = model_class("transformer")()
        report = model.fit(replace(data, events=events), settings, session())
        assert isinstance(model, NeuralModel)
        weights.append(dict(model._trained.network.named_parameters()))
        judgements.append(report.curves["judgement"])
    assert not data.events.equals(other)
    assert judgements[0] != judgements[1]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
