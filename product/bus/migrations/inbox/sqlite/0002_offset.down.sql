ALTER TABLE inbox_position RENAME COLUMN log_offset TO "offset";
