"""Tiny Tales: short stories in simple English, drawn from a grammar that knows the exact probability of each of them.

Knows nothing of files, tokens and models. No model can expect a lower loss on unseen stories than their own `-log p`, which is known.

A story is told by a *program of choices*: an ordinary function that is handed a teller and calls its `say`, `maybe` and `choose`.
One teller draws and adds up `-log p` of what it draws. Another follows a given text, tries every option at every choice and gives up
as soon as what is said is not what is written; the sum over all the ways that arrive is the probability of the text.

Sentences are templates:

    [ran|walked]     one of these templates, all equally likely
    {toy}            a word of the kind `toy`, and from then on the same word
    {pal:child}      a word of the kind `child`, known from then on as `pal`
    {:child}         just a word of that kind; no word is drawn twice in one story
    {a toy} {Toy}    the same with its article, and with a capital
    {pal.him}        what FACTS says of that word, here a pronoun; {he}, {him}, {his} and {himself} are the hero's

A word or a fact may be a template itself. A kind that is not in WORDS is the name of a word that is known, and that one is in WORDS.
"""

from __future__ import annotations

import itertools
import math
import random
import re
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

VERSION = 1  # part of the text's identity: raise it whenever the stories change
SEPARATOR = "\n\n"  # between stories


@dataclass(frozen=True)
class Tale:
    """A story and `nats`, the -log p of its text."""

    text: str
    nats: float


@dataclass(frozen=True)
class Tales:
    """Many different stories, the last of them held out.

    `text`: the stories, each followed by SEPARATOR; `held_out_at`: the character where the held-out ones begin, always a story's first;
    `held_out_nats`: -log p of all held-out stories together, where a separator costs nothing; `n_train`, `n_held_out`: numbers of stories.
    """

    text: str
    held_out_at: int
    held_out_nats: float
    n_train: int
    n_held_out: int


def tell(rng: random.Random) -> Tale:
    """The next story of this generator."""
    return draw(story, rng)


def log_probability(text: str) -> float:
    """Natural logarithm of the probability that `tell` tells exactly this text; -inf if it never does."""
    return logsumexp([-nats for nats in derivations(story, text)])


def tales(seed: int, n_chars: int, held_out: float = 0.1) -> Tales:
    """Stories until they are `n_chars` characters or more; at least the last `held_out` share (0 to 1) of them is held out.

    A story drawn again is dropped, which conditions the later ones on being new: their exact -log p is lower by about the probability of
    a repeat. No story is likelier than e^-39, so that in a million characters this is less than 1e-12 nats a story, and left out.
    """
    rng, found, starts = random.Random(seed), {}, [0]
    while starts[-1] < n_chars:
        tale = tell(rng)
        if tale.text not in found:
            found[tale.text] = tale.nats
            starts.append(starts[-1] + len(tale.text) + len(SEPARATOR))
    n_train = bisect_right(starts, int(starts[-1] * (1 - held_out))) - 1
    nats = list(found.values())[n_train:]
    return Tales("".join(text + SEPARATOR for text in found), starts[n_train], math.fsum(nats), n_train, len(nats))


# ------------------------------------------------------------------------------------------------------------ machinery


class Options(NamedTuple):
    """What there is to choose from. `bounds` are cumulative probabilities, `leads` the text that must follow if an option is chosen."""

    values: tuple
    nats: tuple[float, ...]
    bounds: tuple[float, ...]
    leads: tuple[str, ...]


@cache
def options(values: tuple, weights: tuple[float, ...] | None = None) -> Options:
    """Options of these weights, uniform without weights."""
    weights = weights or (1.0,) * len(values)
    total = math.fsum(weights)
    bounds = tuple(math.fsum(weights[: at + 1]) / total for at in range(len(values)))
    return Options(values, tuple(-math.log(weight / total) for weight in weights), bounds, ("",) * len(values))


@cache
def templates(values: tuple[str, ...]) -> Options:
    """Options that are templates to be said, all equally likely."""
    return options(values)._replace(leads=tuple(re.split(r"[{\[]", value)[0] for value in values))


class Slot(NamedTuple):
    """`{a name:kind}` or `{name.fact}`."""

    name: str
    kind: str
    fact: str
    article: bool
    capital: bool


@cache
def parse(template: str) -> tuple[str | Slot | Options, ...]:
    """The template's parts in order."""
    parts = re.findall(r"\{[^}]*\}|[^{\[]+|\[", template)
    if "[" not in parts:
        return tuple(_slot(part[1:-1]) if part[0] == "{" else part for part in parts)
    start = template.index("[")
    end, bars = _bracket(template, start)
    edges = [start, *bars, end]
    inside = tuple(template[left + 1 : right] for left, right in itertools.pairwise(edges))
    return (*parse(template[:start]), templates(inside), *parse(template[end + 1 :]))


def _bracket(template: str, start: int) -> tuple[int, list[int]]:
    """Where the bracket that opens at `start` closes, and its own bars."""
    depth, bars = 0, []
    for at in range(start, len(template)):
        depth += (template[at] == "[") - (template[at] == "]")
        if depth == 0:
            return at, bars
        if depth == 1 and template[at] == "|":
            bars.append(at)
    raise ValueError(f"a bracket stays open in {template!r}")


def _slot(inside: str) -> Slot:
    article = inside.startswith("a ")
    name, _, kind = inside.removeprefix("a ").partition(":")
    capital, name = name[:1].isupper(), name[:1].lower() + name[1:]
    name, _, fact = (f"hero.{name}" if name in PRONOUNS["she"] else name).partition(".")
    return Slot(name, kind or name, fact, article, capital)


@cache
def _form(word: str, article: bool, capital: bool) -> str:
    said = f"{'an' if word[0] in 'aeiou' else 'a'} {word}" if article else word
    return said[0].upper() + said[1:] if capital else said


@cache
def _fresh(kind: str, used: frozenset[str], article: bool, capital: bool) -> tuple[Options, dict[str, str]]:
    """The forms of this kind's words, the used ones left out, and the word of each form."""
    words = {_form(word, article, capital): word for word in WORDS[kind] if word not in used}
    return templates(tuple(words)), words


class Teller:
    """Says templates and remembers the words in them. Subclasses define `choose` and `emit`."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}
        self.used: frozenset[str] = frozenset()  # words drawn
        self.begun = False
        self.nats = 0.0  # -log p of the choices so far

    def choose(self, options: Options) -> Any:
        """One of the options' values. Says nothing."""
        raise NotImplementedError

    def emit(self, text: str) -> None:
        raise NotImplementedError

    def say(self, *sentences: str) -> None:
        """One of these templates, all equally likely, after a space unless it is the first."""
        if self.begun:
            self.emit(" ")
        self.begun = True
        self.write(sentences[0] if len(sentences) == 1 else self.choose(templates(sentences)))

    def maybe(self, chance: float, *sentences: str) -> None:
        """`say` with that chance."""
        if self.choose(options((True, False), (chance, 1 - chance))):
            self.say(*sentences)

    def write(self, template: str) -> None:
        for part in parse(template):
            if isinstance(part, str):
                self.emit(part)
            else:
                self.write(self.choose(part) if isinstance(part, Options) else self.word(part))

    def word(self, slot: Slot) -> str:
        """What is said in this place, drawn if it is not known yet."""
        if slot.fact:
            return _form(FACTS[self.known[slot.name]][slot.fact], slot.article, slot.capital)
        word = self.known.get(slot.name)
        if word is not None:
            return _form(word, slot.article, slot.capital)
        kind = slot.kind if slot.kind in WORDS else self.known[slot.kind]
        forms, words = _fresh(kind, self.used.intersection(WORDS[kind]), slot.article, slot.capital)
        form = self.choose(forms)
        self.used |= {words[form]}
        if slot.name:
            self.known[slot.name] = words[form]
        return form


Program = Callable[[Teller], None]


class Drawing(Teller):
    """Chooses at random."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self.random, self.said = rng.random, []

    def choose(self, options: Options) -> Any:
        at = bisect_right(options.bounds, self.random())
        self.nats += options.nats[at]
        return options.values[at]

    def emit(self, text: str) -> None:
        self.said.append(text)


class Astray(Exception):
    """A teller has said something else than the text that it follows."""


class Following(Teller):
    """Follows `text`, or raises Astray. Makes the choices of `script`, then always the first that fits; `others` are the scripts of the
    other choices that fit."""

    def __init__(self, text: str, script: tuple[int, ...]) -> None:
        super().__init__()
        self.text, self.at = text, 0
        self.script, self.taken, self.others = script, [], []

    def choose(self, options: Options) -> Any:
        if len(self.taken) < len(self.script):
            first = self.script[len(self.taken)]
        else:
            first, *rest = self._fitting(options)
            self.others += [(*self.taken, other) for other in rest]
        self.taken.append(first)
        self.nats += options.nats[first]
        return options.values[first]

    def _fitting(self, options: Options) -> list[int]:
        fitting = [at for at, lead in enumerate(options.leads) if self.text.startswith(lead, self.at)]
        if not fitting:
            raise Astray
        return fitting

    def emit(self, text: str) -> None:
        if not self.text.startswith(text, self.at):
            raise Astray
        self.at += len(text)


def draw(program: Program, rng: random.Random) -> Tale:
    """What the program tells with choices by this generator."""
    teller = Drawing(rng)
    program(teller)
    return Tale("".join(teller.said), teller.nats)


def derivations(program: Program, text: str) -> list[float]:
    """-log p of each way in which the program tells exactly this text."""
    found, scripts = [], [()]
    while scripts:
        teller = Following(text, scripts.pop())
        try:
            program(teller)
            if teller.at == len(text):
                found.append(teller.nats)
        except Astray:
            pass
        scripts += teller.others
    return found


def logsumexp(logs: list[float]) -> float:
    top = max(logs, default=-math.inf)
    return top if top == -math.inf else top + math.log(math.fsum(math.exp(log - top) for log in logs))


# ---------------------------------------------------------------------------------------------------------------- words


def _list(text: str) -> tuple[str, ...]:
    return tuple(text.split(", "))


NUMBERS = _list("one, two, three, four, five, six, seven, eight, nine, ten")
WEEK = _list("Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday")
PRONOUNS = {
    "she": {"he": "she", "him": "her", "his": "her", "himself": "herself"},
    "he": {"he": "he", "him": "him", "his": "his", "himself": "himself"},
}

GIRLS = _list("Mia, Lily, Anna, Zoe, Ruby, Ella, Nina, Ivy, Emma, Clara")
BOYS = _list("Tom, Ben, Max, Sam, Leo, Finn, Noah, Oscar, Hugo, Theo")
SHE_ANIMALS = _list("Dot, Daisy, Poppy, Luna, Tilly, Pearl")
HE_ANIMALS = _list("Pip, Rex, Bruno, Otto, Milo, Bert")
WOMEN = _list("Mum, Grandma, Aunt Rosa")
MEN = _list("Dad, Grandpa, Uncle Jack")

# words with what follows from them later in the story
GAMES = {
    "play ball": "played ball", "play tag": "played tag", "fly a kite": "flew a kite", "pick berries": "picked berries",
    "have a picnic": "had a picnic", "sail a boat": "sailed a boat", "build a den": "built a den", "dig a hole": "dug a hole",
    "climb trees": "climbed trees", "look for shells": "looked for shells", "draw birds": "drew birds", "sing songs": "sang songs",
    "catch fish": "caught fish", "run races": "ran races",
}  # fmt: skip
SKILLS = {
    "ride a bike": "fell off", "swim": "got water up {his} nose", "skate": "slipped and fell", "whistle": "made no sound",
    "dance": "tripped over {his} feet", "juggle": "dropped the balls", "climb the old oak": "slid back down",
    "row a boat": "went round and round", "tie a bow": "made a big knot", "play the flute": "made only a squeak",
    "skip with a rope": "got caught in it", "do a handstand": "fell over", "walk on stilts": "came down with a bump",
}  # fmt: skip
PARTS = {
    "kite": "tail", "doll": "arm", "boat": "sail", "car": "wheel", "train": "bell", "drum": "strap", "robot": "leg", "truck": "door",
    "puppet": "hand", "teddy": "ear", "plane": "wing",
}  # fmt: skip
NOISES = {
    "tap": ("a branch", "at the window"), "creak": ("the gate", "by the road"), "thump": ("an apple", "on the roof"),
    "drip": ("the rain", "on the steps"), "hoot": ("an owl", "in the tree"), "squeak": ("a mouse", "under the floor"),
    "rattle": ("the wind", "in the door"), "scratch": ("a kitten", "at the door"), "buzz": ("a fly", "in the lamp"),
    "croak": ("a frog", "by the well"),
}  # fmt: skip
BABIES = {
    "duckling": ("duck", "quack"), "lamb": ("sheep", "baa"), "kitten": ("cat", "meow"), "puppy": ("dog", "woof"),
    "chick": ("hen", "cluck"), "piglet": ("pig", "oink"), "calf": ("cow", "moo"), "foal": ("horse", "neigh"),
    "owlet": ("owl", "hoot"), "gosling": ("goose", "honk"),
}  # fmt: skip
GIFTS = {
    "crown": "paper", "card": "paper", "lantern": "paper", "fan": "paper", "scarf": "wool", "hat": "wool", "blanket": "wool",
    "pillow": "cloth", "flag": "cloth", "cape": "cloth", "bag": "cloth", "mask": "paint",
}  # fmt: skip

FACTS: dict[str, dict[str, str]] = {
    **{name: PRONOUNS["she"] for name in GIRLS + SHE_ANIMALS + WOMEN},
    **{name: PRONOUNS["he"] for name in BOYS + HE_ANIMALS + MEN},
    **{day: {"next": f"on {after}"} for day, after in zip(WEEK, WEEK[1:] + WEEK[:1], strict=True)},
    **{time: {"next": "the next day"} for time in ("morning", "afternoon", "day")},
    **{game: {"did": did} for game, did in GAMES.items()},
    **{skill: {"fail": fail} for skill, fail in SKILLS.items()},
    **{toy: {"part": part} for toy, part in PARTS.items()},
    **{noise: {"maker": maker, "where": where} for noise, (maker, where) in NOISES.items()},
    **{baby: {"parent": parent, "cry": cry} for baby, (parent, cry) in BABIES.items()},
    **{gift: {"stuff": stuff} for gift, stuff in GIFTS.items()},
}
WORDS: dict[str, tuple[str, ...]] = {
    "girl": GIRLS,
    "boy": BOYS,
    "child": GIRLS + BOYS,
    "animal": SHE_ANIMALS + HE_ANIMALS,
    "grown": WOMEN + MEN,
    "species": _list("fox, bear, mouse, rabbit, hedgehog, duck, frog, owl, goat, mole, otter, squirrel"),
    "trait": _list("kind, brave, clever, merry, gentle, quiet, busy, curious, friendly, lively, sleepy, shy, jolly, polite, sweet, wise"),
    "idle": _list(
        "up early, at home, out for a walk, all alone, in the kitchen, at the window, by the gate, in the garden, on the swing, wide awake"
    ),
    "weather": _list("sunny, windy, warm, bright, quiet, cloudy, cool, lovely, lazy, golden, fine, still"),
    "night": _list("dark, still, windy, cold, quiet, starry, long, cloudy"),
    "time": ("morning", "afternoon", "day", *WEEK),
    "until": _list("dark, supper, bedtime, sunset, tea time, the moon came up, the bell rang"),
    "place": _list("park, beach, woods, farm, river, hill, lake, field, pond, meadow, market, mill, bridge, harbour"),
    "air": _list("old, little, big, green, quiet, pretty, wide, sunny, nice, lovely"),
    "spot": _list(
        "under a bush, behind the gate, in the long grass, by the wall, under the bench, in the mud, near the well, behind a rock, "
        "under a log, by the fence, in the leaves, near the steps"
    ),
    "rest": _list("in the sun, in the shade, by the path, on the grass, under a tree, next to a pole, near the road, by the hedge"),
    "go": _list("walked, ran, went, skipped, hurried, marched, strolled, raced"),
    "colour": _list("red, blue, green, yellow, pink, white, brown, purple, orange, grey, black, silver"),
    "look": _list("new, old, little, big, shiny, lovely, funny, neat, pretty, fine"),
    "size": _list("big, fine, lovely, huge, perfect, pretty"),
    "room": _list("big, little, old, small, empty, open"),
    "toy": ("ball", *PARTS),
    "breakable": tuple(PARTS),
    "litter": _list("sock, shoe, button, stick, feather, spoon, key, cup, coin, glove, bone, pen"),
    "mark": _list("star, stripe, spot, heart, moon, flower, fish, leaf, bird, sun"),
    "home": _list("in {his} bed, on a shelf, in {his} bag, by {his} bed, in a box, under {his} pillow, at home, by the door"),
    "fall": _list("on a stone, off the wall, into a hole, down the steps, into the mud, off a log, on the path, over a rock"),
    "beast": _list("robin, duck, hen, bee, frog, goat, lamb, snail, cow, crow, swan, cat"),
    "coat": _list("white, brown, grey, black, big, spotted, fat, golden"),
    "cloud": _list("dark, grey, black, big, thick, heavy, low, fat"),
    "bit": _list("nose, hat, head, back, tummy, chin"),
    "bits": _list("ears, feet, hands, knees, toes, legs"),
    "safe": _list("by the bed, near the window, on the shelf, by the door, in a box, on the wall"),
    "doing": _list("asleep, awake, eating, resting, playing, waiting, hiding, singing"),
    "state": _list("lost, cold, sad, wet, hungry, lonely, tired, scared"),
    "good": _list("happy, glad, pleased, merry, thankful, cheerful, joyful, content"),
    "bad": _list("sad, upset, cross, gloomy, unhappy, worried, sorry, glum"),
    "tone": _list("softly, kindly, gladly, warmly, sweetly, happily, gently, with a smile, with a nod, with a wink, with a grin"),
    "sigh": _list("sadly, softly, with a sigh, with a sob, with a sniff, with a tear, with a frown, in a small voice"),
    "comfort": _list("I can help you, Let me help, I will help you, Do not be sad, Do not worry, Do not cry, Come with me, Do not fear"),
    "few": NUMBERS[1:6],
    "many": NUMBERS[2:],
    "fruit": _list("apple, pear, plum, nut, bun, carrot, fig, cookie, tart, muffin, pancake, banana"),
    "taste": _list("big, little, sweet, fresh, fine, soft, round, tasty, good, lovely"),
    "food": _list("bread, soup, cake, pie, cheese, toast, rice, honey, porridge, jam, corn, pudding"),
    "plant": _list("sunflower, bean, pumpkin, tomato, poppy, pea, melon, tulip, clover, cabbage"),
    "holder": _list("basket, bag, box, bowl, sack, bucket, jar, tin"),
    "shelter": _list("barn, shed, hut, cave, tent, cabin, stable"),
    "pastime": _list("told stories, sang, ate {:food}, counted to {:many}, danced, played a game, shared {a :fruit}, laughed"),
    "cover": _list("blanket, quilt, sheet, shawl"),
    "fear": _list("monster, wolf, ghost, giant, dragon, witch, pirate, troll"),
    "fixer": _list("glue, tape, string, a needle, a nail, a screw, wire, a ribbon"),
    "chore": _list(
        "washed the car, swept the floor, fed the hens, picked the beans, carried the bags, raked the leaves, cleaned the windows, "
        "set the table, painted the fence, dried the plates"
    ),
    "game": tuple(GAMES),
    "skill": tuple(SKILLS),
    "noise": tuple(NOISES),
    "baby": tuple(BABIES),
    "gift": tuple(GIFTS),
    **{f"under {number}": NUMBERS[:at] for at, number in enumerate(NUMBERS)},
}  # fmt: skip

# -------------------------------------------------------------------------------------------------------------- stories


def story(t: Teller) -> None:
    meet(t)
    t.choose(options(PLOTS))(t)
    t.maybe(0.2, *endings(t))


def meet(t: Teller) -> None:
    """The hero. From here on the story knows its `noun` (girl, boy or a species), kinds of names, and how to say `when`."""
    noun, names, peer, newcomer = t.choose(options(SORTS))
    t.known |= {"noun": noun, "names": names, "peer": peer, "newcomer": newcomer}
    t.say(
        "Once there was {a :trait} {noun} named {hero:names}.",
        "{hero:names} was {a :trait} and {:trait} {noun}.",
        "{hero:names} was {a :trait} {noun} who lived [by|near] the {:air} {nest:place}.",
        "In {a :colour} house by the {nest:place} lived {a :trait} {noun} named {hero:names}.",
        "It was {a weather} {time}, and {a :trait} {noun} named {hero:names} was {:idle}.",
        "One {weather} {time}, {a :trait} {noun} named {hero:names} was {:idle}.",
    )
    t.known["when"] = "that {time}" if "time" in t.known else "one {weather} {time}"


SORTS = (
    ("girl", "girl", "child", "{pal:child}"),
    ("boy", "boy", "child", "{pal:child}"),
    ("{species}", "animal", "animal", "{pal:animal} the {breed:species}"),
)


def scene(t: Teller) -> None:
    """Perhaps others who are there too; `endings` may come back to them."""
    if t.choose(options((False, True), (0.65, 0.35))):
        t.say("One {:coat} {beast} was {doing} {rest}.", "{Few} {:coat} {beast}s were {doing} {rest}.")
        t.known["others"] = "the {few} {beast}s were" if "few" in t.known else "the {beast} was"


def endings(t: Teller) -> list[str]:
    """Last sentences that come back to how the story began."""
    last = ["{hero} was the happiest {noun} [in the world|of all|for miles around].", "What a [good|happy|lucky] {noun} {hero} was!"]
    if "time" in t.known:
        last += ["It was the best {time} of [all|the year|{his} life].", "What a {weather} {time} it was!"]
    if "nest" in t.known:
        last += ["Then {hero} {:go} home to the house by the {nest}."]
    if "others" in t.known:
        last += ["{Others} still {doing} {rest}."]
    return last


def lost(t: Teller) -> None:
    t.say("{He} had {a :look} {colour} {toy} with {a tinge:colour} {mark}.")
    t.say("{When}, {he} {:go} with it to the {:air} {place}, [but|and] there it [got lost|fell down|slipped away|was gone].")
    t.say("{He} looked {:spot} and {:spot}, but found only {a :colour} {:litter}.", '"Where is my {toy}?" {he} [asked|cried|said] {:sigh}.')
    t.say('Then {newcomer} {:go} by. "{:comfort}," said {pal} {:tone}.')
    t.say("{Find:spot} [they|{pal}] [saw|found|spotted] something {colour} with {a tinge} {mark}.")
    t.say("It was the {toy}, and {hero} was [so |very |]{:good}.")
    t.maybe(0.6, "[After that|From that {time} on] {he} kept the {colour} {toy} {:home}.")


def plant(t: Teller) -> None:
    t.say("{When}, {he} planted {a plant} seed in {a :look} {colour} pot {:spot}.")
    t.say(
        "{He} gave it water every [day|morning|evening], but then {he} [went to the {:place}|was busy|was ill|was away] "
        "for {:few} days and forgot it."
    )
    t.say("The leaves [were|went|turned] [dry|brown|yellow|limp|grey], and {hero} was [so |very |]{:bad}.")
    t.say('"It [is|looks] [so |very |]thirsty," said {grown} {:tone}.', '"{:comfort}," said {grown}. "It needs [water|a drink]."')
    t.say("So {hero} and {grown} {:go} to the [well|tap|stream|{:place}] and brought it {:few} [cups|bowls|buckets|jars|cans] of water.")
    t.say(
        "Soon there was {a :size} {plant} in the {colour} pot, and {he} was [so |very |]{:good}.",
        "{Time.next}, the leaves were [green|fresh|strong] again, and {he} watered the {plant} in the {colour} pot every {time}.",
    )


def rain(t: Teller) -> None:
    t.say("{When}, {hero} and {newcomer} {:go} to the {:air} {place} to {game}.")
    scene(t)
    t.say("[Soon|Then|All at once] {a :cloud} cloud came[ over the {place}|], and it rained.")
    t.say(
        "{hero}'s {:bit} was [wet|cold], and {pal}'s {:bits} were [wet|cold].",
        "Their {:bits} were [wet|cold], and they were [so |very |]{:bad}.",
    )
    t.say('"[Quick|Look|Come on], there is {a :room} {shelter}," [said|called] [{hero}|{pal}] {:tone}.')
    t.say("In the {shelter} it was [warm|dry], and they {:pastime} until the sun came out.")
    t.say(
        "So {hero} and {pal} {:go} back to the {place} and {game.did} until {:until}.",
        "Now {hero} and {pal} were {:good}, and they {game.did} [after all|at last|until {:until}].",
    )


def hungry(t: Teller) -> None:
    t.say("{When}, {he} was [so |very |]hungry, but {his} {:look} {colour} {holder} was empty.")
    t.say('"I [want|need|would love] some {food}," {he} said {:sigh}.', "{He} found only {a :colour} {:litter} and wanted {food}.")
    t.say("{He} {:go} to the {:air} {place}, and there [was|sat|stood] {newcomer} with [some|a lot of|plenty of] {food}.")
    t.say('"[May|Can] I have some[, please|]?" asked {hero}[ {:sigh}|].')
    t.say('"[Yes|Of course|You can|I will share it]," said {pal} {:tone}, and they ate {:spot} until {hero} was full.')
    scene(t)
    t.say("{Time.next}, {hero} put {:few} {:taste} {:fruit}s in the {colour} {holder} and [gave|took|brought] them to {pal}.")


def broken(t: Teller) -> None:
    t.say("{He} had {a :look} {colour} {toy:breakable}[ from {grown}|].")
    t.say("{When}, {he} {:go} with it to the {:air} {place}, and it fell {:fall}.")
    t.say("[Crack|Snap|Crash] went the {toy.part}, and {hero} was [so |very |]{:bad}.")
    t.say('"My {toy} is broken," {he} [said|cried] {:sigh}.', '"Look, the {toy.part} [came off|is broken]," {he} told {grown} {:sigh}.')
    t.say('"{:comfort}," said {grown} {:tone}. "We can [fix|mend] it with {:fixer} and {:fixer}."')
    t.say("[Soon|At last|In the end] the {toy} was [as good as new|whole again|fine again|better than before].")
    t.say(
        "{hero} [hugged|thanked|kissed] {grown} and played with the {colour} {toy} until {:until}.",
        "{Time.next}, {hero} and {grown} {:go} back to the {place}, but the {colour} {toy} stayed {:home}.",
    )


def friend(t: Teller) -> None:
    t.say("{He} wanted to {game}, but {he} [was all alone|had no friend] and was [so |very |]{:bad}.")
    if t.known["peer"] == "child":
        t.known["stranger"] = t.known["peer"] = t.choose(options(("girl", "boy")))
    else:
        t.known["stranger"] = "{breed:species}"
    t.say("{When}, {he} [saw|met] {a :trait} {stranger} by the {:air} {place}.")
    scene(t)
    t.say('"[Hello|Hi|Good day], I am {hero}," said {hero} {:tone}.')
    t.say('"I am {pal:peer}," said the {stranger} {:tone}. "[Shall we|Do you want to|Can we] {game}?"')
    t.say("So {hero} and {pal} {game.did} until {:until}, and then they {:pastime}.")
    t.say("Now {hero} had a friend to {game} with every {time}.", "{hero} was [so |very |]{:good} and not alone any more.")


def noise(t: Teller) -> None:
    night = "That night" if "time" in t.known else "One {:night} night"
    t.say(night + ", {he} [lay|was] in bed under {a :look} {colour} {cover}.")
    t.say('"{Noise}, {noise}," went something [in the dark|outside|in the house].')
    t.say("{hero} [hid|lay still|sat up|shook] and was [so |very |][afraid|scared].")
    t.say('"Is it {a :coat} {fear}?" {he} [asked|said] {:sigh}.', '"I think it is {a fear}," {he} said {:sigh}.')
    t.say("{grown} came with {a :look} [lamp|light|candle|torch], and they looked {noise.where}.")
    t.say(
        '"There is no {fear}, only {noise.maker}," said {grown}[ {:tone}|].',
        '"{:comfort}," said {grown} {:tone}. "It is not {a fear}, it is only {noise.maker}."',
    )
    t.say(
        "Then {hero} was {:good} and went back to sleep under the {colour} {cover}.",
        '"{Noise}, {noise}," it went [again|all night], but {hero} was {:good} and dreamed of {:few} {:colour} {:beast}s.',
    )


def share(t: Teller) -> None:
    t.say(
        "{He} had {all:many} {:taste} {fruit}s in {a colour} {holder}.",
        "In {his} {colour} {holder} there were {all:many} {:taste} {fruit}s.",
    )
    t.known["fewer"] = f"under {t.known['all']}"
    t.say("{When}, {he} {:go} to the {:air} {place} and met {newcomer}.")
    scene(t)
    t.say("{pal} had no {fruit}s and was [so |very |]{:bad}.", '"I have only {a :colour} {:litter}," said {pal} {:sigh}.')
    t.say(
        "So {hero} gave {pal} {some:fewer} of the {fruit}s.",
        '"[Please take|You can have] {some:fewer} of my {fruit}s," said {hero} {:tone}.',
    )
    left = minus(t.known["all"], t.known["some"])
    t.known |= {
        "left": ("was " if left == "one" else "were ") + things(left, "{fruit}"),
        "back": things(t.known["some"], "{:taste} {:fruit}"),
    }
    t.say("Now there {left} left in the {colour} {holder}, and they {:pastime} until {:until}.")
    t.say("{Time.next}, {pal} {:go} to {hero} with {back} [in return|to say thank you|as a gift].")


def learn(t: Teller) -> None:
    t.say("{He} wanted to {skill}[ very much| more than anything|], but {he} did not know how.")
    t.say("{When}, {he} tried it by the {:air} {place}, but {he} {skill.fail}.")
    scene(t)
    t.say('"I will never {skill}," {he} [said|cried] {:sigh}.', "{He} sat down {:spot} and was [so |very |]{:bad}.")
    t.say('"{:comfort}," said {grown} {:tone}. "[Try again|Do not give up|You can do it|Go slowly|Take your time]."')
    t.say("So {hero} tried {:few} more times and did not stop until {:until}.")
    t.say("{Time.next}, {he} could {skill} [at last|very well|all by {himself}], and {grown} was [so |very |][proud|{:good}].")


def birthday(t: Teller) -> None:
    t.say("{When}, {hero} [wanted|hoped|began] to make {a :look} {colour} {gift} for the birthday of {newcomer}.")
    t.say("But there was no {colour} {gift.stuff} in the house.", "But all {his} {gift.stuff} was {:colour} or {:colour}.")
    t.say(
        'So {he} asked {grown}. "I have some in my {:look} {:colour} {holder}," said {grown}.',
        "So {he} {:go} to the {:air} {place} and found {colour} {gift.stuff} {:spot}.",
    )
    t.say("{hero} worked until {:until}, and then the {gift} was [ready|done].")
    t.say('"Happy birthday," [said|sang|called] {hero} {:tone}, and {pal} was [so |very |]{:good}.')
    t.say(
        "{pal} kept the {colour} {gift} {:safe} and looked at it every {time}.",
        "Then they {:pastime} and {:pastime} until {:until}.",
    )


def baby(t: Teller) -> None:
    t.say("{When}, {he} [found|saw|met] {a state} {:coat} {baby} {:spot}.")
    t.say('"{Baby.cry}, {baby.cry}," it [said|cried] {:sigh}, for it could not find its mother.')
    t.say('"{:comfort}," said {hero} {:tone}.')
    t.say('"I saw {a coat} {baby.parent} by the {place}," said {newcomer}.', "{newcomer} had seen {a coat} {baby.parent} by the {place}.")
    t.say("So {hero} and {pal} {:go} to the {place} with the {baby}.")
    scene(t)
    t.say(
        '"{Baby.cry}!" called the {coat} {baby.parent} [loudly|gladly|at once].',
        "There [stood|was|sat] the {coat} {baby.parent} {:spot}.",
    )
    t.say("The {baby} {:go} to its mother and was not {state} any more.")


def wish(t: Teller) -> None:
    t.say("In the {:look} shop by the {place} {he} saw {a :look} {colour} {toy} for {all:many} coins.")
    t.known["fewer"] = f"under {t.known['all']}"
    t.say("But {he} had only {some:fewer}, and {he} was [so |very |]{:bad}.", "{hero} [counted|looked], but {he} had only {some:fewer}.")
    need = minus(t.known["all"], t.known["some"])
    t.known |= {"need": things(need, "more coin"), "pay": things(need, "{:look} coin")}
    t.say('"I need {need}," {he} said {:sigh}.')
    t.say("{When}, {he} {:chore} and {:chore} for {grown}.")
    t.say('"[Well done|Thank you|Good work]," said {grown} {:tone}, and gave {him} {pay}.')
    t.say("So {hero} {:go} to the shop with all {all} coins.", "Now {hero} had {all} coins, and {he} {:go} to the shop.")
    t.say("{hero} came home with the {colour} {toy} and was [so |very |]{:good}.", "That night {he} kept the {colour} {toy} {:home}.")


PLOTS = (lost, plant, rain, hungry, broken, friend, noise, share, learn, birthday, baby, wish)


def things(number: str, thing: str) -> str:
    return f"{number} {thing}{'' if number == 'one' else 's'}"


def minus(more: str, less: str) -> str:
    return NUMBERS[NUMBERS.index(more) - NUMBERS.index(less) - 1]
