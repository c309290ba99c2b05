-- Who asked for a copy of the account; the copy itself is made and kept by the jobs.
CREATE TABLE exports (
    id           TEXT PRIMARY KEY,
    user_id      TEXT NOT NULL REFERENCES users (id),
    requested_at INTEGER NOT NULL
) STRICT;
