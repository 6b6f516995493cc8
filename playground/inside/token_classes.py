"""Which class each token of a text belongs to, as far as the text itself shows it. Defined on the text, for every kind of tokenizer.

    space         all of the token is white space
    punctuation   begins with neither a letter nor a digit
    start         begins a word
    inside        goes on with a word
    name          begins a word that is a name seen before

What counts is the first character that is not white space. A word is a run of letters and digits, apostrophes between them included. A
name seen before is a word with a capital and then a small letter that does not begin a sentence, and that occurred earlier in the same
window (`Tim's` counts as `Tim`). A sentence begins with the window, on a new line, and after one of . ! ? … : ( or a quotation mark.
Imports no torch.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from playground.data.tokenizers import Tokenizer

CLASSES = SPACE, PUNCTUATION, START, INSIDE, NAME = ("space", "punctuation", "start", "inside", "name")
PATTERNS, STRUCTURE = (SPACE, INSIDE), (START, NAME)  # what the two halves of "first patterns, then structure" are taken to mean

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_BEFORE_A_SENTENCE = frozenset(".!?…:(\"'“”„‘’«»")
_ESCAPED = range(0xDC80, 0xDD00)  # a byte that is no part of a character, as "surrogateescape" decodes it


def classes_of(tokens: np.ndarray, tokenizer: Tokenizer) -> np.ndarray:  # (B, T) -> (B, T)
    """The class of each token, as its place in `CLASSES`; every row is a window of text by itself."""
    pieces = {i: tokenizer.piece(i) for i in np.unique(tokens).tolist()}
    return np.array([_of_window([pieces[i] for i in row]) for row in tokens.tolist()], dtype=np.int8).reshape(tokens.shape)


def _of_window(pieces: Sequence[bytes]) -> list[int]:
    text = b"".join(pieces).decode("utf-8", "surrogateescape")
    by_character = _of_characters(text)
    at = [k for k, character in enumerate(text) for _ in range(_n_bytes(character))]  # the character of each byte
    found, start = [], 0
    for piece in pieces:
        touched = range(at[start], at[start + len(piece) - 1] + 1)
        k = next((k for k in touched if by_character[k] != SPACE), touched[0])
        goes_on = start > 0 and at[start - 1] == k  # the token before has the character's first byte
        found.append(CLASSES.index(INSIDE if goes_on and by_character[k] in (START, NAME) else by_character[k]))
        start += len(piece)
    return found


def _of_characters(text: str) -> list[str]:
    found = [SPACE if character.isspace() else PUNCTUATION for character in text]
    seen: set[str] = set()
    for word in _WORD.finditer(text):
        name = re.split("['’]", word[0])[0]
        is_name = name[0].isupper() and name[1:2].islower() and name in seen and not _begins_sentence(text[: word.start()])
        found[word.start() : word.end()] = [NAME if is_name else START, *[INSIDE] * (len(word[0]) - 1)]
        seen.add(name)
    return found


def _begins_sentence(before: str) -> bool:
    said = before.rstrip()
    return not said or "\n" in before[len(said) :] or said[-1] in _BEFORE_A_SENTENCE


def _n_bytes(character: str) -> int:
    return 1 if ord(character) in _ESCAPED else len(character.encode())
