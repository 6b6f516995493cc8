"""The training loop: step, record, probe and sample, save, follow requests.

Knows nothing of databases, processes and pages: it reports events to a `Link`, and asks it
what is wanted.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from models.decoding import generate
from playground.data.tokenizers import StreamDecoder, UnknownCharacters
from playground.inside import measures
from playground.system.files import text_hash
from playground.training import paths, probes
from playground.training.checkpoints import CheckpointInfo, Checkpoints
from playground.training.curve import AT_MOST_COMING, Curve
from playground.training.devices import one_thread
from playground.training.events import (
    Accuracy,
    Answers,
    Checkpoint,
    Event,
    Facts,
    Notice,
    Probed,
    Sample,
    Validation,
)
from playground.training.outcome import Cause, Outcome
from playground.training.state import Step, TrainState

SYNC_EVERY_S, MAX_SYNC_S = 0.25, 2.0
PROBE_SHARE, SAMPLE_SHARE, VALIDATION_SHARE = 0.01, 0.01, 0.007
TASK_VALIDATION_SHARE, FEW_EXAMPLES = 0.03, 32  # a task is watched for its accuracy, at every size
EARLY_CREDIT_S = 0.08
SAMPLE_CREDIT = 3  # times the credit: samples change most in the first half minute
EARLY_SAMPLES, EARLY_REST = 3, 5  # so that soon after its start a run has written something that is not noise, also on a slow machine
N_ANSWERS = 8
UNFINISHED = ("paused", "interrupted", "queued")  # states of a run that is not over
WRITER = ThreadPoolExecutor(1, "checkpoints")  # writes those of all runs of this process
CALMER = "try a lower learning rate or more warm-up"


@dataclass(frozen=True)
class Orders:
    """What is wanted of the run now. `state` is run, pause, stop, yield or interrupt; `cause` and `why` are set where somebody else
    than the owner wants it."""

    state: str = "run"
    probe_text: str | None = None
    why: str = ""
    cause: Cause = Cause.NONE


class Link(Protocol):
    """The loop's connection to the rest of the world."""

    def emit(self, event: Event) -> None:
        """Accept an event, to be passed on by the next `sync`; returns at once."""
        ...

    def sync(self) -> Orders:
        """Pass on the emitted events; returns what is wanted."""
        ...

    def flush(self) -> None:
        """Pass on the emitted events, even where that takes a while."""
        ...


class NoLink:
    """Discards the events and wants nothing."""

    def emit(self, event: Event) -> None:
        pass

    def sync(self) -> Orders:
        return Orders()

    def flush(self) -> None:
        pass


class Ending(NamedTuple):
    """Why the loop ends, and what state the run is then in."""

    state: str
    cause: Cause
    reason: str


class Pacer:
    """Spaces an activity out so that it takes at most `share` of the time, by its measured cost.

    A credit of a few seconds lets the first ones happen early, when most changes. However dear they are, the first `early` ones happen
    as soon as `EARLY_REST` times the cost of the one before has passed.
    """

    def __init__(self, share: float, credit_s: float = 0.0, early: int = 0, clock=time.perf_counter):
        self.share, self.credit_s, self.early, self.clock = share, credit_s, early, clock
        self.began, self.spent, self.last_cost, self.before = clock(), 0.0, 0.0, 0.0
        self.times, self.ended = 0, self.began

    def due(self) -> bool:
        now = self.clock()
        if self.times < self.early and now - self.ended >= EARLY_REST * self.last_cost:
            return True
        return self.spent + self.last_cost <= self.credit_s + self.share * (now - self.began)

    @contextmanager
    def measured(self) -> Iterator[None]:
        start = self.clock()
        try:
            yield
        finally:
            self.ended = self.clock()
            self.last_cost, self.before = self.before + self.ended - start, 0.0
            self.spent += self.last_cost
            self.times += 1

    def add(self, seconds: float) -> None:
        """Count time spent before the next `measured` block as a part of it."""
        self.before += seconds


class BeingSaved(NamedTuple):
    """A checkpoint that a thread is writing."""

    info: CheckpointInfo
    written: Future[None]


class Loop:
    """Runs a `TrainState` to its end. `folder` is the run's own; `share` is the run's part of the process, and scales the time
    that it may spend on probes and samples."""

    def __init__(self, state: TrainState, folder: Path, link: Link | None = None, *, observe: bool = True, share: float = 1.0):
        self.state, self.folder, self.link, self.observe = state, folder, link or NoLink(), observe
        self.config = state.config
        self.checkpoints = Checkpoints(paths.checkpoints(folder))
        self.data, self.tokenizer = state.data, state.data.tokenizer
        self.validation_share = TASK_VALIDATION_SHARE if self.data.is_task else VALIDATION_SHARE
        self.probing = Pacer(share * PROBE_SHARE, share * EARLY_CREDIT_S)
        self.sampling = Pacer(share * SAMPLE_SHARE, share * EARLY_CREDIT_S * SAMPLE_CREDIT, early=EARLY_SAMPLES if share == 1 else 0)
        self.validating = Pacer(self.validation_share, EARLY_CREDIT_S)  # not scaled by `share`: runs are compared by their held-out loss
        self.sync_every_s = min(SYNC_EVERY_S / share, MAX_SYNC_S)
        self.recording, self.saving = Pacer(1.0), Pacer(1.0)
        self.train_loss: float | None = None
        self.val_loss: float | None = None
        self.diverged: str | None = None
        self.being_saved: BeingSaved | None = None
        self.saves_aside = state.device.type == "cuda"  # a CPU would only train slower meanwhile, with twice the memory
        self.repeats = measures.Repeats.of(self.config, self.tokenizer)
        self.probe_text, self.probe_tokens = self._first_probe()
        self.asked_probe_text = self.probe_text
        self.last_saved = self.last_probed = -1
        self.n_probes = 0
        self.told = False
        self.probes_now = True  # whether a probe follows the next step, which is then measured; step 0 is always probed
        self.step_taken: tuple[measures.StepTaken, Tensor] | None = None

    def run(self) -> Outcome:
        """Train until the end. Raises OSError where a checkpoint cannot be written."""
        steps, taken = self.steps(), None
        while True:
            try:
                watched = next(steps) if taken is None else steps.send(taken)
            except StopIteration as end:
                return end.value
            taken = self.state.step(watched)

    def steps(self) -> Generator[bool, Step, Outcome]:
        """The run as a generator whose caller takes the steps: yields before each whether hooks watch it, and is sent its result."""
        state = self.state
        if self.observe:
            self.folder.mkdir(parents=True, exist_ok=True)
        self.began_s, self.began_tokens, self.curve = state.seconds, state.tokens, Curve(state)
        self.clock_zero = time.perf_counter() - state.seconds
        self.last_sync = 0.0
        wanted = Orders()
        if self.observe and state.steps_done == 0:
            self._introduce()
            self._look()
            self._save()
        while (ending := self._ending(wanted)) is None:
            yield from self._step()
            state.seconds = time.perf_counter() - self.clock_zero
            if self.observe:
                wanted = self._after_step(wanted)
        return self._finish(ending)

    def _step(self) -> Generator[bool, Step, None]:
        """One training step; watched where a probe follows it."""
        state, self.step_taken = self.state, None
        next_step = state.steps_done + 1
        self.probes_now = self.observe and (
            next_step == self.config.train.max_steps or (next_step % self.config.probe.interval == 0 and self.probing.due())
        )
        if self.probes_now:
            with measures.watching_step(state.model, state.optimizer) as taken:
                step = yield True
            self.step_taken = taken, step.norm
            self.probing.add(taken.cost_s)
        else:
            step = yield False
        self.curve.add(step)

    def _introduce(self) -> None:
        """Emit the facts about the data, and the answers before training."""
        known = self.data.about
        if known is not None:
            told = {each.name: getattr(known, each.name) for each in fields(Facts) if hasattr(known, each.name)}
            self.link.emit(Facts(step=0, source=self.config.data.source, data=known.kind, **told))
        self._answer()

    def _ending(self, wanted: Orders) -> Ending | None:
        """How the run ends; None while it goes on."""
        train, state = self.config.train, self.state
        if self.diverged is not None:
            return Ending("diverged", Cause.DIVERGED, self.diverged)
        if wanted.state == "pause":
            return Ending("paused", wanted.cause or Cause.OWNER, wanted.why or "paused by its owner")
        if wanted.state == "stop":
            return Ending("stopped", wanted.cause or Cause.OWNER, wanted.why or "stopped by its owner")
        if wanted.state == "yield":
            return Ending("queued", wanted.cause or Cause.TURN, wanted.why or "waits for its next turn")
        if wanted.state == "interrupt":
            return Ending("interrupted", Cause.SIGNAL, "its process was asked to end; resume it to go on")
        if train.max_steps is not None and state.steps_done >= train.max_steps:
            return Ending("finished", Cause.STEPS, f"all {train.max_steps:,} steps done")
        if train.max_seconds is not None and state.seconds >= train.max_seconds:
            return Ending("finished", Cause.SECONDS, f"{train.max_seconds:g} s of training done")
        return None

    def _after_step(self, wanted: Orders) -> Orders:
        train, step = self.config.train, self.state.steps_done
        self._receive(AT_MOST_COMING)
        if step == 1 or step % train.log_interval == 0:
            self._record()
        looks = step % self.config.probe.interval == 0 and (self.probes_now or self.sampling.due())
        if looks or step % train.eval_interval == 0 or step % train.checkpoint_interval == 0:
            self._check_weights()
        if self.diverged is not None:
            return wanted
        if step % train.eval_interval == 0 and self.validating.due():
            self._validate()
        if looks:
            self._look()
        if step % train.checkpoint_interval == 0 and self._ending(wanted) is None:  # the last checkpoint waits for the final held-out loss
            self._save()
        self._saved()
        if self.state.runner.not_captured and not self.told:
            self.told = True
            self.link.emit(Notice(step, self.state.runner.not_captured))
        now = time.perf_counter()
        if now - self.last_sync >= self.sync_every_s:
            self.last_sync = now
            wanted = self._sync()
        return wanted

    def _finish(self, ending: Ending) -> Outcome:
        """Record what is left, evaluate the whole held-out split if the run is over, save."""
        state = self.state
        seconds, tokens = state.seconds - self.began_s, state.tokens - self.began_tokens
        validation_s = self.validating.spent
        if self.observe:
            self._record()
            self._receive()
            self._check_weights()
            if self.diverged is not None:
                ending = Ending("diverged", Cause.DIVERGED, self.diverged)
            else:
                if ending.state not in UNFINISHED:
                    self._validate(whole=True)
                    self._look(always=True)
                self._save()
            self._saved(wait=True)
            self.link.sync()
        return Outcome(
            **ending._asdict(),
            step=state.steps_done,
            seconds=state.seconds,
            train_loss=self.train_loss,
            val_loss=self.val_loss,
            tokens_per_s=tokens / max(seconds, 1e-9),
            recording_s=self.recording.spent + self.probing.spent + self.sampling.spent,
            validation_s=validation_s,
            final_validation_s=self.validating.spent - validation_s,
            checkpoint_s=self.saving.spent,
            probing_s=self.probing.spent,
            n_probes=self.n_probes,
        )

    def _record(self) -> None:
        """One point of the curves, which `_receive` takes in once it is there."""
        with self.recording.measured():
            self.curve.send()
        self._receive(AT_MOST_COMING)

    def _receive(self, at_most: int = 0) -> None:
        """Take in the points that are there; wait while more than `at_most` are not."""
        for progress, bad_step in self.curve.arrived(at_most):
            if self.diverged is not None:
                continue
            with self.recording.measured():  # the work and not the wait, in which the device trains
                self.train_loss = progress.loss
                if bad_step is not None:
                    self.diverged = f"the training loss was {progress.loss} at step {bad_step}; {CALMER}"
                self.link.emit(progress)

    def _check_weights(self) -> None:
        """Called before weights are probed, sampled from or saved: the last update may have made them non-finite,
        which the loss shows only at the next step."""
        self._receive()
        if self.diverged is not None or all(parameter.isfinite().all() for parameter in self.state.model.parameters()):
            return
        self._record()
        self._receive()
        if self.diverged is None:
            self.diverged = f"a weight was no longer a finite number after step {self.state.steps_done}; {CALMER}"

    def _validate(self, whole: bool = False) -> None:
        """The held-out loss, on a fixed span that costs about a hundredth of the training between two, or on the whole."""
        state = self.state
        span = max(self.config.width, int(3 * self.validation_share * self.config.train.eval_interval * self.config.tokens_per_step))
        with self.validating.measured():
            score = state.held_out(None if whole else span)
            by_size = state.by_size(None if whole else FEW_EXAMPLES)
        self.val_loss = score.loss
        self.link.emit(
            Validation(
                state.steps_done,
                loss=score.loss,
                n_tokens=score.n_tokens,
                whole=whole,
                seconds=state.seconds,
                bits_per_byte=score.bits_per_byte,
            )
        )
        if score.token_accuracy is not None and score.answer_accuracy is not None:
            self._answer()
            self.link.emit(
                Accuracy(
                    state.steps_done,
                    token=score.token_accuracy,
                    answer=score.answer_accuracy,
                    n_examples=score.n_examples,
                    sizes=list(by_size),
                    by_size=[each.answer_accuracy for each in by_size.values()],
                    seconds=state.seconds,
                )
            )

    def _answer(self) -> None:
        """Emit the model's answers to a few prompts, in a task with one right answer to each."""
        if self.data.exact:
            asked, right, given = zip(*self.state.answers(N_ANSWERS), strict=True)
            self.link.emit(Answers(self.state.steps_done, prompts=list(asked), expected=list(right), given=list(given)))

    def _look(self, always: bool = False) -> None:
        """Probe and sample, each only as often as its cost allows."""
        if self.state.steps_done != self.last_probed and (always or self.probes_now):
            with self.probing.measured(), self.state.evaluation_weights():
                self._probe()
        writes = self.config.probe.sample_tokens and not self.data.exact
        if writes and (always or self.sampling.due()):
            with self.sampling.measured(), self.state.evaluation_weights():
                self._sample()

    def _probe(self) -> None:
        step = self.last_probed = self.state.steps_done
        taken = None
        if self.step_taken is not None:
            watched, norm = self.step_taken
            taken = watched.values(float(norm))
        probe = measures.measure(self.state.model, self.probe_tokens, taken, self.repeats)
        probes.publish_probe(self.folder, step, probe, self.probe_text)
        self.n_probes += 1
        self.link.emit(
            Probed(
                step,
                text_hash=text_hash(self.probe_text),
                n_tokens=len(self.probe_tokens),
                tokens=self.state.tokens,
                seconds=self.state.seconds,
                values=probe.values,
            )
        )

    def _sample(self) -> None:
        """Emit a text that the model writes. Draws from a generator of its own, so training is not disturbed."""
        prompt, decoder, model = self._sample_prompt(), StreamDecoder(self.tokenizer), self.state.model
        try:
            choices = generate(
                model,
                self.tokenizer.encode(prompt).tolist(),
                max_new_tokens=self.config.probe.sample_tokens,
                temperature=0.8,
                generator=torch.Generator().manual_seed(0),
                n_runners_up=0,
            )
            with one_thread():
                text = "".join(decoder.push(choice.token) for choice in choices)
        except FloatingPointError:  # about to diverge, which the loss will say
            return
        finally:
            model.train()
        self.link.emit(Sample(self.state.steps_done, prompt=prompt, text=text))

    def _sample_prompt(self) -> str:
        if asked := self.data.prompts(1):
            return asked[0][0]
        with contextlib.suppress(UnknownCharacters):
            if len(self.tokenizer.encode("\n")):
                return "\n"
        return self.tokenizer.decode(self.probe_tokens[:1].tolist())

    def _save(self) -> None:
        if self.state.steps_done == self.last_saved:
            return
        self._saved(wait=True)
        # Earlier events are passed on first: a run that resumes from this checkpoint must not lack them.
        with self.recording.measured():
            self.link.flush()
        with self.saving.measured():
            self.last_saved = self.state.steps_done
            snapshot = self.state.snapshot(self.train_loss, self.val_loss, copy=self.saves_aside)
            if self.saves_aside:
                self.being_saved = BeingSaved(snapshot.info, WRITER.submit(self.checkpoints.save, snapshot))
            else:
                self.checkpoints.save(snapshot)
                self._tell_of(snapshot.info)

    def _saved(self, wait: bool = False) -> None:
        """Tell of a checkpoint that has been written aside. Raises OSError where it could not be."""
        if self.being_saved is None or not (wait or self.being_saved.written.done()):
            return
        being_saved, self.being_saved = self.being_saved, None
        with self.saving.measured():
            being_saved.written.result()
        self._tell_of(being_saved.info)

    def _tell_of(self, info: CheckpointInfo) -> None:
        self.link.emit(Checkpoint(info.step, train_loss=info.train_loss, val_loss=info.val_loss))

    def _sync(self) -> Orders:
        with self.recording.measured():
            wanted = self.link.sync()
        if wanted.probe_text is not None and wanted.probe_text != self.asked_probe_text:
            self._change_probe(wanted.probe_text)
        return wanted

    def _change_probe(self, text: str) -> None:
        if not self.set_probe(text):
            return
        with self.probing.measured(), self.state.evaluation_weights():
            self._probe()

    def set_probe(self, text: str) -> bool:
        """Probe this text from now on; one that the tokenizer cannot encode is refused with a notice."""
        self.asked_probe_text = text
        try:
            tokens = self._cut(self.tokenizer.encode(text, "probe.text"))
        except UnknownCharacters as error:
            self.link.emit(Notice(self.state.steps_done, str(error)))
            return False
        if not len(tokens):
            return False
        self.probe_text, self.probe_tokens = text, tokens
        return True

    def _first_probe(self) -> tuple[str, np.ndarray]:
        """The config's probe text, or a line of the held-out text. Raises UnknownCharacters."""
        text = self.config.probe.text
        if text is None:
            text = self.data.probe_text()
        return text, self._cut(self.tokenizer.encode(text, "probe.text"))

    def _cut(self, tokens: np.ndarray) -> np.ndarray:
        return tokens[: min(probes.MAX_PROBE_TOKENS, self.config.model.block_size)]
