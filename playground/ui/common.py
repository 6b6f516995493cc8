"""Shared by all tabs: the services behind them, the visitor, and errors as messages for people and programs."""

from __future__ import annotations

import html
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

import gradio as gr
from gradio.context import LocalContext

from playground.config.presets import PRESETS
from playground.config.run import RunConfig
from playground.config.settings import Settings
from playground.data import corpora, dataset
from playground.data.config import DataConfig
from playground.data.errors import CorpusError
from playground.data.own import PLAIN, Reading
from playground.runs import uploads
from playground.runs.access import Access, Visitor
from playground.runs.points import Points
from playground.runs.store import Store
from playground.web.computing import Computing
from playground.web.errands import PATIENCE_S, Errand, Errands
from playground.web.experiments import Experimenting
from playground.web.looking import Looking
from playground.web.origin import address_of
from playground.web.refusals import REFUSALS, code_of
from playground.workers.admission import CannotDo, NotReady
from playground.workers.audience import Audience
from playground.workers.supervisor import Supervisor

# Handlers get raw values, so that they can say themselves what is wrong with one; they run concurrently.
EVENT = {"preprocess": False, "show_progress": "hidden", "concurrency_limit": None, "api_visibility": "private"}

UNHEARD_S = 90.0  # data that nobody has asked for since are prepared no further; a hidden page asks once a minute


@dataclass(frozen=True)
class Services:
    """The services that handlers may use. `errands`: data that are fetched and prepared, also for runs that somebody starts;
    `reprobing`: checkpoints that are looked at again."""

    settings: Settings
    db: Store
    supervisor: Supervisor
    access: Access
    errands: Errands = field(default_factory=lambda: Errands(unheard_s=UNHEARD_S))
    reprobing: Errands = field(default_factory=lambda: Errands(noun="runs are being looked at again"))
    computing: Computing = field(default_factory=Computing)

    def __post_init__(self) -> None:
        self.supervisor.prepare = self.prepare

    def visitor(self, kept: object) -> Visitor:
        """The visitor, by what their browser keeps or their program sends, and by where the request of this handler comes from."""
        request = LocalContext.request.get(None)
        client, headers = getattr(request, "client", None), getattr(request, "headers", None)
        forwarded = "" if headers is None else headers.get("x-forwarded-for", "")
        return self.access.visitor(kept, address_of(getattr(client, "host", None), forwarded, self.settings.proxies))

    def bring(self, visitor: Visitor, files: list[tuple[str, bytes]], reading: Reading = PLAIN) -> str:
        """Keep files that a visitor brought as one text; returns its source. Raises a refusal."""
        limits = self.limits()
        visitor.must_be_known()
        self.supervisor.admission.check_upload(visitor, limits, sum(len(data) for _, data in files))
        return uploads.keep(self.db, self.settings.root, visitor, files, limits.max_upload_bytes, reading)

    def prepare(self, config: RunConfig, visitor: Visitor, patience_s: float) -> None:
        """Get the data of a run in line with others. Raises NotReady where that takes longer than `patience_s`, TooManyErrands, CorpusError
        and what made it fail."""
        data, until = config.data, time.monotonic() + patience_s
        words = self.fetching(data.source, patience_s, visitor.address)
        if words is None and corpora.is_here(data.source, self.settings.root):  # else the check of the run says what is wrong
            words = self.preparing(data, max(0.0, until - time.monotonic()), visitor.address)
        if words is not None:
            raise NotReady(f"the data of this run are not ready yet: {words}; try again in a moment")

    def fetching(self, source: str, patience_s: float, near: str) -> str | None:
        """Fetch a text from the Hub in the background, where that is needed and allowed; returns what is being done, None once it is here.
        Raises CorpusError and what made it fail."""
        settings = self.settings
        if not settings.hub or corpora.is_here(source, settings.root):
            return None
        do = lambda report: corpora.fetch(source, settings.root, self.limits().max_upload_bytes, report)  # noqa: E731
        return _words_of(self.errands.go(("fetch", source), do, patience_s, near))

    def preparing(self, data: DataConfig, patience_s: float = PATIENCE_S, near: str | None = None) -> str | None:
        """Prepare data in the background; returns what is being done, or None once they are ready. `near`: the network address that asks,
        left out: that of the present request. Raises CorpusError and what made it fail."""
        root = self.settings.root
        if not corpora.is_here(data.source, root):
            raise CorpusError(f"{corpora.title(data.source)} is not on this machine yet; fetch it first")
        if dataset.is_prepared(data, root):
            return None
        key = ("prepare", data.model_copy(update={"fingerprint": None}).model_dump_json())
        near = self.visitor(None).address if near is None else near
        return _words_of(self.errands.go(key, lambda report: dataset.prepare(data, root, report), patience_s, near))

    def limits(self) -> Settings:
        """The settings with the limits that the host has set meanwhile."""
        return self.supervisor.limits()

    @cached_property
    def looking(self) -> Looking:
        return Looking(self.settings.root, self.computing)

    def experimenting(self, points: Points) -> Experimenting:
        supervisor = self.supervisor
        return Experimenting(self.db, self.limits, supervisor.plans, points, supervisor.director.held)

    @property
    def audience(self) -> Audience:
        return self.supervisor.audience


def _words_of(errand: Errand | None) -> str | None:
    return None if errand is None else errand.words + ("" if errand.share is None else f", {errand.share:.0%}")


@contextmanager
def refusals_as_toasts() -> Iterator[None]:
    """Turn a refusal into a message on the page, with HTML escaped and the code as its title."""
    try:
        yield
    except REFUSALS as error:
        words = "<br>".join(html.escape(line) for line in str(error).splitlines())
        raise gr.Error(words, title=code_of(error).replace("_", " "), print_exception=False) from None


@contextmanager
def refusals_as_errors() -> Iterator[None]:
    """Turn a refusal into an error for a program: plain text, a line per problem, with the code as its title."""
    try:
        yield
    except REFUSALS as error:
        raise gr.Error(str(error), title=code_of(error), print_exception=False) from None


def run_of(wire: object, advice: str = "no run is open; press Train, or open one in Runs") -> str:
    """The run that is open in this page, or chosen in a table; raises CannotDo where there is none."""
    run_id = wire.get("run") if isinstance(wire, dict) else None
    if not isinstance(run_id, str):
        raise CannotDo(advice)
    return run_id


def preset_of(name: object) -> str:
    """The name of a preset, from anything that a browser may send."""
    return name if isinstance(name, str) and name in PRESETS else "default"
