-- The frame: enrolment, consent, crisis, absence. Conventions as in the first migration.

-- What was agreed or decided about a client besides the state: JSON without names, under the record's MAC.
ALTER TABLE client ADD COLUMN care TEXT;

-- What the scan for crisis words found: A, V, B, or not-analysed; NULL: nothing.
ALTER TABLE message ADD COLUMN scan TEXT;

-- The way from an invitation to a pinned key.
CREATE TABLE enrolment (
    client_id INTEGER NOT NULL PRIMARY KEY REFERENCES client (id) ON DELETE CASCADE,
    invited_at INTEGER NOT NULL,
    rekey INTEGER NOT NULL DEFAULT 0,    -- 1: somebody who is enrolled is asked for a new key
    reminded_at INTEGER,
    mac BLOB NOT NULL
) STRICT;

-- Certificates that came and wait to be compared by voice. Several may: the words tell them apart.
CREATE TABLE key_offer (
    id INTEGER NOT NULL PRIMARY KEY,
    client_id INTEGER NOT NULL REFERENCES client (id) ON DELETE CASCADE,
    at INTEGER NOT NULL,
    certificate BLOB NOT NULL,           -- sealed
    fingerprint BLOB NOT NULL,           -- sealed
    signed INTEGER NOT NULL,
    encrypted INTEGER NOT NULL,
    by_old INTEGER NOT NULL,             -- 1: the mail was signed by the pinned key
    told_at INTEGER,                     -- when both were told of it
    mac BLOB NOT NULL
) STRICT;
CREATE INDEX key_offer_by_client ON key_offer (client_id, at);

-- A therapist's certificate on the first day, until it is confirmed.
CREATE TABLE therapist_offer (
    therapist TEXT NOT NULL PRIMARY KEY,
    welcomed_at INTEGER NOT NULL,
    answered_at INTEGER,
    offer BLOB,                          -- sealed: a certificate
    mac BLOB NOT NULL
) STRICT;

-- Each wording of a frame that a client was asked to agree to.
CREATE TABLE frame_version (
    therapist TEXT NOT NULL,
    language TEXT NOT NULL,
    number INTEGER NOT NULL,
    hash BLOB NOT NULL,                  -- SHA-256 of the wording
    first_at INTEGER NOT NULL,
    mac BLOB NOT NULL,
    PRIMARY KEY (therapist, language, number)
) STRICT, WITHOUT ROWID;

-- Which letter asked for which version.
CREATE TABLE frame_letter (
    outbox_id INTEGER NOT NULL PRIMARY KEY REFERENCES outbox (id) ON DELETE CASCADE,
    client_id INTEGER NOT NULL REFERENCES client (id) ON DELETE CASCADE,
    therapist TEXT NOT NULL,
    language TEXT NOT NULL,
    number INTEGER NOT NULL,
    at INTEGER NOT NULL,
    mac BLOB NOT NULL                    -- also over the wording's hash
) STRICT;
CREATE INDEX frame_letter_by_client ON frame_letter (client_id, at);

CREATE TABLE consent (
    id INTEGER NOT NULL PRIMARY KEY,
    client_id INTEGER NOT NULL REFERENCES client (id) ON DELETE CASCADE,
    therapist TEXT NOT NULL,
    language TEXT NOT NULL,
    number INTEGER NOT NULL,
    hash BLOB NOT NULL,
    at INTEGER NOT NULL,
    verdict TEXT,                        -- NULL: given on paper
    mac BLOB NOT NULL
) STRICT;
CREATE INDEX consent_by_client ON consent (client_id, at);

-- The card: OpenPGP ciphertext to the therapist.
CREATE TABLE card (
    client_id INTEGER NOT NULL PRIMARY KEY REFERENCES client (id) ON DELETE CASCADE,
    at INTEGER NOT NULL,
    data BLOB NOT NULL,
    mac BLOB NOT NULL
) STRICT;

-- A letter with crisis words, until the therapist shows a sign of life. Ids of rules, never words of the letter.
CREATE TABLE alert (
    id INTEGER NOT NULL PRIMARY KEY,
    client_id INTEGER REFERENCES client (id) ON DELETE CASCADE,
    therapist TEXT NOT NULL,
    message_id INTEGER NOT NULL,         -- not yet in its table while the therapist's key can't be used
    class TEXT NOT NULL,
    rules TEXT NOT NULL,                 -- JSON
    verdict TEXT NOT NULL,
    number TEXT,                         -- of what is held or a request
    arrived_at INTEGER NOT NULL,
    safety INTEGER NOT NULL,
    passed_on INTEGER NOT NULL,          -- or can be, by its number
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    sent INTEGER NOT NULL,
    next_at INTEGER,                     -- NULL: answered
    told TEXT NOT NULL DEFAULT '{}',     -- JSON: when a mail about it was handed over first, by reader
    answered_at INTEGER,
    mac BLOB NOT NULL
) STRICT;
CREATE INDEX alert_due ON alert (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX alert_by_client ON alert (client_id, first_at);
CREATE INDEX alert_by_time ON alert (first_at);
CREATE INDEX alert_open ON alert (first_at) WHERE answered_at IS NULL;

CREATE TABLE absence (
    id INTEGER NOT NULL PRIMARY KEY,
    therapist TEXT NOT NULL,
    first_day TEXT NOT NULL,
    last_day TEXT,                       -- NULL: not known yet
    locum TEXT,
    origin TEXT NOT NULL,                -- mail, configuration or operator
    unplanned INTEGER NOT NULL,          -- nobody could be told before
    created_at INTEGER NOT NULL,
    announced_at INTEGER,
    started_at INTEGER,
    ended_at INTEGER,
    mac BLOB NOT NULL
) STRICT;
CREATE INDEX absence_by_therapist ON absence (therapist, first_day);

-- Unanswered letters of clients who agreed, sealed to a locum; destroyed when handed over, answered, or at the end.
CREATE TABLE locum_copy (
    message_id INTEGER NOT NULL REFERENCES message (id) ON DELETE CASCADE,
    locum TEXT NOT NULL,
    data BLOB,                           -- NULL: handed over
    handed_at INTEGER,
    mac BLOB NOT NULL,
    PRIMARY KEY (message_id, locum)
) STRICT, WITHOUT ROWID;
