"""Where to begin: questions, each with what answers it, a preset to train or a ready experiment to begin. Plain data."""

from __future__ import annotations

from dataclasses import dataclass, field

from playground.config.experiment import Prediction


@dataclass(frozen=True)
class Start:
    """`preset` is trained at once, and `view` of the Inside tab opened where there is one; or `experiment`, a ready one, is begun in its
    quick form with what a person expects: `answers` in the question's words, each with the prediction of the first claim that it is."""

    question: str
    sentence: str
    preset: str = ""
    view: str = ""
    experiment: str = ""
    answers: dict[str, Prediction] = field(default_factory=dict)


STARTS = {
    "stories": Start("Write stories in a minute", "Four layers turn noise into short stories while you watch.", preset="default"),
    "residual": Start(
        "Can it train without residuals?",
        "Six layers, with and without the way around each sublayer.",
        experiment="residual",
        answers={"No": "lower", "As well": "same"},
    ),
    "warm-up": Start(
        "Does post-norm need warm-up?",
        "The norm after the addition or before the sublayer, each with and without.",
        experiment="warm-up",
        answers={"Yes": "higher", "No": "same"},
    ),
    "heads": Start(
        "What does each head look at?", "Watch heads learn to find what followed a symbol before.", preset="induction", view="heads"
    ),
    "induction": Start(
        "Does induction need two layers?",
        "Find what followed a symbol before: the same task for one layer and for two.",
        experiment="induction",
        answers={"Yes": "higher", "No": "same"},
    ),
    "layers": Start(
        "Do later layers learn structure?",
        "Spaces, word starts, names: the loss of each after every layer.",
        experiment="early-patterns",
        answers={"Yes": "higher", "No such order": "same"},
    ),
}
