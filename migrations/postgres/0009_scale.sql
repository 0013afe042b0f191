CREATE INDEX client_by_therapist ON client (therapist, code);

CREATE TABLE key_expiry (
    client_id BIGINT NOT NULL PRIMARY KEY REFERENCES client (id) ON DELETE CASCADE,
    expires_at BIGINT,
    mac BYTEA NOT NULL
);
CREATE INDEX key_expiry_soon ON key_expiry (expires_at) WHERE expires_at IS NOT NULL;
INSERT INTO key_expiry (client_id, expires_at, mac) SELECT id, 0, mac FROM client WHERE certificate IS NOT NULL;
