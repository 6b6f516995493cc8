"""The data part of the recipe: describes the text or task, takes own texts, and shows how tokenizers split a sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gradio as gr

from models.knobs import ConfigError, nested, parse
from playground.config.presets import data_for
from playground.config.run import RunConfig
from playground.data import corpora, hub, tasks
from playground.data.config import DATA, SOURCES, TASK, DataConfig, source_is_known
from playground.data.encodings import UnsureEncoding
from playground.data.hub import HUB
from playground.data.own import AS_IT_IS, PLAIN, Reading
from playground.data.tables import NeedsColumn
from playground.runs import uploads
from playground.ui import facts, form
from playground.ui.common import EVENT, Services, preset_of, refusals_as_toasts
from playground.ui.panel import Panel
from playground.web.refusals import REFUSALS
from playground.workers.admission import CannotDo

PATHS = [spec.path for spec in form.SPECS]
SOURCE = PATHS.index("data.source")
SENTENCE = "Once upon a time, the little robot said: “héllo, world!”"
WHOLE = "the whole file, as it is"
TEXT_COLUMNS = ("text", "content", "story", "sentence", "body", "message")
ENCODINGS = [
    ("Western Europe (cp1252)", "cp1252"),
    ("Central Europe (cp1250)", "cp1250"),
    ("Cyrillic (cp1251)", "cp1251"),
    ("Greek (cp1253)", "cp1253"),
    ("Turkish (cp1254)", "cp1254"),
    ("Japanese (shift_jis)", "shift_jis"),
    ("Chinese (gb18030)", "gb18030"),
    ("Chinese, traditional (big5)", "big5"),
    ("Korean (cp949)", "cp949"),
    ("UTF-16 (utf-16-le)", "utf-16-le"),
]
FILES = EVENT | {"preprocess": True, "show_progress": "minimal"}  # Gradio checks that they are those that were uploaded
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
            self.upload = gr.UploadButton("Upload text files or tables", file_count="multiple", elem_id="upload")
            self.brought = Panel("brought", elem_id="brought")
            self.column = gr.Dropdown([], label="column with the text", allow_custom_value=True, visible=False, elem_id="upload-column")
            self.encoding = gr.Dropdown(
                ENCODINGS, label="encoding", allow_custom_value=True, visible=False, elem_id="upload-encoding",
                info="Which numbers stand for which letters. Right is what reads right.",
            )  # fmt: skip
            self.reread = gr.Button("Use it so", size="sm", visible=False, elem_id="upload-again")
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
        asked = [self.brought, self.column, self.encoding, self.reread]
        for taken in (
            self.upload.upload(self.take_files, [visitor, self.upload], [source, *asked], **FILES),
            self.reread.click(self.take_again, [visitor, self.upload, self.column, self.encoding], [source, *asked], **FILES),
            self.use_paste.click(self.take_paste, [visitor, self.paste], [source, *asked], **EVENT),
        ):
            taken.then(self.choose_taken, [self.brought, *controls], controls, **EVENT).then(**review)
        self.delete.click(self.delete_text, [visitor, source], source, **EVENT).then(self.choose, controls, controls, **EVENT).then(
            **review
        )
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

    def choose_taken(self, brought: object, *values) -> list:
        """The same after a text was brought; where it was refused, everything stays as it is."""
        refused = isinstance(brought, dict) and brought.get("refused")
        return [gr.skip() for _ in PATHS] if refused else self.choose(*values)

    def take_files(self, kept: object, paths: list[str]) -> list:
        """Store uploaded texts as one source and choose it; or ask for what must be known to read them."""
        return self._taken(kept, lambda: _files(paths), PLAIN)

    def take_again(self, kept: object, paths: list[str], column: object, encoding: object) -> list:
        """The same files, now that their column and encoding are said."""
        column, encoding = (value[:200] if isinstance(value, str) and value else None for value in (column, encoding))
        return self._taken(kept, lambda: _files(paths), Reading(AS_IT_IS if column == WHOLE else column, encoding))

    def take_paste(self, kept: object, text: str) -> list:
        """Store a pasted text and choose it."""
        return self._taken(kept, lambda: [("the pasted text", str(text or "").encode("utf-8", "surrogatepass"))], PLAIN)

    def delete_text(self, kept: object, source: object) -> dict:
        """Delete the chosen text, and choose the first built-in one."""
        with refusals_as_toasts():
            uploads.delete(self.services.db, self.services.settings.root, self.services.visitor(kept), str(source))
        gr.Info("The text is deleted.", duration=4)
        return gr.update(choices=source_choices(), value=next(iter(SOURCES)))

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

    def _taken(self, kept: object, read: Callable[[], list[tuple[str, bytes]]], reading: Reading) -> list:
        """For the source, the panel that says what became of the files, and the controls for what must be known to read them."""
        column, encoding = gr.update(visible=reading.column is not None), gr.update(visible=reading.encoding is not None)
        again = gr.update(visible=reading != PLAIN)
        try:
            files = read()
            source = self.services.bring(self.services.visitor(kept), files, reading)
        except NeedsColumn as error:
            column = gr.update(choices=_columns(error), value=_likely(error.columns), visible=True)
            return [gr.skip(), _refused(error), column, encoding, gr.update(visible=True)]
        except UnsureEncoding as error:
            encoding = gr.update(value=error.proposed, visible=True)
            return [gr.skip(), _refused(error), column, encoding, gr.update(visible=True)]
        except REFUSALS as error:
            return [gr.skip(), _refused(error), column, encoding, again]
        name = files[0][0] if len(files) == 1 else f"{files[0][0]} and {len(files) - 1} more"
        size = sum(len(data) for _, data in files)
        told = {"words": f"Chosen: {name}, {size / 1000:,.1f} kB."}
        return [gr.update(choices=source_choices(source, name), value=source), told, column, encoding, again]

    def _hub_is_on(self) -> None:
        if not self.services.settings.hub:
            raise CannotDo("the host has switched off texts from the Hub; upload the text instead")


def _files(paths: object) -> list[tuple[str, bytes]]:
    """The names and bytes of uploaded files."""
    if not isinstance(paths, list) or not paths or not all(isinstance(path, str) for path in paths):
        raise CannotDo("no file was received; choose one again")
    return [(Path(path).name, Path(path).read_bytes()) for path in paths]


def _refused(error: Exception) -> dict:
    words = error.problems[0].message if isinstance(error, ConfigError) else str(error)
    return {"words": f"Not taken: {words}.", "refused": True}


def _columns(error: NeedsColumn) -> list[str]:
    return error.columns if error.is_binary else [*error.columns, WHOLE]


def _likely(columns: list[str]) -> str | None:
    """The column that probably holds the text."""
    return next((name for name in columns if name.lower() in TEXT_COLUMNS), columns[0] if columns else None)


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
