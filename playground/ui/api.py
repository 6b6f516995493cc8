"""The API for programs: named endpoints for all that the page can do. Signatures are typed; every value is checked here.

Changing a run, or looking at a private one, takes the `owner_key` that `/start_run` returned. The host's token is accepted as the key
of every run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from functools import partial

import gradio as gr
import orjson
from gradio.events import api

from models.knobs import ConfigError, Problem
from playground.config import experiment as documents
from playground.config.experiment import Plan
from playground.config.gallery import ready
from playground.config.presets import PRESETS, with_source
from playground.config.run import MAX_PROBE_TEXT
from playground.data import tokenizers
from playground.runs import experiments, frames, sampler, store, uploads
from playground.runs.access import Visitor, new_key
from playground.runs.folder import RunFolder
from playground.ui.common import Services, refusals_as_errors
from playground.ui.reading import reader_of, unread_by, while_read
from playground.web.looking import PROGRAM_PATIENCE_S
from playground.web.status import Statuses
from playground.workers.director import RUN, STOP
from playground.workers.supervisor import Supervisor

MAX_TEXT, MAX_PARTS, MAX_TOKEN = 20_000, 2000, 200


def build(services: Services) -> None:
    """Register every endpoint; call inside the page's Blocks."""
    endpoints = Endpoints(services)
    for name in (
        "start_run", "fork_run", "run_status", "list_runs", "metrics", "control_run", "rename_run", "delete_run", "checkpoints", "sample",
        "upload_text", "texts", "delete_text", "probe", "ablate", "patch", "download",
        "ready_experiments", "start_experiment", "experiment", "list_experiments", "control_experiment",
    ):  # fmt: skip
        api(getattr(endpoints, name), api_name=name, concurrency_limit=None)


class Endpoints:
    """One method per endpoint. Times in seconds, losses in nats per token."""

    def __init__(self, services: Services):
        self.services = services
        self.db, self.root = services.db, services.settings.root
        self.statuses = Statuses(services.db, services.limits)

    def start_run(self, config: dict, name: str = "", preset: str = "default", owner_key: str = "", private: bool = False) -> dict:
        """Queue a run. `config` has the sections model, data, optim, train, probe; what it leaves out comes
        from the preset. Returns `run_id` and the `owner_key` that steers it (a new one where none was given).
        A `private` run is visible to its owner and the host only. Refused as underway where its data are not ready within some
        seconds: whoever asks again goes on waiting."""
        with refusals_as_errors():
            base = PRESETS.get(_text(preset, "preset", 60))
            if base is None:
                raise ConfigError([Problem("preset", f"there is no preset {preset[:60]!r}; use one of {', '.join(PRESETS)}")])
            key = _text(owner_key, "owner_key", 100) or new_key()
            run_id = self.services.supervisor.submit(
                merged(base.config.model_dump(), config), self._visitor(key), name=_text(name, "name", 200), preset=preset,
                private=private is True,
            )  # fmt: skip
        return {"run_id": run_id, "owner_key": key}

    def fork_run(self, run_id: str, config: dict, step: int | None = None, name: str = "", owner_key: str = "") -> dict:
        """Queue a run that starts from the weights of another one's checkpoint of `step` (left out: the newest). `config` has what is
        changed of that run's configuration: whatever the weights allow. Returns as `/start_run`."""
        with refusals_as_errors():
            key = _text(owner_key, "owner_key", 100) or new_key()
            run, at = self._run(run_id, key), sampler.parse_step(step)
            forked = self.services.supervisor.submit(
                merged(run.config.model_dump(), config), self._visitor(key), name=_text(name, "name", 200), preset=run.preset,
                parent=run.id, parent_step=sampler.newest(self.root, run.id) if at is None else at,
            )  # fmt: skip
        return {"run_id": forked, "owner_key": key}

    def run_status(self, run_id: str, owner_key: str = "") -> dict:
        """State, step, losses, speed and place in the queue of a run."""
        with refusals_as_errors():
            return self.statuses.of(self._run(run_id, owner_key))

    def list_runs(self, owner_key: str = "") -> list:
        """The status of every run that is not private, and of the owner's own, newest first."""
        with refusals_as_errors():
            return [self.statuses.of(run) for run in self.services.access.runs(self._visitor(owner_key))]

    def metrics(self, run_id: str, owner_key: str = "") -> list:
        """The recorded losses, learning rates and speeds of a run: one object per training point, validation or accuracy."""
        with refusals_as_errors():
            frame = frames.metrics(self.db, [self._run(run_id, owner_key).id])
            return orjson.loads(frame.to_json(orient="records") or "[]")

    def control_run(self, run_id: str, action: str, owner_key: str) -> dict:
        """Steer a run. `action` is pause, resume, stop, continue (a new run that starts from this one's last checkpoint), private
        (only the owner and the host see it) or public."""
        with refusals_as_errors():
            supervisor: Supervisor = self.services.supervisor
            actions = {
                "pause": supervisor.pause, "resume": supervisor.resume, "stop": supervisor.stop, "continue": supervisor.continue_run,
                "private": partial(supervisor.set_private, private=True), "public": partial(supervisor.set_private, private=False),
            }  # fmt: skip
            if not isinstance(action, str) or action not in actions:
                raise ConfigError([Problem("action", f"{str(action)[:60]!r} is not possible; use one of {', '.join(actions)}")])
            new = actions[action](_text(run_id, "run_id", 100), self._visitor(owner_key))
            return {"run_id": new or run_id}

    def rename_run(self, run_id: str, name: str, owner_key: str) -> dict:
        """Give a run another name."""
        with refusals_as_errors():
            self.services.supervisor.rename(_text(run_id, "run_id", 100), self._visitor(owner_key), _text(name, "name", 1000))
            return {"run_id": run_id, "name": self.db.run(run_id).name}

    def delete_run(self, run_id: str, owner_key: str) -> dict:
        """Remove a run that is not active, with all its files."""
        with refusals_as_errors():
            self.services.supervisor.delete(_text(run_id, "run_id", 100), self._visitor(owner_key))
            return {"run_id": run_id}

    def checkpoints(self, run_id: str, owner_key: str = "") -> list:
        """The steps of a run's checkpoints, oldest first."""
        with refusals_as_errors():
            return sampler.steps(self.root, self._run(run_id, owner_key).id)

    def sample(
        self, run_id: str, prompt: str = "", step: int | None = None, max_new_tokens: int = 200, temperature: float = 0.8,
        top_k: int | None = None, top_p: float | None = None, seed: int = 1, owner_key: str = "", request: gr.Request | None = None,
    ) -> Iterator[dict]:  # fmt: skip
        """Stream sampled tokens: each answer holds one token's `text`, `token`, `probability` and `runners_up`, the likeliest others.
        Of one visitor only the newest stream is written, for as long as it is read."""
        with refusals_as_errors():
            config = sampler.parse_sampling(
                {"max_new_tokens": max_new_tokens, "temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed}
            )
            run = self._run(run_id, owner_key)
            written = sampler.sample(self.root, run.id, sampler.parse_step(step), _text(prompt, "prompt", MAX_TEXT), config)
            visitor = self._visitor(owner_key)
            tokens = self.services.computing.stream(written, reader_of(visitor, request), visitor.address)
            told = (
                {
                    "text": token.text, "token": token.token, "probability": token.probability,
                    "runners_up": [list(pair) for pair in token.runners_up],
                }
                for token in tokens
            )  # fmt: skip
            yield from while_read(told, unread_by(request))

    def upload_text(self, text: str, owner_key: str = "") -> dict:
        """Store a text to train on. Returns its `source`, for `data.source` of a config, and the `owner_key` that can delete it (a new
        one where none was given)."""
        with refusals_as_errors():
            if not isinstance(text, str):
                raise ConfigError([Problem("text", "a text is needed")])
            key = _text(owner_key, "owner_key", 100) or new_key()
            source = self.services.bring(self._visitor(key), [("the text", text.encode("utf-8", "surrogatepass"))])
            return {"source": source, "owner_key": key}

    def delete_text(self, source: str, owner_key: str) -> dict:
        """Delete a text that was brought here."""
        with refusals_as_errors():
            uploads.delete(self.db, self.root, self._visitor(owner_key), _text(source, "source", 100))
            return {"source": source}

    def texts(self, owner_key: str) -> list:
        """The texts that this person brought: `source` and `bytes` of each, oldest first."""
        with refusals_as_errors():
            mine = self.db.uploads().get(self._visitor(owner_key).id, {})
            return [{"source": source, "bytes": size} for source, size in mine.items()]

    def probe(self, run_id: str, text: str, step: int | None = None, owner_key: str = "") -> dict:
        """The probe of a model on any text: `tokens`, the weights `attention[layer][head][query][key]`, and `values`, everything
        measured, by quantity, node and layer."""
        with refusals_as_errors():
            run = self._run(run_id, owner_key)
            step, text = sampler.parse_step(step), _text(text, "text", MAX_PROBE_TEXT)
            at = sampler.newest(self.root, run.id) if step is None else step
            at, seen = self.services.looking.probe(run, at, text, self._visitor(owner_key), PROGRAM_PATIENCE_S)
            tokenizer = tokenizers.load_file(RunFolder(self.root, run.id).tokenizer)
            maps = seen.tensors["attention"].astype(float).round(4).tolist()
            tokens = [tokenizer.token(i) for i in seen.tensors["tokens"].tolist()]
            return {"step": at, "tokens": tokens, "attention": maps, "values": seen.values}

    def ablate(self, run_id: str, off: str, text: str = "", step: int | None = None, owner_key: str = "", by: str = "zero") -> dict:
        """Ablate parts of a checkpoint: `off` is like `layer:2,head:1.3,mlp:1,attn:2`, counted from 1. Returns losses in nats per
        token and a sampled text, `before` and `after`; `text` is the probe text, the run's own where empty. What the parts add is replaced
        `by` zero, or by its mean over held-out data."""
        with refusals_as_errors():
            run = self._run(run_id, owner_key)
            step, off = sampler.parse_step(step), _text(off, "off", MAX_PARTS)
            text = _text(text, "text", MAX_PROBE_TEXT) or run.probe_text or ""
            at = sampler.newest(self.root, run.id) if step is None else step
            return self.services.looking.ablation(run, at, off, text, by, self._visitor(owner_key), PROGRAM_PATIENCE_S)

    def patch(
        self, run_id: str, position: int, token: str, text: str = "", where: str = "stream", step: int | None = None, owner_key: str = ""
    ) -> dict:
        """What if the token at `position` of a text, counted from 1, were `token`? Returns two maps, a row for each place and a column for
        each token: `changed`, how much the activation there differs, as a share of its norm; and `restored`, how much of the fall of the
        log-probability of `answer` after the whole text (from `clean` to `other`) is made good with the clean activation there alone.
        `where`: stream (at the embedding and after each layer), attn or mlp. `text`: the run's probe text where empty."""
        with refusals_as_errors():
            run, step = self._run(run_id, owner_key), sampler.parse_step(step)
            text = _text(text, "text", MAX_PROBE_TEXT) or run.probe_text or ""
            token, where, at = _text(token, "token", MAX_TOKEN), _text(where, "where", 20), _position(position)
            step = sampler.newest(self.root, run.id) if step is None else step
            return self.services.looking.patch(run, step, at, token, text, where, self._visitor(owner_key), PROGRAM_PATIENCE_S)

    def ready_experiments(self) -> dict:
        """The ready experiments by name, as documents for `/start_experiment`; one with a thorough form has it as `NAME thorough`."""
        found = {}
        for name, each in ready().items():
            forms = {name: each.quick} | ({} if each.thorough is None else {f"{name} thorough": each.thorough})
            found |= {form: document.model_dump(mode="json", exclude_defaults=True) for form, document in forms.items()}
        return found

    def start_experiment(self, document: dict, prediction: str = "", owner_key: str = "") -> dict:
        """Train every arm of an experiment with the same seeds, one of its runs waiting in the queue at a time. `document` is like those
        of `/ready_experiments`; `prediction` is lower, higher or same, what you expect of its first claim. Returns `experiment_id` and
        the `owner_key` that steers it and its runs (a new one where none was given)."""
        with refusals_as_errors():
            given = {"prediction": _text(prediction, "prediction", 20)} if prediction else {}
            key = _text(owner_key, "owner_key", 100) or new_key()
            asked = documents.read(document | given if isinstance(document, dict) else document)
            return {"experiment_id": self.services.supervisor.submit_experiment(asked, self._visitor(key)), "owner_key": key}

    def experiment(self, experiment_id: str) -> dict:
        """What an experiment has found so far: `verdict`, `difference` and `interval` of its first claim, `claims`, values by `arms`,
        `sentences`, `methods`, and of how many runs (`runs`) how many have ended (`runs_ended`). `held`: why its next run waits."""
        with refusals_as_errors():
            found, plan = self._experiment(experiment_id)
            told = experiments.as_json(found.id, plan, experiments.result(self.db, found.id, plan))
            members = {run_id: asdict(member) for run_id, member in self.db.members(found.id).items()}
            return told | {"wanted": found.wanted, "held": self.services.supervisor.director.held.get(found.id, ""), "members": members}

    def list_experiments(self) -> list:
        """All experiments, newest first: id, title, question and what is wanted of each: run, stop, done, or command (a
        terminal trains it)."""
        with refusals_as_errors():
            return [{"experiment_id": each.id, "wanted": each.wanted, **self._titles(each.id)} for each in self.db.experiments()]

    def _titles(self, experiment_id: str) -> dict:
        try:
            document = experiments.read(self.db, experiment_id)
        except ConfigError as error:  # of another version, perhaps
            return {"title": "", "question": str(error)}
        return {"title": document.title, "question": document.question}

    def control_experiment(self, experiment_id: str, action: str, owner_key: str) -> dict:
        """Steer an experiment: `action` is stop, its runs included, run (go on with what is missing), or delete (its runs stay)."""
        with refusals_as_errors():
            if action not in (RUN, STOP, "delete"):
                raise ConfigError([Problem("action", f"{str(action)[:60]!r} is not possible; use {RUN}, {STOP} or delete")])
            supervisor, visitor = self.services.supervisor, self._visitor(owner_key)
            wanted = _text(experiment_id, "experiment_id", 100)
            supervisor.delete_experiment(wanted, visitor) if action == "delete" else supervisor.steer_experiment(wanted, visitor, action)
            return {"experiment_id": experiment_id}

    def _experiment(self, experiment_id: str) -> tuple[store.Experiment, Plan]:
        found = self.db.experiment(_text(experiment_id, "experiment_id", 100))
        return found, self.services.supervisor.plans.of(found.id)

    def download(self, run_id: str, owner_key: str = "") -> dict:
        """Addresses, relative to the app's own, of a run's newest weights, metrics and configuration. For a private run, send the
        key in the header `X-Playground-Key`."""
        with refusals_as_errors():
            run = self._run(run_id, owner_key)
            return {name: f"live/runs/{run.id}/{name}" for name in ("weights", "metrics.csv", "config.json")}

    def _visitor(self, key: object) -> Visitor:
        return self.services.visitor(_text(key, "owner_key", 100))

    def _run(self, run_id: object, key: object) -> store.Run:
        """Raises NoSuchRun, also for somebody else's private run."""
        return self.services.access.run(_text(run_id, "run_id", 100), self._visitor(key))


def merged(base: dict, changes: object) -> dict:
    """`base` overridden by the sections and knobs of `changes`; unknown ones are kept, so that they are reported as problems."""
    if not isinstance(changes, dict):
        raise ConfigError([Problem("config", "a config is an object with the sections model, data, optim, train and probe")])
    result = dict(with_source(base, changes))
    for name, value in changes.items():
        both = isinstance(value, dict) and isinstance(result.get(name), dict)
        result[str(name)] = {**result[name], **value} if both else value
    return result


def _position(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError([Problem("position", "is the number of a token, from 1 on")])
    return value


def _text(value: object, name: str, longest: int) -> str:
    if not isinstance(value, str) or len(value) > longest:
        raise ConfigError([Problem(name, f"a text of at most {longest:,} characters is needed")])
    return value
