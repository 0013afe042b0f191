-- Clients without OpenPGP: their sealed letters. Conventions as in the first migration.

-- One row a client whose letters are, or are to be, sealed with a passphrase.
CREATE TABLE pdf_channel (
    client_id INTEGER NOT NULL PRIMARY KEY REFERENCES client (id) ON DELETE CASCADE,
    phrase BLOB NOT NULL,                -- sealed
    made_at INTEGER NOT NULL,
    told_at INTEGER,                     -- the therapist has told it by voice: letters may leave
    subject BLOB,                        -- sealed: what the client wants to read above sealed letters
    wrong_day TEXT,                      -- UTC: the day of the last wrong answer words
    wrong INTEGER NOT NULL DEFAULT 0,    -- how many on that day
    blocked_at INTEGER,                  -- words of letters from before count no more
    mac BLOB NOT NULL
) STRICT;

-- The words at the end of each sealed letter.
CREATE TABLE answer_words (
    outbox_id INTEGER NOT NULL PRIMARY KEY REFERENCES outbox (id) ON DELETE CASCADE,
    client_id INTEGER NOT NULL REFERENCES client (id) ON DELETE CASCADE,
    words BLOB NOT NULL,                 -- sealed
    at INTEGER NOT NULL,
    mac BLOB NOT NULL
) STRICT;
CREATE INDEX answer_words_by_client ON answer_words (client_id, at);

-- Wordings of the frame are counted by channel too: what is agreed to isn't the same.
-- Rows from before are of the channel openpgp and keep their MACs.
CREATE TABLE wording (
    therapist TEXT NOT NULL,
    language TEXT NOT NULL,
    channel TEXT NOT NULL,
    number INTEGER NOT NULL,
    hash BLOB NOT NULL,                  -- SHA-256 of the wording
    first_at INTEGER NOT NULL,
    mac BLOB NOT NULL,
    PRIMARY KEY (therapist, language, channel, number)
) STRICT, WITHOUT ROWID;
INSERT INTO wording (therapist, language, channel, number, hash, first_at, mac)
    SELECT therapist, language, 'openpgp', number, hash, first_at, mac FROM frame_version;
DROP TABLE frame_version;
ALTER TABLE wording RENAME TO frame_version;
ALTER TABLE frame_letter ADD COLUMN channel TEXT NOT NULL DEFAULT 'openpgp';
ALTER TABLE consent ADD COLUMN channel TEXT NOT NULL DEFAULT 'openpgp';
