"""Every measure against a direct computation that uses no hook: the model written out, autograd from each place, plain numpy."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from models.config import ModelConfig
from models.gpt import GPT
from models.graph import graph, stream_nodes
from models.knobs import parse
from playground.inside.measures import Repeats, flat_below, largest_kurtosis, measure, parameter_nodes, repeated, watching_step
from playground.inside.quantities import FLAT_SLOPE, QUANTILES, QUANTITIES

SMALL = {"n_layer": 3, "n_head": 2, "n_embd": 16, "block_size": 12, "vocab_size": 17, "dropout": 0.1}
CONFIGS = {
    "pre": {},
    "post": {"norm_placement": "post"},
    "sandwich": {"norm_placement": "sandwich", "activation": "relu"},
    "output": {"norm_placement": "output", "norm_type": "rmsnorm"},
    "none": {"norm_placement": "none", "bias": False},
    "no residual": {"residual": False},
    "no residual, post": {"residual": False, "norm_placement": "post"},
    "no residual, sandwich": {"residual": False, "norm_placement": "sandwich"},
    "no residual, none": {"residual": False, "norm_placement": "none"},
    "parallel": {"layout": "parallel", "activation": "relu2"},
    "parallel, two norms": {"layout": "parallel_two_norms", "position": "rope"},
    "parallel, no norm": {"layout": "parallel", "norm_placement": "none"},
    "parallel, rezero": {"layout": "parallel", "residual_gain": "rezero"},
    "rezero": {"residual_gain": "rezero"},
    "deepnorm": {"residual_gain": "deepnorm", "norm_placement": "post"},
    "attention only": {"sublayers": "attention", "position": "alibi"},
    "mlp only": {"sublayers": "mlp", "activation": "silu"},
    "gated": {"activation": "swiglu", "tie_weights": False, "n_kv_head": 1},
    "shared, embedding norm": {"share_layers": True, "embd_norm": True},
    "window, softcap": {"window": 4, "attn_softcap": 5.0, "logit_softcap": 3.0},
}


def build(changes: dict) -> GPT:
    """A model whose weights are large enough for every part to matter."""
    torch.manual_seed(1)
    model = GPT(parse(ModelConfig, SMALL | changes))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model.train()


def sublayer(part: str, branch, h: torch.Tensor, seen: SimpleNamespace | None) -> torch.Tensor:
    """What a branch adds, from its normalised input; attention head by head, its maps row by row."""
    f = branch.f
    if part == "mlp":
        z = (f.up if f.gate is None else f.gate)(h)
        hidden = f.activation(z)
        if seen is not None:
            seen.before_activation.append(z)
            seen.hidden.append(hidden)
        y = f.proj(hidden if f.gate is None else hidden * f.up(h))
    else:
        y = attention(f, h, seen)
    y = branch.norm_out(y)
    return y if branch.gain is None else branch.gain * y


def attention(f, h: torch.Tensor, seen: SimpleNamespace | None) -> torch.Tensor:
    T, D, group = len(h), f.head_size, f.n_head // f.n_kv_head
    q, k, v = f.qkv(h).split([f.n_head * D, f.n_kv_head * D, f.n_kv_head * D], dim=-1)
    read, maps = [], []
    for head in range(f.n_head):
        mine, theirs = slice(head * D, (head + 1) * D), slice(head // group * D, (head // group + 1) * D)
        qh, kh = q[:, mine], k[:, theirs]
        if f.rotary is not None:
            qh, kh = (f.rotary(part[None, None], 0)[0, 0] for part in (qh, kh))
        rows = []
        for i in range(T):
            scores = torch.stack([(qh[i] * kh[j]).sum() for j in range(i + 1)]) * f.attend.scale
            if f.attend.softcap is not None:
                scores = f.attend.softcap * torch.tanh(scores / f.attend.softcap)
            if f.attend.slopes is not None:
                scores = scores - 2.0 ** (-8 * (head + 1) / f.n_head) * (i - torch.arange(i + 1))
            if f.attend.window is not None:
                scores = torch.where(i - torch.arange(i + 1) < f.attend.window, scores, torch.tensor(-math.inf))
            odds = (scores - scores.max()).exp()
            rows.append(torch.cat([odds / odds.sum(), torch.zeros(T - i - 1)]))
        maps.append(torch.stack(rows))
        read.append(maps[-1] @ v[:, theirs])
    if seen is not None:
        seen.maps.append(torch.stack(maps))
    return f.proj(torch.cat(read, -1))


def stages(model: GPT, seen: SimpleNamespace | None = None):
    """The rest of the network as functions from one place of the stream to the next, in order."""
    config = model.config
    for block in model.blocks:
        branches = {name: getattr(block, name) for name in ("attn", "mlp") if getattr(block, name) is not None}
        if block.parallel:

            def side_by_side(x, branches=branches, block=block):
                h = branches["attn"].norm_in(x)
                a = sublayer("attn", branches["attn"], h, seen)
                m = sublayer("mlp", branches["mlp"], h if block.one_norm else branches["mlp"].norm_in(x), seen)
                if seen is not None:
                    seen.changes += [("attn", x, a), ("mlp", x, m)]
                return x + a + m if config.residual else a + m

            yield side_by_side
            continue
        for name, branch in branches.items():

            def one(x, name=name, branch=branch):
                change = sublayer(name, branch, branch.norm_in(x), seen)
                if seen is not None:
                    seen.changes.append((name, x, change))
                keep = (2 * config.n_layer) ** 0.25 if config.residual_gain == "deepnorm" else 1.0
                return branch.norm_after(keep * x + change if config.residual else change)

            yield one


def logits_of(model: GPT, x: torch.Tensor) -> torch.Tensor:
    logits, cap = model.head(model.norm(x)), model.config.logit_softcap
    return logits if cap is None else cap * torch.tanh(logits / cap)


def direct(model: GPT, tokens: np.ndarray) -> SimpleNamespace:
    seen = SimpleNamespace(maps=[], hidden=[], before_activation=[], changes=[])
    x = model.embd_norm(model.embed(torch.from_numpy(tokens)[None], 0))[0]
    seen.stream = [x]
    for stage in stages(model, seen):
        seen.stream.append(x := stage(x))
    return seen


@pytest.fixture(scope="module", params=CONFIGS.values(), ids=list(CONFIGS))
def case(request):
    """(model, tokens, the written-out pass, what was measured)."""
    model, tokens = build(request.param), np.array([3, 1, 4, 1, 5, 9, 2, 6, 5, 3])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    moment = measure(model, tokens)
    assert model.training and torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    model.eval()
    return model, tokens, direct(model, tokens), moment


def places(model: GPT, values: dict) -> list[float]:
    """Values of a quantity of the stream, in the order in which the stream passes them."""
    first, ends = stream_nodes(model.config)
    return [values[first][0], *(values[node][layer] for layer in range(model.config.n_layer) for node in ends)]


def close(found, wanted, rel=2e-3, atol=2e-4):
    np.testing.assert_allclose(np.asarray(found, dtype=float), np.asarray(wanted, dtype=float), rtol=rel, atol=atol)


def test_what_has_all_but_vanished_is_still_measured():
    """Without residuals and norms the stream shrinks to 1e-20 in a few layers, whose squares float32 does not have."""
    shape = {"vocab_size": 11, "n_layer": 4, "n_head": 2, "n_embd": 32, "block_size": 16}
    config = ModelConfig(**shape, residual=False, norm_placement="none", final_norm=False)
    torch.manual_seed(0)
    model, tokens = GPT(config).eval(), np.arange(9) % 11
    values = measure(model, tokens).values
    exact = measure(model.double(), tokens).values
    gradient = values["grad_stream"]["embedding"][0]
    assert 0 < gradient < 1e-10 and gradient == pytest.approx(exact["grad_stream"]["embedding"][0], rel=1e-2)
    for name in ("stream_cosine", "stream_outliers"):
        assert values[name]["mlp"] == pytest.approx(exact[name]["mlp"], rel=1e-2, abs=1e-3)


def test_the_written_out_model_is_the_model(case):
    model, tokens, seen, _ = case
    with torch.no_grad():
        close(logits_of(model, seen.stream[-1]), model(torch.from_numpy(tokens)[None])[0], atol=1e-4)


def test_size_likeness_and_outliers_of_the_stream(case):
    model, _, seen, moment = case
    stream = [x.detach().double().numpy() for x in seen.stream]
    close(places(model, moment.values["stream_rms"]), [np.sqrt((x**2).mean()) for x in stream])
    close(moment.tensors["stream_rms"], [[np.sqrt((row**2).mean()) for row in x] for x in stream])
    start = stream[0]
    likeness = []
    for x in stream:
        cosines = np.array([[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in start] for a in x])
        others = cosines[~np.eye(len(start), dtype=bool)]
        likeness.append(np.diag(cosines).mean() - others.mean())
    close(places(model, moment.values["stream_cosine"]), likeness)
    kurtosis = [[((row - row.mean()) ** 4).mean() / row.var() ** 2 for row in x] for x in stream]
    alone = np.eye(stream[0].shape[-1])[0]
    largest = ((alone - alone.mean()) ** 4).mean() / alone.var() ** 2
    close(places(model, moment.values["stream_outliers"]), (np.mean(kurtosis, axis=1) - 3) / (largest - 3))


@pytest.mark.parametrize("n", [8, 16, 128, 768])
def test_one_channel_alone_has_the_largest_kurtosis(n):
    rng = np.random.default_rng(0)
    rows = [np.eye(n)[0], -5 * np.eye(n)[1] + 2, *rng.normal(size=(50, n)), *rng.standard_t(1, size=(50, n))]
    found = [((row - row.mean()) ** 4).mean() / row.var() ** 2 for row in rows]
    assert found[:2] == pytest.approx([largest_kurtosis(n)] * 2) and max(found) <= largest_kurtosis(n) * (1 + 1e-9)


def test_the_gradient_at_every_place_by_autograd_from_there(case):
    model, tokens, seen, moment = case
    rest = list(stages(model))
    for place, start in enumerate(seen.stream):
        leaf = start.detach().clone().requires_grad_()
        x = leaf
        for stage in rest[place:]:
            x = stage(x)
        loss = F.cross_entropy(logits_of(model, x)[:-1], torch.from_numpy(tokens[1:]))
        (gradient,) = torch.autograd.grad(loss, leaf)
        close(places(model, moment.values["grad_stream"])[place], gradient.norm(), atol=1e-6)
        close(moment.tensors["grad_stream"][place], gradient.norm(dim=-1), atol=1e-6)
        relative = [g.norm().item() * row.square().mean().sqrt().item() for g, row in zip(gradient, start, strict=True)]
        close(places(model, moment.values["grad_relative"])[place], math.sqrt(sum(each**2 for each in relative)), atol=1e-6)


def test_a_stream_of_another_size_has_another_gradient_but_the_same_relative_one():
    """Twice as large weights of the embedding, under pre-norm: the loss is the same function of the stream's direction."""
    found = []
    for scale in (1.0, 2.0):
        model = build({"n_layer": 1, "sublayers": "mlp", "residual": False, "tie_weights": False, "bias": False})
        with torch.no_grad():
            for table in (model.wte, model.wpe):
                table.weight.mul_(scale)
        found.append(measure(model, np.array([3, 1, 4, 1, 5])).values)
    raw, relative = ([values[name]["embedding"][0] for values in found] for name in ("grad_stream", "grad_relative"))
    assert raw[0] == pytest.approx(2 * raw[1], rel=2e-2) and relative[0] == pytest.approx(relative[1], rel=2e-2)


def test_the_two_ways_of_the_gradient_at_each_addition(case):
    model, tokens, seen, moment = case
    if not model.config.residual:
        assert not {"grad_branch", "grad_branch_cosine"} & moment.values.keys()
        return
    rest, keep = list(stages(model)), (2 * model.config.n_layer) ** 0.25 if model.config.residual_gain == "deepnorm" else 1.0
    per_stage = 2 if model.config.parallel else 1
    layers = {"attn": 0, "mlp": 0}
    for i, (name, x, _) in enumerate(seen.changes):
        stage, layer = i // per_stage, layers[name]
        layers[name] += 1
        branch = getattr(model.blocks[layer], name)
        changes = [change for _, _, change in seen.changes[stage * per_stage : (stage + 1) * per_stage]]
        y = (keep * x + sum(changes)).detach().requires_grad_()
        out = branch.norm_after(y)
        for later in rest[stage + 1 :]:
            out = later(out)
        (g,) = torch.autograd.grad(F.cross_entropy(logits_of(model, out)[:-1], torch.from_numpy(tokens[1:])), y)
        leaf = x.detach().clone().requires_grad_()
        norm_in = model.blocks[layer].attn.norm_in if model.config.parallel and model.blocks[layer].one_norm else branch.norm_in
        (through,) = torch.autograd.grad(sublayer(name, branch, norm_in(leaf), None), leaf, g)
        close(moment.values["grad_branch"][name][layer], through.norm() / (keep * g).norm())
        close(moment.values["grad_branch_cosine"][name][layer], F.cosine_similarity(through.flatten(), g.flatten(), 0), atol=2e-3)


def test_the_share_of_each_sublayer(case):
    _, _, seen, moment = case
    wanted = {"attn": [], "mlp": []}
    for name, x, change in seen.changes:
        wanted[name].append(np.mean([(c.norm() / row.norm()).item() for row, c in zip(x, change, strict=True)]))
    found = moment.values["sublayer_share"]
    assert found.keys() == {name for name, values in wanted.items() if values}
    for name, values in found.items():
        close(values, wanted[name])


def test_hidden_units(case):
    model, _, seen, moment = case
    if not seen.hidden:
        assert not {"hidden_quantiles", "flat_units", "dead_units"} & moment.values.keys() and "hidden_counts" not in moment.tensors
        return
    name = {"swiglu": "silu", "geglu": "gelu", "geglu_tanh": "gelu_tanh"}.get(model.config.activation, model.config.activation)
    for layer, (z, hidden) in enumerate(zip(seen.before_activation, seen.hidden, strict=True)):
        numbers = hidden.detach().double().numpy()
        close(moment.values["hidden_quantiles"]["mlp"][layer], [np.quantile(numbers, q) for q in QUANTILES])
        close(moment.values["flat_units"]["mlp"][layer], (z.detach().numpy() < TAILS[name]).mean(), atol=2e-3)
        counts, (low, high) = moment.tensors["hidden_counts"][layer], moment.tensors["hidden_range"][layer].tolist()
        assert counts.sum() == numbers.size
        close([low, high], [numbers.min(), numbers.max()])
        close(counts, np.histogram(numbers.astype(np.float32), bins=len(counts), range=(low, high))[0], atol=1.01)
        if model.config.activation in ("relu", "relu2"):
            close(moment.values["dead_units"]["mlp"][layer], np.mean([(unit == 0).all() for unit in numbers.T]))
    assert ("dead_units" in moment.values) == (model.config.activation in ("relu", "relu2"))


# Where the slope of each function, coming from the left, is 0.05 steep for the first time.
TAILS = {"relu": 0.0, "relu2": 0.025, "gelu": -2.34861, "gelu_tanh": -2.35516, "silu": -4.08256}


@pytest.mark.parametrize("name", list(TAILS))
def test_the_flat_tail_ends_where_the_slope_begins(name):
    def steep(z: float) -> float:
        return abs(float(activation(name, np.array(z + 1e-6)) - activation(name, np.array(z - 1e-6)))) / 2e-6

    end = flat_below(name)
    assert end == pytest.approx(TAILS[name], abs=2e-4)
    assert steep(end + 2e-3) >= FLAT_SLOPE and all(steep(z) < FLAT_SLOPE for z in np.linspace(-12, end - 2e-3, 200))


def activation(name: str, z: np.ndarray) -> np.ndarray:
    if name == "gelu_tanh":
        return 0.5 * z * (1 + np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))
    if name in ("relu", "relu2"):
        return np.maximum(z, 0) ** (2 if name == "relu2" else 1)
    return z / (1 + np.exp(-z)) if name == "silu" else np.vectorize(lambda v: v * 0.5 * (1 + math.erf(v / math.sqrt(2))))(z)


def test_attention_maps_and_their_scores(case):
    _, _, seen, moment = case
    if not seen.maps:
        assert moment.tensors["attention"].shape == (0, 0, 10, 10) and not any(name.startswith("attn") for name in moment.values)
        return
    maps = torch.stack(seen.maps).detach().double().numpy()  # (L, H, T, T)
    close(moment.tensors["attention"].float(), maps, atol=1e-3)
    T = maps.shape[-1]
    for layer, heads in enumerate(maps):
        for head, a in enumerate(heads):
            assert np.allclose(a.sum(-1), 1) and not np.triu(a, 1).any()
            wanted = {
                "attn_entropy": np.mean([-sum(p * math.log(p) for p in row if p > 0) for row in a]),
                "attn_previous": np.mean([a[i, i - 1] for i in range(1, T)]),
                "attn_first": np.mean([a[i, 0] for i in range(1, T)]),
                "attn_self": np.mean([a[i, i] for i in range(1, T)]),
                "attn_distance": np.mean([sum(a[i, j] * (i - j) for j in range(i + 1)) for i in range(T)]),
            }
            for name, value in wanted.items():
                close(moment.values[name]["attn"][layer][head], value)


def test_induction_on_random_tokens_that_are_said_twice(case):
    model, _, seen, moment = case
    if not seen.maps:
        assert "attn_induction" not in moment.values
        return
    n, rows = model.config.block_size // 2, repeated(model.config, Repeats())
    assert rows.shape == (20, 2 * n) and all(len(set(row[:n])) == n and (row[:n] == row[n:]).all() for row in rows)
    maps = [torch.stack(direct(model, row).maps).detach().numpy() for row in rows]  # (L, H, 2 n, 2 n) of each
    scores = np.array([[[np.mean([a[i, i - n + 1] for i in range(n, 2 * n)]) for a in heads] for heads in each] for each in maps])
    close(moment.values["attn_induction"]["attn"], scores.mean(0))
    close(moment.values["attn_induction_error"]["attn"], scores.std(0, ddof=1) / math.sqrt(20))


def test_what_is_repeated_stands_for_something_and_is_no_longer_than_what_was_trained():
    config = parse(ModelConfig, SMALL)
    rows = repeated(config, Repeats(np.array([2, 5, 7, 11]), 7))
    assert rows.shape == (20, 6) and set(rows.flatten()) <= {2, 5, 7, 11}
    assert repeated(config, Repeats(np.array([4]))) is None and repeated(config, Repeats(longest=3)) is None


def test_the_logit_lens(case):
    model, tokens, seen, moment = case
    per_block = len(stream_nodes(model.config)[1])
    kept = seen.stream[::per_block]
    losses = []
    for row, x in enumerate(kept):
        p = logits_of(model, x).detach().double().softmax(-1).numpy()
        right = np.array([p[t, tokens[t + 1]] for t in range(len(tokens) - 1)])
        close(moment.tensors["lens_right"][row].float(), right, atol=1e-3)
        losses.append(-np.log(right).mean())
        for t in range(len(tokens)):
            close(moment.tensors["lens_p"][row][t].float(), np.sort(p[t])[::-1][:5], atol=1e-3)
            assert [p[t, i] for i in moment.tensors["lens_top"][row][t]] == pytest.approx(np.sort(p[t])[::-1][:5], abs=1e-6)
    first, ends = stream_nodes(model.config)
    for name, wanted in (("lens_loss", losses), ("lens_right", np.exp(-np.array(losses)))):
        close([moment.values[name][first][0], *moment.values[name][ends[-1]]], wanted)


def test_gains_are_those_of_the_norms(case):
    model, _, _, moment = case
    gains = {name: module.weight for name, module in model.named_modules() if type(module).__name__ in ("LayerNorm", "RMSNorm")}
    found = {name.removeprefix("gain."): value for name, value in moment.tensors.items() if name.startswith("gain.")}
    assert found.keys() == {name for name, gain in gains.items() if gain is not None}
    for name, value in found.items():
        close(value.float(), gains[name].detach(), atol=1e-2)


def test_values_belong_to_nodes_of_the_graph(case):
    model, _, _, moment = case
    nodes = {node.id: node for node in graph(model.config).nodes}
    for name, values in moment.values.items():
        quantity = QUANTITIES[name]
        for node, layers in values.items():
            assert len(layers) == (model.config.n_layer if nodes[node].in_block else 1), (name, node)
            counts = {"node": None, "head": model.config.n_head, "quantile": len(QUANTILES)}
            for entry in layers:
                assert (len(entry) if isinstance(entry, list) else None) == counts[quantity.per]


def test_everything_that_is_declared_is_measured_somewhere():
    found = set()
    for changes in ({}, {"activation": "relu"}):
        model = build(changes)
        found |= measure(model, np.arange(8)).values.keys() | step_taken(model)[0].keys()
    seldom = {name for name, quantity in QUANTITIES.items() if quantity.seldom}  # of held-out data: test_reading.py, test_moving.py
    assert found == set(QUANTITIES) - seldom


def step_taken(model: GPT, clip: float = 0.5):
    """One watched AdamW step; what was said of it, and gradients before clipping and weights before and after it."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    idx = torch.arange(12)[None] % 17
    with watching_step(model, optimizer) as taken:
        F.cross_entropy(model(idx)[0, :-1], idx[0, 1:]).backward()
        gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        assert norm > clip
        optimizer.step()
    after = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer.zero_grad()
    optimizer.step()  # nobody watches any more
    return taken.values(norm.item()), gradients, before, after


@pytest.mark.parametrize("changes", CONFIGS.values(), ids=list(CONFIGS))
def test_what_the_step_did_to_each_part(changes):
    model = build(changes)
    said, gradients, before, after = step_taken(model)
    config, nodes = model.config, {node.id: node for node in graph(model.config).nodes}
    groups: dict[tuple[str, int], list[str]] = {}
    for name in gradients:
        groups.setdefault(node_of(name, config), []).append(name)
    known = {(node, layer) for node, layers in said["grad_params"].items() for layer, value in enumerate(layers) if value is not None}
    assert known == groups.keys()
    for (node, layer), names in groups.items():
        pull = math.sqrt(sum(gradients[name].square().sum().item() for name in names))
        change = math.sqrt(sum((after[name] - before[name]).square().sum().item() for name in names))
        weight = math.sqrt(sum(before[name].square().sum().item() for name in names))
        close(said["grad_params"][node][layer], pull, rel=1e-3, atol=1e-7)
        close(said["update_ratio"][node][layer], change / weight, rel=1e-3)
        assert node in nodes
    places = parameter_nodes(config)
    for name, _ in model.named_parameters():
        assert len({place for prefix, place in places.items() if name.startswith(prefix)}) == 1, name


def node_of(name: str, config: ModelConfig) -> tuple[str, int]:
    """The part that a parameter belongs to, by what its name says."""
    words = name.split(".")
    if words[0] != "blocks":
        return ({"wte": "embedding", "wpe": "embedding"}.get(words[0], words[0]), 0)
    layer, part, rest = int(words[1]), words[2], words[3]
    if rest == "gain":
        return ("add" if config.parallel else f"{part}.add", layer)
    return (part if rest == "f" else f"{part}.{rest}", layer)


def test_a_part_whose_weights_are_all_zero_has_no_ratio():
    model = build({"residual_gain": "rezero"})
    with torch.no_grad():
        model.blocks[0].attn.gain.zero_()
    said, *_ = step_taken(model)
    assert said["update_ratio"]["attn.add"][0] is None and said["update_ratio"]["attn.add"][1] > 0


def test_a_single_token_can_be_looked_at():
    moment = measure(build({}), np.array([5]))
    assert moment.tensors["attention"].tolist() == [[[[1.0]], [[1.0]]]] * 3
    assert not {"grad_stream", "grad_relative", "grad_branch", "lens_loss", "attn_previous"} & moment.values.keys()
    assert moment.values["attn_entropy"]["attn"] == [[0.0, 0.0]] * 3


def test_a_model_that_is_lost_is_measured_as_nothing():
    model = build({})
    with torch.no_grad():
        model.blocks[1].mlp.f.up.weight.fill_(math.nan)
    values = measure(model, np.arange(8)).values
    assert values["stream_rms"]["mlp.add"][0] > 0 and values["stream_rms"]["mlp.add"][1] is None
    assert values["lens_loss"]["mlp.add"][2] is None
