-- Several gateways on one database. What they are for stands in SQLite's migration of this number.

CREATE TABLE lease (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    holder TEXT COLLATE "C" NOT NULL,
    token BIGINT NOT NULL,
    until BIGINT NOT NULL
);
ALTER TABLE outbox ADD COLUMN claimed_by TEXT COLLATE "C";
CREATE INDEX outbox_claimed ON outbox (claimed_by) WHERE claimed_by IS NOT NULL;
