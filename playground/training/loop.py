"""The training loop: step, record, probe and sample, save, follow requests.

Knows nothing of databases, processes and pages: it reports events to a `Link`, and asks it
what is wanted.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch

from models.decoding import generate
from playground.config.looks import MAX_PROBE_TOKENS, VALIDATION_SHARE, looks
from playground.data.sample import FEW_EXAMPLES
from playground.data.tokenizers import StreamDecoder, UnknownCharacters
from playground.inside import measures, moving, reading
from playground.inside.quantities import Values
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
from playground.training.pacing import Cost, Pacer
from playground.training.state import Score, Step, TrainState

SYNC_EVERY_S, MAX_SYNC_S = 0.25, 2.0
SAMPLE_SHARE = 0.01
EARLY_CREDIT_S = 0.24  # samples change most in the first half minute
EARLY_SAMPLES = 4  # so that within its first minute a run has written something that is not noise, also on a slow machine
N_ANSWERS = 8
USUAL_SHARE = 0.05  # of the computing time, that looking at a model takes at most in runs of a thousand steps
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


class BeingSaved(NamedTuple):
    """A checkpoint that a thread is writing."""

    info: CheckpointInfo
    written: Future[None]


class Loop:
    """Runs a `TrainState` to its end. `folder` is the run's own; `share` is the run's part of the process, and scales what it may
    spend on probes and samples."""

    def __init__(self, state: TrainState, folder: Path, link: Link | None = None, *, observe: bool = True, share: float = 1.0):
        self.state, self.folder, self.link, self.observe = state, folder, link or NoLink(), observe
        self.config = state.config
        self.checkpoints = Checkpoints(paths.checkpoints(folder))
        self.data, self.tokenizer = state.data, state.data.tokenizer
        self.looks = looks(self.config, state.n_validated, round(1 / share))
        self.sampling = Pacer(share * SAMPLE_SHARE, share * EARLY_CREDIT_S, early=EARLY_SAMPLES if share == 1 else 0)
        self.sync_every_s = min(SYNC_EVERY_S / share, MAX_SYNC_S)
        self.recording, self.probing, self.validating, self.judging, self.saving = (Cost() for _ in range(5))
        self.cpu_s = 0.0  # of all that this process has computed until the run ended
        self.train_loss: float | None = None
        self.eval_loss: float | None = None  # on the held-out sample
        self.val_loss: float | None = None  # on the whole held-out split, at the end
        self.diverged: str | None = None
        self.being_saved: BeingSaved | None = None
        self.saves_aside = state.device.type == "cuda"  # a CPU would only train slower meanwhile, with twice the memory
        self.reading_text = reading.reading_text(self.data, self.config.width)
        self.repeats = measures.Repeats.of(self.config, self.tokenizer)
        self.probe_text, self.probe_tokens = self._first_probe()
        self.asked_probe_text = self.probe_text
        self.last_saved = self.last_probed = self.last_judged = -1
        self.n_probes = 0
        self.told = False
        self.probes_now = True  # whether a probe follows the next step, which is then measured; step 0 is always probed
        self.step_taken: Values | None = None

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
        self.last_sync, self.began_cpu_s = 0.0, time.process_time()
        wanted = Orders()
        if self.observe and state.steps_done == 0:
            self._introduce()
            with self.probing.measured():
                self.step_taken = measures.first_gradient(state.model, state.first_batch_loss)
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
        self.probes_now = self.observe and self.looks.probed(next_step)
        if self.probes_now:
            with measures.watching_step(state.model, state.optimizer) as taken:
                step = yield True
            self.step_taken = taken.values(float(step.norm))
            self.probing.add(taken.cost_s, taken.cpu_s)
        else:
            step = yield False
        self.curve.add(step)

    def _introduce(self) -> None:
        """Emit the facts about the data, and the answers before training."""
        known = self.data.about
        if known is not None:
            told = {each.name: getattr(known, each.name) for each in fields(Facts) if hasattr(known, each.name)}
            self.link.emit(Facts(step=0, source=self.config.data.source, data=known.kind, **told))
        asked, every = self.config.train.eval_interval, self.looks.judged_every
        if every > asked:
            why = f"every {asked:,} would cost over {VALIDATION_SHARE:.0%} of the training, or give more points than a curve can show"
            self.link.emit(Notice(0, f"the held-out loss is measured every {every:,} steps: {why}"))
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
        looks = self.probes_now or (step % self.config.probe.interval == 0 and self._writes_now())
        judges = self.looks.judged(step)
        if looks or judges or step % train.checkpoint_interval == 0:
            self._check_weights()
        if self.diverged is not None:
            return wanted
        if judges:
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
        if self.observe:
            self._record()
            self._receive()
            self._check_weights()
            if self.diverged is not None:
                ending = Ending("diverged", Cause.DIVERGED, self.diverged)
            else:
                if ending.state not in UNFINISHED:
                    self._validate()
                    self._look(always=True)
                self.cpu_s = time.process_time() - self.began_cpu_s
                if ending.state not in UNFINISHED:
                    self._judge()
                    self._tell_cost()
                self._save()
            self._saved(wait=True)
            self.link.sync()
        return Outcome(
            **ending._asdict(),
            step=state.steps_done,
            seconds=state.seconds,
            train_loss=self.train_loss,
            eval_loss=self.eval_loss,
            val_loss=self.val_loss,
            tokens_per_s=tokens / max(seconds, 1e-9),
            recording_s=sum(each.spent for each in self._looking),
            validation_s=self.validating.spent,
            final_validation_s=self.judging.spent,
            checkpoint_s=self.saving.spent,
            probing_s=self.probing.spent,
            n_probes=self.n_probes,
            looking_cpu_s=sum(each.cpu_s for each in self._looking),
            cpu_s=self.cpu_s,
        )

    @property
    def _looking(self) -> tuple[Cost, ...]:
        return self.recording, self.probing, self.sampling

    def _tell_cost(self) -> None:
        """Say what looking has cost, where it was more than usual."""
        spent = sum(each.cpu_s for each in self._looking)
        if spent > USUAL_SHARE * self.cpu_s:
            words = f"looking at the model took {spent / self.cpu_s:.0%} of this run's computing time"
            self.link.emit(Notice(self.state.steps_done, f"{words}; in long runs it is at most {USUAL_SHARE:.0%}"))

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

    def _validate(self) -> None:
        """A point of the held-out curve: the loss on the held-out sample."""
        if self.state.steps_done == self.last_judged:
            return
        self.last_judged = self.state.steps_done
        with self.validating.measured():
            score, by_size = self.state.on_sample(), self.state.by_size(FEW_EXAMPLES)
        self.eval_loss = score.loss
        self._tell_score(score, by_size, whole=False)

    def _judge(self) -> None:
        """The loss on the whole held-out split, once at the end."""
        with self.judging.measured():
            score, by_size = self.state.held_out(), self.state.by_size()
        self.val_loss = score.loss
        self._tell_score(score, by_size, whole=True)

    def _tell_score(self, score: Score, by_size: dict[int, Score], whole: bool) -> None:
        step, seconds = self.state.steps_done, self.state.seconds
        self.link.emit(
            Validation(
                step,
                loss=score.loss,
                n_tokens=score.n_tokens,
                whole=whole,
                seconds=seconds,
                bits_per_byte=score.bits_per_byte,
                error=score.error,
                by_group=[round(nats, 4) for nats in score.by_group],
            )
        )
        if score.token_accuracy is not None and score.answer_accuracy is not None:
            self._answer()
            self.link.emit(
                Accuracy(
                    step,
                    token=score.token_accuracy,
                    answer=score.answer_accuracy,
                    n_examples=score.n_examples,
                    sizes=list(by_size),
                    by_size=[each.answer_accuracy for each in by_size.values()],
                    seconds=seconds,
                    whole=whole,
                )
            )

    def _answer(self) -> None:
        """Emit the model's answers to a few prompts, in a task with one right answer to each."""
        if self.data.exact:
            asked, right, given = zip(*self.state.answers(N_ANSWERS), strict=True)
            self.link.emit(Answers(self.state.steps_done, prompts=list(asked), expected=list(right), given=list(given)))

    def _look(self, always: bool = False) -> None:
        """Probe where that is due, and write where its cost allows it."""
        if self.state.steps_done != self.last_probed and (always or self.probes_now):
            with self.probing.measured(), self.state.evaluation_weights():
                self._probe()
        if self._writes and (always or self._writes_now()):
            with self.sampling.measured(), self.state.evaluation_weights():
                self._sample()

    @property
    def _writes(self) -> bool:
        return self.config.probe.sample_tokens > 0 and not self.data.exact

    def _writes_now(self) -> bool:
        return self._writes and self.sampling.due()

    def _probe(self) -> None:
        step = self.last_probed = self.state.steps_done
        probe = measures.measure(self.state.model, self.probe_tokens, self.step_taken, self.repeats)
        if self.looks.read(step):
            told = reading.read(self.state.model, *self.reading_text) | moving.moved(self.state.model, self.reading_text.first)
            probe.values.update(measures.rounded(told))
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
            snapshot = self.state.snapshot(self.train_loss, self.eval_loss, copy=self.saves_aside)
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
        self.link.emit(Checkpoint(info.step, train_loss=info.train_loss, eval_loss=info.eval_loss))

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
        return tokens[: min(MAX_PROBE_TOKENS, self.config.model.block_size)]
