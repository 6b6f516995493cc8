"""The model card of an exported checkpoint: what the model is, how to load it, how far it reads, how it was made. Imports no torch."""

from __future__ import annotations

import html
from pathlib import Path

from models.config import n_params
from models.families import FAMILIES, family_of
from models.source import environment
from playground.config.optim import OPTIMIZERS
from playground.config.run import CompleteRun
from playground.data import corpora
from playground.data.config import SOURCES
from playground.data.tokenizers import Tokenizer
from playground.runs.store import Run

TEMPLATES = Path(__file__).parent / "templates"
VOCABULARIES = {
    "char": "Its tokens are characters, {n:,} of them: one that its text doesn't have is an error.",
    "byte": "Its tokens are bytes, so that it reads any text.",
    "bpe": "Its {n:,} tokens are pieces of words, learnt from its text by byte pair encoding; it reads any text.",
    "word": "Its {n:,} tokens are those of a task: anything else is an error.",
}
PROMPT_TOKENS = 8


def model_card(run: Run, config: CompleteRun, step: int, tokenizer: Tokenizer, folder: str) -> str:
    """Markdown with the front matter of a model on the Hub. The loss is that of the whole held-out text, where the run ended at `step`."""
    model, source = config.model, config.data.source
    return environment(TEMPLATES).get_template("card.jinja").render(
        name=html.escape(" ".join(run.name.split())), folder=folder, family=FAMILIES[family_of(model, inference=True)].title,
        model=model, n_params=n_params(model), train=config.train, optim=config.optim, step=step,
        tokens_per_step=config.tokens_per_step, optimizer=OPTIMIZERS[config.optim.name].label,
        text=html.escape(SOURCES.get(source) or corpora.title(source)), loss=run.val_loss if step == run.step else None,
        vocabulary=VOCABULARIES[tokenizer.kind].format(n=tokenizer.vocab_size), prompt=repr(_prompt(run, tokenizer)),
    )  # fmt: skip


def _prompt(run: Run, tokenizer: Tokenizer) -> str:
    """The beginning of the text that is looked at, which the tokenizer knows; a run without one begins with its first token."""
    ids = tokenizer.encode(run.probe_text) if run.probe_text else [0]
    return tokenizer.decode(list(ids[:PROMPT_TOKENS]))
