"""Every task against its own words: right answers by another route, and exact chances by counting out all there is."""

import math
import re
import string
from collections import Counter
from dataclasses import fields, replace
from fractions import Fraction
from functools import cache
from itertools import combinations, cycle, islice, pairwise, permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from models.knobs import ConfigError, parse
from playground.data import tasks
from playground.data.config import DataConfig
from playground.data.tasks import TASKS, Examples, Params, chains
from playground.data.tasks.base import scored

LETTERS = string.ascii_lowercase + string.ascii_uppercase
CLOSED_BY = dict(zip("([{⟨«‹⌈⌊", ")]}⟩»›⌉⌋", strict=True))
EXACT = [task.name for task in TASKS.values() if task.exact]


def named(name):
    return TASKS[f"task:{name}"]


def rng(seed=0):
    return np.random.default_rng(seed)


def spelled(task, p, drawn):
    """(tokens of the whole example, where its answer starts) for each row."""
    words = task.vocabulary(p)
    rows = zip(drawn.tokens.tolist(), drawn.starts.tolist(), drawn.ends.tolist(), strict=True)
    return [(tuple(words[i] for i in tokens[:end]), start) for tokens, start, end in rows]


# right answers: each rule takes the prompt (and further questions), checks its form, and gives (its size, the answers)


def letters_before_ask(p, prompt):
    *symbols, ask = prompt
    assert ask == ">" and set(symbols) <= set(LETTERS[: p.alphabet])
    return symbols


def copied(p, prompt):
    symbols = letters_before_ask(p, prompt)
    return len(symbols), [*symbols, "."]


def reversed_(p, prompt):
    symbols = letters_before_ask(p, prompt)
    return len(symbols), [*reversed(symbols), "."]


def sorted_(p, prompt):
    symbols = letters_before_ask(p, prompt)
    return len(symbols), [*sorted(symbols, key=LETTERS.index), "."]


def without_blanks(p, prompt):
    *places, ask = prompt
    symbols = [place for place in places if place != "-"]
    assert ask == ">" and len(places) - len(symbols) == p.blanks and set(symbols) <= set(LETTERS[: p.alphabet])
    return len(symbols), symbols


def gone_on(p, prompt):
    """The prompt ends with the first symbol that came before; from there on each is what followed the last of its kind."""
    known = list(prompt)
    period = len(set(known))
    assert len(known) == period + 1 and known[-1] == known[0] and set(known) <= set(LETTERS[: p.alphabet])
    while len(known) < 2 * max(period, p.length):
        before = max(i for i, symbol in enumerate(known[:-1]) if symbol == known[-1])
        known.append(known[before + 1])
    return period, known[period + 1 :]


def looked_up(p, prompt, *further):
    *pairs, ask, first = prompt
    keys, values, asked = pairs[::2], pairs[1::2], [first, *further]
    assert ask == ">" and len(keys) == len(values) == len(set(keys)) and sorted(asked) == sorted(keys)
    assert set(keys) <= set(string.ascii_lowercase[: p.alphabet]) and set(values) <= set(string.ascii_uppercase[: p.alphabet])
    value_of = dict(zip(keys, values, strict=True))
    return len(keys), [value_of[key] for key in asked]


def added(p, prompt):
    first, second = re.fullmatch(r"(\d+)\+(\d+)=", "".join(prompt)).groups()
    assert len(first) == len(second)
    total = f"{int(first) + int(second):0{len(first) + 1}d}"
    return len(first), list(reversed(total) if p.reverse_sum else total)


def added_on_a_circle(p, prompt):
    first, plus, second, equals = prompt
    assert plus == "+" and equals == "=" and 0 <= int(first) < p.modulus and 0 <= int(second) < p.modulus
    return None, [str((int(first) + int(second)) % p.modulus)]


def bits_before_ask(prompt):
    *bits, ask = prompt
    assert ask == ">" and set(bits) <= {"0", "1"}
    return bits


def odd(p, prompt):
    bits = bits_before_ask(prompt)
    return len(bits), [str(sum(map(int, bits)) % 2)]


def more(p, prompt):
    bits = bits_before_ask(prompt)
    assert len(bits) % 2
    return len(bits), [max("01", key=bits.count)]


def closed(p, prompt):
    *brackets, ask = prompt
    left_open = []
    for bracket in brackets:
        if bracket in list(CLOSED_BY)[: p.brackets]:
            left_open.append(bracket)
        else:
            assert CLOSED_BY[left_open.pop()] == bracket
    assert ask == ">"
    return len(brackets), [*(CLOSED_BY[bracket] for bracket in reversed(left_open)), "."]


RULES = {
    "copy": copied, "reverse": reversed_, "sort": sorted_, "selective-copy": without_blanks, "induction": gone_on, "recall": looked_up,
    "addition": added, "modular-addition": added_on_a_circle, "parity": odd, "majority": more, "dyck": closed,
}  # fmt: skip
LENGTHS = [Params(), Params(length=2, alphabet=2), Params(length=17, alphabet=52), Params(length=6, alphabet=30)]
SETTINGS = {
    "copy": LENGTHS, "reverse": LENGTHS, "sort": LENGTHS,
    "selective-copy": [Params(), Params(length=2, alphabet=2, blanks=1), Params(length=5, alphabet=52, blanks=30)],
    "induction": [Params(), Params(length=2, alphabet=2), Params(length=7, alphabet=10), Params(length=11, alphabet=52)],
    "recall": [Params(), Params(pairs=2, alphabet=2), Params(pairs=4, alphabet=26), Params(pairs=26, alphabet=26)],
    "addition": [Params(digits=d, reverse_sum=r) for d in (1, 2, 5, 18) for r in (True, False)],
    "modular-addition": [Params(modulus=m) for m in (2, 18, 31, 251)],
    "parity": [Params(), Params(length=2), Params(length=23)],
    "majority": [Params(), Params(length=2), Params(length=23)],
    "dyck": [Params(), Params(length=2, brackets=1), Params(length=15, brackets=3), Params(length=9, brackets=8)],
}  # fmt: skip
HELD_TO_RULES = [(name, p) for name, every in SETTINGS.items() for p in every]


def check(task, p, drawn, size):
    """Every drawn example has the right form and the right answer; gives the sizes that occurred."""
    assert drawn.tokens.shape == drawn.nats.shape == drawn.sure.shape == (len(drawn), task.longest(p, size))
    places = np.arange(drawn.tokens.shape[1])
    inside = places < drawn.ends[:, None]
    beyond = places - drawn.starts[:, None]
    answers = inside & (beyond >= 0) & (beyond % task.stride == 0)
    assert not drawn.tokens[~inside].any() and not drawn.nats[~inside].any()
    assert np.isfinite(drawn.nats).all() and (drawn.nats >= 0).all()
    assert (drawn.nats[answers] == 0).all() and (drawn.sure[answers] == 1).all()
    sizes = set()
    for words, start in spelled(task, p, drawn):
        found, answer = RULES[task.name](p, words[:start], *(words[start + 1 :: 2] if task.stride == 2 else ()))
        assert list(words[start :: task.stride]) == answer, (words, start)
        sizes.add(found)
    return sizes


def test_there_is_a_rule_for_every_task_whose_answer_follows():
    assert set(RULES) == set(SETTINGS) == set(EXACT)
    assert {task.name for task in TASKS.values()} - set(EXACT) == {"markov", "bigram"}


def trained_sizes(task, p):
    if (known := task.sizes(p)) is None:
        return {None}
    return set(range(known.shortest, known.longest + 1, 2 if task.name == "majority" else 1))


@pytest.mark.parametrize("name, p", HELD_TO_RULES)
def test_answers_are_right_and_all_trained_sizes_occur(name, p):
    task = named(name)
    assert check(task, p, task.draw(p, rng(), 1000), None) == trained_sizes(task, p)


@pytest.mark.parametrize("name, p", HELD_TO_RULES)
def test_answers_are_right_at_every_size_that_can_be_tested(name, p):
    task = named(name)
    if (known := task.sizes(p)) is None:
        return
    step = 2 if name == "majority" else 1
    assert 1 <= known.shortest <= known.longest <= known.testable and known.unit
    for size in range(known.shortest, known.testable + 1, step):
        assert check(task, p, task.draw(p, rng(size), 60, size), size) == {size}
    assert task.longest(p) == task.longest(p, known.longest)


@pytest.mark.parametrize("name, at", [
    ("copy", Params(length=7)), ("reverse", Params(length=7)), ("sort", Params(length=7)), ("dyck", Params(length=7)),
    ("selective-copy", Params(length=7)), ("parity", Params(length=7)), ("induction", Params(length=7, alphabet=14)),
    ("recall", Params(pairs=7, alphabet=14)), ("addition", Params(digits=7)),
])  # fmt: skip
def test_prompts_twice_as_long_as_trained_can_be_tested(name, at):
    assert (named(name).sizes(at).longest, named(name).sizes(at).testable) == (7, 14)


@pytest.mark.parametrize("length, longest", [(7, 7), (8, 7), (9, 9)])
def test_majorities_are_of_odd_numbers_of_bits(length, longest):
    known = named("majority").sizes(Params(length=length))
    assert (known.shortest, known.longest) == (1, longest) and known.testable % 2 and known.testable >= 2 * longest


def test_different_symbols_are_as_many_as_there_are_at_most():
    assert named("induction").sizes(Params(length=8, alphabet=11)).testable == 11
    assert named("recall").sizes(Params(pairs=8, alphabet=11)).testable == 11


def test_fewer_symbols_than_trained_repeat_until_an_example_is_as_long_as_the_others():
    task, p = named("induction"), Params(length=8, alphabet=20)
    assert [task.longest(p, size) for size in (None, 4, 8, 9, 16)] == [16, 16, 16, 18, 32]
    assert (task.draw(p, rng(), 20, 4).ends == 16).all() and (task.draw(p, rng(), 20, 9).ends == 18).all()


def test_keys_are_asked_for_in_every_order():
    task, p = named("recall"), Params(pairs=3, alphabet=8)
    orders = {tuple(words[:6:2].index(key) for key in words[7::2]) for words, _ in spelled(task, p, task.draw(p, rng(), 200, 3))}
    assert orders == set(permutations(range(3)))


@pytest.mark.parametrize("name", ["markov", "bigram"])
def test_texts_have_one_length_and_their_alphabet(name):
    task, p = named(name), Params(length=9, alphabet=52, order=2)
    drawn = task.draw(p, rng(), 500)
    assert drawn.tokens.shape == (500, 9) and (drawn.ends == 9).all() and (drawn.starts == (2 if name == "markov" else 1)).all()
    assert {word for words, _ in spelled(task, p, drawn) for word in words} == set(LETTERS) and task.sizes(p) is None


def test_the_loss_counts_the_answers_or_all_that_is_predicted():
    """By hand: `aQbR>bRaQ` and `cS>cS`, of which the capitals after the sign are answers."""
    drawn = Examples(np.zeros((2, 9)), np.array([6, 4]), np.array([9, 5]), np.zeros((2, 9)), np.zeros((2, 9)))
    assert [np.flatnonzero(row).tolist() for row in scored(drawn, 2, "answer")] == [[6, 8], [4]]
    assert [np.flatnonzero(row).tolist() for row in scored(drawn, 1, "answer")] == [[6, 7, 8], [4]]
    assert [np.flatnonzero(row).tolist() for row in scored(drawn, 2, "all")] == [[*range(1, 9)], [*range(1, 5)]]


def test_rows_are_taken_together():
    drawn = named("copy").draw(Params(), rng(), 10)
    part = drawn[drawn.ends > drawn.ends.min()]
    assert 0 < len(part) < 10
    wanted = [row for row in range(10) if drawn.ends[row] > drawn.ends.min()]
    for field in fields(part):
        assert np.array_equal(getattr(part, field.name), getattr(drawn, field.name)[wanted])


# chances: all examples there are, each with its probability, by the words that define the task


def all_rewritten(p, rule):
    for n in range(1, p.length + 1):
        for symbols in product(LETTERS[: p.alphabet], repeat=n):
            yield (*symbols, ">", *rule(symbols), "."), Fraction(1, p.length * p.alphabet**n)


def all_selective_copies(p):
    total = p.length + p.blanks
    chance = Fraction(1, math.comb(total, p.length) * p.alphabet**p.length)
    for held in combinations(range(total), p.length):
        for symbols in product(LETTERS[: p.alphabet], repeat=p.length):
            at = dict(zip(held, symbols, strict=True))
            yield (*(at.get(place, "-") for place in range(total)), ">", *symbols), chance


def all_inductions(p):
    periods = range(max(2, p.length // 2), p.length + 1)
    for period in periods:
        orders = list(permutations(LETTERS[: p.alphabet], period))
        for order in orders:
            yield tuple(islice(cycle(order), 2 * p.length)), Fraction(1, len(periods) * len(orders))


def all_recalls(p):
    small = string.ascii_lowercase[: p.alphabet]
    for count in range(1, p.pairs + 1):
        chance = Fraction(1, p.pairs * math.perm(p.alphabet, count) * p.alphabet**count * math.factorial(count))
        for keys in permutations(small, count):
            for values in product(string.ascii_uppercase[: p.alphabet], repeat=count):
                pairs = list(zip(keys, values, strict=True))
                for again in permutations(pairs):
                    yield (*(word for pair in pairs for word in pair), ">", *(word for pair in again for word in pair)), chance


def all_additions(p):
    for width in range(1, p.digits + 1):
        for first, second in product(range(10**width), repeat=2):
            total = str(first + second).zfill(width + 1)
            text = f"{first:0{width}d}+{second:0{width}d}={total[::-1] if p.reverse_sum else total}"
            yield tuple(text), Fraction(1, p.digits * 100**width)


def all_modular_additions(p):
    for first, second in product(range(p.modulus), repeat=2):
        yield (str(first), "+", str(second), "=", str((first + second) % p.modulus)), Fraction(1, p.modulus**2)


def all_counts(sizes, judge):
    for n in sizes:
        for bits in product("01", repeat=n):
            yield (*bits, ">", judge(bits.count("1"), n)), Fraction(1, len(sizes) * 2**n)


def all_brackets(p):
    openings = list(CLOSED_BY)[: p.brackets]
    at_length = [((), (), Fraction(1, p.length))]
    for _ in range(p.length):
        longer = []
        for words, left_open, chance in at_length:
            opens = Fraction(1, 2) if left_open else Fraction(1)
            longer += [((*words, b), (*left_open, b), chance * opens / p.brackets) for b in openings]
            if left_open:
                longer.append(((*words, CLOSED_BY[left_open[-1]]), left_open[:-1], chance * (1 - opens)))
        at_length = longer
        for words, left_open, chance in at_length:
            yield (*words, ">", *(CLOSED_BY[b] for b in reversed(left_open)), "."), chance


def all_markov_texts(p):
    """By the task's own table, its rows in alphabetical order of the contexts."""
    symbols = LETTERS[: p.alphabet]
    successors = dict(zip(product(symbols, repeat=p.order), chains.table(p.order, p.alphabet, p.seed).tolist(), strict=True))
    for text in product(symbols, repeat=p.length):
        chance = p.alphabet**-p.order
        for place in range(p.order, p.length):
            chance *= successors[text[place - p.order : place]][symbols.index(text[place])]
        yield text, chance


def all_bigram_texts(p):
    """The table of each text integrated out: a Dirichlet-multinomial for what followed each symbol."""
    symbols, a = LETTERS[: p.alphabet], chains.SPREAD
    for text in product(symbols, repeat=p.length):
        log = -math.log(p.alphabet)
        for symbol in symbols:
            followed = Counter(after for before, after in pairwise(text) if before == symbol)
            log += math.lgamma(p.alphabet * a) - math.lgamma(p.alphabet * a + followed.total())
            log += sum(math.lgamma(a + times) - math.lgamma(a) for times in followed.values())
        yield text, math.exp(log)


ALL = {
    "copy": lambda p: all_rewritten(p, lambda symbols: symbols),
    "reverse": lambda p: all_rewritten(p, lambda symbols: symbols[::-1]),
    "sort": lambda p: all_rewritten(p, sorted),
    "selective-copy": all_selective_copies,
    "induction": all_inductions,
    "recall": all_recalls,
    "addition": all_additions,
    "modular-addition": all_modular_additions,
    "parity": lambda p: all_counts(range(1, p.length + 1), lambda ones, n: str(ones % 2)),
    "majority": lambda p: all_counts(range(1, p.length + 1, 2), lambda ones, n: "01"[ones > n / 2]),
    "dyck": all_brackets,
    "markov": all_markov_texts,
    "bigram": all_bigram_texts,
}
SMALL_LENGTHS = [Params(length=3, alphabet=3), Params(length=5, alphabet=2)]
SMALL = {
    "copy": SMALL_LENGTHS, "reverse": SMALL_LENGTHS, "sort": SMALL_LENGTHS,
    "selective-copy": [Params(length=3, alphabet=2, blanks=2), Params(length=2, alphabet=3, blanks=4)],
    "induction": [Params(length=2, alphabet=3), Params(length=4, alphabet=4), Params(length=5, alphabet=6)],
    "recall": [Params(pairs=2, alphabet=2), Params(pairs=2, alphabet=4), Params(pairs=3, alphabet=3)],
    "addition": [Params(digits=1), Params(digits=2), Params(digits=2, reverse_sum=False)],
    "modular-addition": [Params(modulus=5), Params(modulus=18)],
    "parity": [Params(length=2), Params(length=6)],
    "majority": [Params(length=3), Params(length=6), Params(length=7)],
    "dyck": [Params(length=4, brackets=2), Params(length=6, brackets=1), Params(length=3, brackets=4)],
    "markov": [Params(length=4, alphabet=3), Params(length=5, alphabet=3, order=2, seed=7), Params(length=6, alphabet=2, order=3)],
    "bigram": [Params(length=5, alphabet=3), Params(length=8, alphabet=2)],
}  # fmt: skip
COUNTED_OUT = [(name, p) for name, every in SMALL.items() for p in every]


@cache
def everything(name, p):
    listed = list(ALL[name](p))
    chances = dict(listed)
    assert len(chances) == len(listed) and all(chances.values())
    return chances


@cache
def of_beginnings(name, p):
    """The probability that an example begins so."""
    found = Counter()
    for words, chance in everything(name, p).items():
        for n in range(len(words) + 1):
            found[words[:n]] += chance
    return found


@cache
def of_the_likeliest(name, p):
    """The probability of the likeliest token after each beginning."""
    beginnings, best = of_beginnings(name, p), {}
    for words, chance in beginnings.items():
        if words:
            best[words[:-1]] = max(best.get(words[:-1], 0), float(chance / beginnings[words[:-1]]))
    return best


def test_every_task_is_counted_out():
    assert set(ALL) == set(SMALL) == {task.name for task in TASKS.values()}


@pytest.mark.parametrize("name, p", COUNTED_OUT)
def test_chances_sum_to_one_and_no_example_begins_another(name, p):
    chances, beginnings = everything(name, p), of_beginnings(name, p)
    assert beginnings[()] == (1 if named(name).exact else pytest.approx(1, abs=1e-12))
    assert all(beginnings[words] == chance for words, chance in chances.items())


@pytest.mark.parametrize("name, p", COUNTED_OUT)
def test_there_are_as_many_different_examples_as_said(name, p):
    assert named(name).n_different(p) == len(everything(name, p))


@pytest.mark.parametrize("name, p", COUNTED_OUT)
def test_nats_are_the_surprise_of_each_token_given_those_before(name, p):
    """At every place, the first and the prompt's included; also where the examples are asked for by size."""
    task, beginnings, likeliest = named(name), of_beginnings(name, p), of_the_likeliest(name, p)
    for size in (None, *(trained_sizes(task, p) - {None})):
        drawn = task.draw(p, rng(3), 400, size)
        for row, (words, start) in enumerate(spelled(task, p, drawn)):
            assert words in everything(name, p), words
            nats = [-math.log(beginnings[words[: n + 1]] / beginnings[words[:n]]) for n in range(len(words))]
            assert drawn.nats[row, : len(words)] == pytest.approx(nats, abs=1e-9), words
            assert not drawn.nats[row, len(words) :].any()
            sure = [likeliest[words[:n]] for n in range(len(words))]
            told = slice(start, len(words), task.stride) if task.exact else slice(len(words))
            assert drawn.sure[row, told] == pytest.approx(sure[told], abs=1e-9), words


@pytest.mark.parametrize("name, p", COUNTED_OUT)
def test_examples_occur_as_often_as_their_chances_say(name, p):
    """Chi-square over 50,000 draws; those expected fewer than five times count together."""
    n, task = 50_000, named(name)
    drawn = task.draw(p, rng(11), n)
    kinds, times = np.unique(np.hstack([drawn.tokens, drawn.ends[:, None]]), axis=0, return_counts=True)
    words = task.vocabulary(p)
    seen = {tuple(words[i] for i in kind[: kind[-1]]): int(count) for kind, count in zip(kinds, times, strict=True)}
    assert set(seen) <= set(everything(name, p))
    cells, rare = [], [0, 0.0]
    for kind, chance in everything(name, p).items():
        expected, found = float(n * chance), seen.get(kind, 0)
        if expected >= 5:
            cells.append((found, expected))
        else:
            rare = [rare[0] + found, rare[1] + expected]
    cells += [tuple(rare)] if rare[1] >= 5 else []
    assert sum(expected for _, expected in cells) > 0.9 * n
    free = len(cells) - 1
    assert sum((found - expected) ** 2 / expected for found, expected in cells) < free + 5 * math.sqrt(2 * free)


@pytest.mark.parametrize("name, p", COUNTED_OUT)
def test_the_mean_surprise_is_the_entropy(name, p):
    """So that the floor of the loss is the least that any model can reach."""
    entropy = -sum(float(chance) * math.log(chance) for chance in everything(name, p).values())
    total = named(name).draw(p, rng(5), 20_000).nats.sum(1)
    assert total.mean() == pytest.approx(entropy, abs=5 * total.std() / math.sqrt(len(total)) + 1e-9)


# the tables of chance


@pytest.mark.parametrize("order, alphabet", [(1, 2), (1, 52), (2, 5), (6, 3)])
def test_a_table_has_a_distribution_for_every_context(order, alphabet):
    table = chains.table(order, alphabet, 4)
    assert table.shape == (alphabet**order, alphabet) and (table > 0).all()
    assert table.sum(1) == pytest.approx(np.ones(alphabet**order), abs=1e-12)
    assert len(np.unique(table, axis=0)) == alphabet**order
    assert not np.array_equal(table, chains.table(order, alphabet, 5))


def test_long_markov_texts_follow_the_table_of_their_seed():
    task, p = named("markov"), Params(length=12, alphabet=5, order=3, seed=9)
    rows = {context: place for place, context in enumerate(product(LETTERS[:5], repeat=3))}
    drawn = task.draw(p, rng(), 200)
    for row, (words, _) in enumerate(spelled(task, p, drawn)):
        for place in range(3, 12):
            chances = chains.table(3, 5, 9)[rows[words[place - 3 : place]]]
            assert drawn.nats[row, place] == pytest.approx(-math.log(chances[LETTERS.index(words[place])]), abs=1e-9)
            assert drawn.sure[row, place] == chances.max()
    assert drawn.nats[:, :3] == pytest.approx(np.full((200, 3), math.log(5)))


def test_the_best_guess_in_a_markov_text_is_right_as_often_as_sure_says():
    task, p = named("markov"), Params(length=30, alphabet=6, order=1)
    drawn = task.draw(p, rng(2), 3000)
    best = chains.table(1, 6, 0).argmax(1)
    right = best[drawn.tokens[:, :-1]] == drawn.tokens[:, 1:]
    assert right.mean() == pytest.approx(drawn.sure[:, 1:].mean(), abs=0.01)


# settings that cannot be used


@pytest.mark.parametrize("name, p, said, nearest, beyond", [
    ("induction", Params(length=10, alphabet=9), "alphabet=10", {"alphabet": 10}, {"alphabet": 9}),
    ("induction", Params(length=10, alphabet=9), "length=9", {"length": 9}, {"length": 10}),
    ("induction", Params(length=60, alphabet=52), "length=52", {"length": 52}, {"length": 53}),
    ("recall", Params(pairs=7, alphabet=5), "alphabet=7", {"alphabet": 7}, {"alphabet": 6}),
    ("recall", Params(pairs=7, alphabet=27), "at most 26", {"alphabet": 26}, {"alphabet": 27}),
    ("markov", Params(length=3, order=3), "length=4", {"length": 4}, {"length": 3}),
    ("markov", Params(length=2, order=6), "length=7", {"length": 7, "alphabet": 6}, {"length": 6, "alphabet": 6}),
    ("markov", Params(order=3, alphabet=52), "alphabet=46", {"alphabet": 46}, {"alphabet": 47}),
    ("markov", Params(order=4, alphabet=18), "alphabet=17", {"alphabet": 17}, {"alphabet": 18}),
    ("markov", Params(order=5, alphabet=11), "alphabet=10", {"alphabet": 10}, {"alphabet": 11}),
    ("markov", Params(order=6, alphabet=7), "alphabet=6", {"alphabet": 6}, {"alphabet": 7}),
])  # fmt: skip
def test_what_is_impossible_is_refused_with_the_nearest_that_works(name, p, said, nearest, beyond):
    task = named(name)
    assert re.search(rf"{said}\b", tasks.problem(task, p))
    assert task.problem(replace(p, **nearest)) is None and task.problem(replace(p, **beyond)) is not None


def test_an_alphabet_that_does_not_exist_is_not_recommended():
    assert "alphabet=60" not in named("induction").problem(Params(length=60, alphabet=52))


TOO_FEW = [
    ("copy", Params(length=2, alphabet=9), 90), ("reverse", Params(length=7, alphabet=2), 254), ("sort", Params(length=2, alphabet=2), 6),
    ("selective-copy", Params(length=2, alphabet=2, blanks=1), 12), ("induction", Params(length=4, alphabet=4), 60),
    ("induction", Params(length=3, alphabet=4), 36),
    ("recall", Params(pairs=2, alphabet=2), 20), ("addition", Params(digits=1), 100), ("modular-addition", Params(modulus=17), 289),
    ("parity", Params(length=7), 254), ("majority", Params(length=8), 170), ("dyck", Params(length=8, brackets=1), 147),
    ("markov", Params(length=8, alphabet=2, order=2), 256), ("bigram", Params(length=2, alphabet=17), 289),
]  # fmt: skip


@pytest.mark.parametrize("name, p, count", TOO_FEW)
def test_too_few_different_examples_are_refused_with_their_number_and_what_helps(name, p, count):
    task = named(name)
    message = tasks.problem(task, p)
    assert task.problem(p) is None and re.search(rf"\b{count}\b", message) and str(tasks.MIN_DIFFERENT) in message
    advised = message.partition("raise ")[2].split(" or ")
    assert advised and set(advised) <= set(task.knobs)
    for knob in advised:
        raised = replace(p, **{knob: getattr(p, knob) + 2})
        assert task.problem(raised) is None and task.n_different(raised) > count, knob


def test_every_task_is_tried_with_too_few():
    assert {name for name, _, _ in TOO_FEW} == {task.name for task in TASKS.values()}


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_the_settings_one_starts_with_can_be_used(task):
    assert tasks.problem(task, Params()) is None
    assert DataConfig(source=f"task:{task.name}").params == Params()


MODERATE = {
    "length": st.integers(2, 24), "alphabet": st.integers(2, 52), "pairs": st.integers(2, 12), "blanks": st.integers(1, 16),
    "digits": st.integers(2, 18), "reverse_sum": st.booleans(), "modulus": st.integers(18, 251), "brackets": st.integers(1, 8),
    "order": st.integers(1, 6), "seed": st.integers(0, 2**31 - 1),
}  # fmt: skip


@pytest.mark.parametrize("source", TASKS)
@hypothesis_settings(max_examples=12, deadline=None, derandomize=True)
@given(data=st.data())
def test_whatever_a_config_allows_can_be_drawn(source, data):
    """And what it refuses are the settings with a problem, no others."""
    task = TASKS[source]
    values = {knob: data.draw(MODERATE[knob], knob) for knob in (*task.knobs, "seed")}
    try:
        p = parse(DataConfig, {"source": source, **values}).params
    except ConfigError as error:
        assert tasks.problem(task, Params(**values)) in [problem.message for problem in error.problems]
        return
    assert p == Params(**values) and tasks.problem(task, p) is None
    known = task.sizes(p)
    for size in (None,) if known is None else (None, known.shortest, known.longest, known.testable):
        drawn = task.draw(p, rng(p.seed), 30, size)
        assert drawn.tokens.shape == drawn.nats.shape == drawn.sure.shape == (30, task.longest(p, size))
        assert drawn.tokens.min() >= 0 and drawn.tokens.max() < len(task.vocabulary(p))
        assert (drawn.starts >= 1).all() and (drawn.starts < drawn.ends).all() and (drawn.ends <= drawn.tokens.shape[1]).all()
        assert np.isfinite(drawn.nats).all() and (drawn.nats >= 0).all() and (drawn.sure <= 1 + 1e-12).all()
        again = task.draw(p, rng(p.seed), 30, size)
        assert all(np.array_equal(getattr(drawn, field.name), getattr(again, field.name)) for field in fields(drawn))


# what is said of the tasks


@pytest.mark.parametrize("source, task", TASKS.items(), ids=TASKS)
def test_every_task_says_what_it_is(source, task):
    assert source == f"task:{task.name}" and task.title and task.rule.endswith((".", "?"))
    assert len(task.about) >= 150 and "\n" not in task.about and "  " not in task.about and task.about.endswith(".")
    assert re.search(r"\b(19|20)\d\d\b", task.paper)
    assert task.knobs and len(set(task.knobs)) == len(task.knobs)
    assert set(task.knobs) <= {field.name for field in fields(Params)} <= set(DataConfig.model_fields)
    words = task.vocabulary(Params())
    assert len(set(words)) == len(words) and all(words)
    assert tasks.named(source) is task


def test_titles_and_names_are_told_apart():
    assert len({task.title for task in TASKS.values()}) == len({task.name for task in TASKS.values()}) == len(TASKS) == 13
    assert tasks.named("tiny-tales") is None and tasks.named("copy") is None


@pytest.mark.parametrize("knob", sorted({field.name for field in fields(Params)} - {"seed"}))
def test_the_readers_of_a_knob_are_those_that_name_it(knob):
    assert tasks.reading(knob) == tuple(source for source in TASKS if knob in TASKS[source].knobs) != ()
    (need,) = next(spec for spec in DataConfig.specs() if spec.path == knob).needs
    assert need.field == "source" and need.wanted == tasks.reading(knob)


@pytest.mark.parametrize("source, task", TASKS.items(), ids=TASKS)
def test_a_task_reads_the_knobs_it_names_and_no_others(source, task):
    """Another value of a knob makes other examples if and only if the task names it; the seed only changes tables."""
    start = Params(length=6, alphabet=9)
    others = {"length": 7, "alphabet": 10, "digits": 4, "reverse_sum": False, "modulus": 37, "brackets": 3, "pairs": 6, "blanks": 11}

    def made(p):
        drawn = task.draw(p, rng(1), 200)
        return task.vocabulary(p), drawn.tokens.shape, drawn.tokens.tobytes(), task.n_different(p), task.longest(p)

    for knob, value in (others | {"order": 2}).items():
        assert (made(replace(start, **{knob: value})) != made(start)) == (knob in task.knobs), knob
    assert (made(replace(start, seed=1)) != made(start)) == (task.name == "markov")


def test_nobody_reads_a_knob_that_does_not_exist():
    assert tasks.reading("n_layer") == ()
