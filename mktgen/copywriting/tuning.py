"""The small model learns the shop's way of writing: a low-rank adapter, first by likelihood, then by preference.

Likelihood: the bank's wordings as answers to their prompts; the prompt itself is not learned. Preference: direct preference
optimisation with a likelihood term on the chosen answer, so that both don't become unlikely together:
    loss = -w [log sigmoid(beta ((c - c0) - (r - r0))) + likelihood_weight c / tokens]
with c, r the log-probabilities of the chosen and the rejected answer, c0, r0 those before preference learning, w the
pair's weight. Assumption: preferences follow Bradley and Terry's model. Fails where pairs contradict each other, or
differ in what the model can't tell apart; therefore judged on cells that are kept back (lessons.py).

Answers to one prompt stand in one row with it, so that it is computed once (_packing.py).

Sources: Hu et al., "LoRA", 2021. Rafailov et al., "Direct Preference Optimization", 2023. Pang et al., "Iterative Reasoning
Preference Optimization", 2024 (the likelihood term).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Protocol

import peft
import torch
import transformers
from safetensors.torch import load, save
from torch import Tensor

from mktgen.copywriting import _weights
from mktgen.copywriting._adapter_file import NAMES, to_gguf
from mktgen.copywriting._packing import pack
from mktgen.copywriting.lessons import Lesson, Pair
from mktgen.copywriting.llm import SYSTEM
from mktgen.settings.words import TuningSettings

WARM_UP: Final = 0.1  # of the steps of a phase
CLIP: Final = 1.0  # of the gradient's norm
JUDGED_AT_ONCE: Final = 8  # lessons or pairs
ADAPTER: Final = "adapter.safetensors"
_MOMENTS: Final = "moments.safetensors"
_PROGRESS: Final = "progress.json"
_PLACE: Final = re.compile(r"layers\.(\d+)\.\w+\.(\w+)\.lora_([AB])\.")


class Checkpoints(Protocol):
    """The newest state of one training."""

    def load(self) -> dict[str, bytes] | None: ...

    def save(self, files: dict[str, bytes]) -> None: ...


@dataclass
class Progress:
    """Where a training stands. identity: digest of all it learns from; a checkpoint of another training is not resumed.

    likelihood: by step, mean negative log-likelihood of a token (nats); preference: by step, the loss above, of the mean
    pair. before: log-probability of each pair's answers before preference learning.
    """

    identity: str
    step: int = 0
    likelihood: list[float] = field(default_factory=list)
    preference: list[float] = field(default_factory=list)
    before: list[tuple[float, float]] = field(default_factory=list)


class Tuner:
    """The model with an adapter. threads: of the processor; sums in floating point depend on their number.

    The same arguments give the same adapter on the same kind of machine. Raises PermanentError where the weights aren't there.
    """

    def __init__(self, settings: TuningSettings, seed: int, threads: int) -> None:
        path = _weights.weights()
        self._settings, self._threads = settings, threads
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        transformers.utils.logging.disable_progress_bar()
        lora = peft.LoraConfig(r=settings.rank, lora_alpha=settings.alpha, target_modules=list(NAMES), bias="none")
        with self._reproducible():
            torch.manual_seed(seed)
            self._tokens: Any = transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
            base = transformers.AutoModelForCausalLM.from_pretrained(
                path.parent, gguf_file=path.name, dtype=torch.float32, attn_implementation="sdpa"
            )
            with warnings.catch_warnings():
                # peft asks transformers in a way that it will drop.
                warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
                self._model: Any = peft.get_peft_model(base, lora).to(self._device)
        self._learned = {name: value for name, value in self._model.named_parameters() if value.requires_grad}
        self._beginning = self.adapter()

    def learn(
        self, lessons: list[list[Lesson]], pairs: list[Pair], checkpoints: Checkpoints, say: Callable[[str], None]
    ) -> Progress:
        """One step for each batch of lessons, then `preference_steps` over the pairs, from a fresh adapter.

        Goes on from the newest checkpoint of the same training, to the same result.
        """
        settings = self._settings
        told = json.dumps([settings.model_dump(), asdict_all(lessons), [asdict(pair) for pair in pairs]])
        progress = Progress(hashlib.sha256(told.encode()).hexdigest())
        batches = self._batches(pairs)
        with self._reproducible():
            progress, optimiser = self._resume(progress, checkpoints)
            total = len(lessons) + len(batches)
            while progress.step < total:
                at, first = progress.step, progress.step - len(lessons)
                if first == 0:
                    progress.before = self._log_probabilities(pairs)
                    optimiser = self._optimiser()
                if first < 0:
                    rate = settings.learning_rate * schedule(at, len(lessons))
                    progress.likelihood.append(self._step(optimiser, rate, self._likelihood(lessons[at])))
                else:
                    rate = settings.preference_rate * schedule(first, len(batches))
                    loss = self._preference(pairs, batches[first], progress.before)
                    progress.preference.append(self._step(optimiser, rate, loss))
                progress.step += 1
                if progress.step % settings.checkpoint_every == 0 or progress.step == total:
                    checkpoints.save(self._files(progress, optimiser))
                    say(f"step {progress.step} of {total}: loss {(progress.preference or progress.likelihood)[-1]:.3f}")
        return progress

    def margins(self, pairs: Sequence[Pair]) -> list[float]:
        """For each pair, by how many nats the chosen answer is likelier than the rejected one."""
        with self._reproducible():
            return [chosen - rejected for chosen, rejected in self._log_probabilities(pairs)]

    def likelihood(self, lessons: Sequence[Lesson]) -> float:
        """Mean negative log-likelihood (nats) of a token of the answers."""
        values = []
        with self._reproducible(), torch.no_grad():
            for low in range(0, len(lessons), JUDGED_AT_ONCE):
                values.append(self._token_log_probabilities(lessons[low : low + JUDGED_AT_ONCE])[0])
        return -float(torch.cat(values).mean())

    def adapter(self) -> bytes:
        """The adapter as safetensors."""
        return bytes(save({name: value.detach().cpu().contiguous() for name, value in sorted(self._learned.items())}))

    def take(self, adapter: bytes) -> None:
        """Go on with this adapter. Raises ValueError where it is of another shape."""
        values = load(adapter)
        shapes = {name: value.shape for name, value in self._learned.items()}
        if {name: value.shape for name, value in values.items()} != shapes:
            raise ValueError("this adapter has other matrices or another rank than copywriting.tuning says")
        with torch.no_grad():
            for name, value in values.items():
                self._learned[name].copy_(value)

    def gguf(self) -> bytes:
        """The adapter as llama.cpp reads it."""
        found = {}
        for name, value in self._learned.items():
            place = _PLACE.search(name)
            assert place is not None
            found[int(place[1]), place[2], place[3].lower()] = value.detach().cpu().numpy()
        return to_gguf(found, self._settings.alpha)

    # -- inside ---------------------------------------------------------------------------------------------------------
    def _tokenised(self, prompt: str, answers: Sequence[str]) -> tuple[list[int], list[list[int]]]:
        asked = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": prompt}]
        text = self._tokens.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
        said = self._tokens([f"{answer}<|im_end|>" for answer in answers], add_special_tokens=False)["input_ids"]
        return list(self._tokens(text, add_special_tokens=False)["input_ids"]), said

    def _token_log_probabilities(self, lessons: Sequence[Lesson]) -> tuple[Tensor, Tensor]:
        """Of every token of every answer: its log-probability, and which answer it is of."""
        row = pack([self._tokenised(lesson.prompt, lesson.answers) for lesson in lessons])
        ids, positions, seen, at, labels, answer = (
            torch.from_numpy(values).to(self._device)
            for values in (row.ids, row.positions, row.seen, row.at, row.labels, row.answer)
        )
        network = self._model.base_model.model
        hidden = network.model(
            input_ids=ids[None], position_ids=positions[None], attention_mask=seen[None, None], use_cache=False
        ).last_hidden_state[0]
        logits = network.lm_head(hidden[at])
        return -torch.nn.functional.cross_entropy(logits, labels, reduction="none"), answer

    def _likelihood(self, lessons: Sequence[Lesson]) -> Tensor:
        return -self._token_log_probabilities(lessons)[0].mean()

    def _answers(self, pairs: Sequence[Pair]) -> tuple[Tensor, Tensor]:
        """(pairs, 2) sums of log-probabilities of the chosen and the rejected answer; (pairs,) tokens of the chosen one."""
        values, answer = self._token_log_probabilities(
            [Lesson(pair.prompt, (pair.chosen, pair.rejected)) for pair in pairs]
        )
        belongs = torch.nn.functional.one_hot(answer, 2 * len(pairs)).to(values.dtype)
        return (values @ belongs).view(-1, 2), belongs.sum(dim=0).view(-1, 2)[:, 0]

    def _preference(self, pairs: Sequence[Pair], chosen: Sequence[int], before: list[tuple[float, float]]) -> Tensor:
        settings = self._settings
        said, tokens = self._answers([pairs[place] for place in chosen])
        reference = torch.tensor([before[place] for place in chosen], device=self._device)
        weights = torch.tensor([pairs[place].weight for place in chosen], device=self._device)
        gained = said - reference
        preferred = torch.nn.functional.logsigmoid(settings.beta * (gained[:, 0] - gained[:, 1]))
        likely = settings.likelihood_weight * said[:, 0] / tokens
        return -(weights * (preferred + likely)).sum() / weights.sum()

    def _log_probabilities(self, pairs: Sequence[Pair]) -> list[tuple[float, float]]:
        found: list[tuple[float, float]] = []
        with torch.no_grad():
            for low in range(0, len(pairs), JUDGED_AT_ONCE):
                said, _ = self._answers(pairs[low : low + JUDGED_AT_ONCE])
                found += [(chosen, rejected) for chosen, rejected in said.tolist()]
        return found

    def _batches(self, pairs: list[Pair]) -> list[list[int]]:
        """Places of the pairs of each preference step: they take turns."""
        settings, size = self._settings, min(self._settings.pairs, len(pairs))
        return [
            [(step * size + place) % len(pairs) for place in range(size)]
            for step in range(settings.preference_steps if pairs else 0)
        ]

    def _step(self, optimiser: torch.optim.Optimizer, rate: float, loss: Tensor) -> float:
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._learned.values(), CLIP)
        optimiser.step()
        return float(loss.detach())

    def _optimiser(self) -> torch.optim.AdamW:
        return torch.optim.AdamW(self._learned.values(), lr=0.0, weight_decay=0.0)

    # -- checkpoints ----------------------------------------------------------------------------------------------------
    def _files(self, progress: Progress, optimiser: torch.optim.AdamW) -> dict[str, bytes]:
        moments = {
            f"{name} {moment}": optimiser.state[value][moment].cpu()
            for name, value in self._learned.items()
            for moment in ("step", "exp_avg", "exp_avg_sq")
        }
        return {
            ADAPTER: self.adapter(),
            _MOMENTS: save(moments),
            _PROGRESS: json.dumps(asdict(progress), sort_keys=True).encode(),
        }

    def _resume(self, fresh: Progress, checkpoints: Checkpoints) -> tuple[Progress, torch.optim.AdamW]:
        files, optimiser = checkpoints.load() or {}, self._optimiser()
        kept = json.loads(files.get(_PROGRESS, b"{}"))
        if kept.get("identity") != fresh.identity:
            self.take(self._beginning)
            return fresh, optimiser
        self.take(files[ADAPTER])
        moments = load(files[_MOMENTS])
        for name, value in self._learned.items():
            found = {moment: moments[f"{name} {moment}"] for moment in ("step", "exp_avg", "exp_avg_sq")}
            optimiser.state[value] = {
                moment: found[moment].to(value.device if moment != "step" else "cpu") for moment in found
            }
        return Progress(**{**kept, "before": [tuple(pair) for pair in kept["before"]]}), optimiser

    @contextmanager
    def _reproducible(self) -> Iterator[None]:
        """Fixed threads and kernels inside; the process's own settings come back on exit."""
        before = (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.random.get_rng_state())
        if self._device.type == "cuda":
            # cuBLAS sums in a fixed order only with this workspace, and reads it from the environment alone.
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.set_num_threads(self._threads)
        torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.set_num_threads(before[0])
            torch.use_deterministic_algorithms(before[1])
            torch.random.set_rng_state(before[2])


def schedule(step: int, steps: int) -> float:
    """Factor of the learning rate: up over the first tenth, then down to a tenth along a cosine."""
    warm = max(int(WARM_UP * steps), 1)
    if step < warm:
        return (step + 1) / (warm + 1)
    return 0.1 + 0.45 * (1 + math.cos(math.pi * (step - warm) / max(steps - warm, 1)))


def asdict_all(lessons: list[list[Lesson]]) -> list[list[list[object]]]:
    return [[[lesson.prompt, lesson.answers] for lesson in batch] for batch in lessons]
