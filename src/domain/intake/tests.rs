//! The table of SPEC section 3, and what no combination of facts may come to.

use super::*;

fn client(n: i64) -> Person {
    Person::Client(ClientId(n))
}

fn therapist() -> Person {
    Person::Therapist(TherapistId("exemple".into()))
}

fn facts(signature: Signature, from: From) -> Facts {
    Facts {
        structure: Structure::Whole,
        decryption: Decryption::Done,
        signature,
        from,
        automatic: false,
        list: false,
        own: false,
        dmarc_fail: false,
        vouched: false,
        same_bytes: false,
    }
}

fn good(owner: Person) -> Signature {
    Signature::Good { owner, intended: Intended::Us, seen_before: false }
}

fn flag(facts: &Facts) -> (Verdict, Action) {
    let decision = decide(facts, UnsignedPolicy::Flag);
    (decision.verdict, decision.action)
}

#[test]
fn answer_words_vouch_for_a_client_and_for_nothing_that_is_bad_or_somebody_elses() {
    let vouched = |signature, from| flag(&Facts { vouched: true, ..facts(signature, from) });
    let c1 = || From::Known(client(1));
    let filed = Action::File { client: ClientId(1), letter: true };
    assert_eq!(vouched(Signature::None, c1()), (Verdict::Vouched, filed.clone()));
    assert_eq!(vouched(Signature::Unknown, c1()), (Verdict::Vouched, filed));
    assert_eq!(vouched(Signature::Bad, c1()).0, Verdict::Bad);
    assert_eq!(vouched(Signature::BadKey, c1()).0, Verdict::Bad);
    assert_eq!(vouched(good(client(2)), c1()).0, Verdict::WrongSigner);
    let mixed = Facts { vouched: true, structure: Structure::Mixed, ..facts(Signature::None, c1()) };
    assert_eq!(flag(&mixed).0, Verdict::Partial);
    // Also where unsigned mail is held.
    let held = Facts { vouched: true, ..facts(Signature::None, c1()) };
    assert_eq!(decide(&held, UnsignedPolicy::Hold).action, Action::File { client: ClientId(1), letter: true });
}

#[test]
fn verdict_table_of_the_specification() {
    let c1 = || From::Known(client(1));
    let filed = |n| Action::File { client: ClientId(n), letter: true };
    let held = |n| Action::Hold { client: ClientId(n) };
    let cases: Vec<(Signature, From, Verdict, Action)> = vec![
        (good(client(1)), c1(), Verdict::Verified, filed(1)),
        (good(client(1)), From::Stranger, Verdict::Verified, filed(1)),
        (good(client(2)), c1(), Verdict::WrongSigner, held(2)),
        (good(client(2)), From::Known(therapist()), Verdict::WrongSigner, held(2)),
        (good(client(1)), From::Ambiguous(vec![client(1)]), Verdict::WrongSigner, held(1)),
        (Signature::None, c1(), Verdict::Unsigned, filed(1)),
        (Signature::Unknown, c1(), Verdict::UnknownSigner, filed(1)),
        (Signature::Bad, c1(), Verdict::Bad, held(1)),
        (Signature::BadKey, c1(), Verdict::Bad, held(1)),
        (Signature::None, From::Stranger, Verdict::Unsigned, Action::Request),
        (Signature::None, From::Ambiguous(vec![]), Verdict::Unsigned, Action::Attention),
        (Signature::None, From::Ambiguous(vec![client(1)]), Verdict::Unsigned, held(1)),
    ];
    for (signature, from, verdict, action) in cases {
        let facts = facts(signature, from);
        assert_eq!(flag(&facts), (verdict, action), "{facts:?}");
    }
}

/// THREATS 16: From the therapist, no signature or another one.
#[test]
fn a_therapist_is_obeyed_only_with_the_pinned_signature() {
    let from = || From::Known(therapist());
    let refused = |why| Action::Refuse { therapist: TherapistId("exemple".into()), why };
    assert_eq!(flag(&facts(good(therapist()), from())).1, Action::Obey { therapist: TherapistId("exemple".into()) });
    assert_eq!(flag(&facts(Signature::None, from())).1, refused(Refusal::Unsigned));
    assert_eq!(flag(&facts(Signature::Unknown, from())).1, refused(Refusal::UnknownSigner));
    assert_eq!(flag(&facts(Signature::Bad, from())).1, refused(Refusal::Bad));
    assert_eq!(
        flag(&facts(good(therapist()), From::Known(client(1)))),
        (Verdict::WrongSigner, refused(Refusal::WrongSigner))
    );
    let mut automatic = facts(Signature::None, from());
    automatic.automatic = true;
    assert_eq!(flag(&automatic).1, Action::Others, "an automatic mail is never answered");
}

/// THREATS 18 and 28: a replay is known by certificate and digest, and a pre-play doesn't count.
#[test]
fn a_replay_is_dropped_but_not_one_under_another_persons_name() {
    let seen = Signature::Good { owner: client(1), intended: Intended::Us, seen_before: true };
    assert_eq!(flag(&facts(seen.clone(), From::Stranger)), (Verdict::Replayed, Action::Drop(Dropped::Replayed)));
    assert_eq!(flag(&facts(seen, From::Known(client(2)))).0, Verdict::WrongSigner);
}

#[test]
fn broken_encryption_never_reaches_a_thread_as_readable() {
    for (decryption, verdict) in [
        (Decryption::IntegrityFailed, Verdict::Bad),
        (Decryption::NotForUs, Verdict::Undecryptable),
        (Decryption::Unreadable, Verdict::Undecryptable),
    ] {
        let mut facts = facts(Signature::None, From::Known(client(1)));
        facts.decryption = decryption;
        assert_eq!(flag(&facts), (verdict, Action::Hold { client: ClientId(1) }));
    }
}

#[test]
fn mixed_structure_is_partial_whatever_is_signed() {
    let mut facts = facts(good(client(1)), From::Known(client(1)));
    facts.structure = Structure::Mixed;
    assert_eq!(flag(&facts), (Verdict::Partial, Action::Hold { client: ClientId(1) }));
}

#[test]
fn unsigned_mail_is_held_on_request_or_when_dmarc_failed() {
    let mut facts = facts(Signature::None, From::Known(client(1)));
    let hold = decide(&facts, UnsignedPolicy::Hold);
    assert_eq!(hold.action, Action::Hold { client: ClientId(1) });
    facts.dmarc_fail = true;
    let decision = decide(&facts, UnsignedPolicy::Flag);
    assert_eq!(decision.action, Action::Hold { client: ClientId(1) });
    assert!(decision.marks.contains(&Mark::DmarcFail));
}

#[test]
fn automatic_mail_of_a_client_opens_no_turn_and_of_a_stranger_gets_no_answer() {
    let mut known = facts(Signature::None, From::Known(client(1)));
    known.automatic = true;
    assert_eq!(flag(&known).1, Action::File { client: ClientId(1), letter: false });
    let mut stranger = facts(Signature::None, From::Stranger);
    stranger.list = true;
    assert_eq!(flag(&stranger).1, Action::Others);
}

/// Every fact against every other: what is missing in any check turns this red. Obeyed or filed as verified is
/// what bears a good signature over the whole of it, under no other registered person's name, for the first time.
#[test]
fn row_01_a_bad_verdict_is_never_overwritten() {
    let owners = || [client(1), therapist()];
    let mut signatures = vec![Signature::None, Signature::Unknown, Signature::Bad, Signature::BadKey];
    for (owner, intended, seen_before) in owners().into_iter().flat_map(|owner| {
        let all = [(Intended::Us, false), (Intended::Others, false), (Intended::Unsaid, false), (Intended::Us, true)];
        all.map(|(intended, seen)| (owner.clone(), intended, seen))
    }) {
        signatures.push(Signature::Good { owner, intended, seen_before });
    }
    let froms = [
        From::Ambiguous(vec![]),
        From::Ambiguous(vec![client(1), therapist()]),
        From::Stranger,
        From::Practice,
        From::Known(client(1)),
        From::Known(client(2)),
        From::Known(therapist()),
    ];
    let decryptions = [
        Decryption::NotEncrypted,
        Decryption::Done,
        Decryption::NotForUs,
        Decryption::IntegrityFailed,
        Decryption::Unreadable,
    ];
    let (mut trusted, mut all) = (0, 0);
    for signature in &signatures {
        for from in &froms {
            for (decryption, structure) in
                decryptions.iter().flat_map(|d| [(*d, Structure::Whole), (*d, Structure::Mixed)])
            {
                for bits in 0..128_u32 {
                    let bit = |n: u32| bits & (1 << n) != 0;
                    let facts = Facts {
                        structure,
                        decryption,
                        signature: signature.clone(),
                        from: from.clone(),
                        automatic: bit(0),
                        list: bit(1),
                        own: bit(2),
                        vouched: bit(6),
                        dmarc_fail: bit(3),
                        same_bytes: bit(4),
                    };
                    let policy = if bit(5) { UnsignedPolicy::Hold } else { UnsignedPolicy::Flag };
                    trusted += usize::from(is_sound(&facts, &decide(&facts, policy)));
                    all += 1;
                }
            }
        }
    }
    assert!(trusted > 0 && trusted < all / 20, "{trusted} of {all}");
}

/// Fails where a decision trusts more than its facts prove; whether it trusts at all.
fn is_sound(facts: &Facts, decision: &Decision) -> bool {
    let proven = match &facts.signature {
        Signature::Good { owner, seen_before: false, .. } => Some(owner).filter(|owner| {
            facts.structure == Structure::Whole
                && matches!(facts.decryption, Decryption::NotEncrypted | Decryption::Done)
                && match &facts.from {
                    From::Known(person) => person == *owner,
                    From::Ambiguous(_) => false,
                    From::Stranger | From::Practice => true,
                }
        }),
        _ => None,
    };
    assert_eq!(decision.verdict == Verdict::Verified, proven.is_some(), "{facts:?}: {decision:?}");
    let bad = matches!(facts.signature, Signature::Bad | Signature::BadKey);
    match &decision.action {
        Action::Obey { therapist } => {
            assert_eq!(proven, Some(&Person::Therapist(therapist.clone())), "{facts:?}");
            true
        }
        Action::File { client, .. } if decision.verdict == Verdict::Verified => {
            assert_eq!(proven, Some(&Person::Client(*client)), "{facts:?}");
            true
        }
        Action::File { client, .. } if decision.verdict == Verdict::Vouched => {
            assert!(facts.vouched && !bad && facts.structure == Structure::Whole, "{facts:?}: {decision:?}");
            assert!(matches!(facts.signature, Signature::None | Signature::Unknown), "{facts:?}");
            assert_eq!(facts.from, From::Known(Person::Client(*client)), "{facts:?}");
            true
        }
        Action::File { client, .. } => {
            assert!(!bad && facts.structure == Structure::Whole, "{facts:?}: {decision:?}");
            assert!(matches!(decision.verdict, Verdict::Unsigned | Verdict::UnknownSigner), "{facts:?}");
            assert_eq!(facts.from, From::Known(Person::Client(*client)), "{facts:?}");
            false
        }
        _ => false,
    }
}
