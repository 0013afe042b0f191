//! Clients: their record carries a MAC, and what names them is sealed.

use chrono::{DateTime, Utc, Weekday};
use rand::Rng;

use super::care::{Care, care_text};
use super::sql::{self, Row};
use super::{Lookup, MacParts, Reader, StoreError, Tx, Vault, is_unique, micros, micros_opt, vault};
use crate::model::{Address, Channel, ClientCode, ClientId, ClientState, Language, TherapistId};

const TABLE: &str = "client";

/// A pinned certificate as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The certificate in binary OpenPGP format, public parts only.
    pub bytes: Vec<u8>,
    /// The primary key's fingerprint, hexadecimal.
    pub fingerprint: String,
    /// Fingerprints and key ids (hexadecimal) of the primary key and all subkeys, for
    /// [`Tx::clients_by_handle`].
    pub handles: Vec<String>,
}

/// Who is added. `Debug` shows nothing that names them.
#[derive(Clone)]
pub struct NewClient {
    pub therapist: TherapistId,
    pub state: ClientState,
    pub channel: Channel,
    pub language: Language,
    pub address: Address,
    pub name: Option<String>,
    pub label: Option<String>,
    pub certificate: Option<Certificate>,
    pub consent_note: Option<String>,
    pub consented_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub care: Care,
}

/// A client's record, its MAC verified. `Debug` shows the code and the state only.
#[derive(Clone)]
pub struct Client {
    pub id: ClientId,
    pub code: ClientCode,
    pub therapist: TherapistId,
    pub state: ClientState,
    pub channel: Channel,
    pub language: Language,
    pub address: Address,
    pub name: Option<String>,
    pub label: Option<String>,
    /// The pinned certificate in binary OpenPGP format.
    pub certificate: Option<Vec<u8>>,
    /// The pinned certificate's fingerprint, upper-case hexadecimal.
    pub fingerprint: Option<String>,
    /// `/rhythm`: only slots on these days; `None`: all.
    pub weekdays: Option<Vec<Weekday>>,
    /// 16 random bytes, hexadecimal: the root that References of the conversation begin with.
    pub thread_root: String,
    pub consent_note: Option<String>,
    pub consented_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    /// When the sender of unsigned mail was last told how to sign.
    pub about_keys_at: Option<DateTime<Utc>>,
    /// When a notice about another key was last given.
    pub key_notice_at: Option<DateTime<Utc>>,
    pub care: Care,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("code", &self.code).field("state", &self.state).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for NewClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewClient").field("state", &self.state).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Certificate({} bytes)", self.bytes.len())
    }
}

/// A key handle as it is compared: hexadecimal digits only, upper case.
fn handle(text: &str) -> String {
    text.chars().filter(char::is_ascii_hexdigit).map(|c| c.to_ascii_uppercase()).collect()
}

/// The row as it is in the table; the MAC is over these bytes, sealed values included, so that no
/// single column can be put back to an older value either.
struct Raw {
    id: i64,
    code: String,
    therapist: String,
    state: String,
    channel: String,
    language: String,
    address: Vec<u8>,
    address_hash: Vec<u8>,
    name: Option<Vec<u8>>,
    label: Option<Vec<u8>>,
    certificate: Option<Vec<u8>>,
    fingerprint: Option<Vec<u8>>,
    fingerprint_hash: Option<Vec<u8>>,
    weekdays: Option<String>,
    thread_root: Vec<u8>,
    consent_note: Option<Vec<u8>>,
    consented_at: Option<i64>,
    created_at: i64,
    care: Option<String>,
}

impl Raw {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.get("id")?,
            code: row.get("code")?,
            therapist: row.get("therapist")?,
            state: row.get("state")?,
            channel: row.get("channel")?,
            language: row.get("language")?,
            address: row.get("address")?,
            address_hash: row.get("address_hash")?,
            name: row.get("name")?,
            label: row.get("label")?,
            certificate: row.get("certificate")?,
            fingerprint: row.get("fingerprint")?,
            fingerprint_hash: row.get("fingerprint_hash")?,
            weekdays: row.get("weekdays")?,
            thread_root: row.get("thread_root")?,
            consent_note: row.get("consent_note")?,
            consented_at: row.get("consented_at")?,
            created_at: row.get("created_at")?,
            care: row.get("care")?,
        })
    }

    fn mac(&self, vault: &Vault) -> [u8; 32] {
        let mut record = MacParts::default();
        record
            .int(Some(self.id))
            .text(&self.code)
            .text(&self.therapist)
            .text(&self.state)
            .text(&self.channel)
            .text(&self.language)
            .add(Some(&self.address))
            .add(Some(&self.address_hash))
            .add(self.name.as_deref())
            .add(self.label.as_deref())
            .add(self.certificate.as_deref())
            .add(self.fingerprint.as_deref())
            .add(self.fingerprint_hash.as_deref())
            .add(self.weekdays.as_deref().map(str::as_bytes))
            .add(Some(&self.thread_root))
            .add(self.consent_note.as_deref())
            .int(self.consented_at)
            .int(Some(self.created_at));
        // Records from before there was `care` keep the MAC that they have.
        if let Some(care) = &self.care {
            record.text(care);
        }
        record.mac(vault, TABLE)
    }

    fn pin(&mut self, vault: &Vault, certificate: Option<&Certificate>) {
        let id = self.id;
        self.certificate = certificate.map(|c| vault.seal(TABLE, id, "certificate", &c.bytes));
        let fingerprint = certificate.map(|c| handle(&c.fingerprint));
        self.fingerprint = fingerprint.as_ref().map(|f| vault.seal(TABLE, id, "fingerprint", f.as_bytes()));
        self.fingerprint_hash = fingerprint.map(|f| vault.lookup(Lookup::Fingerprint, f.as_bytes()).to_vec());
    }
}

fn tampered(code: &str, id: i64) -> StoreError {
    code.parse().map_or(StoreError::Corrupt { table: TABLE, row: id }, |code| StoreError::Tampered { code })
}

pub(super) fn open(vault: &Vault, row: &Row) -> Result<Client, StoreError> {
    let raw = Raw::read(row)?;
    let read = Reader::new(vault, TABLE, row)?;
    if !vault::same(&raw.mac(vault), read.get("mac")?) {
        return Err(tampered(&raw.code, raw.id));
    }
    let address = read.text("address")?.ok_or_else(|| read.corrupt())?;
    let weekdays = raw
        .weekdays
        .as_deref()
        .map(|days| days.split(',').filter(|d| !d.is_empty()).map(|d| d.parse().map_err(|_| read.corrupt())).collect());
    let care = match &raw.care {
        Some(care) => serde_json::from_str(care).map_err(|_| read.corrupt())?,
        None => Care::default(),
    };
    Ok(Client {
        care,
        id: ClientId(raw.id),
        code: read.word("code")?,
        therapist: TherapistId(raw.therapist),
        state: read.word("state")?,
        channel: read.word("channel")?,
        language: read.word("language")?,
        address: Address::parse(&address).map_err(|_| read.corrupt())?,
        name: read.text("name")?,
        label: read.text("label")?,
        certificate: read.bytes("certificate")?,
        fingerprint: read.text("fingerprint")?,
        weekdays: weekdays.transpose()?,
        thread_root: read.text("thread_root")?.ok_or_else(|| read.corrupt())?,
        consent_note: read.text("consent_note")?,
        consented_at: read.time_opt("consented_at")?,
        created_at: read.time("created_at")?,
        about_keys_at: read.time_opt("about_keys_at")?,
        key_notice_at: read.time_opt("key_notice_at")?,
    })
}

fn taken(error: sqlx::Error) -> StoreError {
    if is_unique(&error, "client.address_hash", "client_address_hash_key") {
        StoreError::AddressTaken
    } else if is_unique(&error, "client.fingerprint_hash", "client_fingerprint_hash_key") {
        StoreError::CertificateTaken
    } else {
        error.into()
    }
}

impl Tx {
    /// Adds a client under a fresh random code, which was never given before.
    ///
    /// # Errors
    /// [`StoreError::AddressTaken`], [`StoreError::CertificateTaken`], [`StoreError::CodesUsedUp`],
    /// [`StoreError::Db`].
    pub async fn add_client(&mut self, new: NewClient) -> Result<Client, StoreError> {
        let code = self.fresh_code().await?;
        let id = self.new_id();
        let vault = self.vault().clone();
        let seal = |column: &str, value: &str| vault.seal(TABLE, id, column, value.as_bytes());
        let mut root = [0_u8; 16];
        rand::rng().fill_bytes(&mut root);
        let mut raw = Raw {
            id,
            code: code.to_string(),
            therapist: new.therapist.0,
            state: new.state.to_string(),
            channel: new.channel.to_string(),
            language: new.language.to_string(),
            address: seal("address", new.address.as_typed()),
            address_hash: vault.address(&new.address).to_vec(),
            name: new.name.as_deref().map(|v| seal("name", v)),
            label: new.label.as_deref().map(|v| seal("label", v)),
            certificate: None,
            fingerprint: None,
            fingerprint_hash: None,
            weekdays: None,
            thread_root: seal("thread_root", &data_encoding::HEXLOWER.encode(&root)),
            consent_note: new.consent_note.as_deref().map(|v| seal("consent_note", v)),
            consented_at: micros_opt(new.consented_at),
            created_at: micros(new.created_at),
            care: care_text(&new.care),
        };
        raw.pin(&vault, new.certificate.as_ref());
        sql::query(
            "INSERT INTO client (id, code, therapist, state, channel, language, address, address_hash, name, label, \
             certificate, fingerprint, fingerprint_hash, weekdays, thread_root, consent_note, consented_at, created_at, care, mac) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)",
        )
        .bind(id)
        .bind(&raw.code)
        .bind(&raw.therapist)
        .bind(&raw.state)
        .bind(&raw.channel)
        .bind(&raw.language)
        .bind(&raw.address)
        .bind(&raw.address_hash)
        .bind(&raw.name)
        .bind(&raw.label)
        .bind(&raw.certificate)
        .bind(&raw.fingerprint)
        .bind(&raw.fingerprint_hash)
        .bind(&raw.weekdays)
        .bind(&raw.thread_root)
        .bind(&raw.consent_note)
        .bind(raw.consented_at)
        .bind(raw.created_at)
        .bind(&raw.care)
        .bind(raw.mac(&vault).as_slice())
        .try_execute(&mut self.conn)
        .await
        .map_err(taken)?;
        self.set_handles(id, new.certificate.as_ref()).await?;
        self.client(ClientId(id)).await?.ok_or(StoreError::Missing { table: TABLE, row: id })
    }

    async fn fresh_code(&mut self) -> Result<ClientCode, StoreError> {
        for _ in 0..200 {
            let code = ClientCode::from_bits(rand::rng().next_u32());
            let done = sql::query("INSERT INTO used_code (code) VALUES ($1) ON CONFLICT (code) DO NOTHING")
                .bind(code.as_str())
                .execute(&mut self.conn)
                .await?;
            if done.rows_affected() == 1 {
                return Ok(code);
            }
        }
        Err(StoreError::CodesUsedUp)
    }

    async fn set_handles(&mut self, id: i64, certificate: Option<&Certificate>) -> Result<(), StoreError> {
        sql::query("DELETE FROM client_key WHERE client_id = $1").bind(id).execute(&mut self.conn).await?;
        self.forget_key_expiry(id, certificate.is_some()).await?;
        let Some(certificate) = certificate else { return Ok(()) };
        for text in certificate.handles.iter().chain([&certificate.fingerprint]) {
            let hash = self.vault().lookup(Lookup::KeyHandle, handle(text).as_bytes());
            sql::query(
                "INSERT INTO client_key (handle_hash, client_id) VALUES ($1, $2) \
                 ON CONFLICT (handle_hash, client_id) DO NOTHING",
            )
            .bind(hash.as_slice())
            .bind(id)
            .execute(&mut self.conn)
            .await?;
        }
        Ok(())
    }

    /// A client's record.
    ///
    /// # Errors
    /// [`StoreError::Tampered`] where its MAC doesn't hold; [`StoreError::Db`].
    pub async fn client(&mut self, id: ClientId) -> Result<Option<Client>, StoreError> {
        if let Some(client) = self.known_client(id) {
            return Ok(Some(client.clone()));
        }
        let row = sql::query("SELECT * FROM client WHERE id = $1").bind(id.0).fetch_optional(&mut self.conn).await?;
        row.map(|row| self.opened(&row)).transpose()
    }

    /// A client's row, opened once.
    fn opened(&mut self, row: &Row) -> Result<Client, StoreError> {
        if let Some(client) = self.known_client(ClientId(row.get("id")?)) {
            return Ok(client.clone());
        }
        let client = open(self.vault(), row)?;
        self.remember_client(&client);
        Ok(client)
    }

    /// The client of a code.
    ///
    /// # Errors
    /// As [`Tx::client`].
    pub async fn client_by_code(&mut self, code: &ClientCode) -> Result<Option<Client>, StoreError> {
        let row = sql::query("SELECT * FROM client WHERE code = $1").bind(code.as_str());
        let row = row.fetch_optional(&mut self.conn).await?;
        row.map(|row| open(self.vault(), &row)).transpose()
    }

    /// The client whose registered address this is.
    ///
    /// # Errors
    /// As [`Tx::client`].
    pub async fn client_by_address(&mut self, address: &Address) -> Result<Option<Client>, StoreError> {
        let hash = self.vault().address(address);
        let row = sql::query("SELECT * FROM client WHERE address_hash = $1").bind(hash.as_slice());
        let row = row.fetch_optional(&mut self.conn).await?;
        row.map(|row| self.opened(&row)).transpose()
    }

    /// The clients with a key of this fingerprint or key id (hexadecimal, any case, spaces allowed).
    ///
    /// # Errors
    /// As [`Tx::client`].
    pub async fn clients_by_handle(&mut self, key_handle: &str) -> Result<Vec<Client>, StoreError> {
        let hash = self.vault().lookup(Lookup::KeyHandle, handle(key_handle).as_bytes());
        let rows = sql::query(
            "SELECT client.* FROM client_key JOIN client ON client.id = client_key.client_id \
             WHERE client_key.handle_hash = $1 ORDER BY client.id",
        )
        .bind(hash.as_slice())
        .fetch_all(&mut self.conn)
        .await?;
        rows.iter().map(|row| self.opened(row)).collect()
    }

    /// All clients, by code. One tampered record fails the whole list: where the others must go on,
    /// use [`Tx::client_ids`] and [`Tx::client`].
    ///
    /// # Errors
    /// As [`Tx::client`].
    pub async fn clients(&mut self) -> Result<Vec<Client>, StoreError> {
        let rows = sql::query("SELECT * FROM client ORDER BY code").fetch_all(&mut self.conn).await?;
        rows.iter().map(|row| open(self.vault(), row)).collect()
    }

    /// The rows of all clients, by code; nothing is verified.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn client_ids(&mut self) -> Result<Vec<ClientId>, StoreError> {
        let ids = sql::scalar("SELECT id FROM client ORDER BY code").fetch_all(&mut self.conn).await?;
        Ok(ids.into_iter().map(ClientId).collect())
    }

    /// Changes a verified record and MACs it anew.
    async fn change_client(&mut self, id: ClientId, change: impl FnOnce(&mut Raw, &Vault)) -> Result<(), StoreError> {
        let vault = self.vault().clone();
        let row = sql::query("SELECT * FROM client WHERE id = $1").bind(id.0).fetch_optional(&mut self.conn).await?;
        let row = row.ok_or(StoreError::Missing { table: TABLE, row: id.0 })?;
        let mut raw = Raw::read(&row)?;
        if !vault::same(&raw.mac(&vault), row.get("mac")?) {
            return Err(tampered(&raw.code, raw.id));
        }
        change(&mut raw, &vault);
        self.client_changed(id);
        sql::query(
            "UPDATE client SET therapist = $2, state = $3, channel = $4, language = $5, address = $6, address_hash = $7, \
             name = $8, label = $9, certificate = $10, fingerprint = $11, fingerprint_hash = $12, weekdays = $13, \
             consent_note = $14, consented_at = $15, care = $16, mac = $17 WHERE id = $1",
        )
        .bind(id.0)
        .bind(&raw.therapist)
        .bind(&raw.state)
        .bind(&raw.channel)
        .bind(&raw.language)
        .bind(&raw.address)
        .bind(&raw.address_hash)
        .bind(&raw.name)
        .bind(&raw.label)
        .bind(&raw.certificate)
        .bind(&raw.fingerprint)
        .bind(&raw.fingerprint_hash)
        .bind(&raw.weekdays)
        .bind(&raw.consent_note)
        .bind(raw.consented_at)
        .bind(&raw.care)
        .bind(raw.mac(&vault).as_slice())
        .try_execute(&mut self.conn)
        .await
        .map_err(taken)?;
        Ok(())
    }

    /// Moves a client to another state.
    ///
    /// # Errors
    /// [`StoreError::Tampered`], [`StoreError::Missing`], [`StoreError::Db`].
    pub async fn set_client_state(&mut self, id: ClientId, state: ClientState) -> Result<(), StoreError> {
        self.change_client(id, |raw, _| state.as_str().clone_into(&mut raw.state)).await
    }

    /// Changes what was agreed or decided about a client.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`], [`StoreError::Tampered`], [`StoreError::Missing`], [`StoreError::Db`].
    pub async fn change_care(&mut self, id: ClientId, change: impl FnOnce(&mut Care)) -> Result<(), StoreError> {
        let mut care = self.client(id).await?.ok_or(StoreError::Missing { table: TABLE, row: id.0 })?.care;
        change(&mut care);
        self.change_client(id, |raw, _| raw.care = care_text(&care)).await
    }

    /// Gives a client to another therapist.
    ///
    /// # Errors
    /// [`StoreError::Tampered`], [`StoreError::Missing`], [`StoreError::Db`].
    pub async fn set_client_therapist(&mut self, id: ClientId, therapist: &TherapistId) -> Result<(), StoreError> {
        self.change_client(id, |raw, _| raw.therapist.clone_from(&therapist.0)).await
    }

    /// # Errors
    /// [`StoreError::Tampered`], [`StoreError::Missing`], [`StoreError::Db`].
    pub async fn set_language(&mut self, id: ClientId, language: Language) -> Result<(), StoreError> {
        self.change_client(id, |raw, _| raw.language = language.as_str().to_owned()).await
    }

    /// Changes how confidential letters travel.
    ///
    /// # Errors
    /// [`StoreError::Tampered`], [`StoreError::Missing`], [`StoreError::Db`].
    pub async fn set_channel(&mut self, id: ClientId, channel: Channel) -> Result<(), StoreError> {
        self.change_client(id, |raw, _| channel.as_str().clone_into(&mut raw.channel)).await
    }

    /// Remembers when the client last agreed to the frame.
    ///
    /// # Errors
    /// [`StoreError::Tampered`], [`StoreError::Missing`], [`StoreError::Db`].
    pub async fn set_consented_at(&mut self, id: ClientId, at: DateTime<Utc>) -> Result<(), StoreError> {
        self.change_client(id, |raw, _| raw.consented_at = Some(micros(at))).await
    }

    /// Pins a certificate, or unpins the one there is; its handles replace the old ones.
    ///
    /// # Errors
    /// [`StoreError::CertificateTaken`], [`StoreError::Tampered`], [`StoreError::Missing`], [`StoreError::Db`].
    pub async fn set_client_certificate(
        &mut self,
        id: ClientId,
        certificate: Option<&Certificate>,
    ) -> Result<(), StoreError> {
        self.change_client(id, |raw, vault| raw.pin(vault, certificate)).await?;
        self.set_handles(id.0, certificate).await
    }

    /// Changes the registered address.
    ///
    /// # Errors
    /// [`StoreError::AddressTaken`], [`StoreError::Tampered`], [`StoreError::Missing`], [`StoreError::Db`].
    pub async fn set_client_address(&mut self, id: ClientId, address: &Address) -> Result<(), StoreError> {
        self.change_client(id, |raw, vault| {
            raw.address = vault.seal(TABLE, id.0, "address", address.as_typed().as_bytes());
            raw.address_hash = vault.address(address).to_vec();
        })
        .await
    }

    /// Takes out of a record everything that names somebody; the address becomes one that nobody can have.
    pub(super) async fn blank_client(&mut self, id: ClientId) -> Result<(), StoreError> {
        self.change_client(id, |raw, vault| {
            // Bound to the row, so unique; no address that was typed has this domain.
            let blank = format!("erased-{}@erased.invalid", id.0);
            raw.address = vault.seal(TABLE, id.0, "address", blank.as_bytes());
            raw.address_hash = vault.lookup(Lookup::Address, blank.as_bytes()).to_vec();
            raw.name = None;
            raw.label = None;
            raw.consent_note = None;
            raw.pin(vault, None);
        })
        .await?;
        self.set_handles(id.0, None).await
    }

    /// Sets the therapist's label of a client; `None` or an empty one takes it away.
    ///
    /// # Errors
    /// [`StoreError::Tampered`], [`StoreError::Missing`], [`StoreError::Db`].
    pub async fn set_label(&mut self, id: ClientId, label: Option<&str>) -> Result<(), StoreError> {
        self.change_client(id, |raw, vault| {
            raw.label = label.filter(|l| !l.is_empty()).map(|l| vault.seal(TABLE, id.0, "label", l.as_bytes()));
        })
        .await
    }

    /// Narrows a client's slots to some days of the week; `None`: all of the practice's.
    ///
    /// # Errors
    /// [`StoreError::Tampered`], [`StoreError::Missing`], [`StoreError::Db`].
    pub async fn set_weekdays(&mut self, id: ClientId, days: Option<&[Weekday]>) -> Result<(), StoreError> {
        let days = days.map(|d| d.iter().map(ToString::to_string).collect::<Vec<_>>().join(","));
        self.change_client(id, |raw, _| raw.weekdays = days).await
    }

    /// Remembers when the client was last told how to sign.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn set_about_keys_at(&mut self, id: ClientId, at: Option<DateTime<Utc>>) -> Result<(), StoreError> {
        self.client_changed(id);
        let query = sql::query("UPDATE client SET about_keys_at = $2 WHERE id = $1").bind(id.0).bind(micros_opt(at));
        query.execute(&mut self.conn).await?;
        Ok(())
    }

    /// Remembers when a notice about another key was last given.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn set_key_notice_at(&mut self, id: ClientId, at: Option<DateTime<Utc>>) -> Result<(), StoreError> {
        self.client_changed(id);
        let query = sql::query("UPDATE client SET key_notice_at = $2 WHERE id = $1").bind(id.0).bind(micros_opt(at));
        query.execute(&mut self.conn).await?;
        Ok(())
    }
}
