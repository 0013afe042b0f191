//! What the daemon holds while it runs: configuration, keys, schedules, letters, database, clock.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use crate::clock::Clock;
use crate::config::{self, Config, SecretError};
use crate::domain::holidays::{Calendar, HolidayError};
use crate::domain::rhythm::{RhythmError, Schedule};
use crate::letters::{Letters, LettersError, Lines, LinesError, Reader};
use crate::mime::Limits;
use crate::model::{Address, ClientId, Language, MessageRow, TherapistId};
use crate::pgp::{CertError, Certificate, KeyError, PracticeKey};
use crate::store::{Client, Store, StoreError, Vault};

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
    #[error("the emergency lines can't be used")]
    Lines(#[from] LinesError),
    #[error("the database can't be used")]
    Store(#[from] StoreError),
}

/// A therapist with what was read from the files.
pub struct Therapist {
    pub settings: config::Therapist,
    pub certificate: Certificate,
    pub schedule: Schedule,
    pub digest: Schedule,
}

impl Therapist {
    pub fn id(&self) -> &TherapistId {
        &self.settings.id
    }

    /// Language and zone of mail to the therapist.
    pub fn reader(&self) -> Reader {
        Reader { language: self.settings.language, zone: self.settings.timezone }
    }
}

/// Everything that the parts of `app` share.
pub struct Context {
    pub config: Config,
    pub clock: Clock,
    pub store: Store,
    pub key: PracticeKey,
    pub archive: Option<Certificate>,
    pub therapists: Vec<Arc<Therapist>>,
    pub letters: Letters,
    pub lines: Lines,
    pub limits: Limits,
    certificates: Mutex<HashMap<ClientId, CachedCertificate>>,
    /// Copies that this process has committed and never tried to append: they can't be in their folder yet.
    pub untried_copies: Mutex<HashSet<MessageRow>>,
    /// Folders that were seen to exist.
    pub known_folders: Mutex<HashSet<String>>,
}

struct CachedCertificate {
    bytes: Vec<u8>,
    certificate: Certificate,
}

/// How many clients' parsed certificates are kept.
const CACHED_CERTIFICATES: usize = 4096;

impl Context {
    /// Reads keys, letters and schedules, and opens the database.
    ///
    /// # Errors
    /// [`StartError`]; `check` names all such faults at once, this stops at the first.
    pub async fn open(config: Config, clock: Clock) -> Result<Self, StartError> {
        let record =
            config.keys.record.record_key().map_err(|source| StartError::Secret { what: "`[keys] record`", source })?;
        let key = load_practice_key(&config)?;
        let archive = match &config.keys.archive {
            Some(path) => Some(read_certificate("`[keys] archive`", path)?),
            None => None,
        };
        let calendar = Arc::new(Calendar::for_country(&config.practice.country, config.practice.region.as_deref())?);
        let therapists = config
            .therapists
            .iter()
            .map(|settings| Ok(Arc::new(therapist(&config, settings, &calendar)?)))
            .collect::<Result<Vec<_>, StartError>>()?;
        let letters = Letters::load(config.letters_folder.as_deref())?;
        let lines = Lines::built_in()?;
        let limits = Limits::for_message(config.intake.max_message);
        let url = format!("sqlite:{}", config.database.path.display());
        let store = Store::open(&url, Vault::new(&record), &config.database.journal_head).await?;
        Ok(Self {
            config,
            clock,
            store,
            key,
            archive,
            therapists,
            letters,
            lines,
            limits,
            certificates: Mutex::new(HashMap::new()),
            untried_copies: Mutex::new(HashSet::new()),
            known_folders: Mutex::new(HashSet::new()),
        })
    }

    /// The therapist of this id.
    pub fn therapist(&self, id: &TherapistId) -> Option<&Arc<Therapist>> {
        self.therapists.iter().find(|therapist| therapist.id() == id)
    }

    /// The therapist who writes from this address.
    pub fn therapist_by_address(&self, address: &Address) -> Option<&Arc<Therapist>> {
        self.therapists.iter().find(|therapist| therapist.settings.address == *address)
    }

    /// A client's own rhythm: the therapist's slots, narrowed by `/rhythm`.
    pub fn schedule(&self, therapist: &Therapist, client: &Client) -> Schedule {
        client
            .weekdays
            .as_deref()
            .and_then(|days| therapist.schedule.narrowed(days).ok())
            .unwrap_or_else(|| therapist.schedule.clone())
    }

    /// Language and zone of mail to a client.
    pub fn reader_for(&self, client: &Client) -> Reader {
        let zone = self.therapist(&client.therapist).map_or(self.config.practice.timezone, |t| t.settings.timezone);
        Reader { language: client.language, zone }
    }

    /// The practice's name in mail that must not show a therapy.
    pub fn neutral_name(&self, language: Language) -> String {
        self.config.practice.neutral_name.get(language).to_owned()
    }

    /// Remembers a copy that was just committed; see [`Context::untried_copies`].
    pub fn owes_copy(&self, row: MessageRow) {
        self.untried_copies.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(row);
    }

    /// Whether a copy was never tried; from now on it counts as tried.
    pub fn try_copy(&self, row: MessageRow) -> bool {
        self.untried_copies.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&row)
    }

    /// A client's pinned certificate, parsed once.
    pub fn client_certificate(&self, client: &Client) -> Option<Certificate> {
        let bytes = client.certificate.as_ref()?;
        let mut cache = self.certificates.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(cached) = cache.get(&client.id)
            && cached.bytes == *bytes
        {
            return Some(cached.certificate.clone());
        }
        let certificate = Certificate::from_bytes(bytes).ok()?;
        if cache.len() >= CACHED_CERTIFICATES {
            cache.clear();
        }
        cache.insert(client.id, CachedCertificate { bytes: bytes.clone(), certificate: certificate.clone() });
        Some(certificate)
    }
}

/// The practice's key, unlocked.
///
/// # Errors
/// [`StartError::Secret`] or [`StartError::Key`].
pub fn load_practice_key(config: &Config) -> Result<PracticeKey, StartError> {
    let bytes = config.keys.secret.bytes().map_err(|source| StartError::Secret { what: "`[keys] secret`", source })?;
    let passphrase = match &config.keys.passphrase {
        Some(source) => {
            Some(source.password().map_err(|source| StartError::Secret { what: "`[keys] passphrase_file`", source })?)
        }
        None => None,
    };
    Ok(PracticeKey::load(&bytes, passphrase.as_ref())?)
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
    let rhythm = |source| StartError::Rhythm { therapist: settings.id.clone(), source };
    let absences: Vec<_> = config.absences_of(&settings.id).map(|absence| (absence.from, absence.to)).collect();
    let schedule = |expression: &str| {
        Schedule::new(
            settings.timezone,
            expression,
            settings.cutoff,
            config.rhythm.grace,
            Arc::clone(calendar),
            absences.clone(),
        )
    };
    Ok(Therapist {
        certificate: read_certificate("`[[therapist]] certificate`", &settings.certificate)?,
        schedule: schedule(settings.release.source()).map_err(rhythm)?,
        digest: schedule(config.digest.send.source()).map_err(rhythm)?,
        settings: settings.clone(),
    })
}
