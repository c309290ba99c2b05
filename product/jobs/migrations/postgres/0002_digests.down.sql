DROP TABLE digest_counter;
DROP TABLE digests;
