"""Stories whose probability is known exactly: the machinery on toy programs, the stories by a grammar check of their own."""

import math
import random
import re
import string
from collections import Counter

import pytest

from playground.data import tales as module
from playground.data.tales import SEPARATOR, Drawing, Teller, derivations, draw, log_probability, logsumexp, options, tales, tell

SHE = {
    "Mia", "Lily", "Anna", "Zoe", "Ruby", "Ella", "Nina", "Ivy", "Emma", "Clara", "Dot", "Daisy", "Poppy", "Luna", "Tilly", "Pearl",
    "Mum", "Grandma", "Rosa",
}  # fmt: skip
HE = {
    "Tom", "Ben", "Max", "Sam", "Leo", "Finn", "Noah", "Oscar", "Hugo", "Theo", "Pip", "Rex", "Bruno", "Otto", "Milo", "Bert",
    "Dad", "Grandpa", "Jack",
}  # fmt: skip
SHE_WORDS, HE_WORDS = {"she", "her", "herself"}, {"he", "him", "his", "himself"}
NUMBERS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


def drawn(n, seed=0):
    rng = random.Random(seed)
    return [tell(rng) for _ in range(n)]


@pytest.fixture(scope="module")
def thousand():
    return drawn(1000)


@pytest.fixture(scope="module")
def million():
    return tales(0, 1_000_000)


def words(text):
    return re.findall(r"[A-Za-z]+", text)


# the machinery, on programs small enough to tell everything they can tell


class Listing(Teller):
    """Takes the choices of a script and then always the first; knows how many options there were at each."""

    def __init__(self, script):
        super().__init__()
        self.script, self.taken, self.widths, self.said = script, [], [], ""

    def choose(self, options):
        at = self.script[len(self.taken)] if len(self.taken) < len(self.script) else 0
        self.taken.append(at)
        self.widths.append(len(options.values))
        self.nats += options.nats[at]
        return options.values[at]

    def emit(self, text):
        self.said += text


def everything(program):
    """(text, -log p) of every sequence of choices, by counting through them like the digits of a number."""
    script = []
    while True:
        teller = Listing(script)
        program(teller)
        yield teller.said, teller.nats
        script = list(teller.taken)
        while script and script[-1] + 1 == teller.widths[len(script) - 1]:
            script.pop()
        if not script:
            return
        script[-1] += 1


def unambiguous(t):
    t.known["noun"] = t.choose(options(("dog", "doe"), (3.0, 1.0)))
    if t.choose(options((True, False))):
        t.say("{A :fear} saw {a colour} {noun}.", "The {noun} [ran|[sat|slept] {:rest}].")
    else:
        t.say("The {few} {:few} {noun}s.")
    t.maybe(0.3, "It was {colour}.", "It was not.")


def ambiguous(t):
    """`aa` comes about in three ways of 1/2 * 1/9, and in one of 1/2 * 2/3."""
    if t.choose(options((True, False))):
        t.write("[a|aa|][a|aa|]")
    else:
        t.write(t.choose(options(("aa", "b"), (2.0, 1.0))))


@pytest.mark.parametrize("program", [unambiguous, ambiguous])
def test_probabilities_of_all_that_a_program_tells_sum_to_one_and_following_finds_each(program):
    ways = {}
    for text, nats in everything(program):
        ways.setdefault(text, []).append(nats)
    assert math.fsum(math.exp(-nats) for found in ways.values() for nats in found) == pytest.approx(1, abs=1e-12)
    for text, nats in ways.items():
        assert sorted(derivations(program, text)) == pytest.approx(sorted(nats), abs=1e-12)
    assert max(map(len, ways.values())) == (1 if program is unambiguous else 4)


def test_maybe_has_its_chance():
    assert math.fsum(math.exp(-nats) for text, nats in everything(unambiguous) if " It was " in text) == pytest.approx(0.3)


def test_an_ambiguous_text_has_the_sum_over_its_derivations():
    log_p = logsumexp([-nats for nats in derivations(ambiguous, "aa")])
    assert math.exp(log_p) == pytest.approx(1 / 2 * 3 / 9 + 1 / 2 * 2 / 3)
    assert derivations(ambiguous, "ab") == [] and logsumexp([]) == -math.inf


def test_draws_come_as_often_as_their_probability_says():
    rng, n = random.Random(1), 20_000
    counts = Counter(draw(ambiguous, rng).text for _ in range(n))
    for text in ("", "a", "aa", "aaa", "aaaa", "b"):
        p = math.exp(logsumexp([-nats for nats in derivations(ambiguous, text)]))
        assert counts[text] == pytest.approx(n * p, abs=5 * math.sqrt(n * p))


def test_a_template_knows_its_words_forms_and_facts():
    def program(t):
        t.known |= {"hero": "Mia", "toy": "robot", "colour": "orange", "time": "Sunday"}
        t.say("{He} and {his} {toy}: {a colour} {toy.part}, {Time.next}, {Colour}, {himself}.")

    teller = Drawing(random.Random(0))
    program(teller)
    assert "".join(teller.said) == "She and her robot: an orange leg, On Monday, Orange, herself."


def test_no_word_is_drawn_twice_and_none_is_left_out():
    told = {text for text, _ in everything(lambda t: t.say("{:few} {few} {:few} {few}"))}
    assert all(one != two != three != one and two == again for one, two, three, again in map(str.split, told)) and len(told) == 5 * 4 * 3


def test_a_bracket_that_stays_open_is_an_error():
    with pytest.raises(ValueError, match="stays open"):
        module.parse("[a|b")


def test_no_fact_hides_another():
    tables = [module.GAMES, module.SKILLS, module.PARTS, module.NOISES, module.BABIES, module.GIFTS, module.WEEK]
    names = [module.GIRLS, module.BOYS, module.SHE_ANIMALS, module.HE_ANIMALS, module.WOMEN, module.MEN]
    assert len(module.FACTS) == sum(map(len, tables + names)) + 3  # and morning, afternoon, day
    assert all(len(set(kind)) == len(kind) for kind in module.WORDS.values())


# exact probability of the stories


def test_every_tale_has_one_derivation_and_its_probability():
    for tale in drawn(400, seed=1):
        found = derivations(module.story, tale.text)
        assert len(found) == 1, tale.text
        assert found[0] == pytest.approx(tale.nats, abs=1e-9)
        assert log_probability(tale.text) == pytest.approx(-tale.nats, abs=1e-9)


def test_what_is_no_tale_has_no_probability(thousand):
    for tale in thousand[:100]:
        text = tale.text
        pronoun = re.search(r"\b(she|he)\b", text)
        name = next(word for word in words(text) if word in SHE | HE)
        last = text.rindex(name)
        wrong = [text[:-1], text + " ", text + SEPARATOR, text[1:], text.lower(), "", f"{text[:last]}Zed{text[last + len(name) :]}"]
        wrong += [text[: text.rindex(". ") + 1] + " The end.", text.replace(" was ", " were ", 1)]
        if pronoun:
            wrong.append(text[: pronoun.start()] + ("he" if pronoun[0] == "she" else "she") + text[pronoun.end() :])
        assert all(log_probability(other) == -math.inf for other in wrong if other != text), text


def test_a_name_swapped_for_another_of_the_same_kind_in_one_place_is_no_tale(thousand):
    girls = [tale.text for tale in thousand if "Ivy" in tale.text and "Emma" not in tale.text]
    assert len(girls) > 10
    for text in girls:
        first, last = text.index("Ivy"), text.rindex("Ivy")
        assert first < last and log_probability(text[:last] + "Emma" + text[last + 3 :]) == -math.inf


def test_the_mean_of_nats_is_the_same_in_disjoint_halves_and_by_parsing():
    nats = [tale.nats for tale in drawn(6000, seed=2)]
    halves = nats[:3000], nats[3000:]
    means = [math.fsum(half) / 3000 for half in halves]
    errors = [math.sqrt(math.fsum((value - mean) ** 2 for value in half) / 2999 / 3000) for half, mean in zip(halves, means, strict=True)]
    assert abs(means[0] - means[1]) < 4 * math.hypot(*errors)
    parsed = [-log_probability(tale.text) for tale in drawn(1000, seed=3)]
    assert abs(math.fsum(parsed) / 1000 - means[0]) < 4 * math.hypot(errors[0], errors[0] * math.sqrt(3))


# many tales


def test_tales_are_decided_by_the_seed():
    assert tales(3, 30_000) == tales(3, 30_000)
    assert tales(3, 30_000).text != tales(4, 30_000).text
    assert tales(3, 60_000).text.startswith(tales(3, 30_000).text)


def test_no_story_occurs_twice_and_no_draw_repeats(million):
    stories = million.text.removesuffix(SEPARATOR).split(SEPARATOR)
    assert len(set(stories)) == len(stories) == million.n_train + million.n_held_out
    assert million.text == "".join(tale.text + SEPARATOR for tale in drawn(len(stories)))  # nothing had to be dropped


def test_a_repeated_draw_is_dropped(monkeypatch):
    def few(t):
        t.say("{colour} {weather}")

    monkeypatch.setattr(module, "story", few)
    every = len(module.WORDS["colour"]) * len(module.WORDS["weather"])
    made = tales(0, 1600)
    stories = made.text.removesuffix(SEPARATOR).split(SEPARATOR)
    assert 100 < len(stories) == len(set(stories)) <= every


def test_the_held_out_part_is_whole_stories_that_training_does_not_have(million):
    train, held_out = million.text[: million.held_out_at], million.text[million.held_out_at :]
    assert train.endswith(SEPARATOR) and held_out[0].isupper()
    stories = held_out.removesuffix(SEPARATOR).split(SEPARATOR)
    assert len(stories) == million.n_held_out and not any(story in train for story in stories)
    assert 1_000_000 <= len(million.text) < 1_001_000
    assert 0.1 * len(million.text) <= len(held_out) < 0.1 * len(million.text) + 1000
    assert million.held_out_nats == pytest.approx(-math.fsum(map(log_probability, stories)), abs=1e-6)


@pytest.mark.parametrize("share", [0, 1e-9, 0.5, 1])
def test_any_share_can_be_held_out(share):
    made = tales(5, 20_000, held_out=share)
    held_out = made.text[made.held_out_at :]
    assert len(held_out) >= share * len(made.text) - 1 and held_out.count(SEPARATOR) == made.n_held_out
    assert (made.n_held_out == 0) == (share == 0) and (made.n_train == 0) == (share == 1)


def test_the_floor_is_where_it_is_said_to_be(million):
    assert 0.12 < million.held_out_nats / (len(million.text) - million.held_out_at) < 0.16


def test_only_plain_characters(million):
    assert set(million.text) <= set(string.ascii_letters + " \n.,!?\"'-")


# grammar, checked without the grammar


def sentences(text):
    """Sentences, where a quotation that goes on in small letters belongs to what follows."""
    return re.split(r'(?<=[.!?])(?:"?) (?="?[A-Z])', text)


def test_sentences_are_sentences(thousand):
    for tale in thousand:
        assert 250 < len(tale.text) < 650 and 5 <= len(sentences(tale.text)) <= 11, tale.text
        assert tale.text[-1] in ".!?" and tale.text.count('"') % 2 == 0
        assert not re.search(r"  |\n| [.,!?]|[.,!?]{2}|[{}\[\]|:]", tale.text), tale.text
        for sentence in sentences(tale.text):
            assert sentence.lstrip('"')[0].isupper() and sentence.rstrip('"')[-1] in ".!?", (sentence, tale.text)
        for quote in re.findall(r'"([^"]*)"', tale.text):
            assert quote[0].isupper() and quote[-1] in ".,!?", tale.text


def test_an_before_vowels_only(thousand):
    for tale in thousand:
        for article, after in re.findall(r"\b([Aa]n?) ([a-z]+)", tale.text):
            assert (article.lower() == "an") == (after[0] in "aeiou"), tale.text


def test_names_that_are_introduced_recur(thousand):
    for tale in thousand:
        counts = Counter(word for word in words(tale.text) if word in SHE | HE)
        assert counts and min(counts.values()) >= 2, tale.text


def test_every_name_is_known_here(thousand):
    """A word that has a capital in the middle of a sentence is a name or a day."""
    inside = {word for tale in thousand for word in re.findall(r"(?<=[a-z,] )([A-Z][a-z]+)", tale.text)}
    assert inside - SHE - HE - {"Aunt", "Uncle"} - set(module.WEEK) == set()


def test_pronouns_are_the_heros(thousand):
    """Outside quotations only the hero is he or she, in every story."""
    seen = set()
    for tale in thousand:
        told = re.sub(r'"[^"]*"', "", tale.text)
        hero = next(word for word in words(tale.text) if word in SHE | HE)
        wrong = HE_WORDS if hero in SHE else SHE_WORDS
        found = {word.lower() for word in words(told)}
        assert not found & wrong, tale.text
        seen |= found & (HE_WORDS | SHE_WORDS)
    assert seen == HE_WORDS | SHE_WORDS


def test_verbs_agree_with_their_subjects(thousand):
    """A plural subject is `they`, two names, a number above one, or a word that ends in s or is irregular; all else is singular."""
    checked = Counter()
    plural = re.compile(r"(?i)(?:\bthey|\bleaves|\b(?:feet|ears|hands|knees|toes|legs)|\b[A-Z]\w+ and [A-Z]\w+)$")
    counted = re.compile(rf"(?i)\b({'|'.join(NUMBERS)})(?: \w+)? (\w+)$")
    for tale in thousand:
        for sentence in sentences(tale.text):
            for match in re.finditer(r"\b(was|were)\b", sentence):
                before = sentence[: match.start()].strip()
                number = counted.search(before)
                if before.endswith(("there", "There")):  # what follows says
                    after = sentence[match.end() :].split()[0]
                    many = after in NUMBERS[1:]
                elif number:
                    many = number[1].lower() != "one"
                    assert many == number[2].endswith("s"), sentence
                else:
                    many = bool(plural.search(before))
                if "until" not in before.split()[-3:]:
                    assert (match[0] == "were") == many, (sentence, before)
                    checked[match[0]] += 1
    assert min(checked["was"], checked["were"]) > 300


def test_numbers_add_up(thousand):
    """What was there is what was given away and what is left; what was had and what was earned is the price."""
    shared = bought = 0
    value = {number: at + 1 for at, number in enumerate(NUMBERS)}
    any_number = "|".join(NUMBERS)
    for tale in thousand:
        if left := re.search(rf"Now there (was|were) ({any_number}) (\w+) left", tale.text):
            first = re.search(rf"(?:had|there were) ({any_number}) \w+ (\w+)s\b", tale.text)
            given = re.search(rf"({any_number}) of (?:the|my) {first[2]}s", tale.text)
            assert value[first[1]] == value[given[1]] + value[left[2]]
            assert (left[1] == "was") == (left[2] == "one") == (left[3] == first[2]), tale.text
            shared += 1
        if price := re.search(rf"for ({any_number}) coins", tale.text):
            had, need = re.search(rf"had only ({any_number})", tale.text), re.search(rf"need ({any_number}) more coin", tale.text)
            assert value[price[1]] == value[had[1]] + value[need[1]], tale.text
            assert re.search(rf"gave (?:him|her) {need[1]} \w+ coin{'' if need[1] == 'one' else 's'}\.", tale.text), tale.text
            bought += 1
    assert min(shared, bought) > 40


def test_the_next_day_is_the_next_day(thousand):
    days = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
    pairs = [re.findall("|".join(f"On {day}" for day in days), tale.text) for tale in thousand]
    found = 0
    for tale, after in zip(thousand, pairs, strict=True):
        for day in after:
            before = next(word for word in words(tale.text) if word in days)
            assert days.index(day[3:]) == (days.index(before) + 1) % 7, tale.text
            found += 1
    assert found > 100


def test_stories_begin_and_go_on_in_many_ways(thousand):
    assert len({tale.text[:40] for tale in thousand}) > 900
    assert len({tuple(words(tale.text)[:2]) for tale in thousand}) > 30
