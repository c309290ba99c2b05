DROP TABLE inbox_position;
DROP TABLE inbox;
