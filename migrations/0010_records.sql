-- What becomes of records: erasure, legal hold, a key of each client's own. Conventions as in the first migration.

-- The key under which a client's bodies rest; destroyed with the record.
CREATE TABLE data_key (
    client_id INTEGER NOT NULL PRIMARY KEY REFERENCES client (id) ON DELETE CASCADE,
    wrapped BLOB NOT NULL                -- sealed: 32 random octets
) STRICT;

-- Why a record may not be erased; since when stands in the client's own record.
CREATE TABLE legal_hold (
    client_id INTEGER NOT NULL PRIMARY KEY REFERENCES client (id) ON DELETE CASCADE,
    note BLOB NOT NULL                   -- sealed
) STRICT;

-- Erasures, also those that are done: a code, times and counts, and nothing that names anybody.
CREATE TABLE erasure (
    code TEXT NOT NULL PRIMARY KEY,
    client_id INTEGER NOT NULL,          -- names no row any more once rows_at is set
    asked_at INTEGER NOT NULL,
    letter_id INTEGER,                   -- the last letter in the outbox; NULL: none is sent
    letter TEXT NOT NULL,                -- what became of it, in one word
    counts TEXT,                         -- JSON
    rows_at INTEGER,                     -- the rows are gone
    folder_at INTEGER,                   -- the folder is gone
    done_at INTEGER,
    certificate TEXT,                    -- signed by the practice
    mac BLOB NOT NULL                    -- over what was ordered
) STRICT;
CREATE INDEX erasure_open ON erasure (asked_at) WHERE done_at IS NULL;
