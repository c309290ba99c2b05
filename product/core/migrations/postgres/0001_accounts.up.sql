-- Who may sign in. Times are milliseconds since 1970 (UTC), ids are UUIDv7 as text.
CREATE TABLE users (
    id            TEXT PRIMARY KEY,
    email         TEXT NOT NULL UNIQUE,      -- trimmed and lower case
    password_hash TEXT NOT NULL,             -- argon2id, PHC string
    created_at    BIGINT NOT NULL
);

CREATE TABLE profiles (
    user_id      TEXT PRIMARY KEY REFERENCES users (id),
    display_name TEXT NOT NULL,
    bio          TEXT NOT NULL,
    updated_at   BIGINT NOT NULL
);

-- Whoever reads this table cannot sign in with it: only the SHA-256 of each token is here.
CREATE TABLE sessions (
    token_hash BYTEA PRIMARY KEY,
    user_id    TEXT NOT NULL REFERENCES users (id),
    expires_at BIGINT NOT NULL
);

CREATE INDEX sessions_by_end ON sessions (expires_at);
