ALTER TABLE inbox_position RENAME COLUMN "offset" TO log_offset; -- a reserved word of PostgreSQL
