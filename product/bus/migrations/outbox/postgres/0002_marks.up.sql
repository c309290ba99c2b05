-- Rows do not commit in the order of their ids where several writers work at once, so each says for itself whether it
-- was published: `cluster` is null until then.
ALTER TABLE outbox ADD COLUMN extensions TEXT NOT NULL DEFAULT '{}'; -- CloudEvents extension attributes, JSON
ALTER TABLE outbox ADD COLUMN wanted SMALLINT NOT NULL DEFAULT 1;     -- 0: every owner has dealt with it already
ALTER TABLE outbox RENAME COLUMN "offset" TO log_offset;
ALTER TABLE outbox_end RENAME COLUMN "offset" TO log_offset;
CREATE INDEX outbox_unpublished ON outbox (id) WHERE cluster IS NULL;
CREATE INDEX outbox_wanted ON outbox (id) WHERE cluster IS NULL AND wanted = 1;

-- The cursor is left for what was published to an earlier log: ids after `id` up to `until` are to be published again.
ALTER TABLE outbox_cursor ADD COLUMN until BIGINT NOT NULL DEFAULT 0;
UPDATE outbox_cursor SET until = COALESCE((SELECT MAX(id) FROM outbox WHERE cluster IS NOT NULL), 0);
