-- What is being prepared, so that a message that ends the whole process is known. Conventions as in the first migration.

-- A row stands from before a message is prepared until what came of it is committed.
CREATE TABLE in_hand (
    folder TEXT NOT NULL,
    uidvalidity INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    -- 1: in hand now, or when the process died.
    held INTEGER NOT NULL,
    -- 1: was in hand when an earlier process died: it is prepared by itself.
    suspect INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (folder, uidvalidity, uid)
) STRICT, WITHOUT ROWID;
CREATE INDEX in_hand_held ON in_hand (held);
CREATE INDEX in_hand_suspect ON in_hand (suspect);
