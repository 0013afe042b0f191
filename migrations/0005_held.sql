-- What held letters were signed as. Conventions as in the first migration.

-- A held letter suppresses nothing: its signature is known as filed (`replay`) only once a person has passed it on.
CREATE TABLE held_signature (
    message_id INTEGER NOT NULL PRIMARY KEY REFERENCES message (id) ON DELETE CASCADE,
    signer_hash BLOB NOT NULL,
    digest_hash BLOB NOT NULL
) STRICT;
