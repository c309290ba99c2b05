DROP TABLE outbox_end;
DROP TABLE outbox_cursor;
DROP TABLE outbox;
