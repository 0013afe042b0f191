//! Encryption of a whole PDF (ISO 32000-2 section 7.6, AES-256, revision 6), written so that little of its
//! structure shows.
//!
//! lopdf derives the keys and encrypts objects, but writes an encrypted document with every object in the open:
//! anybody could count paragraphs and measure names. So the file is written here: what isn't a stream goes into
//! encrypted object streams (section 7.5.7), streams and the whole file are padded. What still shows is roughly the
//! number of pages, and the length in steps of an eighth to a quarter.

use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::DeflateEncoder;
use lopdf::encryption::crypt_filters::Aes256CryptFilter;
use lopdf::encryption::encrypt_object;
use lopdf::{
    Dictionary, Document, EncryptionState, EncryptionVersion, LoadOptions, Object, ObjectId, Permissions, Stream,
    Writer,
};
use rand::Rng;
use zeroize::Zeroizing;

use super::PdfError;
use crate::secret::Password;

/// Most bytes that one stream of a document may unpack to while it is read.
const UNPACK_LIMIT: usize = 100 * 1024 * 1024;
/// Objects of one object stream; the last one is filled up to a multiple of `OBJECT_STEP` with nothing.
const MAX_OBJECTS: usize = 1024;
const OBJECT_STEP: usize = 64;
/// No stream looks shorter than this.
const STREAM_FLOOR: usize = 2048;
/// No sealed letter looks shorter than this.
const FILE_FLOOR: usize = 32 * 1024;
/// AES's block, and the length of what precedes the ciphertext.
const BLOCK: usize = 16;

/// The PDF, encrypted to the passphrase, without Info dictionary and XMP. `unreadable` is the error if it can't be
/// read.
pub(super) fn seal(bytes: &[u8], passphrase: &Password, unreadable: PdfError) -> Result<Vec<u8>, PdfError> {
    let mut document = Document::load_mem_with_options(bytes, options()).map_err(|_| unreadable)?;
    if document.is_encrypted() || document.trailer.has(b"Encrypt") || document.get_pages().is_empty() {
        return Err(unreadable);
    }
    document.trailer.remove(b"Info");
    if let Ok(catalog) = document.catalog_mut() {
        catalog.remove(b"Metadata");
        // A lower version would be believed before the header's.
        catalog.remove(b"Version");
    }
    forget_unused_namespaces(&mut document);
    document.prune_objects();
    document.renumber_objects();
    let mut key = Zeroizing::new([0; 32]);
    rand::rng().fill_bytes(key.as_mut_slice());
    let state = state(key.as_slice(), passphrase)?;
    File::write(document, &state).ok_or(PdfError::Failed)
}

/// Takes out namespaces of the structure tree that no element is in (ISO 32000-2 section 14.7.4): krilla writes one of
/// its own into every document, which names it.
fn forget_unused_namespaces(document: &mut Document) {
    let reference = |dict: &Dictionary, key: &[u8]| dict.get(key).and_then(Object::as_reference).ok();
    let used: HashSet<ObjectId> =
        document.objects.values().filter_map(|object| reference(object.as_dict().ok()?, b"NS")).collect();
    let Some(tree) = document.catalog().ok().and_then(|catalog| reference(catalog, b"StructTreeRoot")) else { return };
    let names =
        document.get_object_mut(tree).and_then(Object::as_dict_mut).and_then(|dict| dict.get_mut(b"Namespaces"));
    if let Ok(names) = names.and_then(Object::as_array_mut) {
        names.retain(|name| name.as_reference().map_or(true, |id| used.contains(&id)));
    }
}

fn options() -> LoadOptions {
    LoadOptions { max_decompressed_size: Some(UNPACK_LIMIT), ..LoadOptions::default() }
}

/// The keys of a new file. Whoever has the passphrase owns it: there is no second password to be lost.
fn state(key: &[u8], passphrase: &Password) -> Result<EncryptionState, PdfError> {
    EncryptionState::try_from(EncryptionVersion::V5 {
        encrypt_metadata: true,
        crypt_filters: BTreeMap::from([(b"StdCF".to_vec(), Arc::new(Aes256CryptFilter) as _)]),
        file_encryption_key: key,
        stream_filter: b"StdCF".to_vec(),
        string_filter: b"StdCF".to_vec(),
        owner_password: passphrase.reveal(),
        user_password: passphrase.reveal(),
        permissions: Permissions::all(),
    })
    .map_err(|_| PdfError::Failed)
}

/// Whether the passphrase opens these bytes, and they are encrypted as `seal` does.
pub(super) fn opens(bytes: &[u8], passphrase: &Password) -> bool {
    sealed(bytes).is_some_and(|document| document.authenticate_user_password(passphrase.reveal()).is_ok())
}

/// Whether the bytes are encrypted as `seal` does.
pub(super) fn is_sealed(bytes: &[u8]) -> bool {
    sealed(bytes).is_some()
}

/// The document, unopened, where it is encrypted as `seal` does.
fn sealed(bytes: &[u8]) -> Option<Document> {
    // Encrypted object streams are not unpacked without the password, so little is read here.
    let document = Document::load_mem_with_options(bytes, options()).ok()?;
    let number = |dict: &Dictionary, key: &[u8]| dict.get(key).and_then(Object::as_i64).ok();
    let encrypted = document.get_encrypted().ok()?;
    let is = number(encrypted, b"V") == Some(5) && number(encrypted, b"R") == Some(6);
    is.then_some(document)
}

/// Where an object stands (section 7.5.8.3).
#[derive(Clone, Copy)]
enum Place {
    Free,
    At(usize),
    In { stream: u32, index: usize },
}

/// A file that is being written.
struct File<'a> {
    state: &'a EncryptionState,
    out: Vec<u8>,
    /// By object number.
    places: Vec<Place>,
}

impl<'a> File<'a> {
    fn write(document: Document, state: &'a EncryptionState) -> Option<Vec<u8>> {
        let root = document.trailer.get(b"Root").ok()?.as_reference().ok()?;
        let mut file = File { state, out: b"%PDF-2.0\n%\xe2\xe3\xcf\xd3\n".to_vec(), places: vec![Place::Free] };
        let mut packed = Vec::new();
        file.places.resize(usize::try_from(document.max_id).ok()? + 1, Place::Free);
        for (id, object) in document.objects {
            let regenerated = matches!(object.type_name(), Ok(b"ObjStm" | b"XRef" | b"Linearized"));
            match object {
                _ if regenerated => {}
                Object::Stream(stream) => file.stream(id.0, padded(stream))?,
                // The catalogue of an encrypted file stands outside of object streams.
                object if id == root => file.sealed(id.0, object)?,
                object => packed.push((id.0, object)),
            }
        }
        // What the unused places of the last object stream are called.
        let fillers = packed.len().next_multiple_of(OBJECT_STEP) - packed.len();
        for _ in 0..fillers {
            packed.push((file.next_id()?, Object::Null));
        }
        for chunk in packed.chunks(MAX_OBJECTS) {
            file.object_stream(chunk)?;
        }
        let encrypt = file.next_id()?;
        file.plain(encrypt, &Object::Dictionary(state.encode().ok()?))?;
        file.finish(root, encrypt)
    }

    fn next_id(&mut self) -> Option<u32> {
        self.places.push(Place::Free);
        u32::try_from(self.places.len() - 1).ok()
    }

    /// Writes an object as it is.
    fn plain(&mut self, id: u32, object: &Object) -> Option<()> {
        *self.places.get_mut(usize::try_from(id).ok()?)? = Place::At(self.out.len());
        writeln!(self.out, "{id} 0 obj").ok()?;
        Writer::write_object(&mut self.out, object).ok()?;
        self.out.extend_from_slice(b"\nendobj\n");
        Some(())
    }

    fn sealed(&mut self, id: u32, mut object: Object) -> Option<()> {
        encrypt_object(self.state, (id, 0), &mut object).ok()?;
        self.plain(id, &object)
    }

    fn stream(&mut self, id: u32, mut stream: Stream) -> Option<()> {
        // The length may be a reference to a number that is written elsewhere.
        stream.dict.remove(b"Length");
        let content = std::mem::take(&mut stream.content);
        stream.set_content(content);
        self.sealed(id, Object::Stream(stream))
    }

    fn object_stream(&mut self, objects: &[(u32, Object)]) -> Option<()> {
        let stream = self.next_id()?;
        let (mut index, mut content) = (String::new(), Vec::new());
        for (n, (id, object)) in objects.iter().enumerate() {
            index.push_str(&format!("{id} {} ", content.len()));
            Writer::write_object(&mut content, object).ok()?;
            content.push(b'\n');
            *self.places.get_mut(usize::try_from(*id).ok()?)? = Place::In { stream, index: n };
        }
        let dict = Dictionary::from_iter([
            ("Type", Object::Name(b"ObjStm".to_vec())),
            ("N", Object::Integer(i64::try_from(objects.len()).ok()?)),
            ("First", Object::Integer(i64::try_from(index.len()).ok()?)),
        ]);
        self.stream(stream, padded(Stream::new(dict, [index.as_bytes(), &content].concat())))
    }

    /// Pads the file and writes its cross-reference stream (section 7.5.8), which is never encrypted.
    fn finish(mut self, root: ObjectId, encrypt: u32) -> Option<Vec<u8>> {
        let (filler, table) = (self.next_id()?, self.next_id()?);
        let mut id = [0; 16];
        rand::rng().fill_bytes(&mut id);
        let start = self.out.len();
        let body = std::mem::take(&mut self.out);
        // The numbers in the file get longer with the padding, so it is found by trying.
        let (mut length, mut rest) = (BLOCK * 2, 0);
        for _ in 0..8 {
            self.out.clear();
            self.filler(filler, start, length, rest)?;
            self.table(table, start, root, encrypt, &id)?;
            let (size, spare) = (start + self.out.len(), length + rest);
            let target = step(size.saturating_sub(spare) + BLOCK * 3, FILE_FLOOR);
            if size == target {
                return Some([body, self.out].concat());
            }
            let spare = (spare + target).checked_sub(size)?;
            length = (spare / BLOCK) * BLOCK;
            rest = spare % BLOCK;
        }
        None
    }

    /// An object that nothing refers to, as random as what is encrypted, and some spaces.
    fn filler(&mut self, id: u32, start: usize, length: usize, rest: usize) -> Option<()> {
        let mut noise = vec![0; length];
        rand::rng().fill_bytes(&mut noise);
        let object = Object::Stream(Stream::new(Dictionary::new(), noise));
        self.plain(id, &object)?;
        *self.places.get_mut(usize::try_from(id).ok()?)? = Place::At(start);
        self.out.extend(std::iter::repeat_n(b' ', rest));
        Some(())
    }

    fn table(&mut self, id: u32, start: usize, root: ObjectId, encrypt: u32, file_id: &[u8]) -> Option<()> {
        let at = start + self.out.len();
        *self.places.last_mut()? = Place::At(at);
        let mut rows = Vec::with_capacity(self.places.len() * 7);
        for place in &self.places {
            let (kind, second, third) = match *place {
                Place::Free => (0, 0, 0xffff),
                Place::At(offset) => (1, offset, 0),
                Place::In { stream, index } => (2, usize::try_from(stream).ok()?, index),
            };
            rows.push(kind);
            rows.extend_from_slice(&u32::try_from(second).ok()?.to_be_bytes());
            rows.extend_from_slice(&u16::try_from(third).ok()?.to_be_bytes());
        }
        let file_id = || Object::String(file_id.to_vec(), lopdf::StringFormat::Hexadecimal);
        let dict = Dictionary::from_iter([
            ("Type", Object::Name(b"XRef".to_vec())),
            ("Size", Object::Integer(i64::try_from(self.places.len()).ok()?)),
            ("W", Object::Array(vec![Object::Integer(1), Object::Integer(4), Object::Integer(2)])),
            ("Root", Object::Reference(root)),
            ("Encrypt", Object::Reference((encrypt, 0))),
            ("ID", Object::Array(vec![file_id(), file_id()])),
        ]);
        writeln!(self.out, "{id} 0 obj").ok()?;
        Writer::write_object(&mut self.out, &Object::Stream(Stream::new(dict, rows))).ok()?;
        write!(self.out, "\nendobj\nstartxref\n{at}\n%%EOF\n").ok()
    }
}

/// The next size that a stream or file may have: quarters of a power of two below 64 KiB, eighths above.
fn step(size: usize, floor: usize) -> usize {
    let size = size.max(floor);
    let parts = if size < 64 * 1024 { 2 } else { 3 };
    size.next_multiple_of(1 << size.ilog2().saturating_sub(parts))
}

/// A stream without a filter compressed, and filled up with empty blocks (RFC 1951 section 3.2.4) so that its
/// ciphertext has a length of [`step`]. Another is left as it is.
fn padded(mut stream: Stream) -> Stream {
    if stream.dict.has(b"Filter") || stream.dict.has(b"F") {
        return stream;
    }
    // Writing to memory doesn't fail; if it did, the stream stays as it is.
    let Ok(deflated) = deflated(&stream.content) else { return stream };
    stream.dict.set("Filter", Object::Name(b"FlateDecode".to_vec()));
    stream.content = deflated;
    stream
}

/// As zlib data (RFC 1950).
fn deflated(content: &[u8]) -> std::io::Result<Vec<u8>> {
    const EMPTY: [u8; 5] = [0x00, 0x00, 0x00, 0xff, 0xff];
    const FINAL: [u8; 5] = [0x01, 0x00, 0x00, 0xff, 0xff];
    let mut encoder = DeflateEncoder::new(vec![0x78, 0x9c], Compression::default());
    encoder.write_all(content)?;
    // Ends with an empty block at the bound of a byte, and the stream goes on.
    encoder.flush()?;
    let mut out = encoder.get_ref().clone();
    // The encoder's own last block is not used.
    drop(encoder);
    let target = step(out.len() + FINAL.len() + 4 + 2 * BLOCK, STREAM_FLOOR);
    // The ciphertext is one block longer than the content, filled up to whole blocks with at least one byte.
    let room = target - BLOCK - 1;
    while out.len() + EMPTY.len() + FINAL.len() + 4 <= room {
        out.extend_from_slice(&EMPTY);
    }
    out.extend_from_slice(&FINAL);
    out.extend_from_slice(&adler32(content).to_be_bytes());
    Ok(out)
}

/// RFC 1950 section 8.2.
fn adler32(content: &[u8]) -> u32 {
    const MODULUS: u32 = 65_521;
    let (mut a, mut b) = (1, 0);
    // The sums of so many bytes don't overflow.
    for chunk in content.chunks(5_552) {
        for byte in chunk {
            a += u32::from(*byte);
            b += a;
        }
        (a, b) = (a % MODULUS, b % MODULUS);
    }
    (b << 16) | a
}
