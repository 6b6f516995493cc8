"""Endpoints that say how a run does: its status, curves, checkpoints, and what is remarkable."""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Annotated, NotRequired, TypedDict, cast

import orjson

from playground.runs import frames, sampler, store
from playground.runs.points import Points
from playground.ui.api.part import Part, whole
from playground.ui.common import Services
from playground.web import answers
from playground.web.cache import Cache
from playground.web.status import Statuses

MOST_WAIT_S, LOOK_S = 60, 0.5
MOST_LISTED = 10_000


class Origin(TypedDict):
    id: Annotated[str, "the run it started from"]
    name: str
    step: Annotated[int | None, "of which checkpoint; none: its last one"]


class Status(TypedDict):
    id: Annotated[str, "the run, as other calls name it"]
    name: str
    by: Annotated[str, "its owner's name, if they have given one"]
    state: Annotated[str, "queued, starting, running, paused, stopped, finished, diverged, interrupted or failed"]
    wanted: Annotated[str, "what its owner wants: run, pause or stop"]
    reason: Annotated[str, "why it is in this state"]
    cause: Annotated[str, "the same as a code"]
    step: Annotated[int, "optimizer steps done"]
    max_steps: Annotated[int | None, "of how many"]
    seconds: Annotated[float, "of training so far"]
    max_seconds: Annotated[float | None, "of how many"]
    left_s: Annotated[float | None, "seconds of training to come, at the pace so far"]
    place: NotRequired[Annotated[int | None, "in the queue; 1 is next"]]
    starts_in_s: NotRequired[Annotated[float | None, "seconds until it is expected to start"]]
    next_look: NotRequired[Annotated[int | None, "step at which the inside of the model is recorded next"]]
    log: NotRequired[Annotated[str, "the end of the log of a run that failed"]]
    tokens_per_s: Annotated[float | None, "speed of training"]
    train_loss: Annotated[float | None, "nats per token, of the last recorded steps"]
    eval_loss: Annotated[float | None, "nats per token, of a fixed sample of the held-out data, newest"]
    best_eval_loss: Annotated[float | None, "the least of these"]
    val_loss: Annotated[float | None, "nats per token over all held-out data, once it has ended"]
    n_params: Annotated[int | None, "parameters of the model"]
    n_layer: int | None
    n_head: int | None
    vocab_size: int | None
    flops_per_token: Annotated[int | None, "FLOP of training on one token"]
    source: Annotated[str, "what it learns from"]
    is_task: bool
    preset: str
    parent: Annotated[str | None, "the run that it goes on from"]
    began_from: Annotated[Origin | None, "the same, with its name, where everybody may see it"]
    private: bool
    device: str | None
    threads: int | None
    probe_text: Annotated[str | None, "the text on which the inside of the model is recorded"]
    created_at: Annotated[float, "seconds since 1970"]


class Point(TypedDict):
    run_id: str
    step: int
    tokens: Annotated[float | None, "trained on so far"]
    seconds: Annotated[float | None, "of training so far"]
    train_loss: Annotated[float | None, "nats per token, mean over the steps since the point before"]
    smoothed_loss: NotRequired[Annotated[float | None, "the same, smoothed"]]
    eval_loss: Annotated[float | None, "nats per token, of a fixed sample of the held-out data"]
    eval_error: Annotated[float | None, "its standard error"]
    val_loss: Annotated[float | None, "nats per token over all held-out data"]
    bits_per_byte: float | None
    held_out_tokens: Annotated[float | None, "over how many tokens"]
    whole_split: Annotated[bool | None, "whether over all held-out data"]
    token_accuracy: Annotated[float | None, "of a task: share of right tokens in its answers"]
    answer_accuracy: Annotated[float | None, "of a task: share of answers that are right as a whole"]
    grad_norm: float | None
    lr: Annotated[float | None, "learning rate"]
    tokens_per_s: float | None


class Finding(TypedDict):
    name: str
    sentence: Annotated[str, "what is remarkable, in plain words with its numbers"]
    step: Annotated[int, "the step that it speaks of"]
    rule: Annotated[str, "when it is said"]
    quantity: Annotated[str, "the measured quantity that it rests on; empty: none"]
    view: Annotated[str, "where the page shows it"]
    weight: Annotated[int, "larger is more important"]
    initial: Annotated[bool, "whether the model is still in its initial state"]


class Watching(Part):
    def __init__(self, services: Services):
        super().__init__(services)
        self.statuses, self.points, self._fresh = Statuses(services.db, services.limits), Points(services.db), Cache(LOOK_S)

    def run_status(self, run_id: str, owner_key: str = "") -> Status:
        """How a run does: state, step, losses, speed, place in the queue.

        Args:
            run_id: The run.
            owner_key: The owner's key, for a private run.

        Returns:
            The status; losses in nats per token, times in seconds.
        """
        return self._status(self._run(run_id, owner_key))

    async def wait_run(self, run_id: str, seconds: int = 30, owner_key: str = "") -> Status:
        """Wait until a run has ended or been paused, or some seconds are over, whichever comes first. Call it again while the state is
        queued, starting or running.

        Args:
            run_id: The run.
            seconds: How long to wait at most, from 0 to 60.
            owner_key: The owner's key, for a private run.

        Returns:
            The status then, as of /run_status.
        """
        self._run(run_id, owner_key)
        look = partial(self._fresh.get, (run_id,), lambda: self.db.run(run_id).state not in store.IN_PROGRESS)
        await until(look, whole(seconds, "seconds", 0, MOST_WAIT_S))
        return self._status(self._run(run_id, owner_key))

    def list_runs(self, owner_key: str = "", limit: int | None = None) -> list[Status]:
        """The runs that are not private, and your own.

        Args:
            owner_key: Your key, to see your private runs too.
            limit: How many of the newest; left out, all.

        Returns:
            A status for each, newest first.
        """
        most = None if limit is None else whole(limit, "limit", 1, MOST_LISTED)
        return [self._status(run) for run in self.services.access.runs(self._visitor(owner_key))[:most]]

    def metrics(self, run_id: str, owner_key: str = "") -> list[Point]:
        """The curves of a run: everything recorded of its losses, learning rate and speed. /findings says in words what stands out.

        Args:
            run_id: The run.
            owner_key: The owner's key, for a private run.

        Returns:
            A training point, validation or accuracy each; the fields of the other kinds are null.
        """
        frame = frames.metrics(self.db, [self._run(run_id, owner_key).id])
        return orjson.loads(frame.to_json(orient="records") or "[]")

    def checkpoints(self, run_id: str, owner_key: str = "") -> list[int]:
        """The steps at which a run has kept its weights: to sample from, look into, or fork.

        Args:
            run_id: The run.
            owner_key: The owner's key, for a private run.

        Returns:
            The steps, oldest first.
        """
        return sampler.steps(self.root, self._run(run_id, owner_key).id)

    def findings(self, run_id: str, owner_key: str = "") -> list[Finding]:
        """What is remarkable about a run so far, in sentences, each by a rule with a stated threshold: overfitting, gradients that vanish,
        heads that look at the token before, and so on.

        Args:
            run_id: The run.
            owner_key: The owner's key, for a private run.

        Returns:
            Up to six, the most important first; none where nothing stands out.
        """
        return orjson.loads(answers.findings(self.root, self.db, self.points, self._run(run_id, owner_key)))

    def _status(self, run: store.Run) -> Status:
        return cast(Status, self.statuses.of(run))


async def until(look: Callable[[], bool], seconds: float) -> None:
    """Return once `look` says so, or after `seconds`. Holds no thread between looks."""
    deadline = time.monotonic() + seconds
    while not await asyncio.to_thread(look) and (left := deadline - time.monotonic()) > 0:
        await asyncio.sleep(min(LOOK_S, left))
