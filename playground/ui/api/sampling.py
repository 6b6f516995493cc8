"""Endpoints that let a checkpoint write: whole, or as a stream."""

import contextlib
import time
from collections.abc import Generator, Iterator
from typing import Annotated, TypedDict

import gradio as gr

from playground.runs import sampler
from playground.runs.sampler import Token
from playground.ui.api.part import MAX_TEXT, Part, text
from playground.ui.reading import reader_of, unread_by, while_read

TOLD_EVERY_S = 0.05  # tokens that come closer together are told together: each answer repeats the text so far


class Piece(TypedDict):
    text: Annotated[str, "what it adds to the text; empty while a character is not complete"]
    token: Annotated[str, "the token by itself"]
    probability: Annotated[float, "at temperature 1"]
    runners_up: Annotated[list[tuple[str, float]], "the likeliest other tokens with their probabilities"]


class Written(TypedDict):
    text: Annotated[str, "all that is written so far"]
    tokens: Annotated[list[Piece], "what is new since the answer before"]


class Sampling(Part):
    def sample_text(
        self, run_id: str, prompt: str = "", step: int | None = None, max_new_tokens: int = 200, temperature: float = 0.8,
        top_k: int | None = None, top_p: float | None = None, seed: int = 1, owner_key: str = "",
    ) -> str:  # fmt: skip
        """Let a checkpoint of a run write, and return the whole text. It may be a run that still trains.

        Args:
            run_id: The run.
            prompt: What the text goes on from; left out, the model begins by itself.
            step: The step of the checkpoint, one of /checkpoints; left out, the newest.
            max_new_tokens: How many tokens to write, at most 2,000.
            temperature: Below 1 favours likely tokens, above 1 evens chances out; 0 always takes the likeliest.
            top_k: Sample from this many likeliest tokens only.
            top_p: Sample from the likeliest tokens that together reach this probability (nucleus sampling).
            seed: The same seed gives the same text.
            owner_key: The owner's key, for a private run.

        Returns:
            The text after the prompt.
        """
        tokens = self._tokens(run_id, prompt, step, max_new_tokens, temperature, top_k, top_p, seed, owner_key)
        near = self._visitor(owner_key).address
        return "".join(token.text for token in self.services.computing.stream(tokens, near=near))

    def sample(
        self, run_id: str, prompt: str = "", step: int | None = None, max_new_tokens: int = 200, temperature: float = 0.8,
        top_k: int | None = None, top_p: float | None = None, seed: int = 1, owner_key: str = "", request: gr.Request | None = None,
    ) -> Iterator[Written]:  # fmt: skip
        """Stream what a checkpoint writes, with the probability of each token; /sample_text returns the text alone. Of one visitor only
        the newest stream is written, for as long as it is read. A loop over a job of gradio_client ends without a word where something is
        refused: ask job.result() after it, which raises the error.

        Args:
            run_id: The run.
            prompt: What the text goes on from; left out, the model begins by itself.
            step: The step of the checkpoint, one of /checkpoints; left out, the newest.
            max_new_tokens: How many tokens to write, at most 2,000.
            temperature: Below 1 favours likely tokens, above 1 evens chances out; 0 always takes the likeliest.
            top_k: Sample from this many likeliest tokens only.
            top_p: Sample from the likeliest tokens that together reach this probability (nucleus sampling).
            seed: The same seed gives the same text.
            owner_key: The owner's key, for a private run.

        Returns:
            Each answer has the text so far and the tokens since the answer before; the last one has the whole text.
        """
        visitor = self._visitor(owner_key)
        tokens = self._tokens(run_id, prompt, step, max_new_tokens, temperature, top_k, top_p, seed, owner_key)
        stream = self.services.computing.stream(tokens, reader_of(visitor, request), visitor.address)
        yield from while_read(so_far(stream), unread_by(request))

    def _tokens(
        self, run_id: object, prompt: object, step: int | None, max_new_tokens: object, temperature: object, top_k: object, top_p: object,
        seed: object, owner_key: object,
    ) -> Iterator[Token]:  # fmt: skip
        """The tokens, of which none is computed yet. Raises what is wrong with the arguments."""
        asked = {"max_new_tokens": max_new_tokens, "temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed}
        config, run = sampler.parse_sampling(asked), self._run(run_id, owner_key)
        return sampler.sample(self.root, run.id, sampler.parse_step(step), text(prompt, "prompt", MAX_TEXT), config)


def so_far(tokens: Generator[Token], every_s: float = TOLD_EVERY_S) -> Generator[Written]:
    """The text up to each moment and the tokens that are new in it: at once the first, then as many as come within `every_s`."""
    written, new, told_at = "", list[Piece](), float("-inf")
    with contextlib.closing(tokens):
        for token in tokens:
            written += token.text
            new.append({"text": token.text, "token": token.token, "probability": token.probability, "runners_up": list(token.runners_up)})
            if time.monotonic() - told_at >= every_s:
                yield {"text": written, "tokens": new}
                new, told_at = [], time.monotonic()
    if new:
        yield {"text": written, "tokens": new}
