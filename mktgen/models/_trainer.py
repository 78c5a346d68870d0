"""The training loop of the neural kinds: epochs of batches, checkpoints, exact resumption, one or many processes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Final, Self

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from mktgen.models._batch import Batch, Scene, collate
from mktgen.models._checkpoint import Envelope, Progress, pack, read_progress, restore
from mktgen.models._network import BehaviourNetwork, purchase_loss, rank_loss
from mktgen.models._processes import Processes
from mktgen.models._states import batches
from mktgen.models.base import Checkpoints, Session
from mktgen.settings import TransformerSettings

_WARM_UP: Final = 0.05  # share of the steps in which the learning rate rises
_CLIP: Final = 1.0
_SPEAK_EVERY: Final = 15.0  # seconds between progress lines within an epoch
_PARTS: Final = 10  # points of the learning curves per epoch: one epoch is often enough, and one point is no curve


@dataclass(frozen=True)
class Plan:
    """How to train; `identity` says which training this is (data, settings, seed, processes)."""

    epochs: int
    batch_windows: int
    learning_rate: float
    weight_decay: float
    purchase_weight: float
    checkpoint_every: int
    identity: str

    @classmethod
    def of(cls, recipe: TransformerSettings, checkpoint_every: int, identity: str) -> Self:
        return cls(
            epochs=recipe.epochs,
            batch_windows=recipe.batch_customers,
            learning_rate=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            purchase_weight=recipe.purchase_weight,
            checkpoint_every=checkpoint_every,
            identity=identity,
        )


class Trainer:
    """One training of one network over one scene."""

    def __init__(self, network: BehaviourNetwork, scene: Scene, plan: Plan, session: Session, group: Processes) -> None:
        self.network, self.scene, self.plan, self.session, self.group = network, scene, plan, session, group
        network.to(group.device)
        self.optimiser = torch.optim.AdamW(
            network.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay, betas=(0.9, 0.98)
        )
        self.steps_per_epoch = len(batches(scene.windows, plan.batch_windows, session.seed, 0))
        self.progress = self._resume()
        # DDP's own order of buckets is fixed after the first step, so sums over processes are the same every time.
        self.module: nn.Module = DistributedDataParallel(network) if group.size > 1 else network

    def _resume(self) -> Progress:
        checkpoints: Checkpoints = self.session.checkpoints
        files = checkpoints.load() if self.group.leads else None
        content = self.group.share(Envelope(files).to_bytes() if files else None)
        progress = read_progress(Envelope.from_bytes(content).files, self.plan.identity) if content else None
        if content is None or progress is None:
            if content is not None:
                self._say("the checkpoint is of another training (data, settings or processes differ): starting anew")
            return Progress(self.plan.identity)
        restore(Envelope.from_bytes(content).files, self.network, self.optimiser)
        self._say(f"resuming at epoch {progress.epoch + 1}, step {progress.step}")
        return progress

    def run(self) -> Progress:
        """Train to the end. Afterwards every process holds the same weights."""
        self.network.train()
        while self.progress.epoch < self.plan.epochs:
            self._epoch()
        self.network.eval()
        return self.progress

    def _epoch(self) -> None:
        progress = self.progress
        order = batches(self.scene.windows, self.plan.batch_windows, self.session.seed, progress.epoch)
        spoken = perf_counter()
        started = spoken - progress.seconds
        while progress.step < len(order):
            chosen = order[progress.step]
            mine = chosen[self.group.rank :: self.group.size]
            # A last batch smaller than the group is trained on by all alike rather than by some on nothing.
            batch = collate(self.scene, mine if chosen.size >= self.group.size else chosen).to(self.group.device)
            self._step(batch)
            progress.step += 1
            progress.seconds = perf_counter() - started
            if perf_counter() - spoken > _SPEAK_EVERY:
                self._report(len(order))
                spoken = perf_counter()
            if progress.step == len(order):
                self._report(len(order))
            if progress.step * _PARTS // len(order) > (progress.step - 1) * _PARTS // len(order):
                self._close_part()
                started = perf_counter()
            if progress.step % self.plan.checkpoint_every == 0 and progress.step < len(order):
                self._save()
        progress.epoch, progress.step = progress.epoch + 1, 0
        self._save()

    def _step(self, batch: Batch) -> None:
        progress, plan = self.progress, self.plan
        number = progress.epoch * self.steps_per_epoch + progress.step
        for group in self.optimiser.param_groups:
            group["lr"] = plan.learning_rate * _schedule(number, plan.epochs * self.steps_per_epoch)
        torch.manual_seed(self.session.seed * 1_000_003 + number * 1_009 + self.group.rank)
        cuda = self.group.device.type == "cuda"
        with torch.autocast(self.group.device.type, torch.bfloat16, enabled=cuda):
            outputs = self.module(batch)
        ranking, purchase = rank_loss(outputs, batch), purchase_loss(outputs, batch)
        facts = self.group.total(
            torch.tensor(
                [float(batch.ranked), float(batch.labelled.sum()), float(batch.events), *_values(ranking, purchase)],
                dtype=torch.float64,
                device=self.group.device,
            )
        ).tolist()
        ranked, labelled = max(facts[0], 1.0), max(facts[1], 1.0)
        # DDP averages over processes; each loss is a mean over the states of all of them.
        loss = self.group.size * (ranking / ranked + plan.purchase_weight * purchase / labelled)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), _CLIP)
        self.optimiser.step()
        values = {"ranked": facts[0], "labelled": facts[1], "events": facts[2], "ranking": facts[3]}
        values |= {"purchase": facts[4], "norm": float(norm), "steps": 1.0}
        for name, value in values.items():
            progress.sums[name] = progress.sums.get(name, 0.0) + value

    def _close_part(self) -> None:
        """A point of each curve: means since the one before."""
        progress, sums = self.progress, self.progress.sums
        values = {
            "loss_ranking": sums["ranking"] / max(sums["ranked"], 1.0),
            "loss_purchase": sums["purchase"] / max(sums["labelled"], 1.0),
            "gradient_norm": sums["norm"] / sums["steps"],
        }
        for name, value in values.items():
            progress.curves.setdefault(name, []).append(value)
        progress.speeds.append(sums["events"] / max(progress.seconds, 1e-9))
        progress.sums, progress.seconds = {}, 0.0

    def _save(self) -> None:
        if self.group.leads:
            self.session.checkpoints.save(pack(self.network, self.optimiser, self.progress))

    def _report(self, steps: int) -> None:
        progress, sums = self.progress, self.progress.sums
        if not sums:
            return
        left = (self.plan.epochs - progress.epoch) * steps - progress.step
        self._say(
            f"epoch {progress.epoch + 1}/{self.plan.epochs} step {progress.step}/{steps} "
            f"ranking {sums['ranking'] / max(sums['ranked'], 1.0):.3f} "
            f"purchase {sums['purchase'] / max(sums['labelled'], 1.0):.4f} "
            f"{sums['events'] / max(progress.seconds, 1e-9):,.0f} events/s, "
            f"{left * progress.seconds / sums['steps']:.0f} s left"
        )

    def _say(self, line: str) -> None:
        speak: Callable[[str], None] = self.session.progress
        if self.group.leads:
            speak(line)


def _schedule(step: int, steps: int) -> float:
    """Linear warm-up, then half a cosine down to a twentieth."""
    warm = max(1.0, _WARM_UP * steps)
    if step < warm:
        return (step + 1) / warm
    return 0.05 + 0.475 * (1.0 + math.cos(math.pi * (step - warm) / max(1.0, steps - warm)))


def _values(*losses: Tensor) -> list[float]:
    return [float(loss.detach()) for loss in losses]
