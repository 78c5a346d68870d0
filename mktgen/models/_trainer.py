"""The training loop of all networks: epochs of steps, checkpoints, exact resumption, one or many processes.

A `Course` says what a step consists of, a `Learner` turns a batch into sums of losses; neither knows of processes, precision
or checkpoints. Each loss is a mean over all that a step holds, on all processes and in all its micro-batches, so the same
steps are taken however they are split.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Final, Generic, Literal, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from mktgen.models._ahead import made_ahead
from mktgen.models._checkpoint import Envelope, Progress, copy_of, fill, pack, read_progress, restore
from mktgen.models._events import Ints
from mktgen.models._optimiser import Optimiser
from mktgen.models._processes import Processes, matrix_rate
from mktgen.models._sharding import local, sharded, whole
from mktgen.models._tally import Tally
from mktgen.models.base import Checkpoints, Session

_WARM_UP: Final = 0.05  # share of the steps in which the learning rate rises
_CLIP: Final = 1.0
_SPEAK_EVERY: Final = 15.0  # seconds between progress lines within an epoch
_PARTS: Final = 10  # points of the learning curves per epoch: one epoch is often enough, and one point is no curve
_BAR: Final = 20  # characters
_AHEAD: Final = 2  # steps whose batches are made while the device works


class Lesson(Protocol):
    """A batch. counts: what each loss is a mean over. events: rows learned from, for the speed."""

    @property
    def counts(self) -> Mapping[str, float]: ...
    @property
    def events(self) -> int: ...
    def to(self, device: torch.device) -> Any: ...


LessonT = TypeVar("LessonT", bound=Lesson)
Lesson_co = TypeVar("Lesson_co", bound=Lesson, covariant=True)


class Course(Protocol, Generic[Lesson_co]):
    """What is to be learned. Both are functions of their arguments alone."""

    def order(self, epoch: int) -> list[Ints]:
        """The parts of the data that each step of an epoch consists of."""

    def lesson(self, chosen: Ints, draw: tuple[int, ...]) -> Lesson_co:
        """The batch of these parts; draw: seeds of what is random in it."""


class Learner(nn.Module):
    """A network with its losses. `forward(batch)`: name -> sum of that loss over the batch."""

    def flops(self, batch: Any) -> float:
        """Floating-point operations of a training step on this batch: matrix products, none of them twice because it is
        computed again."""
        raise TypeError(f"{type(self).__name__} doesn't count its operations")


@dataclass(frozen=True)
class Plan:
    """How to train; `identity` says which training this is (data, settings, seed, processes).

    parts: weight of each loss. accumulate: micro-batches of a step. average: decay of the exponential mean of the weights
    that is kept in their place at the end, 0 = none. patience: epochs without a better judgement before stopping, 0 = run
    to the end. precision: of matrix products. sharding: whether each process holds all weights (DDP) or a part of them and
    of their moments (FSDP); alone, it makes no difference.
    """

    epochs: int
    learning_rate: float
    weight_decay: float
    checkpoint_every: int
    identity: str
    parts: Mapping[str, float] = field(default_factory=dict)
    accumulate: int = 1
    average: float = 0.0
    patience: int = 0
    precision: torch.dtype = torch.float32
    sharding: Literal["replicated", "sharded"] = "replicated"


@dataclass(frozen=True)
class _Step:
    """The micro-batches of a step, on the device. facts: [parts + 2], float64: counts of the parts, events and work."""

    batches: list[Any]
    facts: Tensor


class Trainer(Generic[LessonT]):
    """One training of one network. judge: higher is better, asked after each epoch of the weights that would be kept.

    `learner` gets the weights to be kept: when judged, and at the end. Where they are spread over processes, what learns
    is a copy of it (`trained`), and `learner` stays whole, in this machine's memory.
    """

    def __init__(
        self, learner: Learner, course: Course[LessonT], plan: Plan, session: Session, group: Processes,
        judge: Callable[[], float] | None = None,
    ) -> None:  # fmt: skip
        self.learner, self.course, self.plan, self.session, self.group = learner, course, plan, session, group
        self.judge = judge
        self.spread = plan.sharding == "sharded" and group.size > 1
        self.trained: Learner = sharded(learner, group) if self.spread else learner.to(group.device)
        self.optimiser = Optimiser(self.trained, plan.learning_rate, plan.weight_decay)
        self.steps_per_epoch = len(course.order(0))
        self.average = copy_of(self.trained, moving_names(self.trained)) if plan.average else None
        self.best: dict[str, Tensor] = {}
        self.progress = self._resume()
        self.names = sorted(plan.parts)
        self.weights = torch.tensor([plan.parts[n] for n in self.names], dtype=torch.float64, device=group.device)
        summed = [f"{kind}.{name}" for kind in ("loss", "count") for name in self.names]
        self.tally = Tally([*summed, "events", "work", "norm"], group.device, self.progress.sums)
        self.rate = matrix_rate(group.device, plan.precision)
        # DDP's own order of buckets is fixed after the first step, so sums over processes are the same every time.
        replicas = group.size > 1 and not self.spread
        self.module: nn.Module = DistributedDataParallel(learner) if replicas else self.trained

    def _resume(self) -> Progress:
        checkpoints: Checkpoints = self.session.checkpoints
        files = checkpoints.load() if self.group.leads else None
        content = self.group.share(Envelope(files).to_bytes() if files else None)
        progress = read_progress(Envelope.from_bytes(content).files, self.plan.identity) if content else None
        if content is None or progress is None:
            if content is not None:
                self._say("the checkpoint is of another training (data, settings or processes differ): starting anew")
            return Progress(self.plan.identity)
        self.best = restore(Envelope.from_bytes(content).files, self.trained, self.optimiser, self.average)
        self._say(f"resuming at epoch {progress.epoch + 1}, step {progress.step}")
        return progress

    def run(self) -> Progress:
        """Train to the end. Afterwards every process holds the same weights: the averaged or the best ones, if asked for."""
        self.trained.train()
        while self.progress.epoch < self.plan.epochs and not self.progress.stopped:
            self._epoch()
        self.learner.eval()
        if self.best:
            fill(self.learner.state_dict(), self.best)
        else:
            self._keep()
        return self.progress

    def _keep(self) -> None:
        """The averaged weights, or those trained, into `learner`."""
        if self.average is not None or self.spread:
            kept = self.trained.state_dict() | (self.average or {})
            fill(self.learner.state_dict(), {name: whole(value) for name, value in kept.items()})

    def _epoch(self) -> None:
        progress, order = self.progress, self.course.order(self.progress.epoch)
        spoken = perf_counter()
        started = spoken - progress.seconds
        first = progress.epoch * self.steps_per_epoch
        remaining = range(progress.step, len(order))
        for ready in made_ahead(lambda step: self._ready(order[step], first + step), remaining, _AHEAD):
            self._step(ready)
            progress.step += 1
            speaks = perf_counter() - spoken > _SPEAK_EVERY or progress.step == len(order)
            closes = progress.step * _PARTS // len(order) > (progress.step - 1) * _PARTS // len(order)
            saves = progress.step % self.plan.checkpoint_every == 0 and progress.step < len(order)
            if speaks or closes or saves:
                # A GPU may be steps behind: here it is waited for, and so before the time is taken.
                progress.sums = self.tally.read()
            progress.seconds = perf_counter() - started
            if speaks:
                self._report(len(order))
                spoken = perf_counter()
            if closes:
                self._close_part()
                started = perf_counter()
            if saves:
                self._save()
        progress.epoch, progress.step = progress.epoch + 1, 0
        if self.judge is not None:
            self._judge(self.judge)
        self._save()

    def _ready(self, chosen: Ints, number: int) -> _Step:
        """Made ahead by another thread, copies to the device included: each would wait for all that the device has to do."""
        lessons, device = self._micro(chosen, number), self.group.device
        counts = [sum(lesson.counts[name] for lesson in lessons) for name in self.names]
        batches = [lesson.to(device) for lesson in lessons]
        events, work = sum(lesson.events for lesson in lessons), sum(self.learner.flops(batch) for batch in batches)
        return _Step(batches, torch.tensor([*counts, events, work], dtype=torch.float64, device=device))

    def _micro(self, chosen: Ints, number: int) -> list[LessonT]:
        mine = chosen[self.group.rank :: self.group.size]
        # A last batch smaller than the group is trained on by all alike rather than by some on nothing.
        mine = mine if len(chosen) >= self.group.size else chosen
        # As many on every process: FSDP gathers weights in each forward pass, and one pass more would wait for ever.
        pieces = min(self.plan.accumulate, max(len(chosen) // self.group.size, 1))
        draw = (self.session.seed, number, self.group.rank)
        return [self.course.lesson(mine[i::pieces], (*draw, i)) for i in range(pieces)]

    def _step(self, ready: _Step) -> None:
        progress, plan, device = self.progress, self.plan, self.group.device
        number = progress.epoch * self.steps_per_epoch + progress.step
        torch.manual_seed(self.session.seed * 1_000_003 + number * 1_009 + self.group.rank)
        facts = self.group.total(ready.facts)
        counts, rest = facts[: len(self.names)], facts[len(self.names) :]
        # DDP and FSDP average over processes; each loss is a mean over what all of them hold.
        shares = (self.weights / counts.clamp(min=1.0)).unbind()
        self.optimiser.zero_grad()
        sums = torch.zeros_like(counts)
        for at, batch in enumerate(ready.batches):
            with self._together(last=at + 1 == len(ready.batches)):
                with torch.autocast(device.type, plan.precision, enabled=plan.precision != torch.float32):
                    found = self.module(batch)
                losses = [found[name] for name in self.names]
                total = sum(share.to(loss.dtype) * loss for share, loss in zip(shares, losses, strict=True))
                (self.group.size * total).backward()
            sums += torch.stack([loss.detach().double() for loss in losses])
        norm = self.optimiser.step(schedule(number, plan.epochs * self.steps_per_epoch), _CLIP)
        if self.average is not None:
            _follow(self.average, self.trained, min(plan.average, (number + 1) / (number + 10)))
        self.tally.add(self.group.total(sums), counts, rest, norm)

    def _together(self, last: bool) -> AbstractContextManager[None]:
        """Gradients are summed over processes once a step: with its last micro-batch."""
        if isinstance(self.module, DistributedDataParallel) and not last:
            waiting: AbstractContextManager[None] = self.module.no_sync()
            return waiting
        if self.spread:
            spread: Any = self.module
            spread.set_requires_gradient_sync(last)
        return nullcontext()

    def _judge(self, judge: Callable[[], float]) -> None:
        """Early stopping; rank 0's judgement counts for all."""
        kept = copy_of(self.learner)
        self._keep()
        self.learner.eval()
        own = judge() if self.group.leads else 0.0
        value = float(self.group.total(torch.tensor([own], dtype=torch.float64, device=self.group.device)))
        progress = self.progress
        progress.curves.setdefault("judgement", []).append(value)
        if value >= max(progress.curves["judgement"]):
            self.best = copy_of(self.learner)
        since = len(progress.curves["judgement"]) - 1 - _last_best(progress.curves["judgement"])
        progress.stopped = bool(self.plan.patience) and since >= self.plan.patience
        self._say(f"epoch {progress.epoch}: judged {value:.4f}, {since} epochs since the best")
        fill(self.learner.state_dict(), kept)
        self.trained.train()

    def _close_part(self) -> None:
        """A point of each curve: means since the one before."""
        progress, sums = self.progress, self.progress.sums
        for name in self.names:
            mean = sums[f"loss.{name}"] / max(sums[f"count.{name}"], 1.0)
            progress.curves.setdefault(f"loss_{name}", []).append(mean)
        progress.curves.setdefault("gradient_norm", []).append(sums["norm"] / sums["steps"])
        seconds = max(progress.seconds, 1e-9)
        progress.speeds.setdefault("events_per_second", []).append(sums["events"] / seconds)
        share = sums["work"] / seconds / (self.rate * self.group.size)
        progress.speeds.setdefault("share_of_matrix_rate", []).append(share)
        # What that is a share of: without it, two machines' shares can't be compared.
        progress.speeds.setdefault("matrix_rate_gflops", []).append(self.rate * self.group.size / 1e9)
        progress.sums, progress.seconds = {}, 0.0
        self.tally.clear()

    def _save(self) -> None:
        # Spread weights are gathered by all processes, whole ones packed by the one that saves them.
        if self.spread or self.group.leads:
            files = pack(self.trained, self.optimiser, self.progress, self.average, self.best)
            if self.group.leads:
                self.session.checkpoints.save(files)

    def _report(self, steps: int) -> None:
        progress, sums = self.progress, self.progress.sums
        if not sums:
            return
        done, all_steps = progress.epoch * steps + progress.step, self.plan.epochs * steps
        bar = "#" * (_BAR * done // all_steps)
        losses = " ".join(f"{name} {sums[f'loss.{name}'] / max(sums[f'count.{name}'], 1.0):.4f}" for name in self.names)
        self._say(
            f"[{bar:-<{_BAR}}] epoch {progress.epoch + 1}/{self.plan.epochs} step {progress.step}/{steps} {losses} "
            f"{sums['events'] / max(progress.seconds, 1e-9):,.0f} events/s, "
            f"{(all_steps - done) * progress.seconds / sums['steps']:.0f} s left"
        )

    def _say(self, line: str) -> None:
        speak: Callable[[str], None] = self.session.progress
        if self.group.leads:
            speak(line)


def moving_names(network: nn.Module) -> set[str]:
    """What an average of weights is taken of. Buffers stand still. Tables with gradients of rows are kept as they are: an
    average would read every row at every step, and Adagrad's steps shrink as an average's do."""
    by_row = [m for m in network.modules() if isinstance(m, nn.Embedding) and m.sparse]
    apart = {id(table) for module in by_row for table in module.parameters()}
    return {name for name, value in network.named_parameters() if id(value) not in apart}


def schedule(step: int, steps: int) -> float:
    """Linear warm-up, then half a cosine down to a twentieth."""
    warm = max(1.0, _WARM_UP * steps)
    if step < warm:
        return (step + 1) / warm
    return 0.05 + 0.475 * (1.0 + math.cos(math.pi * (step - warm) / max(1.0, steps - warm)))


@torch.no_grad()
def _follow(average: dict[str, Tensor], learner: nn.Module, decay: float) -> None:
    state = learner.state_dict()
    moving = [name for name in average if average[name].is_floating_point()]
    torch._foreach_lerp_([local(average[n]) for n in moving], [local(state[n]) for n in moving], 1.0 - decay)


def _last_best(values: list[float]) -> int:
    best = max(values)
    return max(index for index, value in enumerate(values) if value >= best)
