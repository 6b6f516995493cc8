"""How large an arm is: what the loss of an experiment's arms can be fitted over. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable

from models.config import complete, n_params, position_params
from models.knobs import flat
from playground.config.run import RunConfig


def parameters(config: RunConfig) -> float:
    """Those inside blocks and norms: without token and position embeddings, and without the head (Kaplan et al. 2020)."""
    model = config.model
    matrices = 1 if model.tie_weights else 2
    return n_params(complete(model, 1)) - matrices * model.n_embd - position_params(model) - model.head_bias


def tokens(config: RunConfig) -> float:
    """Trained on, repeated ones counted each time; of a run that ends by the clock nobody knows, and it is 0."""
    return (config.train.max_steps or 0) * config.tokens_per_step


FEWEST_SIZES = 4  # a law has three numbers
SIZES: dict[str, tuple[str, Callable[[RunConfig], float]]] = {
    "parameters": ("parameters without embeddings", parameters),
    "tokens": ("tokens trained on", tokens),
    "flops": ("FLOP of training, 6 for each of these parameters and each token", lambda config: 6 * parameters(config) * tokens(config)),
}
NUMBERS = tuple(spec.path for spec in RunConfig.specs() if spec.kind in ("int", "float"))


def size_of(config: RunConfig, by: str) -> float:
    """An arm's size by one of SIZES, or by the setting of this path; 0 where it has none."""
    return float(SIZES[by][1](config) if by in SIZES else flat(config)[by] or 0)


def words_of(by: str) -> str:
    return SIZES[by][0] if by in SIZES else by
