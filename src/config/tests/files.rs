//! Files and secrets: missing, unreadable, open to others.

use pretty_assertions::assert_eq;

use super::*;

/// A folder that has every file of [`GOOD`].
fn furnished() -> (tempfile::TempDir, Config) {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8], mode| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    put("cadre.toml", GOOD.as_bytes(), 0o644);
    put("practice.key.pgp", b"key", 0o600);
    put("record.key", &[7; 32], 0o400);
    put("imap.password", b"hunter2\r\n", 0o600);
    put("exemple.pgp", b"certificate", 0o644);
    let (config, _) = Config::load(&folder.path().join("cadre.toml"), &Env::default()).unwrap();
    (folder, config)
}

#[test]
fn files_in_order_give_no_finding() {
    let (_folder, config) = furnished();
    assert_eq!(shown(&config.check_files()), "");
    assert_eq!(*config.keys.record.record_key().unwrap(), [7; 32]);
    let LoginMethod::Password(source) = &config.imap.login.method else { panic!("a password") };
    assert_eq!(source.password().unwrap().reveal(), "hunter2");
}

#[test]
fn every_file_that_is_missing_open_or_wrong_is_named_at_once() {
    let (folder, config) = furnished();
    let file = |name: &str| folder.path().join(name);
    fs::remove_file(file("practice.key.pgp")).unwrap();
    fs::set_permissions(file("record.key"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(file("record.key"), b"short").unwrap();
    fs::set_permissions(file("imap.password"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::remove_file(file("exemple.pgp")).unwrap();
    let found = config.check_files();
    let keys: Vec<(&str, Option<usize>)> = found.iter().map(|f| (f.key.as_str(), f.line)).collect();
    assert_eq!(
        keys,
        [
            ("[keys] secret", Some(10)),
            ("[keys] record", Some(11)),
            ("[imap] password_file", Some(15)),
            ("[[therapist]] exemple.certificate", Some(25)),
        ]
    );
    assert!(found[0].cause.contains("missing"), "{}", found[0]);
    assert!(found[2].remedy.starts_with("chmod 600 "), "{}", found[2]);
    assert!(found[2].cause.contains("640") && !found[2].to_string().contains("hunter2"), "{}", found[2]);
}

#[test]
fn secrets_come_from_credentials_and_environment_too() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("imap.password"), "from systemd\n").unwrap();
    let env = Env::of([
        ("CREDENTIALS_DIRECTORY", folder.path().to_str().unwrap()),
        ("CADRE_RECORD", "0707070707070707070707070707070707070707070707070707070707070707"),
    ]);
    let at = |text: &str, env: &Env| SecretSource::parse(text, Path::new("/"), env).unwrap();
    assert_eq!(at("credential:imap.password", &env).password().unwrap().reveal(), "from systemd");
    assert_eq!(*at("env:CADRE_RECORD", &env).record_key().unwrap(), [7; 32]);
    assert!(matches!(at("env:NONE", &env).password(), Err(SecretError::Missing { .. })));
    assert!(matches!(at("credential:a", &Env::default()).password(), Err(SecretError::Missing { .. })));
    for bad in ["credential:", "credential:../x", "credential:..", "env:", "env:A B"] {
        assert!(SecretSource::parse(bad, Path::new("/"), &env).is_err(), "{bad}");
    }
    assert!(!format!("{:?} {env:?}", at("env:CADRE_RECORD", &env)).contains("0707"));
}

#[tokio::test]
async fn a_token_is_what_the_command_prints() {
    assert_eq!(secrets::token("echo ' tok '").await.unwrap().reveal(), "tok");
    assert!(matches!(secrets::token("echo hunter2; exit 3").await, Err(SecretError::TokenFailed { .. })));
    assert!(matches!(secrets::token("true").await, Err(SecretError::Empty { .. })));
    let error = secrets::token("exit 3").await.unwrap_err();
    assert!(!error.cause().contains(&error.remedy()) && error.to_string().ends_with(&error.remedy()), "{error}");
}

#[test]
fn debug_shows_no_name_and_no_address() {
    let config = good(GOOD);
    let all =
        format!("{config:?} {:?} {:?} {:?} {:?}", config.practice, config.therapists, config.imap, config.operator);
    for word in ["Cabinet", "ecrire", "Dr ", "dr@", "Courriel"] {
        assert!(!all.contains(word), "{word} in {all}");
    }
}
