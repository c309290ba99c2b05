-- Who does the work of a concern: `percent` of the users as `mode` says, the rest `otherwise`. And how the comparison
-- stands that decides on a promotion: since when, what it found, when it last did; how far the service's list was read.
CREATE TABLE modes (
    concern     TEXT PRIMARY KEY CHECK (concern IN ('jobs', 'analytics')),
    mode        TEXT NOT NULL CHECK (mode IN ('inline', 'dual', 'events')),
    percent     INTEGER NOT NULL CHECK (percent BETWEEN 0 AND 100),
    otherwise   TEXT NOT NULL CHECK (otherwise IN ('inline', 'dual', 'events')),
    changed_at  INTEGER NOT NULL,
    since       INTEGER NOT NULL,
    matched     INTEGER NOT NULL,
    mismatched  INTEGER NOT NULL,
    compared_at INTEGER NOT NULL,
    read_to     INTEGER NOT NULL
) STRICT;

-- Digests of an event's effects that one side of a comparison has and the other has not yet.
CREATE TABLE undecided (
    event_id  TEXT NOT NULL,
    effect    TEXT NOT NULL,
    control   TEXT,
    candidate TEXT,
    since     INTEGER NOT NULL,
    PRIMARY KEY (event_id, effect)
) STRICT, WITHOUT ROWID;

CREATE TABLE mismatches (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    concern   TEXT NOT NULL,
    key       TEXT NOT NULL,
    field     TEXT NOT NULL,
    control   TEXT,                          -- null: this side has nothing
    candidate TEXT,
    found_at  INTEGER NOT NULL
) STRICT;

CREATE INDEX mismatches_by_concern ON mismatches (concern, id);

-- Work that core has promised itself: written with the business row, gone when done. `due_at` is when somebody may
-- take it (whoever is at it holds it until then); null when it was given up.
CREATE TABLE inline_jobs (
    event_id TEXT PRIMARY KEY,
    event    TEXT NOT NULL,                  -- JSON
    attempts INTEGER NOT NULL,
    due_at   INTEGER,
    error    TEXT                            -- of the last attempt
) STRICT;

CREATE INDEX inline_jobs_by_due ON inline_jobs (due_at);

-- What was done to which account; `user_id` is null for an account that does not exist.
CREATE TABLE audit_log (
    id      TEXT PRIMARY KEY,
    user_id TEXT,
    kind    TEXT NOT NULL,
    at      INTEGER NOT NULL,
    detail  TEXT
) STRICT;

CREATE INDEX audit_log_by_time ON audit_log (at);
CREATE INDEX audit_log_by_kind ON audit_log (kind, user_id);

ALTER TABLE payments ADD COLUMN captured_at INTEGER;
ALTER TABLE payments ADD COLUMN declined_at INTEGER;
ALTER TABLE payments ADD COLUMN refunded_at INTEGER;

-- Of payments from before, `updated_at` is the best that is known.
UPDATE payments SET captured_at = updated_at WHERE status IN ('captured', 'refunding', 'refunded');
UPDATE payments SET declined_at = updated_at WHERE status = 'declined';
UPDATE payments SET refunded_at = updated_at WHERE status = 'refunded';

CREATE INDEX payments_by_capture ON payments (captured_at) WHERE captured_at IS NOT NULL;
CREATE INDEX payments_by_decline ON payments (declined_at) WHERE declined_at IS NOT NULL;
CREATE INDEX payments_by_refund ON payments (refunded_at) WHERE refunded_at IS NOT NULL;

-- What the reports read; the analytics service has tables of these names.
CREATE VIEW payment_facts AS
    SELECT id AS payment_id, user_id, amount_minor, currency, created_at, captured_at, declined_at, refunded_at
    FROM payments
    WHERE captured_at IS NOT NULL OR declined_at IS NOT NULL;

CREATE VIEW user_facts AS
    SELECT id AS event_id, user_id, kind, at FROM audit_log
    WHERE kind IN ('registered', 'logged_in', 'profile_updated');
