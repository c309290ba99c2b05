DROP TABLE settlements;
DROP TABLE settlement_items;
