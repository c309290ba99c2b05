-- What was composed for events that both sides deal with. `seq` grows in the order of commits.
CREATE TABLE digests (
    seq      INTEGER PRIMARY KEY,
    event_id TEXT NOT NULL,
    effect   TEXT NOT NULL,
    digest   TEXT NOT NULL,            -- SHA-256 in hex
    UNIQUE (event_id, effect)
) STRICT;
CREATE TABLE digest_counter (last_seq INTEGER NOT NULL) STRICT;
INSERT INTO digest_counter (last_seq) VALUES (0);
