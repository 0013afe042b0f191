//! What the daemon holds while it runs: configuration, keys, schedules, letters, database, clock.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use chrono::NaiveDate;

use tokio::sync::Notify;
use zeroize::Zeroizing;

use super::database;
use super::keys::arrived::with_stored;
use crate::clock::Clock;
use crate::config::{self, Config, SecretError};
use crate::domain::crisis::{Lexicon, LexiconError};
use crate::domain::holidays::{Calendar, HolidayError};
use crate::domain::rhythm::{RhythmError, Schedule};
use crate::letters::{Letters, LettersError, Line, Lines, LinesError, Reader};
use crate::mime::Limits;
use crate::model::{Address, Channel, ClientId, Language, MessageRow, TherapistId};
use crate::notify::Pulse;
use crate::pgp::{CertError, Certificate, KeyError, PracticeKey};
use crate::secret::Password;
use crate::store::{ABSENCES_CHANGED, Absence, Client, Store, StoreError, THERAPIST_KEYS_CHANGED, Vault};

/// Why Cadre can't start. Each names the thing, the cause and what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{what}: {cause}")]
    File { what: &'static str, path: PathBuf, cause: String },
    #[error("the secret of {what} can't be read")]
    Secret {
        what: &'static str,
        #[source]
        source: SecretError,
    },
    #[error("the practice's key (`[keys] secret`) can't be used")]
    Key(#[from] KeyError),
    #[error("{what} is not a certificate that can be used")]
    Certificate {
        what: String,
        #[source]
        source: CertError,
    },
    #[error("the rhythm of therapist {therapist} can't be used")]
    Rhythm {
        therapist: TherapistId,
        #[source]
        source: RhythmError,
    },
    #[error("the holidays of `[practice] country` and `region` can't be used")]
    Holidays(#[from] HolidayError),
    #[error("the letters can't be used")]
    Letters(#[from] LettersError),
    #[error("the crisis lexicon can't be used ({file})")]
    Lexicon {
        file: String,
        #[source]
        source: Box<LexiconError>,
    },
    #[error("the emergency lines can't be used")]
    Lines(#[from] LinesError),
    #[error("the database can't be used")]
    Store(#[from] StoreError),
}

/// A therapist with what was read from the files.
pub struct Therapist {
    pub settings: config::Therapist,
    certificate: OnceLock<Certificate>,
    /// What has been learnt of it by mail since, in binary form.
    learnt: Option<Vec<u8>>,
    pub schedule: Schedule,
    pub digest: Schedule,
}

impl Therapist {
    pub fn id(&self) -> &TherapistId {
        &self.settings.id
    }

    /// The certificate; None until it is confirmed on the first day. A file that appears later is taken at once.
    pub fn certificate(&self) -> Option<&Certificate> {
        if self.certificate.get().is_none() {
            let read = read_certificate(CERTIFICATE, &self.settings.certificate).ok()?;
            let read = with_stored(&read, self.learnt.as_deref());
            // Another thread may have been first, with the same file.
            let _ = self.certificate.set(read);
        }
        self.certificate.get()
    }

    /// The same therapist with other absences.
    #[must_use]
    pub fn with_absences(&self, absences: Vec<(NaiveDate, NaiveDate)>) -> Self {
        Self {
            settings: self.settings.clone(),
            certificate: self.certificate.clone(),
            learnt: self.learnt.clone(),
            schedule: self.schedule.with_absences(absences.clone()),
            digest: self.digest.with_absences(absences),
        }
    }

    /// The same therapist with a certificate that their own mail has just renewed.
    #[must_use]
    pub fn renewed(&self, certificate: &Certificate) -> Self {
        self.with_learnt(Some(&certificate.to_bytes()))
    }

    /// The same therapist with what has been learnt of the certificate.
    fn with_learnt(&self, learnt: Option<&Vec<u8>>) -> Self {
        let certificate = OnceLock::new();
        if let Some(known) = self.certificate.get() {
            let _ = certificate.set(with_stored(known, learnt.map(Vec::as_slice)));
        }
        Self {
            settings: self.settings.clone(),
            certificate,
            learnt: learnt.cloned(),
            schedule: self.schedule.clone(),
            digest: self.digest.clone(),
        }
    }

    /// Language and zone of mail to the therapist.
    pub fn reader(&self) -> Reader {
        Reader { language: self.settings.language, by_words: false, zone: self.settings.timezone }
    }
}

/// Everything that the parts of `app` share.
pub struct Context {
    pub config: Config,
    pub clock: Clock,
    pub store: Store,
    /// The practice's current key: it signs, and others encrypt to it.
    pub key: PracticeKey,
    /// Those it had before, newest first: they only read.
    pub retired: Vec<PracticeKey>,
    pub archive: Option<Certificate>,
    therapists: RwLock<Arc<[Arc<Therapist>]>>,
    absences: RwLock<Arc<[Absence]>>,
    /// The database's counter of their changes, as of then.
    absences_version: AtomicU64,
    /// The same for therapists' certificates.
    therapist_keys_version: AtomicU64,
    /// With the operator's own, read at the start; Cadre's alone, when the first is written.
    letters: OnceLock<Letters>,
    pub lines: Lines,
    /// Likewise.
    lexicon: OnceLock<Lexicon>,
    /// Something was filed: the outbox is worked at once.
    pub to_send: Arc<Notify>,
    /// Somebody is in danger: alarm commands are run at once.
    pub called: Arc<Notify>,
    /// The daemon's signs of life.
    pub pulse: Arc<Pulse>,
    pub limits: Limits,
    certificates: Mutex<HashMap<ClientId, CachedCertificate>>,
    /// Copies that this process has committed and never tried to append: they can't be in their folder yet.
    pub untried_copies: Mutex<HashSet<MessageRow>>,
    /// The value of the Autocrypt header in a minute of the clock.
    pub autocrypt: Mutex<Option<(i64, Option<String>)>>,
    /// Folders that were seen to exist.
    pub known_folders: Mutex<HashSet<String>>,
    /// Hears how many of how many messages of a folder are read, where somebody looks on.
    pub onlooker: OnceLock<Onlooker>,
}

/// Hears how many of how many are done.
pub type Onlooker = Box<dyn Fn(u64, u64) + Send + Sync>;

struct CachedCertificate {
    bytes: Vec<u8>,
    certificate: Certificate,
}

/// How many clients' parsed certificates are kept.
const CACHED_CERTIFICATES: usize = 4096;

/// What stands in the files that a configuration names.
struct Files {
    key: PracticeKey,
    retired: Vec<PracticeKey>,
    archive: Option<Certificate>,
    therapists: Arc<[Arc<Therapist>]>,
    letters: OnceLock<Letters>,
    lines: Lines,
    lexicon: OnceLock<Lexicon>,
}

impl Files {
    fn read(config: &Config) -> Result<Self, StartError> {
        let (key, retired) = load_practice_keys(config)?;
        let archive = match &config.keys.archive {
            Some(path) => Some(read_certificate("`[keys] archive`", path)?),
            None => None,
        };
        let calendar = Arc::new(Calendar::for_country(&config.practice.country, config.practice.region.as_deref())?);
        let therapists = config
            .therapists
            .iter()
            .map(|settings| Ok(Arc::new(therapist(config, settings, &calendar)?)))
            .collect::<Result<Arc<[_]>, StartError>>()?;
        let letters = match config.letters_folder.as_deref() {
            Some(folder) => OnceLock::from(Letters::load(Some(folder))?),
            None => OnceLock::new(),
        };
        let lexicon = match config.lexicon_folder {
            Some(_) => OnceLock::from(load_lexicon(config)?),
            None => OnceLock::new(),
        };
        Ok(Self { key, retired, archive, therapists, letters, lines: Lines::built_in()?, lexicon })
    }
}

impl Context {
    /// Reads keys, letters and schedules, and opens the database.
    ///
    /// # Errors
    /// [`StartError`]; `check` names all such faults at once, this stops at the first.
    pub async fn open(config: Config, clock: Clock) -> Result<Self, StartError> {
        let files = Files::read(&config)?;
        let store = database::open(&config).await?;
        Self::with(config, files, clock, store).await
    }

    /// The same daemon with another configuration: everything is read anew but the database, which stays open. What
    /// `config` says of the database is not looked at.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn reopened(&self, config: Config) -> Result<Self, StartError> {
        let files = Files::read(&config)?;
        let mut new = Self::with(config, files, self.clock.clone(), self.store.clone()).await?;
        new.to_send = Arc::clone(&self.to_send);
        new.called = Arc::clone(&self.called);
        new.pulse = Arc::clone(&self.pulse);
        Ok(new)
    }

    async fn with(config: Config, files: Files, clock: Clock, store: Store) -> Result<Self, StartError> {
        let ctx = Self {
            limits: Limits::for_message(config.intake.max_message),
            config,
            clock,
            store,
            key: files.key,
            retired: files.retired,
            archive: files.archive,
            therapists: RwLock::new(files.therapists),
            absences: RwLock::new(Arc::new([])),
            absences_version: AtomicU64::new(u64::MAX),
            therapist_keys_version: AtomicU64::new(0),
            letters: files.letters,
            lines: files.lines,
            lexicon: files.lexicon,
            to_send: Arc::default(),
            called: Arc::default(),
            pulse: Pulse::start(),
            certificates: Mutex::new(HashMap::new()),
            untried_copies: Mutex::new(HashSet::new()),
            autocrypt: Mutex::new(None),
            known_folders: Mutex::new(HashSet::new()),
            onlooker: OnceLock::new(),
        };
        let mut tx = ctx.store.read().await?;
        let version = tx.counter(ABSENCES_CHANGED).await?;
        let absences = tx.absences().await?;
        ctx.set_therapist_keys(&tx.therapist_keys().await?, tx.counter(THERAPIST_KEYS_CHANGED).await?);
        drop(tx);
        // Before the first run the file's absences aren't in the database yet.
        if version > 0 {
            ctx.set_absences(absences, version);
        }
        Ok(ctx)
    }

    /// Whether this is the key that the open database was sealed with.
    ///
    /// # Errors
    /// [`StartError::Secret`].
    pub fn is_record_key_of(&self, config: &Config) -> Result<bool, StartError> {
        let probe = |vault: &Vault| vault.address(&self.config.practice.address);
        let record = record_key(config)?;
        Ok(probe(&Vault::new(&record)) == probe(self.store.vault()))
    }

    /// The therapists, in the configuration's order, with their rhythm as it is now: absences come and go
    /// while Cadre runs. Who needs one picture of it keeps what this gives.
    pub fn therapists(&self) -> Arc<[Arc<Therapist>]> {
        Arc::clone(&self.therapists.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The therapist of this id.
    pub fn therapist(&self, id: &TherapistId) -> Option<Arc<Therapist>> {
        self.therapists().iter().find(|therapist| therapist.id() == id).cloned()
    }

    /// The therapist who writes from this address.
    pub fn therapist_by_address(&self, address: &Address) -> Option<Arc<Therapist>> {
        self.therapists().iter().find(|therapist| therapist.settings.address == *address).cloned()
    }

    /// All absences, those that have ended included.
    pub fn absences(&self) -> Arc<[Absence]> {
        Arc::clone(&self.absences.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the absences are known as they are in the database at this count of changes.
    pub fn knows_absences(&self, version: u64) -> bool {
        self.absences_version.load(Ordering::SeqCst) == version
    }

    /// Takes the absences as they now are into every therapist's rhythm. They come from what is committed, never
    /// from a transaction that may still be undone.
    pub fn set_absences(&self, absences: Vec<Absence>, version: u64) {
        let ranges = |id: &TherapistId| super::absence::ranges(&absences, id);
        let changed = self.therapists().iter().map(|old| Arc::new(old.with_absences(ranges(old.id())))).collect();
        *self.therapists.write().unwrap_or_else(PoisonError::into_inner) = changed;
        *self.absences.write().unwrap_or_else(PoisonError::into_inner) = absences.into();
        self.absences_version.store(version, Ordering::SeqCst);
    }

    /// Every key of the practice's that reads, the current one first.
    pub fn keys(&self) -> Vec<&PracticeKey> {
        std::iter::once(&self.key).chain(&self.retired).collect()
    }

    /// The fingerprints of the practice's keys, the current one first.
    pub fn own_fingerprints(&self) -> Vec<String> {
        self.keys().into_iter().map(|key| key.certificate().fingerprint()).collect()
    }

    /// Whether what is known of therapists' certificates is as it is in the database at this count of changes.
    pub fn knows_therapist_keys(&self, version: u64) -> bool {
        self.therapist_keys_version.load(Ordering::SeqCst) == version
    }

    /// Takes over what is committed of therapists' certificates.
    pub fn set_therapist_keys(&self, keys: &[(TherapistId, Vec<u8>)], version: u64) {
        let learnt = |id: &TherapistId| keys.iter().find(|(known, _)| known == id).map(|(_, bytes)| bytes);
        let mut therapists = self.therapists.write().unwrap_or_else(PoisonError::into_inner);
        *therapists = therapists.iter().map(|old| Arc::new(old.with_learnt(learnt(old.id())))).collect();
        self.therapist_keys_version.store(version, Ordering::SeqCst);
    }

    /// A client's own rhythm: the therapist's slots, narrowed by `/rhythm`.
    pub fn schedule(&self, therapist: &Therapist, client: &Client) -> Schedule {
        client
            .weekdays
            .as_deref()
            .and_then(|days| therapist.schedule.narrowed(days).ok())
            .unwrap_or_else(|| therapist.schedule.clone())
    }

    /// What Cadre writes. Its own texts take a while to read, and most commands need none.
    pub fn letters(&self) -> &Letters {
        self.letters.get_or_init(|| Letters::load(None).expect("the built-in letters are tested"))
    }

    /// As [`Context::letters`], where any were read: letters of the operator's always are.
    pub fn letters_read(&self) -> Option<&Letters> {
        self.letters.get()
    }

    /// The crisis lexicon; likewise.
    pub fn lexicon(&self) -> &Lexicon {
        self.lexicon.get_or_init(|| Lexicon::built_in().expect("the built-in lexicon is tested"))
    }

    /// Language and zone of mail to a client.
    pub fn reader_for(&self, client: &Client) -> Reader {
        let zone = self.therapist(&client.therapist).map_or(self.config.practice.timezone, |t| t.settings.timezone);
        Reader { language: client.language, by_words: client.channel == Channel::Pdf, zone }
    }

    /// The practice's name in mail that must not show a therapy.
    pub fn neutral_name(&self, language: Language) -> String {
        self.config.practice.neutral_name.get(language).to_owned()
    }

    /// The emergency lines of a client's letters; 112 alone where somebody else may be reading along.
    pub fn lines_for(&self, client: &Client) -> Vec<Line> {
        if client.care.discreet {
            return Lines::neutral();
        }
        self.lines.crisis(&self.config.practice.country, client.language)
    }

    /// Remembers a copy that was just committed; see [`Context::untried_copies`].
    pub fn owes_copy(&self, row: MessageRow) {
        self.untried_copies.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(row);
    }

    /// Another gateway may have tried them since: it had the mailbox for a while.
    pub fn forget_untried(&self) {
        self.untried_copies.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clear();
    }

    /// Whether a copy was never tried; from now on it counts as tried.
    pub fn try_copy(&self, row: MessageRow) -> bool {
        self.untried_copies.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&row)
    }

    /// Forgets a client's parsed certificate.
    pub fn forget_certificate(&self, client: ClientId) {
        self.certificates().remove(&client);
    }

    /// A client's pinned certificate, parsed once.
    pub fn client_certificate(&self, client: &Client) -> Option<Certificate> {
        let bytes = client.certificate.as_ref()?;
        if let Some(cached) = self.certificates().get(&client.id)
            && cached.bytes == *bytes
        {
            return Some(cached.certificate.clone());
        }
        // Read while others may ask for theirs.
        let certificate = Certificate::from_bytes(bytes).ok()?;
        let mut cache = self.certificates();
        if cache.len() >= CACHED_CERTIFICATES {
            cache.clear();
        }
        cache.insert(client.id, CachedCertificate { bytes: bytes.clone(), certificate: certificate.clone() });
        Some(certificate)
    }

    fn certificates(&self) -> MutexGuard<'_, HashMap<ClientId, CachedCertificate>> {
        self.certificates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn record_key(config: &Config) -> Result<Zeroizing<[u8; 32]>, StartError> {
    config.keys.record.record_key().map_err(|source| StartError::Secret { what: "`[keys] record`", source })
}

/// The practice's key, unlocked, and those it had before.
///
/// # Errors
/// [`StartError::Secret`] or [`StartError::Key`].
pub fn load_practice_keys(config: &Config) -> Result<(PracticeKey, Vec<PracticeKey>), StartError> {
    let (bytes, passphrase) = practice_secrets(config)?;
    Ok(PracticeKey::load_ring(&bytes, passphrase.as_ref())?)
}

/// The file of the practice's keys, and what opens it.
///
/// # Errors
/// [`StartError::Secret`].
pub fn practice_secrets(config: &Config) -> Result<(Zeroizing<Vec<u8>>, Option<Password>), StartError> {
    let bytes = config.keys.secret.bytes().map_err(|source| StartError::Secret { what: "`[keys] secret`", source })?;
    let passphrase = match &config.keys.passphrase {
        Some(source) => {
            Some(source.password().map_err(|source| StartError::Secret { what: "`[keys] passphrase_file`", source })?)
        }
        None => None,
    };
    Ok((bytes, passphrase))
}

/// How a therapist's certificate is named in errors.
const CERTIFICATE: &str = "`[[therapist]] certificate`";

/// The lexicons that come with Cadre, by file.
const LEXICONS: [(&str, &str); 2] = [
    ("fr.toml", include_str!("../../config/lexicon/fr.toml")),
    ("en.toml", include_str!("../../config/lexicon/en.toml")),
];

/// The crisis lexicon: the operator's files, and Cadre's own for a language that has none.
///
/// # Errors
/// [`StartError::File`] or [`StartError::Lexicon`].
pub fn load_lexicon(config: &Config) -> Result<Lexicon, StartError> {
    let mut texts: [(String, String); 2] = LEXICONS.map(|(name, text)| (name.to_owned(), text.to_owned()));
    for (name, text) in &mut texts {
        let Some(path) = config.lexicon_folder.as_ref().map(|folder| folder.join(&*name)) else { continue };
        match std::fs::read_to_string(&path) {
            Ok(own) => *text = own,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && path.parent().is_some_and(|f| f.is_dir()) => {
                continue;
            }
            Err(error) => {
                let cause = format!("{} can't be read ({})", path.display(), error.kind());
                return Err(StartError::File { what: "`[crisis] lexicon`", path, cause });
            }
        }
        *name = path.display().to_string();
    }
    let [(fr, fr_text), (en, en_text)] = texts;
    Lexicon::parse(&fr_text, &en_text).map_err(|source| {
        let file = if source.language == "fr" { fr } else { en };
        StartError::Lexicon { file, source: Box::new(source) }
    })
}

/// Reads one certificate from a file.
///
/// # Errors
/// [`StartError::File`] or [`StartError::Certificate`].
pub fn read_certificate(what: &'static str, path: &std::path::Path) -> Result<Certificate, StartError> {
    let bytes = std::fs::read(path).map_err(|error| StartError::File {
        what,
        path: path.to_owned(),
        cause: format!("{} can't be read ({})", path.display(), error.kind()),
    })?;
    Certificate::from_bytes(&bytes)
        .map_err(|source| StartError::Certificate { what: format!("{what} ({})", path.display()), source })
}

fn therapist(config: &Config, settings: &config::Therapist, calendar: &Arc<Calendar>) -> Result<Therapist, StartError> {
    let absences: Vec<_> = config.absences_of(&settings.id).map(|absence| (absence.from, absence.to)).collect();
    let schedule = |expression: &str| schedule(config, settings, expression, calendar, absences.clone());
    let certificate = OnceLock::new();
    if settings.certificate.exists() {
        let _ = certificate.set(read_certificate(CERTIFICATE, &settings.certificate)?);
    }
    Ok(Therapist {
        certificate,
        learnt: None,
        schedule: schedule(settings.release.source())?,
        digest: schedule(config.digest.send.source())?,
        settings: settings.clone(),
    })
}

/// When this expression fires for a therapist, with their zone, holidays and absences.
///
/// # Errors
/// [`StartError::Rhythm`].
pub(super) fn schedule(
    config: &Config,
    settings: &config::Therapist,
    expression: &str,
    calendar: &Arc<Calendar>,
    absences: Vec<(NaiveDate, NaiveDate)>,
) -> Result<Schedule, StartError> {
    let (cutoff, grace) = (settings.cutoff, config.rhythm.grace);
    Schedule::new(settings.timezone, expression, cutoff, grace, Arc::clone(calendar), absences)
        .map_err(|source| StartError::Rhythm { therapist: settings.id.clone(), source })
}
