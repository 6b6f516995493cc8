BEGIN TRANSACTION;
CREATE TABLE events (
        id INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT NOT NULL REFERENCES runs(id),
        step INTEGER NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL
    );
INSERT INTO "events" VALUES(1,'aaaaaaaaaa',10,'progress','{"tokens": 10, "seconds": 1.5, "loss": 2.0, "grad_norm": 1.0, "lr": 0.1, "tokens_per_s": 10.0}');
INSERT INTO "events" VALUES(2,'aaaaaaaaaa',10,'validation','{"seconds": 1.5, "loss": 2.5, "n_tokens": 5, "whole": false, "bits_per_byte": null}');
INSERT INTO "events" VALUES(3,'aaaaaaaaaa',10,'validation','{"seconds": 1.5, "loss": 2.25, "n_tokens": 50, "whole": true, "bits_per_byte": null}');
INSERT INTO "events" VALUES(4,'aaaaaaaaab',10,'progress','{"tokens": 10, "seconds": 1.5, "loss": NaN, "grad_norm": 1.0, "lr": 0.1, "tokens_per_s": 10.0}');
INSERT INTO "events" VALUES(5,'aaaaaaaaab',10,'validation','{"seconds": 1.5, "loss": 2.5, "n_tokens": 5, "whole": false, "bits_per_byte": null}');
CREATE TABLE limits (name TEXT PRIMARY KEY, value INTEGER);
CREATE TABLE people (id TEXT PRIMARY KEY, name TEXT NOT NULL, named_at REAL NOT NULL);
CREATE TABLE runs (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, owner TEXT NOT NULL, parent TEXT,
        state TEXT NOT NULL, wanted TEXT NOT NULL DEFAULT 'run', reason TEXT NOT NULL DEFAULT '',
        generation INTEGER NOT NULL DEFAULT 0, place INTEGER,
        created_at REAL NOT NULL, started_at REAL, ended_at REAL,
        config TEXT NOT NULL, preset TEXT NOT NULL DEFAULT '', n_params INTEGER NOT NULL,
        threads INTEGER, device TEXT, probe_text TEXT,
        step INTEGER NOT NULL DEFAULT 0, seconds REAL NOT NULL DEFAULT 0, tokens_per_s REAL,
        train_loss REAL, val_loss REAL, best_val_loss REAL, final_val_loss REAL
    , private INTEGER NOT NULL DEFAULT 0, turn_at REAL, why TEXT NOT NULL DEFAULT '', cause TEXT NOT NULL DEFAULT '', wanted_by TEXT NOT NULL DEFAULT '');
INSERT INTO "runs" VALUES('aaaaaaaaaa','finished','somebody',NULL,'finished','run','all 10 steps done',1,1,1.7957226665780918598e+09,1.79572266659612584109e+09,1795722666.67133,'{}','default',7,1,'cpu','once',10,1.5,NULL,2.0,2.5,2.5,2.25,0,1.79572266659612584109e+09,'','','');
INSERT INTO "runs" VALUES('aaaaaaaaab','diverged','somebody',NULL,'diverged','run','the loss is nan',1,2,1.79572266669930839539e+09,1.79572266686237740516e+09,1.79572266707528853412e+09,'{}','default',8,1,'cpu','once',10,1.5,NULL,'nan',2.5,2.5,NULL,0,1.79572266686237740516e+09,'','','');
INSERT INTO "runs" VALUES('aaaaaaaaac','waits','somebody',NULL,'queued','run','',0,3,1.79572266714300060271e+09,NULL,NULL,'{}','default',9,NULL,NULL,NULL,0,0.0,NULL,NULL,NULL,NULL,NULL,0,NULL,'','','');
CREATE INDEX events_by_run ON events (run_id, id);
CREATE INDEX runs_by_place ON runs (state, place);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('events',5);
COMMIT;
PRAGMA user_version=3;
