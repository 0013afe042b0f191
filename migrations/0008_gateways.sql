-- Several gateways on one database (PostgreSQL); with SQLite there is one, and these stay empty. Conventions as in the
-- first migration.

-- Who works, by the database's clock: `gateway:ID` is that gateway's life, `mailbox` who reads the mailbox and keeps
-- the clock. A token only rises, whoever has the lease.
CREATE TABLE lease (
    name TEXT NOT NULL PRIMARY KEY,
    holder TEXT NOT NULL,                -- a gateway's random id
    token INTEGER NOT NULL,
    until INTEGER NOT NULL
) STRICT;

-- The gateway that is sending it.
ALTER TABLE outbox ADD COLUMN claimed_by TEXT;
CREATE INDEX outbox_claimed ON outbox (claimed_by) WHERE claimed_by IS NOT NULL;
