-- Times are microseconds since 1970, UTC. Days are ISO dates in the therapist's zone.
-- "sealed" columns are encrypted under the record key and bound to table, row and column;
-- "*_hash" columns are keyed look-up hashes. Nothing here names a person.

CREATE TABLE meta (
    key TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

CREATE TABLE counter (
    name TEXT NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT;

-- What is said once only, and when it was.
CREATE TABLE notice (
    key TEXT NOT NULL PRIMARY KEY,
    at INTEGER NOT NULL
) STRICT;

-- Codes outlive their clients: one is never given twice.
CREATE TABLE used_code (
    code TEXT NOT NULL PRIMARY KEY
) STRICT;

CREATE TABLE client (
    id INTEGER NOT NULL PRIMARY KEY,
    code TEXT NOT NULL UNIQUE,
    therapist TEXT NOT NULL,
    state TEXT NOT NULL,
    channel TEXT NOT NULL,
    language TEXT NOT NULL,
    address BLOB NOT NULL,               -- sealed
    address_hash BLOB NOT NULL UNIQUE,
    name BLOB,                           -- sealed
    label BLOB,                          -- sealed
    certificate BLOB,                    -- sealed: user IDs name people
    fingerprint BLOB,                    -- sealed
    fingerprint_hash BLOB UNIQUE,
    weekdays TEXT,
    thread_root BLOB NOT NULL,           -- sealed
    consent_note BLOB,                   -- sealed
    consented_at INTEGER,
    created_at INTEGER NOT NULL,
    about_keys_at INTEGER,
    key_notice_at INTEGER,
    mac BLOB NOT NULL
) STRICT;
CREATE INDEX client_by_state ON client (state);

-- Key ids and fingerprints of primary keys and subkeys.
CREATE TABLE client_key (
    handle_hash BLOB NOT NULL,
    client_id INTEGER NOT NULL REFERENCES client (id) ON DELETE CASCADE,
    PRIMARY KEY (handle_hash, client_id)
) STRICT;
CREATE INDEX client_key_by_client ON client_key (client_id);

CREATE TABLE turn (
    id INTEGER NOT NULL PRIMARY KEY,
    client_id INTEGER NOT NULL REFERENCES client (id),
    state TEXT NOT NULL CHECK (state IN ('open', 'answered')),
    opened_at INTEGER NOT NULL,
    due_at INTEGER,
    acknowledged INTEGER NOT NULL DEFAULT 0,
    answered_at INTEGER,
    closed INTEGER NOT NULL DEFAULT 0,
    missed_slot INTEGER,
    misses INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX one_open_turn ON turn (client_id) WHERE state = 'open';
CREATE INDEX turn_by_client ON turn (client_id, opened_at);
CREATE INDEX turn_due ON turn (due_at) WHERE state = 'open';

CREATE TABLE message (
    id INTEGER NOT NULL PRIMARY KEY,
    client_id INTEGER REFERENCES client (id),
    therapist TEXT,
    direction TEXT NOT NULL,
    kind TEXT NOT NULL,
    verdict TEXT,
    marks TEXT NOT NULL,
    state TEXT NOT NULL,
    at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    slot INTEGER,
    leave_day TEXT,
    turn_id INTEGER REFERENCES turn (id),
    message_id BLOB,                     -- sealed: Cadre's own
    message_id_hash BLOB,
    origin_id BLOB,                      -- sealed: the sender's own
    origin_id_hash BLOB,
    sender BLOB,                         -- sealed: a stranger's address
    sender_hash BLOB,
    subject BLOB,                        -- sealed
    held_no INTEGER UNIQUE,
    request_code TEXT UNIQUE,
    signed_at INTEGER,
    answers INTEGER REFERENCES message (id),
    bytes INTEGER NOT NULL,
    words INTEGER NOT NULL,
    attachments INTEGER NOT NULL,
    forwarded_at INTEGER,
    note BLOB,                           -- sealed
    mac BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX one_reply_a_day ON message (client_id, leave_day)
    WHERE kind = 'reply' AND state IN ('waiting', 'leaving', 'sent');
CREATE INDEX message_thread ON message (client_id, at);
CREATE INDEX message_turn ON message (turn_id) WHERE turn_id IS NOT NULL;
CREATE INDEX message_own_id ON message (message_id_hash) WHERE message_id_hash IS NOT NULL;
CREATE INDEX message_origin_id ON message (origin_id_hash) WHERE origin_id_hash IS NOT NULL;
CREATE INDEX message_sender ON message (sender_hash, at) WHERE sender_hash IS NOT NULL;
CREATE INDEX message_answers ON message (answers) WHERE answers IS NOT NULL;
CREATE INDEX message_unfinished ON message (state, slot) WHERE state IN ('waiting', 'leaving');
CREATE INDEX message_held ON message (at) WHERE state = 'held';
CREATE INDEX message_held_numbered ON message (client_id, at) WHERE held_no IS NOT NULL;
CREATE INDEX message_requests ON message (at) WHERE kind = 'request';

-- Bodies: OpenPGP ciphertext and nothing else.
CREATE TABLE blob (
    message_id INTEGER NOT NULL PRIMARY KEY REFERENCES message (id) ON DELETE CASCADE,
    data BLOB NOT NULL,
    mac BLOB NOT NULL
) STRICT;

CREATE TABLE replay (
    signer_hash BLOB NOT NULL,
    digest_hash BLOB NOT NULL,
    message_id INTEGER,
    at INTEGER NOT NULL,
    PRIMARY KEY (signer_hash, digest_hash)
) STRICT, WITHOUT ROWID;

CREATE TABLE seen (
    raw_hash BLOB NOT NULL PRIMARY KEY,
    message_id INTEGER,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE outbox (
    id INTEGER NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    client_id INTEGER REFERENCES client (id),
    therapist TEXT,
    message_id INTEGER REFERENCES message (id),
    state TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    not_before INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_attempt INTEGER NOT NULL,
    first_attempt_at INTEGER,
    last_error TEXT,                     -- a word and a code, no content
    reached_dot INTEGER NOT NULL DEFAULT 0,
    facts BLOB,                          -- sealed
    frozen BLOB,                         -- sealed, dropped when finished
    recipient BLOB,                      -- sealed: strangers only
    mail_id BLOB,                        -- sealed
    mail_id_hash BLOB,
    size INTEGER,
    sha256 BLOB,
    result_code INTEGER,
    finished_at INTEGER,
    mac BLOB NOT NULL
) STRICT;
CREATE INDEX outbox_due ON outbox (next_attempt) WHERE state IN ('waiting', 'leaving');
CREATE INDEX outbox_unfinished ON outbox (not_before) WHERE state IN ('waiting', 'leaving', 'held');
CREATE INDEX outbox_message ON outbox (message_id) WHERE message_id IS NOT NULL;
CREATE INDEX outbox_client ON outbox (client_id, kind, created_at) WHERE client_id IS NOT NULL;
CREATE INDEX outbox_kind ON outbox (kind, created_at);
CREATE INDEX outbox_mail_id ON outbox (mail_id_hash) WHERE mail_id_hash IS NOT NULL;
CREATE INDEX outbox_failed ON outbox (finished_at) WHERE state = 'failed';

CREATE TABLE scan (
    folder TEXT NOT NULL PRIMARY KEY,
    uidvalidity INTEGER NOT NULL,
    last_uid INTEGER NOT NULL,
    completed_at INTEGER
) STRICT;

CREATE TABLE tries (
    folder TEXT NOT NULL,
    uidvalidity INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    n INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (folder, uidvalidity, uid)
) STRICT, WITHOUT ROWID;

-- Originals that were filed and are still to be touched.
CREATE TABLE original (
    folder TEXT NOT NULL,
    uidvalidity INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    message_id INTEGER REFERENCES message (id),
    action TEXT NOT NULL CHECK (action IN ('remove', 'done', 'others', 'attention')),
    copy_needed INTEGER NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (folder, uidvalidity, uid)
) STRICT, WITHOUT ROWID;
CREATE INDEX original_message ON original (message_id) WHERE message_id IS NOT NULL;

-- Sealed copies for the client's folder.
CREATE TABLE copy (
    message_id INTEGER NOT NULL PRIMARY KEY REFERENCES message (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    confirmed_at INTEGER
) STRICT;
CREATE INDEX copy_pending ON copy (created_at) WHERE confirmed_at IS NULL;

CREATE TABLE journal (
    seq INTEGER NOT NULL PRIMARY KEY,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    client TEXT,
    detail TEXT NOT NULL,
    mac BLOB NOT NULL
) STRICT;
CREATE TRIGGER journal_keeps_its_words BEFORE UPDATE ON journal
BEGIN
    SELECT RAISE(ABORT, 'the journal is append-only');
END;
CREATE TRIGGER journal_keeps_its_lines BEFORE DELETE ON journal
BEGIN
    SELECT RAISE(ABORT, 'the journal is append-only');
END;
