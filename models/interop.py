"""Convert models to and from `transformers`, with the same logits and gradients.

Converts exactly or raises `UnsupportedArchitecture`, naming the option or the knob in the way. Knows nothing of
tokenizers and files; imports transformers only to build one of its models.

Shapes: H heads, G key and value heads, D head dimension.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from models.config import ModelConfig
from models.dialects import DIALECTS, MAX_BLOCK_SIZE, OTHER_OPTIONS, SAME, Dialect, Layout
from models.families import EFFECTIVE, Family, UnsupportedArchitecture, effective, family_of, obstacles, relaxed
from models.gpt import GPT
from models.knobs import ConfigError, Problem, parse

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["UnsupportedArchitecture", "family_of", "from_transformers", "obstacles", "to_files", "to_transformers"]


PIECE_BYTES = 2**22
_SAFETENSORS = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.float64: "F64"}


def from_transformers(hf_model: PreTrainedModel, *, block_size: int | None = None) -> GPT:
    """A GPT with the weights of a causal language model from `transformers`, on its device, in its dtype and mode.

    `block_size` chooses the context of a model without learned positions: at most what its config names, which is also the
    default, up to the longest context possible here; for BLOOM 2048. A padding token is a token like any other here;
    in transformers its embedding isn't trained.
    """
    dialect = _dialect(hf_model)
    hf = hf_model.config
    config = _config(dialect, hf, block_size)
    problems = [*_mixed(hf_model), *_untied(hf_model, config)]
    if problems:
        raise UnsupportedArchitecture(problems)
    with torch.random.fork_rng(devices=[]):
        gpt = GPT(config).to(device=hf_model.device, dtype=hf_model.dtype).train(hf_model.training)
    ours = read_tensors(dialect, hf_model.state_dict(), gpt.state_dict(), hf, config)
    gpt.load_state_dict(ours)
    return gpt


def to_transformers(gpt: GPT, *, inference: bool = False) -> PreTrainedModel:
    """The model as one of the family that has its architecture, without special tokens.

    With `inference` it need only compute the same, not train on in the same way: see `families.obstacles`.
    Interleaved RoPE becomes RoPE on two halves, and the other way round, by reordering the rows of queries and keys.
    """
    import transformers

    dialect, gpt = _expressed(gpt, inference)
    hf = transformers.AutoConfig.for_model(dialect.family.key, **_their_options(dialect, gpt.config))
    weight = gpt.wte.weight
    with torch.random.fork_rng(devices=[]):
        hf_model = transformers.AutoModelForCausalLM.from_config(hf, dtype=weight.dtype)
    hf_model.load_state_dict(write_tensors(dialect, gpt.state_dict(), gpt.config))
    return hf_model.to(weight.device).train(gpt.training)


def to_files(config: ModelConfig, dtype: torch.dtype, weight: Callable[[str], Tensor]) -> Iterator[tuple[str, Iterator[bytes]]]:
    """The files from which `AutoModelForCausalLM.from_pretrained` makes a model that computes the same: their names, and their contents
    piece by piece.

    `weight` reads one of the parameters, by the first name that it has in the model; no more than one of them is in memory at a time.
    Needs no transformers. Raises UnsupportedArchitecture.
    """
    dialect = DIALECTS[family_of(config, inference=True)]
    full = relaxed(config, dialect.family)
    with torch.device("meta"):
        given, wanted = GPT(config), GPT(full).to(dtype).state_dict()
    first = {parameter: name for name, parameter in given.named_parameters()}
    names = {name: first[parameter] for name, parameter in given.state_dict(keep_vars=True).items()}
    wanted = {name: tensor for name, tensor in wanted.items() if not (full.tie_weights and name == "head.weight")}

    def ours(name: str) -> Tensor:
        if name in names:
            return weight(names[name])
        return torch.full(wanted[name].shape, float(name.endswith(".weight")), dtype=dtype)  # see `_filled`

    def tensors() -> Iterator[bytes]:
        yield _safetensors_header(write_tensors(dialect, wanted, full))
        for name in wanted:
            for tensor in write_tensors(dialect, {name: ours(name)}, full).values():
                yield from _bytes_of(tensor.to(dtype))

    about = {"architectures": [dialect.model_class], "model_type": dialect.family.key, "dtype": str(dtype).removeprefix("torch.")}
    yield "config.json", iter([json.dumps(about | _their_options(dialect, full), indent=2).encode()])
    yield "model.safetensors", tensors()


def _safetensors_header(tensors: Mapping[str, Tensor]) -> bytes:
    """The beginning of a safetensors file with these tensors, which are written after it in this order."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _SAFETENSORS[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _bytes_of(tensor: Tensor) -> Iterator[bytes]:
    """The numbers of a tensor as bytes, in pieces."""
    for piece in tensor.contiguous().flatten().view(torch.uint8).split(PIECE_BYTES):
        yield piece.numpy().tobytes()


def _expressed(gpt: GPT, inference: bool) -> tuple[Dialect, GPT]:
    """The dialect that fits a model, and the model with the parameters that the dialect has. Raises UnsupportedArchitecture."""
    dialect = DIALECTS[family_of(gpt.config, inference=inference)]
    return dialect, _filled(gpt, relaxed(gpt.config, dialect.family)) if inference else gpt


def _their_options(dialect: Dialect, config: ModelConfig) -> dict[str, Any]:
    """A config as the family's options, without special tokens."""
    options = {option: effective(config, knob) for option, knob in dialect.options.items()} | dialect.write(config)
    if dialect.activation is not None:
        options[dialect.activation] = dialect.family.activations[config.activation][0]
    return options | {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}


def read_tensors(
    dialect: Dialect, theirs: Mapping[str, Tensor], ours: Mapping[str, Tensor], hf: Any, config: ModelConfig
) -> dict[str, Tensor]:
    """Their tensors under our names, in the shapes of `ours`; raises UnsupportedArchitecture if not all of them are used."""
    places = {name: _places(dialect, name) for name in ours}
    wanted = [place for names, _ in places.values() for place in names]
    problems = [Problem(name, "the model lacks this tensor") for name in wanted if name not in theirs]
    problems += [Problem(name, "a tensor that nothing here corresponds to") for name in theirs if name not in set(wanted)]
    if problems:
        raise UnsupportedArchitecture(problems)
    for name, (names, _) in places.items():
        found, needed = sum(theirs[place].numel() for place in names), ours[name].numel()
        if found != needed:
            raise UnsupportedArchitecture([Problem(names[0], f"{found} numbers where the config makes {needed}")])
    read = {name: layout.read([theirs[place] for place in names], config) for name, (names, layout) in places.items()}
    dialect.fold(read, hf, config)
    return read


def write_tensors(dialect: Dialect, ours: Mapping[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """Our tensors under their names."""
    theirs: dict[str, Tensor] = {}
    for name, tensor in ours.items():
        names, layout = _places(dialect, name)
        if config.rotated and config.rope_interleaved != dialect.interleaved:
            tensor = _other_pairs(name, tensor, config)
        theirs |= zip(names, (part.contiguous() for part in layout.write(tensor, config)), strict=True)
    return theirs


def _dialect(hf_model: PreTrainedModel) -> Dialect:
    known = {dialect.model_class: dialect for dialect in DIALECTS.values()}
    name = type(hf_model).__name__
    if name not in known:
        raise UnsupportedArchitecture([Problem("architectures", f"{name} is not one of {', '.join(known)}")])
    return known[name]


def _config(dialect: Dialect, hf: Any, block_size: int | None) -> ModelConfig:
    """A model's options as our knobs."""
    problems = [
        Problem(option, f"{getattr(hf, option)!r}: only {' or '.join(map(repr, allowed))} is possible here")
        for option, allowed in {"is_causal": (True,), "is_heterogeneous": (False,), "kv_sharing_modes": (None,), **dialect.must}.items()
        if hasattr(hf, option) and getattr(hf, option) not in allowed
    ]
    if problems:
        raise UnsupportedArchitecture(problems)
    knobs = dialect.fixed | {knob: getattr(hf, option) for option, knob in dialect.options.items()} | dialect.read(hf)
    if dialect.activation is not None:
        knobs["activation"] = _activation(dialect.family, dialect.activation, getattr(hf, dialect.activation))
    knobs |= {knob: knobs[knob] or 0.0 for knob in ("embd_dropout", "attn_dropout", "resid_dropout") if knob in knobs}
    d_ff = knobs.pop("d_ff", None)
    knobs["mlp_ratio"] = 4.0 if d_ff is None else d_ff / knobs["n_embd"]
    knobs["block_size"] = _context(dialect, knobs, block_size)
    try:
        return _neat(parse(ModelConfig, knobs))
    except ConfigError as error:
        options = OTHER_OPTIONS | {"mlp_ratio": _option(dialect, "d_ff")} | {knob: option for option, knob in dialect.options.items()}
        raise UnsupportedArchitecture(Problem(options.get(p.path, p.path), p.message) for p in error.problems) from None


def _context(dialect: Dialect, knobs: dict, wish: int | None) -> int:
    told, option = knobs["block_size"], _option(dialect, "block_size")
    if knobs["position"] == "learned" and (wish or told) != told:
        raise UnsupportedArchitecture([Problem(option, f"the model has learned {told} positions; a context of {wish} is not possible")])
    if knobs["position"] == "learned":
        return told
    if wish is not None and wish > told and option in dialect.options:
        raise UnsupportedArchitecture([Problem(option, f"the model is made for {told} tokens; a context of {wish} is not possible")])
    return min(told, MAX_BLOCK_SIZE) if wish is None else wish


def _option(dialect: Dialect, knob: str) -> str:
    """Their name for a knob."""
    return next((option for option, ours in dialect.options.items() if ours == knob), {"d_ff": "n_inner"}.get(knob, knob))


def _activation(family: Family, option: str, name: Any) -> str:
    found = [ours for ours, names in family.activations.items() if name in names]
    if not found:
        names = [known for names in family.activations.values() for known in names]
        raise UnsupportedArchitecture([Problem(option, f"{name!r} is not one of {', '.join(names)}")])
    return found[0]


def _neat(config: ModelConfig) -> ModelConfig:
    """The same config, with None for every knob whose automatic value is the one it has."""
    for knob in EFFECTIVE:
        left_open = config.model_copy(update={knob: None})
        divides = knob != "head_dim" or config.n_head * config.head_size == config.n_embd
        if divides and effective(left_open, knob) == effective(config, knob):
            config = left_open
    usual = config.attn_scale == config.head_size**-0.5
    return config.model_copy(update={"attn_scale": None}) if usual else config


def _mixed(hf_model: PreTrainedModel) -> Iterable[Problem]:
    kinds = {(parameter.dtype, parameter.device) for parameter in hf_model.parameters()}
    if len(kinds) > 1 or not hf_model.dtype.is_floating_point:
        yield Problem("dtype", "only parameters of one floating point kind, all in one place, are possible here")
    if getattr(hf_model.config, "quantization_config", None) is not None:
        yield Problem("quantization_config", "quantised weights are not possible here")


def _untied(hf_model: PreTrainedModel, config: ModelConfig) -> Iterable[Problem]:
    read, scored = hf_model.get_input_embeddings(), hf_model.get_output_embeddings()
    if (scored is not None and scored.weight is read.weight) != config.tie_weights:
        yield Problem("tie_word_embeddings", f"{config.tie_weights}, but the model has {'two matrices' if config.tie_weights else 'one'}")


def _places(dialect: Dialect, name: str) -> tuple[list[str], Layout]:
    """The dialect's names for one of our tensors, and its layout."""
    module, kind = name.rsplit(".", 1)
    layer = re.match(r"blocks\.(\d+)\.", module)
    theirs = dialect.names[re.sub(r"^blocks\.\d+", "blocks", module)]
    modules = [theirs] if isinstance(theirs, str) else theirs
    return [f"{m.format(i=layer and layer[1])}.{kind}" for m in modules], dialect.layouts.get(module.rsplit(".", 1)[-1], SAME)


def _other_pairs(name: str, tensor: Tensor, config: ModelConfig) -> Tensor:
    """Reorder the rows of queries and keys so that the other kind of RoPE rotates the same pairs."""
    size, rotated = config.head_size, config.rotated
    order = torch.cat([torch.arange(0, rotated, 2), torch.arange(1, rotated, 2), torch.arange(rotated, size)]).to(tensor.device)
    if not config.rope_interleaved:
        order = order.argsort()
    if name.endswith(("q_norm.weight", "k_norm.weight")):
        return tensor.unflatten(0, (-1, size))[:, order].flatten(0, 1)
    if ".qkv." not in name:
        return tensor
    turned = (config.n_head + config.kv_heads) * size
    heads, values = tensor[:turned], tensor[turned:]
    return torch.cat([heads.unflatten(0, (-1, size))[:, order].flatten(0, 1), values])


@torch.no_grad()
def _filled(gpt: GPT, config: ModelConfig) -> GPT:
    """The model with the parameters of `config`: biases that it lacks are zeros, gains ones."""
    with torch.random.fork_rng(devices=[]):
        full = GPT(config)
    given = gpt.state_dict()
    for name, tensor in full.state_dict().items():
        tensor.copy_(given[name] if name in given else tensor.new_full((), float(name.endswith(".weight"))))
    return full.to(gpt.wte.weight).train(gpt.training)
