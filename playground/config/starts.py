"""Where to begin: questions, each with what answers it, a preset to train or a ready experiment. Plain data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Start:
    """`preset` is trained at once, or `experiment`, a ready one, is opened; `view` of the Inside tab is opened where there is one."""

    question: str
    sentence: str
    preset: str = ""
    experiment: str = ""
    view: str = ""


STARTS = {
    "stories": Start("Write stories in a minute", "Four layers turn noise into short stories while you watch.", preset="default"),
    "residual": Start(
        "Can it train without residuals?", "Six layers, with and without the way around each sublayer.", experiment="residual"
    ),
    "warm-up": Start(
        "Does post-norm need warm-up?", "The norm after the addition or before the sublayer, each with and without.", experiment="warm-up"
    ),
    "heads": Start(
        "What does each head look at?", "Watch heads learn to find what followed a symbol before.", preset="induction", view="heads"
    ),
    "induction": Start("Why two layers for induction?", "The same task for one layer and for two.", experiment="induction"),
    "layers": Start(
        "Which layer knows what?", "Spaces, word starts, names: the loss of each after every layer.", experiment="early-patterns"
    ),
}
