"""The list of runs: what has changed, and for whom."""

import pytest

from playground.config.run import RunConfig
from playground.runs import store
from playground.runs.access import HOST, NOBODY, Visitor, new_key
from playground.runs.store import Store
from playground.web import listing
from playground.web.listing import Listing

ADA, BEN = Visitor.from_key(new_key()), Visitor.from_key(new_key())
A, B, C = "aaaaaaaaaa", "bbbbbbbbbb", "cccccccccc"


class House:
    """A store with runs, and the list of them."""

    def __init__(self, root):
        self.db = Store(root)
        self.db.create()
        self.listing = Listing(lambda: [(run, {"id": run.id, "step": run.step, "name": run.name}) for run in self.db.runs()])

    def add(self, run_id: str, owner: Visitor = ADA) -> None:
        config = RunConfig().model_dump_json()
        self.db.add_run(run_id, name=run_id, owner=owner.id, config=config, n_params=1, state=store.QUEUED)

    def since(self, version: str = "", visitor: Visitor = BEN) -> dict:
        self.listing.refresh()
        answer = self.listing.since(visitor, version)
        return answer | {"runs": [run["id"] for run in answer["runs"]]}


@pytest.fixture
def house(tmp_path):
    house = House(tmp_path)
    for run_id in (A, B, C):
        house.add(run_id)
    return house


def test_whoever_asks_again_gets_only_what_has_changed(house):
    first = house.since()
    assert first["whole"] and first["runs"] == [C, B, A] and first["gone"] == []
    unchanged = house.since(first["version"])
    assert (unchanged["whole"], unchanged["runs"], unchanged["gone"]) == (False, [], [])
    house.db.rename(B, "another")
    second = house.since(first["version"])
    assert (second["whole"], second["runs"], second["gone"]) == (False, [B], [])
    assert house.since(second["version"])["runs"] == []
    house.add("dddddddddd")
    house.db.delete_run(A)
    third = house.since(second["version"])
    assert (third["runs"], third["gone"]) == (["dddddddddd"], [A])
    late = house.since(first["version"])
    assert (late["runs"], late["gone"]) == (["dddddddddd", B], [A]), "whoever was away gets all of it at once"


def test_a_run_that_becomes_private_is_gone_for_others_and_comes_back(house):
    before = house.since()["version"]
    house.db.set_private(B, True)
    hidden = house.since(before)
    assert (hidden["runs"], hidden["gone"]) == ([], [B])
    assert house.since(before, ADA)["runs"] == house.since(before, HOST)["runs"] == [B]
    house.db.rename(B, "still private")
    after = house.since(hidden["version"])
    assert (after["runs"], after["gone"]) == ([], []), "that it exists and changes is hidden from now on"
    assert B not in house.since()["runs"] and house.since()["gone"] == []
    house.db.set_private(B, False)
    assert house.since(after["version"])["runs"] == [B]


def test_a_private_run_that_is_deleted_is_named_to_those_who_had_seen_it(house):
    before = house.since()["version"]
    house.db.set_private(B, True)
    hidden = house.since(before)["version"]
    house.db.delete_run(B)
    assert house.since(before)["gone"] == [B] and house.since(hidden)["gone"] == []
    assert house.since(hidden, ADA)["gone"] == [B]


def test_whose_it_is_is_told_to_each(house):
    house.since()
    assert {run["mine"] for run in house.listing.all(ADA)} == {True}
    assert {run["mine"] for who in (BEN, NOBODY) for run in house.listing.all(who)} == {False}


@pytest.mark.parametrize("version", ["", "x", "x-1", "-", "é-1", "{}-99", "{}--1", "{}-1e3", "{}-٣"])
def test_a_version_of_another_app_or_none_gets_everything(house, version):
    epoch = house.since()["version"].split("-")[0]
    assert house.since(version.format(epoch))["whole"]


def test_whoever_was_away_for_longer_than_what_is_remembered_gets_everything(house, monkeypatch):
    monkeypatch.setattr(listing, "MOST_GONE", 1)
    before = house.since()["version"]
    house.db.delete_run(A)
    assert house.since(before)["gone"] == [A]
    house.db.delete_run(B)
    answer = house.since(before)
    assert answer["whole"] and answer["runs"] == [C]
