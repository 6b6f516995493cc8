"""Texts that people brought: whose they are, that they count as disk, and that they go when they are deleted."""

from dataclasses import replace

import pytest

from models.knobs import ConfigError, parse
from playground.config.settings import Settings
from playground.data import dataset
from playground.data.config import DataConfig
from playground.runs import access, store, uploads
from playground.runs.access import NOBODY, NotAllowed, Visitor
from playground.runs.disk import Usage
from playground.runs.store import Store
from playground.workers.admission import NoRoom
from playground.workers.supervisor import Supervisor

ALICE, BOB = (Visitor.from_key(access.new_key()) for _ in range(2))
TEXT = [("a", b"a text that is brought here. " * 40)]
SIZE = len(TEXT[0][1])


@pytest.fixture
def db(tmp_path):
    db = Store(tmp_path)
    db.create()
    return db


def bring(db, visitor, files=TEXT):
    return uploads.keep(db, db.root, visitor, files, 10**6)


def files(db):
    return [path.name for path in (db.root / "corpora").iterdir()]


def test_a_text_has_the_owners_that_brought_it_and_goes_with_the_last(db):
    source = bring(db, ALICE)
    assert bring(db, BOB) == bring(db, ALICE) == source and len(files(db)) == 1
    assert db.uploads() == {ALICE.id: {source: SIZE}, BOB.id: {source: SIZE}}
    with pytest.raises(NotAllowed):
        uploads.delete(db, db.root, Visitor.from_key(access.new_key()), source)
    uploads.delete(db, db.root, ALICE, source)
    assert len(files(db)) == 1 and db.uploads() == {BOB.id: {source: SIZE}}
    uploads.delete(db, db.root, BOB, source)
    assert files(db) == [] and db.uploads() == {}
    with pytest.raises(NotAllowed):
        bring(db, NOBODY)


def test_its_tokens_go_with_it(db):
    source = bring(db, ALICE)
    mine, others = parse(DataConfig, {"source": source}), parse(DataConfig, {"source": "python-docs"})
    for config in (mine, others):
        dataset.prepare(config, db.root)
    uploads.delete(db, db.root, replace(BOB, is_host=True), source)
    assert not dataset.is_prepared(mine, db.root) and dataset.is_prepared(others, db.root)


def test_a_run_that_trains_on_it_keeps_it(db, tiny):
    source = bring(db, ALICE)
    run_id = Supervisor(Settings(db.root), db).submit(tiny(**{"data.source": source}), BOB, name="reader")
    with pytest.raises(ConfigError, match="'reader' still trains on this text; stop it first"):
        uploads.delete(db, db.root, ALICE, source)
    assert len(files(db)) == 1
    db.change_state(run_id, store.STOPPED, [store.QUEUED])
    uploads.delete(db, db.root, ALICE, source)
    assert files(db) == []


@pytest.mark.parametrize("source", ["tiny-tales", "upload:..", "../playground.db", ""])
def test_only_what_was_brought_can_be_deleted(db, source):
    with pytest.raises(ConfigError, match="is no text that was brought here"):
        uploads.delete(db, db.root, replace(ALICE, is_host=True), source)


def test_texts_count_as_disk(db):
    supervisor = Supervisor(Settings(db.root, max_disk_each=1_000_000), db)
    supervisor.admission.check_upload(ALICE, supervisor.settings, 999_000)
    bring(db, ALICE)
    with pytest.raises(NoRoom, match=r"your runs and texts take 0\.0 MB, this one has 1\.0 MB, and everybody may have 1\.0 MB"):
        supervisor.admission.check_upload(ALICE, supervisor.settings, 999_000)
    supervisor.admission.check_upload(BOB, supervisor.settings, 999_000)


def test_the_disk_has_limits_also_where_nobody_set_one(tmp_path):
    usage = Usage(total=10_000_000, free=90_000_000)
    assert (usage.most(Settings(tmp_path)), usage.share(Settings(tmp_path))) == (90_000_000, 22_500_000)
    limited = Settings(tmp_path, max_disk=50_000_000, max_disk_each=7_000_000)
    assert (usage.most(limited), usage.share(limited)) == (50_000_000, 7_000_000)
