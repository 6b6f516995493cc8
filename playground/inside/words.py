"""How the findings name things and write numbers. Layers and heads are counted from 1."""

from __future__ import annotations

NAMED = 3  # heads and layers in one sentence


def times(ratio: float) -> str:
    """`2.5 times`, `310 times`, `8e15 times`: two digits, and no more than a person reads."""
    if ratio >= 1e6:
        mantissa, exponent = f"{ratio:.0e}".split("e")
        return f"{mantissa}e{int(exponent)} times"
    return f"{float(f'{ratio:.2g}'):,.0f} times" if ratio >= 10 else f"{ratio:.2g} times"


def percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 or share == 0 else f"{share:.1%}" if share >= 0.001 else f"{share:.0e}"


def after(passed: int) -> str:
    return f"after layer {passed}" if passed else "at the embedding"


def place(passed: int) -> str:
    return f"layer {passed}" if passed else "the embedding"


def layers(numbers: list[int]) -> str:
    return f"Layer {numbers[0]}" if len(numbers) == 1 else f"Layers {_and([str(layer) for layer in numbers])}"


def heads(found: list[tuple[float, int, int]]) -> str:
    """The strongest heads by name, and how many more there are."""
    names = [f"layer {layer}, head {head}" for _, layer, head in found[:NAMED]]
    if len(found) > NAMED:
        names.append(f"{len(found) - NAMED} more")
    text = "; ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else names[0]
    return text[0].upper() + text[1:]


def part(node: str, layer: int, capital: bool = False) -> str:
    """A node of the graph in words."""
    first, _, rest = node.partition(".")
    name = {"attn": "attention", "mlp": "MLP"}.get(first)
    if name is None:
        alone = {"embedding": "the embedding", "embd_norm": "the norm of the embedding", "norm": "the final norm", "head": "the head"}
        text = alone.get(node, f"the addition in layer {layer}")
    elif rest.startswith("norm"):
        text = f"the norm {'before' if rest == 'norm_in' else 'after'} {name} of layer {layer}"
    elif rest:
        text = f"the addition after {name} in layer {layer}"
    else:
        text = f"the {name} of layer {layer}"
    return text[0].upper() + text[1:] if capital else text


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
