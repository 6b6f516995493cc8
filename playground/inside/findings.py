"""Findings: sentences on what is notable about a run, each by a rule with stated thresholds; see `rules`.

Works on recorded rows alone. Imports no torch.
"""

from __future__ import annotations

from playground.inside.history import History
from playground.inside.rules import RULES, Rule


def findings(history: History, at_most: int = 6) -> list[dict]:
    """The sentences that apply, the most important first: name, sentence, the step that it speaks of, rule, view, quantity and weight.
    While a run is in its initial state, only what is true of initial states is said, and that it is one."""
    found = []
    for rule in sorted(RULES, key=lambda rule: -rule.weight):
        if rule.of_training and history.is_initial:
            continue
        sentence = rule.say(history)
        if sentence is not None:
            about = {name: getattr(rule, name) for name in ("name", "rule", "view", "quantity", "weight")}
            found.append(about | {"sentence": sentence, "step": _step(history, rule), "initial": history.is_initial})
    return found[:at_most]


def _step(history: History, rule: Rule) -> int:
    """The step that a sentence speaks of."""
    return history.newest(rule.quantity).get("step", 0) if rule.quantity else history.step
