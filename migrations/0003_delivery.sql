-- What other mail systems said about mail that had left. Conventions as in the first migration.

-- When a notice said that it wasn't received; state is `failed` then, and finished_at is still when it left.
ALTER TABLE outbox ADD COLUMN returned_at INTEGER;

-- `delayed` or `unclear`, and since when; NULL again once it was received or returned.
ALTER TABLE outbox ADD COLUMN notice TEXT;
ALTER TABLE outbox ADD COLUMN noticed_at INTEGER;

CREATE INDEX outbox_returned ON outbox (returned_at) WHERE returned_at IS NOT NULL;
CREATE INDEX outbox_noticed ON outbox (noticed_at) WHERE noticed_at IS NOT NULL;
