"""The Sample tab: sample text from any checkpoint of any run, and see the probability of each token."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Iterator, Sequence

import gradio as gr

from models.knobs import Knobs
from playground.runs import sampler, store
from playground.runs.access import Visitor
from playground.runs.sampler import SampleConfig
from playground.ui import form
from playground.ui.common import EVENT, Services, refusals_as_toasts
from playground.ui.panel import Panel
from playground.ui.reading import reader_of, unread_by, while_read
from playground.web.computing import Superseded
from playground.workers.admission import CannotDo

UPDATE_EVERY_S = 0.05
MAX_PROMPT = 20_000


class Sample:
    """Builds the tab and owns its handlers."""

    def __init__(self, services: Services):
        self.services = services
        self.specs = SampleConfig.specs("sample.")

    def build(self) -> None:
        with gr.Row(equal_height=False):
            with gr.Column(scale=4, min_width=300):
                self.seen, self.filled = gr.State(None), gr.State("")
                self.run = gr.Dropdown([], label="run", info="Any run, also one that is still training.", elem_id="sample-run")
                self.step = gr.Dropdown(
                    [("newest", "latest")],
                    value="latest",
                    label="checkpoint",
                    info="The step at which the weights were saved.",
                    elem_id="sample-step",
                )
                self.prompt = gr.Textbox(
                    label="prompt", lines=3, max_lines=8, elem_id="sample-prompt", placeholder="Empty: the model writes from the beginning",
                    info="The text that the model continues.",
                )  # fmt: skip
                with gr.Row():
                    self.go = gr.Button("Write", variant="primary", elem_id="sample-go")
                    self.halt = gr.Button("Stop writing", elem_id="sample-halt")
            with gr.Column(scale=7, min_width=330):
                self.panel = Panel("sample", elem_id="sample-text")
                defaults: Knobs = SampleConfig()
                with gr.Row(elem_classes="pg-open"):
                    self.controls = [form.control(spec, getattr(defaults, spec.path.removeprefix("sample."))) for spec in self.specs]

    def wire(self, visitor: gr.BrowserState, wire: Panel, tab: gr.Tab) -> None:
        listed = tab.select(self.list_runs, [visitor, wire, self.run, self.step, self.seen], [self.run, self.step, self.seen], **EVENT)
        chosen = self.run.select(self.list_steps, [visitor, self.run], self.step, **EVENT)
        for event in (listed, chosen):
            event.then(self.fill_prompt, [visitor, self.run, self.prompt, self.filled], [self.prompt, self.filled], **EVENT)
        writing = gr.on(
            [self.go.click, self.prompt.submit], self.write, [visitor, self.run, self.step, self.prompt, *self.controls], self.panel,
            trigger_mode="multiple", **EVENT,
        )  # fmt: skip
        self.halt.click(None, None, None, cancels=[writing], api_visibility="private")

    def list_runs(self, kept: object, wire: object, chosen: str | None, step: str | None, seen: str | None) -> list:
        """List the runs that have a checkpoint, newest first. A run that was opened since is chosen; otherwise the choice stays."""
        root = self.services.settings.root
        runs = [run for run in self.services.access.runs(self.services.visitor(kept)) if sampler.steps(root, run.id)]
        choices = [(f"{run.name} · {run.state} at step {run.step:,} · {run.id}", run.id) for run in runs]
        here = wire.get("run") if isinstance(wire, dict) else None
        ids = [run.id for run in runs]
        preferred = [here, chosen] if here != seen else [chosen, here]
        value = next((run_id for run_id in [*preferred, *ids] if run_id in ids), None)
        return [gr.update(choices=choices, value=value), self.list_steps(kept, value, step if value == chosen else "latest"), here]

    def list_steps(self, kept: object, run_id: str | None, chosen: str | None = "latest") -> dict:
        """List the checkpoints of a run, newest first."""
        with refusals_as_toasts():
            there = sampler.steps(self.services.settings.root, self._seen(kept, run_id).id) if run_id else []
        newest = f"newest (step {there[-1]:,} now)" if there else "newest"
        choices = [(newest, "latest"), *((f"step {step:,}", str(step)) for step in reversed(there))]
        return gr.update(choices=choices, value=chosen if chosen in [value for _, value in choices] else "latest")

    def fill_prompt(self, kept: object, run_id: str | None, prompt: str, filled: str) -> list:
        """Of a task, whose prompts nobody would guess: an example, unless a person has typed something."""
        if not run_id or prompt not in ("", filled):
            return [gr.skip(), gr.skip()]
        with refusals_as_toasts():
            example = sampler.example_prompt(self.services.settings.root, self._seen(kept, run_id))
        return [gr.skip(), gr.skip()] if example == filled else [example, example]  # what is being typed meanwhile stays

    def write(self, kept: object, run_id: str | None, step: str | None, prompt: str, request: gr.Request, *values) -> Iterator[dict]:
        """Stream sampled text; the page gets all tokens so far, about twenty times a second."""
        with refusals_as_toasts():
            answers = self._written(self.services.visitor(kept), run_id, step, prompt, request, values)
            with contextlib.suppress(Superseded):  # the panel shows what is written now
                yield from while_read(answers, unread_by(request))

    def _written(
        self, visitor: Visitor, run_id: str | None, step: str | None, prompt: str, request: gr.Request, values: Sequence
    ) -> Generator[dict]:  # fmt: skip
        if not run_id:
            yield {"prompt": "", "tokens": [], "state": "empty"}
            return
        flat = {spec.path.removeprefix("sample."): value for spec, value in zip(self.specs, values, strict=True)}
        config = sampler.parse_sampling(flat)
        prompt = prompt if isinstance(prompt, str) else ""
        if len(prompt) > MAX_PROMPT:
            raise CannotDo(f"the prompt has {len(prompt):,} characters; use at most {MAX_PROMPT:,}")
        tokens: list = []
        shown = time.monotonic()
        run, root, wanted_step = self.services.access.run(str(run_id), visitor), self.services.settings.root, sampler.parse_step(step)
        note = sampler.note_on(run, sampler.newest(root, run.id) if wanted_step is None else wanted_step)
        about = {"prompt": prompt, "wanted": config.max_new_tokens, "note": note}
        yield about | {"tokens": [], "state": "writing"}
        written = sampler.sample(root, run.id, wanted_step, prompt, config)
        for token in self.services.computing.stream(written, reader_of(visitor, request), visitor.address):
            tokens.append([token.text, token.token, round(token.probability, 4), [[t, round(p, 4)] for t, p in token.runners_up]])
            if time.monotonic() - shown > UPDATE_EVERY_S:
                shown = time.monotonic()
                yield about | {"tokens": list(tokens), "state": "writing"}
        yield about | {"tokens": tokens, "state": "done"}

    def _seen(self, kept: object, run_id: object) -> store.Run:
        """The run, if the visitor may see it. Raises NoSuchRun, also for somebody else's private run."""
        return self.services.access.run(str(run_id), self.services.visitor(kept))
