"""Classes of tokens, against texts that were labelled by hand."""

import numpy as np
import pytest

from playground.data.tokenizers import ByteTokenizer, CharTokenizer, learn_bpe
from playground.inside.token_classes import CLASSES, classes_of

# Below each character its class: _ space, . punctuation, s start of a word, i inside a word, N name seen before.
LABELLED = (
    ("Once Tim saw a dog. The dog saw Tim.", "siii_sii_sii_s_sii._sii_sii_sii_Nii."),
    ("Tim ran. Tim sat, and Tim's cat\nTim 42", "sii_sii._sii_sii._sii_Niiii_sii_sii_si"),  # any word may begin a sentence or a line
    ('Sue said: "Sue is I, I am McCoy" McCoy', "sii_siii._.sii_si_s._s_si_siiii._siiii"),  # nor after a quotation mark; I is no name
    ("Éva-Mai ça 7b, aber Éva  ÉVA", "sii.sii_si_si._siii_Nii__sii"),
)
LETTERS = dict(zip("_.siN", CLASSES, strict=True))


def named(tokens, tokenizer):
    return [CLASSES[k] for k in classes_of(np.asarray(tokens, dtype=np.int64)[None], tokenizer)[0]]


@pytest.mark.parametrize(("text", "labels"), LABELLED)
def test_of_characters_the_classes_are_those_given_by_hand(text, labels):
    tokenizer = CharTokenizer(text)
    assert named(tokenizer.encode(text), tokenizer) == [LETTERS[label] for label in labels]


@pytest.mark.parametrize(("text", "labels"), LABELLED)
def test_of_bytes_the_later_ones_of_a_letter_go_on_with_its_word(text, labels):
    wanted = []
    for character, label in zip(text, labels, strict=True):
        wanted += [LETTERS[label]] + ["inside"] * (len(character.encode()) - 1)
    assert named(ByteTokenizer().encode(text), ByteTokenizer()) == wanted


def test_a_window_that_begins_in_the_middle_of_a_letter_has_no_letter_there():
    assert named(list("Éva".encode()[1:]), ByteTokenizer()) == ["punctuation", "start", "inside"]


def test_of_pieces_the_first_character_that_is_no_space_counts():
    text = "Then Tim went home. Tim's dog saw Tim, and then\n\nTim slept."
    tokenizer = learn_bpe(" Tim Tim dog dog went went saw saw and and\n\n\n\n. .", 300)
    ids = tokenizer.encode(text)
    found = [(tokenizer.piece(i).decode(), each) for i, each in zip(ids, named(ids, tokenizer), strict=True)]
    assert found[:2] == [("T", "start"), ("h", "inside")]
    assert [each for piece, each in found if "Tim" in piece] == ["start", "start", "name"]
    some = {" dog": "start", " and": "start", "\n": "space", "'": "inside", ",": "punctuation", " ": "space"}
    assert dict(found) | some == dict(found)


def test_every_window_is_a_text_by_itself():
    tokenizer = CharTokenizer("a Tim")
    rows = np.array([tokenizer.encode("a Tim Tim"), tokenizer.encode("a a a Tim")], dtype=np.int64)
    alone = [classes_of(row[None], tokenizer)[0] for row in rows]
    np.testing.assert_array_equal(classes_of(rows, tokenizer), alone)
    assert CLASSES[alone[0][6]] == "name" and CLASSES[alone[1][6]] == "start"
