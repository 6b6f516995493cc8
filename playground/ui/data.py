"""The data part of the recipe: describes the text or task, takes own texts, and shows how tokenizers split a sentence."""

from __future__ import annotations

import html
from pathlib import Path

import gradio as gr

from models.knobs import ConfigError, nested, parse
from playground.config.presets import data_for
from playground.config.run import RunConfig
from playground.data import corpora, hub, tasks
from playground.data.config import DATA, SOURCES, TASK, DataConfig, source_is_known
from playground.data.hub import HUB
from playground.runs import uploads
from playground.ui import facts, form
from playground.ui.common import EVENT, Services, preset_of, refusals_as_toasts
from playground.ui.panel import Panel
from playground.workers.admission import CannotDo

PATHS = [spec.path for spec in form.SPECS]
SOURCE = PATHS.index("data.source")
SENTENCE = "Once upon a time, the little robot said: “héllo, world!”"
AGAIN = {"queue": False, "trigger_mode": "always_last", **EVENT}


class DataForm:
    """Builds its part of the form and owns its handlers."""

    def __init__(self, services: Services):
        self.services = services

    def build(self, section) -> None:
        """`section(name)` builds a section of the form."""
        self.panel = Panel("data", events=("fetch", "demonstrate"), elem_id="data-panel")
        section(TASK)
        section(DATA)
        with gr.Accordion("Your own text", open=False, elem_id="section-own-text"):
            self.upload = gr.UploadButton(
                "Upload text files", file_count="multiple", file_types=["text", ".txt", ".md", ".py", ".csv", ".json"], elem_id="upload"
            )
            self.paste = gr.Textbox(
                label="or paste it here", lines=4, max_lines=8, elem_id="paste", placeholder="At least a few thousand characters."
            )
            self.use_paste = gr.Button("Use the pasted text", elem_id="use-paste", size="sm")
            self.delete = gr.Button("Delete the chosen text from here", elem_id="delete-text", size="sm")
            with gr.Group(visible=self.services.settings.hub):
                self.repo = gr.Textbox(
                    label="or a public dataset on the Hugging Face Hub", max_lines=1, max_length=120, elem_id="hub-repo",
                    placeholder="OWNER/NAME", info="Fetched once and kept here. Nothing else leaves this machine.",
                )  # fmt: skip
                self.list_files = gr.Button("List its files", size="sm", elem_id="hub-list")
                self.path = gr.Dropdown([], label="file", allow_custom_value=True, elem_id="hub-path", info="Text, CSV, Parquet or JSONL.")
                self.field = gr.Textbox(
                    label="column or field", max_lines=1, max_length=60, elem_id="hub-field", info="Of a table; leave it empty for a text."
                )
                self.use_hub = gr.Button("Fetch and use it", size="sm", elem_id="hub-use")
        with gr.Accordion("Tokens: how a sentence is cut", open=False, elem_id="section-tokens") as self.cutting:
            self.sentence = gr.Textbox(SENTENCE, label="your sentence", max_lines=3, max_length=400, elem_id="sentence")
            self.tokens = Panel("tokens", events=("again",), elem_id="tokens")

    def wire(
        self, source: gr.Dropdown, controls: list, visitor: gr.BrowserState, review: dict, apply_preset, preset_outputs: list
    ) -> None:  # fmt: skip
        """`review` are the arguments of the event that reviews the whole form."""
        cut = {"fn": self.cut, "inputs": [self.sentence, *controls], "outputs": self.tokens, **AGAIN}
        source.select(self.choose, controls, controls, **EVENT).then(**review)
        for taken in (
            self.upload.upload(
                self.take_files, [visitor, self.upload], source, show_progress="minimal", concurrency_limit=None, api_visibility="private"
            ),
            self.use_paste.click(self.take_paste, [visitor, self.paste], source, **EVENT),
            self.delete.click(self.delete_text, [visitor, source], source, **EVENT),
        ):
            taken.then(self.choose, controls, controls, **EVENT).then(**review)
        self.list_files.click(self.listed, self.repo, self.path, **EVENT)
        self.use_hub.click(self.take_hub, [self.repo, self.path, self.field], source, **EVENT).then(
            self.choose, controls, controls, **EVENT
        ).then(self.fetch, source, None, **EVENT).then(**review)
        self.panel.fetch(self.fetch, source, None, **EVENT).then(**review)
        chosen = self.panel.demonstrate(chosen_preset, None, preset_outputs[0], **EVENT)
        chosen.then(apply_preset, preset_outputs[0], preset_outputs, **EVENT).then(**review)
        self.sentence.change(**cut)
        self.tokens.again(**cut)  # triggered by the panel when it becomes visible

    # Handlers.

    def choose(self, *values) -> list:
        """After a source was chosen: set its default data settings, and a context that is long enough for a task."""
        given = dict(zip(PATHS, values, strict=True))
        source = given["data.source"]
        if not isinstance(source, str) or source_is_known(source):
            return [gr.skip() for _ in PATHS]
        wanted = {f"data.{name}": value for name, value in data_for(source).items() if name != "source"}
        changes = {spec.path: form.shown_value(spec, wanted[spec.path]) for spec in form.SPECS if spec.path in wanted}
        task = tasks.named(source)
        if task is not None and isinstance(given["model.block_size"], int):
            needed = task.longest(parse(DataConfig, data_for(source)).params) - 1
            changes["model.block_size"] = max(needed, given["model.block_size"])
        return [gr.update(value=changes[path]) if path in changes else gr.skip() for path in PATHS]

    def take_files(self, kept: object, paths: list[str]) -> dict:
        """Store uploaded texts as one source and choose it."""
        with refusals_as_toasts():
            if not isinstance(paths, list) or not paths or not all(isinstance(path, str) for path in paths):
                raise CannotDo("no file was received; choose one again")
            files = [(Path(path).name, Path(path).read_bytes()) for path in paths]
            name = files[0][0] if len(files) == 1 else f"{files[0][0]} and {len(files) - 1} more"
            return self._chosen(kept, files, name)

    def delete_text(self, kept: object, source: object) -> dict:
        """Delete the chosen text, and choose the first built-in one."""
        with refusals_as_toasts():
            uploads.delete(self.services.db, self.services.settings.root, self.services.visitor(kept), str(source))
        gr.Info("The text is deleted.", duration=4)
        return gr.update(choices=source_choices(), value=next(iter(SOURCES)))

    def take_paste(self, kept: object, text: str) -> dict:
        """Store a pasted text and choose it."""
        with refusals_as_toasts():
            return self._chosen(kept, [("the pasted text", str(text or "").encode("utf-8", "surrogatepass"))], "pasted text")

    def listed(self, repo: str) -> dict:
        """The readable files of a dataset, for the list of choices."""
        with refusals_as_toasts():
            self._hub_is_on()
            found = hub.listing(str(repo or "").strip()[:120])
        choices = [(f"{name} ({size / 1e6:,.1f} MB)", name) for name, size in found]
        return gr.update(choices=choices, value=choices[0][1] if choices else None)

    def take_hub(self, repo: str, path: str, field: str) -> dict:
        """Choose a file of a dataset; it is fetched next."""
        with refusals_as_toasts():
            self._hub_is_on()
            parts = [str(part or "").strip() for part in (repo, path, field)]
            source = "hub:" + ":".join(part for part in parts if part)
            hub.HubText.parse(source)
        return gr.update(choices=source_choices(source), value=source)

    def fetch(self, source: str) -> None:
        """Begin to download a text from the Hub; the panel shows the progress."""
        with refusals_as_toasts():
            self._hub_is_on()
            if not isinstance(source, str) or not corpora.from_hub(source):
                raise CannotDo("this text is not on the Hub; choose another")
            self.services.fetching(source, 0.1, self.services.visitor(None).address)

    def cut(self, sentence: str, *values) -> list:
        """The sentence under each tokenizer of the chosen data. Never raises."""
        try:
            config = parse(RunConfig, nested(form.read(values)))
            waiting = {}
            for kind, data in facts.variants(config).items():
                errand = self.services.preparing(data)
                if errand is not None:
                    waiting[kind] = errand
            return facts.tokens(str(sentence or "")[:400], config, self.services.settings.root, waiting)
        except (ConfigError, OSError) as error:
            return [{"kind": "", "waiting": str(error)}]

    # Used by the handlers and by the review of the form.

    def progress(self, config: RunConfig) -> dict | None:
        """For the panel: the download or preparation that the data still need; None once they are ready. Raises ConfigError."""
        source = config.data.source
        errand = self.services.errands.about(("fetch", source))
        if errand is not None:
            return {"waiting": f"Fetching {corpora.title(source)}: {errand.words}", "share": errand.share}
        if missing := self.missing(source):
            return missing
        words = self.services.preparing(config.data)
        return None if words is None else {"waiting": words}

    def missing(self, source: str) -> dict | None:
        """For the panel: the text is not on this machine; None where it is."""
        here = corpora.is_here(source, self.services.settings.root)
        return None if here else {"missing": corpora.title(source), "allowed": self.services.settings.hub}

    def _chosen(self, kept: object, files: list[tuple[str, bytes]], name: str) -> dict:
        source = self.services.bring(self.services.visitor(kept), files)
        size = sum(len(data) for _, data in files)
        gr.Info(f"Chosen: {html.escape(name)}, {size / 1000:,.1f} kB of text.", duration=4)
        return gr.update(choices=source_choices(source, name), value=source)

    def _hub_is_on(self) -> None:
        if not self.services.settings.hub:
            raise CannotDo("the host has switched off texts from the Hub; upload the text instead")


def source_choices(chosen: str = "", name: str = "own text") -> list[tuple[str, str]]:
    """Every built-in source, and the visitor's own if one is chosen."""
    choices = [(title, source) for source, title in SOURCES.items()]
    if chosen and chosen not in SOURCES:
        words = chosen.removeprefix("hub:") if HUB.fullmatch(chosen) else f"{name[:40]} ({chosen[7:13]})"
        choices.append((words, chosen))
    return choices


def chosen_preset(event: gr.EventData) -> str:
    """The preset that was chosen in a panel."""
    return preset_of(event._data.get("preset") if isinstance(event._data, dict) else None)
