-- Who may sign in. Times are milliseconds since 1970 (UTC), ids are UUIDv7 as text.
CREATE TABLE users (
    id            TEXT PRIMARY KEY,
    email         TEXT NOT NULL UNIQUE,      -- trimmed and lower case
    password_hash TEXT NOT NULL,             -- argon2id, PHC string
    created_at    INTEGER NOT NULL
) STRICT;

CREATE TABLE profiles (
    user_id      TEXT PRIMARY KEY REFERENCES users (id),
    display_name TEXT NOT NULL,
    bio          TEXT NOT NULL,
    updated_at   INTEGER NOT NULL
) STRICT;

-- Whoever reads this table cannot sign in with it: only the SHA-256 of each token is here.
CREATE TABLE sessions (
    token_hash BLOB PRIMARY KEY,
    user_id    TEXT NOT NULL REFERENCES users (id),
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_by_end ON sessions (expires_at);
