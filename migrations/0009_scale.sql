-- What a practice of a hundred thousand clients is looked over by. Conventions as in the first migration.

CREATE INDEX client_by_therapist ON client (therapist, code);

-- When the keys of clients' certificates expire, so that nobody reads all certificates to know who is to be told.
CREATE TABLE key_expiry (
    client_id INTEGER NOT NULL PRIMARY KEY REFERENCES client (id) ON DELETE CASCADE,
    expires_at INTEGER,                  -- NULL: never; 0: the certificate wasn't read for it yet
    mac BLOB NOT NULL                    -- also over the certificate
) STRICT;
CREATE INDEX key_expiry_soon ON key_expiry (expires_at) WHERE expires_at IS NOT NULL;
INSERT INTO key_expiry (client_id, expires_at, mac) SELECT id, 0, mac FROM client WHERE certificate IS NOT NULL;
