UPDATE outbox_cursor SET id = CASE
    WHEN id < until THEN id
    ELSE COALESCE((SELECT MIN(id) - 1 FROM outbox WHERE cluster IS NULL), (SELECT MAX(id) FROM outbox), 0)
END;
ALTER TABLE outbox_cursor DROP COLUMN until;
DROP INDEX outbox_wanted;
DROP INDEX outbox_unpublished;
ALTER TABLE outbox_end RENAME COLUMN log_offset TO "offset";
ALTER TABLE outbox RENAME COLUMN log_offset TO "offset";
ALTER TABLE outbox DROP COLUMN wanted;
ALTER TABLE outbox DROP COLUMN extensions;
