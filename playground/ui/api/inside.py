"""Endpoints that look inside a model: what is measured, what it does without a part, and what follows from one token."""

from typing import Annotated, Literal, TypedDict, cast

from playground.config.run import MAX_PROBE_TEXT
from playground.data import tokenizers
from playground.runs import sampler
from playground.runs.folder import RunFolder
from playground.runs.store import Run
from playground.ui.api.part import Part, text, whole
from playground.web.looking import PROGRAM_PATIENCE_S

MAX_PARTS, MAX_TOKEN = 2000, 200

Quantity = dict[str, list[float | None | list[float | None]]]  # by node, one for each layer, or one for each head of it


class Probed(TypedDict):
    step: Annotated[int, "of the checkpoint"]
    tokens: Annotated[list[str], "the text, cut into tokens"]
    attention: Annotated[list[list[list[list[float]]]], "weights by layer, head, query and key"]
    values: Annotated[dict[str, Quantity], "all that is measured, by quantity, node of the drawing, and layer (of some: and head)"]


class Ability(TypedDict):
    probe_loss: Annotated[float | None, "nats per token, on the text"]
    held_out_loss: Annotated[float | None, "nats per token, on some held-out data"]
    prompt: str
    text: Annotated[str, "what it writes after the prompt"]


class Ablated(TypedDict):
    step: Annotated[int, "of the checkpoint"]
    off: Annotated[list[str], "the parts that were switched off"]
    by: str
    before: Ability
    after: Ability


class Patched(TypedDict):
    step: Annotated[int, "of the checkpoint"]
    position: int
    where: str
    token: Annotated[str, "the other token"]
    tokens: Annotated[list[str], "the text as it was, cut into tokens"]
    answer: Annotated[str, "the likeliest token after the whole text"]
    clean: Annotated[float, "its log-probability"]
    other: Annotated[float, "the same with the other token"]
    changed: Annotated[list[list[float | None]], "by place and token: how much the activation differs, as a share of its norm"]
    restored: Annotated[list[list[float | None]], "by place and token: how much of the fall the clean activation there alone makes good"]


class Inside(Part):
    def probe(self, run_id: str, text: str, step: int | None = None, owner_key: str = "") -> Probed:
        """Look inside a model while it reads a text: its attention maps, and everything that is measured at each of its parts.

        Args:
            run_id: The run.
            text: The text to read; its first 64 tokens at most are used.
            step: The step of the checkpoint, one of /checkpoints; left out, the newest.
            owner_key: The owner's key, for a private run.

        Returns:
            The tokens, the maps and the measures.
        """
        run, at, wanted = self._at(run_id, step, text, owner_key)
        at, seen = self.services.looking.probe(run, at, wanted, self._visitor(owner_key), PROGRAM_PATIENCE_S)
        tokenizer = tokenizers.load_file(RunFolder(self.root, run.id).tokenizer)
        maps = seen.tensors["attention"].astype(float).round(4).tolist()
        tokens = [tokenizer.token(i) for i in seen.tensors["tokens"].tolist()]
        return {"step": at, "tokens": tokens, "attention": maps, "values": seen.values}

    def ablate(
        self, run_id: str, off: str, text: str = "", step: int | None = None, owner_key: str = "", by: Literal["zero", "mean"] = "zero"
    ) -> Ablated:
        """Switch parts of a model off, and compare its losses and what it writes before and after (ablation).

        Args:
            run_id: The run.
            off: The parts, with commas between, such as layer:2,head:1.3,mlp:1,attn:2; layers and heads are counted from 1.
            text: The text to judge it on beside held-out data; left out, the run's probe text.
            step: The step of the checkpoint, one of /checkpoints; left out, the newest.
            owner_key: The owner's key, for a private run.
            by: What replaces that which the parts add: zero, or its mean over held-out data.

        Returns:
            Losses and a sampled text, before and after.
        """
        run, at, wanted = self._at(run_id, step, text, owner_key)
        parts = _checked(off, "off", MAX_PARTS)
        visitor, read = self._visitor(owner_key), wanted or run.probe_text or ""
        return cast(Ablated, self.services.looking.ablation(run, at, parts, read, by, visitor, PROGRAM_PATIENCE_S))

    def patch(
        self, run_id: str, position: int, token: str, text: str = "", where: Literal["stream", "attn", "mlp"] = "stream",
        step: int | None = None, owner_key: str = "",
    ) -> Patched:  # fmt: skip
        """What if one token of a text were another (activation patching): where the change travels, and where alone undoing it restores
        the answer.

        Args:
            run_id: The run.
            position: Which token of the text is changed, counted from 1.
            token: The token that takes its place.
            text: The text; left out, the run's probe text.
            where: What is compared and put back: stream (at the embedding and after each layer), attn or mlp.
            step: The step of the checkpoint, one of /checkpoints; left out, the newest.
            owner_key: The owner's key, for a private run.

        Returns:
            Two maps, with a row for each place and a column for each token.
        """
        run, at, wanted = self._at(run_id, step, text, owner_key)
        place, other, on = whole(position, "position", 1, MAX_PROBE_TEXT), _checked(token, "token", MAX_TOKEN), _checked(where, "where", 20)
        visitor, read = self._visitor(owner_key), wanted or run.probe_text or ""
        return cast(Patched, self.services.looking.patch(run, at, place, other, read, on, visitor, PROGRAM_PATIENCE_S))

    def _at(self, run_id: object, step: int | None, text: object, owner_key: object) -> tuple[Run, int, str]:
        """The run, the step of its checkpoint, and the text, each checked."""
        run, at = self._run(run_id, owner_key), sampler.parse_step(step)
        return run, sampler.newest(self.root, run.id) if at is None else at, _checked(text, "text", MAX_PROBE_TEXT)


_checked = text  # arguments of endpoints are called text too
