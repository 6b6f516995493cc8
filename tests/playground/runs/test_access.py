"""Who owns a run, who sees it, and who is the host."""

import pytest

from playground.runs import access, store
from playground.runs.access import HOST, NOBODY, Access, NotAllowed, Visitor
from playground.runs.store import NoSuchRun, Store

TOKEN = "the-token-of-the-host"
RUN = "abcdefghij"


@pytest.fixture
def db(tmp_path):
    db = Store(tmp_path)
    db.create()
    return db


@pytest.fixture
def run_of(db):
    def build(owner, private=False):
        db.add_run(RUN, name="<b>mine</b>", owner=owner, config="{}", n_params=1, state=store.QUEUED, private=private)
        return db.run(RUN)

    return build


def test_the_secret_is_not_what_is_stored():
    key = access.new_key()
    visitor = Visitor.from_key(key)
    assert visitor == Visitor.from_key(key) != Visitor.from_key(access.new_key())
    assert key not in visitor.id
    assert visitor.id != "host"


BAD_KEYS = [None, "", "short", "host", 7, "x" * 101, "with space" * 4, "ü" * 30, ["a" * 30], {"key": {}}, {"key": "short"}, {}, True]


@pytest.mark.parametrize("key", BAD_KEYS)
def test_without_a_proper_secret_one_is_nobody(db, key):
    assert Access(db, TOKEN).visitor(key) == Visitor.from_key(key) == NOBODY
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


def test_a_private_run_is_not_there_for_others(db, run_of):
    owner, other, doors = Visitor.from_key(access.new_key()), Visitor.from_key(access.new_key()), Access(db, TOKEN)
    run = run_of(owner.id, private=True)
    for visitor in (owner, HOST, doors.visitor({"key": access.new_key(), "host": TOKEN})):
        assert doors.run(RUN, visitor) == run and doors.runs(visitor) == [run]
        visitor.must_own(run)
    for stranger in (other, NOBODY):
        with pytest.raises(NoSuchRun):
            doors.run(RUN, stranger)
        with pytest.raises(NoSuchRun):
            stranger.must_own(run)
        assert doors.runs(stranger) == []
    db.set_private(RUN, False)
    assert [doors.run(RUN, visitor).id for visitor in (other, NOBODY)] == [RUN, RUN]


def test_the_token_makes_a_host_who_keeps_what_is_theirs(db, run_of):
    key, doors = access.new_key(), Access(db, TOKEN)
    plain, host = doors.visitor({"key": key, "host": None}), doors.visitor({"key": key, "host": TOKEN})
    assert (plain.is_host, host.is_host) == (False, True)
    assert host.id == plain.id == Visitor.from_key(key).id
    assert doors.visitor(key) == plain, "what a program sends, or an older page kept"
    assert doors.visitor(TOKEN) == doors.visitor({"key": None, "host": TOKEN}) == HOST
    host.must_be_host()
    assert host.owns(run_of("somebody else"))


@pytest.mark.parametrize(
    "token", ["", None, "the-token-of-the-hos", TOKEN + "x", TOKEN.upper(), 7, [TOKEN], {"host": TOKEN}, "ü", "\ud800"]
)
def test_anything_else_makes_none(db, token):
    visitor = Access(db, TOKEN).visitor({"key": access.new_key(), "host": token})
    assert not visitor.is_host
    with pytest.raises(NotAllowed, match="only the host"):
        visitor.must_be_host()


@pytest.mark.parametrize("token", ["", None, "None", TOKEN])
def test_where_there_is_no_token_nobody_is_host(db, token):
    assert not Access(db).visitor({"key": access.new_key(), "host": token}).is_host
    assert not Access(db).visitor(token).is_host


def test_people_are_called_what_they_want_in_one_line(db):
    visitor, doors = Visitor.from_key(access.new_key()), Access(db)
    assert doors.call(visitor, "  Ada\n<b>Lovelace</b>\x00 " + "x" * 90) == "Ada <b>Lovelace</b> " + "x" * 20
    assert db.names() == {visitor.id: "Ada <b>Lovelace</b> " + "x" * 20}
    assert doors.call(visitor, "") == "" and db.names() == {}
    with pytest.raises(NotAllowed):
        doors.call(NOBODY, "x")


def test_guesses_of_the_token_are_slowed_and_the_host_is_not(db, monkeypatch):
    now = [0.0]
    guarded = Access(db, TOKEN)
    guarded._guesses = access.Guesses(lambda: now[0])
    assert guarded.visitor(TOKEN, "192.0.2.1").is_host
    tried = [f"{i:0{len(TOKEN)}d}" for i in range(5000)]
    for text in tried:
        guarded.visitor({"key": access.new_key(), "host": text}, "192.0.2.1")
        guarded.visitor(text, "192.0.2.9")
    assert guarded.visitor(TOKEN, "192.0.2.1").is_host, "whoever has shown the token is not slowed"
    assert guarded.visitor(TOKEN, "192.0.2.2").is_host, "nor are others"
    assert not guarded.visitor(TOKEN, "192.0.2.9").is_host, "the right one is not looked at either while guesses come"
    now[0] += access.Guesses.EVERY_S
    assert guarded.visitor(TOKEN, "192.0.2.9").is_host
    looked_at = access.Guesses(lambda: now[0])
    assert sum(looked_at.may_try("192.0.2.1", text) for text in tried) == access.Guesses.AT_ONCE
