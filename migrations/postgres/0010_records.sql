-- What becomes of records. What it is for stands in SQLite's migration of this number.

CREATE TABLE data_key (
    client_id BIGINT NOT NULL PRIMARY KEY REFERENCES client (id) ON DELETE CASCADE,
    wrapped BYTEA NOT NULL
);

CREATE TABLE legal_hold (
    client_id BIGINT NOT NULL PRIMARY KEY REFERENCES client (id) ON DELETE CASCADE,
    note BYTEA NOT NULL
);

CREATE TABLE erasure (
    code TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    client_id BIGINT NOT NULL,
    asked_at BIGINT NOT NULL,
    letter_id BIGINT,
    letter TEXT COLLATE "C" NOT NULL,
    counts TEXT COLLATE "C",
    rows_at BIGINT,
    folder_at BIGINT,
    done_at BIGINT,
    certificate TEXT COLLATE "C",
    mac BYTEA NOT NULL
);
CREATE INDEX erasure_open ON erasure (asked_at) WHERE done_at IS NULL;
