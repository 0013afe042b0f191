-- All of the tables as SQLite's migrations 1 to 7 leave them; from here on a number means the same change in both.
-- Integers are 64-bit, truths are 0 and 1, bytes are BYTEA, and text is compared byte by byte (COLLATE "C"), so that a
-- row of one database is a row of the other. What each table is for stands in SQLite's migrations.


CREATE TABLE meta (
    key TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    value TEXT COLLATE "C" NOT NULL
);

CREATE TABLE counter (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);

CREATE TABLE notice (
    key TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL
);

CREATE TABLE used_code (
    code TEXT COLLATE "C" NOT NULL PRIMARY KEY
);

CREATE TABLE client (
    id BIGINT NOT NULL PRIMARY KEY,
    code TEXT COLLATE "C" NOT NULL UNIQUE,
    therapist TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    channel TEXT COLLATE "C" NOT NULL,
    language TEXT COLLATE "C" NOT NULL,
    address BYTEA NOT NULL,
    address_hash BYTEA NOT NULL UNIQUE,
    name BYTEA,
    label BYTEA,
    certificate BYTEA,
    fingerprint BYTEA,
    fingerprint_hash BYTEA UNIQUE,
    weekdays TEXT COLLATE "C",
    thread_root BYTEA NOT NULL,
    consent_note BYTEA,
    consented_at BIGINT,
    created_at BIGINT NOT NULL,
    about_keys_at BIGINT,
    key_notice_at BIGINT,
    mac BYTEA NOT NULL,
    care TEXT COLLATE "C"
);
CREATE INDEX client_by_state ON client (state);

CREATE TABLE client_key (
    handle_hash BYTEA NOT NULL,
    client_id BIGINT NOT NULL REFERENCES client (id) ON DELETE CASCADE,
    PRIMARY KEY (handle_hash, client_id)
);
CREATE INDEX client_key_by_client ON client_key (client_id);

CREATE TABLE turn (
    id BIGINT NOT NULL PRIMARY KEY,
    client_id BIGINT NOT NULL REFERENCES client (id),
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('open', 'answered')),
    opened_at BIGINT NOT NULL,
    due_at BIGINT,
    acknowledged BIGINT NOT NULL DEFAULT 0,
    answered_at BIGINT,
    closed BIGINT NOT NULL DEFAULT 0,
    missed_slot BIGINT,
    misses BIGINT NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX one_open_turn ON turn (client_id) WHERE state = 'open';
CREATE INDEX turn_by_client ON turn (client_id, opened_at);
CREATE INDEX turn_due ON turn (due_at) WHERE state = 'open';

CREATE TABLE message (
    id BIGINT NOT NULL PRIMARY KEY,
    client_id BIGINT REFERENCES client (id),
    therapist TEXT COLLATE "C",
    direction TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    verdict TEXT COLLATE "C",
    marks TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    slot BIGINT,
    leave_day TEXT COLLATE "C",
    turn_id BIGINT REFERENCES turn (id),
    message_id BYTEA,
    message_id_hash BYTEA,
    origin_id BYTEA,
    origin_id_hash BYTEA,
    sender BYTEA,
    sender_hash BYTEA,
    subject BYTEA,
    held_no BIGINT UNIQUE,
    request_code TEXT COLLATE "C" UNIQUE,
    signed_at BIGINT,
    answers BIGINT REFERENCES message (id),
    bytes BIGINT NOT NULL,
    words BIGINT NOT NULL,
    attachments BIGINT NOT NULL,
    forwarded_at BIGINT,
    note BYTEA,
    mac BYTEA NOT NULL,
    scan TEXT COLLATE "C"
);
CREATE UNIQUE INDEX one_reply_a_day ON message (client_id, leave_day) WHERE kind = 'reply' AND state IN ('waiting', 'leaving', 'sent');
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

CREATE TABLE blob (
    message_id BIGINT NOT NULL PRIMARY KEY REFERENCES message (id) ON DELETE CASCADE,
    data BYTEA NOT NULL,
    mac BYTEA NOT NULL
);

CREATE TABLE replay (
    signer_hash BYTEA NOT NULL,
    digest_hash BYTEA NOT NULL,
    message_id BIGINT,
    at BIGINT NOT NULL,
    PRIMARY KEY (signer_hash, digest_hash)
);

CREATE TABLE seen (
    raw_hash BYTEA NOT NULL PRIMARY KEY,
    message_id BIGINT,
    at BIGINT NOT NULL
);

CREATE TABLE outbox (
    id BIGINT NOT NULL PRIMARY KEY,
    kind TEXT COLLATE "C" NOT NULL,
    client_id BIGINT REFERENCES client (id),
    therapist TEXT COLLATE "C",
    message_id BIGINT REFERENCES message (id),
    state TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    not_before BIGINT NOT NULL,
    attempts BIGINT NOT NULL DEFAULT 0,
    next_attempt BIGINT NOT NULL,
    first_attempt_at BIGINT,
    last_error TEXT COLLATE "C",
    reached_dot BIGINT NOT NULL DEFAULT 0,
    facts BYTEA,
    frozen BYTEA,
    recipient BYTEA,
    mail_id BYTEA,
    mail_id_hash BYTEA,
    size BIGINT,
    sha256 BYTEA,
    result_code BIGINT,
    finished_at BIGINT,
    mac BYTEA NOT NULL,
    returned_at BIGINT,
    notice TEXT COLLATE "C",
    noticed_at BIGINT
);
CREATE INDEX outbox_due ON outbox (next_attempt) WHERE state IN ('waiting', 'leaving');
CREATE INDEX outbox_unfinished ON outbox (not_before) WHERE state IN ('waiting', 'leaving', 'held');
CREATE INDEX outbox_message ON outbox (message_id) WHERE message_id IS NOT NULL;
CREATE INDEX outbox_client ON outbox (client_id, kind, created_at) WHERE client_id IS NOT NULL;
CREATE INDEX outbox_kind ON outbox (kind, created_at);
CREATE INDEX outbox_mail_id ON outbox (mail_id_hash) WHERE mail_id_hash IS NOT NULL;
CREATE INDEX outbox_failed ON outbox (finished_at) WHERE state = 'failed';

CREATE TABLE scan (
    folder TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    uidvalidity BIGINT NOT NULL,
    last_uid BIGINT NOT NULL,
    completed_at BIGINT
);

CREATE TABLE tries (
    folder TEXT COLLATE "C" NOT NULL,
    uidvalidity BIGINT NOT NULL,
    uid BIGINT NOT NULL,
    n BIGINT NOT NULL,
    first BIGINT NOT NULL,
    last BIGINT NOT NULL,
    PRIMARY KEY (folder, uidvalidity, uid)
);

CREATE TABLE original (
    folder TEXT COLLATE "C" NOT NULL,
    uidvalidity BIGINT NOT NULL,
    uid BIGINT NOT NULL,
    message_id BIGINT REFERENCES message (id),
    action TEXT COLLATE "C" NOT NULL CHECK (action IN ('remove', 'done', 'others', 'attention')),
    copy_needed BIGINT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (folder, uidvalidity, uid)
);
CREATE INDEX original_message ON original (message_id) WHERE message_id IS NOT NULL;

CREATE TABLE copy (
    message_id BIGINT NOT NULL PRIMARY KEY REFERENCES message (id) ON DELETE CASCADE,
    created_at BIGINT NOT NULL,
    confirmed_at BIGINT
);
CREATE INDEX copy_pending ON copy (created_at) WHERE confirmed_at IS NULL;

CREATE TABLE journal (
    seq BIGINT NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    client TEXT COLLATE "C",
    detail TEXT COLLATE "C" NOT NULL,
    mac BYTEA NOT NULL
);

CREATE TABLE enrolment (
    client_id BIGINT NOT NULL PRIMARY KEY REFERENCES client (id) ON DELETE CASCADE,
    invited_at BIGINT NOT NULL,
    rekey BIGINT NOT NULL DEFAULT 0,
    reminded_at BIGINT,
    mac BYTEA NOT NULL
);

CREATE TABLE key_offer (
    id BIGINT NOT NULL PRIMARY KEY,
    client_id BIGINT NOT NULL REFERENCES client (id) ON DELETE CASCADE,
    at BIGINT NOT NULL,
    certificate BYTEA NOT NULL,
    fingerprint BYTEA NOT NULL,
    signed BIGINT NOT NULL,
    encrypted BIGINT NOT NULL,
    by_old BIGINT NOT NULL,
    told_at BIGINT,
    mac BYTEA NOT NULL
);
CREATE INDEX key_offer_by_client ON key_offer (client_id, at);

CREATE TABLE therapist_offer (
    therapist TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    welcomed_at BIGINT NOT NULL,
    answered_at BIGINT,
    offer BYTEA,
    mac BYTEA NOT NULL
);

CREATE TABLE frame_letter (
    outbox_id BIGINT NOT NULL PRIMARY KEY REFERENCES outbox (id) ON DELETE CASCADE,
    client_id BIGINT NOT NULL REFERENCES client (id) ON DELETE CASCADE,
    therapist TEXT COLLATE "C" NOT NULL,
    language TEXT COLLATE "C" NOT NULL,
    number BIGINT NOT NULL,
    at BIGINT NOT NULL,
    mac BYTEA NOT NULL,
    channel TEXT COLLATE "C" NOT NULL DEFAULT 'openpgp'
);
CREATE INDEX frame_letter_by_client ON frame_letter (client_id, at);

CREATE TABLE consent (
    id BIGINT NOT NULL PRIMARY KEY,
    client_id BIGINT NOT NULL REFERENCES client (id) ON DELETE CASCADE,
    therapist TEXT COLLATE "C" NOT NULL,
    language TEXT COLLATE "C" NOT NULL,
    number BIGINT NOT NULL,
    hash BYTEA NOT NULL,
    at BIGINT NOT NULL,
    verdict TEXT COLLATE "C",
    mac BYTEA NOT NULL,
    channel TEXT COLLATE "C" NOT NULL DEFAULT 'openpgp'
);
CREATE INDEX consent_by_client ON consent (client_id, at);

CREATE TABLE card (
    client_id BIGINT NOT NULL PRIMARY KEY REFERENCES client (id) ON DELETE CASCADE,
    at BIGINT NOT NULL,
    data BYTEA NOT NULL,
    mac BYTEA NOT NULL
);

CREATE TABLE alert (
    id BIGINT NOT NULL PRIMARY KEY,
    client_id BIGINT REFERENCES client (id) ON DELETE CASCADE,
    therapist TEXT COLLATE "C" NOT NULL,
    message_id BIGINT NOT NULL,
    class TEXT COLLATE "C" NOT NULL,
    rules TEXT COLLATE "C" NOT NULL,
    verdict TEXT COLLATE "C" NOT NULL,
    number TEXT COLLATE "C",
    arrived_at BIGINT NOT NULL,
    safety BIGINT NOT NULL,
    passed_on BIGINT NOT NULL,
    first_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    sent BIGINT NOT NULL,
    next_at BIGINT,
    told TEXT COLLATE "C" NOT NULL DEFAULT '{}',
    answered_at BIGINT,
    mac BYTEA NOT NULL
);
CREATE INDEX alert_due ON alert (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX alert_by_client ON alert (client_id, first_at);
CREATE INDEX alert_by_time ON alert (first_at);
CREATE INDEX alert_open ON alert (first_at) WHERE answered_at IS NULL;

CREATE TABLE absence (
    id BIGINT NOT NULL PRIMARY KEY,
    therapist TEXT COLLATE "C" NOT NULL,
    first_day TEXT COLLATE "C" NOT NULL,
    last_day TEXT COLLATE "C",
    locum TEXT COLLATE "C",
    origin TEXT COLLATE "C" NOT NULL,
    unplanned BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    announced_at BIGINT,
    started_at BIGINT,
    ended_at BIGINT,
    mac BYTEA NOT NULL
);
CREATE INDEX absence_by_therapist ON absence (therapist, first_day);

CREATE TABLE locum_copy (
    message_id BIGINT NOT NULL REFERENCES message (id) ON DELETE CASCADE,
    locum TEXT COLLATE "C" NOT NULL,
    data BYTEA,
    handed_at BIGINT,
    mac BYTEA NOT NULL,
    PRIMARY KEY (message_id, locum)
);
CREATE INDEX outbox_returned ON outbox (returned_at) WHERE returned_at IS NOT NULL;
CREATE INDEX outbox_noticed ON outbox (noticed_at) WHERE noticed_at IS NOT NULL;

CREATE TABLE therapist_key (
    therapist TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    certificate BYTEA NOT NULL,
    mac BYTEA NOT NULL
);

CREATE TABLE held_signature (
    message_id BIGINT NOT NULL PRIMARY KEY REFERENCES message (id) ON DELETE CASCADE,
    signer_hash BYTEA NOT NULL,
    digest_hash BYTEA NOT NULL
);

CREATE TABLE pdf_channel (
    client_id BIGINT NOT NULL PRIMARY KEY REFERENCES client (id) ON DELETE CASCADE,
    phrase BYTEA NOT NULL,
    made_at BIGINT NOT NULL,
    told_at BIGINT,
    subject BYTEA,
    wrong_day TEXT COLLATE "C",
    wrong BIGINT NOT NULL DEFAULT 0,
    blocked_at BIGINT,
    mac BYTEA NOT NULL
);

CREATE TABLE answer_words (
    outbox_id BIGINT NOT NULL PRIMARY KEY REFERENCES outbox (id) ON DELETE CASCADE,
    client_id BIGINT NOT NULL REFERENCES client (id) ON DELETE CASCADE,
    words BYTEA NOT NULL,
    at BIGINT NOT NULL,
    mac BYTEA NOT NULL
);
CREATE INDEX answer_words_by_client ON answer_words (client_id, at);

CREATE TABLE frame_version (
    therapist TEXT COLLATE "C" NOT NULL,
    language TEXT COLLATE "C" NOT NULL,
    channel TEXT COLLATE "C" NOT NULL,
    number BIGINT NOT NULL,
    hash BYTEA NOT NULL,
    first_at BIGINT NOT NULL,
    mac BYTEA NOT NULL,
    PRIMARY KEY (therapist, language, channel, number)
);

CREATE TABLE in_hand (
    folder TEXT COLLATE "C" NOT NULL,
    uidvalidity BIGINT NOT NULL,
    uid BIGINT NOT NULL,
    held BIGINT NOT NULL,
    suspect BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (folder, uidvalidity, uid)
);
CREATE INDEX in_hand_held ON in_hand (held);
CREATE INDEX in_hand_suspect ON in_hand (suspect);

CREATE FUNCTION journal_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the journal is append-only';
END
$$;
CREATE TRIGGER journal_keeps_its_words BEFORE UPDATE ON journal
    FOR EACH ROW EXECUTE FUNCTION journal_is_append_only();
CREATE TRIGGER journal_keeps_its_lines BEFORE DELETE ON journal
    FOR EACH ROW EXECUTE FUNCTION journal_is_append_only();
