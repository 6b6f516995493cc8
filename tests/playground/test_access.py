"""Who owns a run."""

import pytest

from playground import access, store
from playground.access import HOST, NOBODY, NotAllowed, Visitor
from playground.store import Store


@pytest.fixture
def run_of(tmp_path):
    db = Store(tmp_path)
    db.create()

    def build(owner):
        db.add_run("abcdefghij", name="<b>mine</b>", owner=owner, config="{}", n_params=1, state=store.QUEUED)
        return db.run("abcdefghij")

    return build


def test_the_secret_is_not_what_is_stored():
    key = access.new_key()
    visitor = Visitor.from_key(key)
    assert visitor == Visitor.from_key(key) != Visitor.from_key(access.new_key())
    assert key not in visitor.id
    assert visitor.id != "host"


@pytest.mark.parametrize("key", [None, "", "short", "host", 7, "x" * 101, "with space" * 4, "ü" * 30, ["a" * 30]])
def test_without_a_proper_secret_one_is_nobody(key):
    assert Visitor.from_key(key) == NOBODY
    with pytest.raises(NotAllowed, match="owner_key"):
        Visitor.from_key(key).must_be_known()


def test_only_the_owner_and_the_host(run_of):
    owner, other = Visitor.from_key(access.new_key()), Visitor.from_key(access.new_key())
    run = run_of(owner.id)
    owner.must_own(run)
    HOST.must_own(run)
    for stranger in (other, NOBODY):
        with pytest.raises(NotAllowed, match="only the owner"):
            stranger.must_own(run)


def test_nobody_owns_nothing_not_even_what_nobody_owns(run_of):
    assert not NOBODY.owns(run_of(""))


def test_the_hash_itself_opens_nothing(run_of):
    owner = Visitor.from_key(access.new_key())
    assert not Visitor.from_key(owner.id).owns(run_of(owner.id))
