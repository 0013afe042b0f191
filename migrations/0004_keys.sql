-- What is learnt of therapists' certificates by mail. Conventions as in the first migration.

-- A therapist's certificate with what its own key has said since (a longer life, another subkey, a revocation). It
-- counts only beside the configured file of the same fingerprint.
CREATE TABLE therapist_key (
    therapist TEXT NOT NULL PRIMARY KEY,
    at INTEGER NOT NULL,
    certificate BLOB NOT NULL,           -- sealed
    mac BLOB NOT NULL
) STRICT;
