//! Bytes to parts, parts to bytes; limits; sanitizing.
//!
//! One splitter (`tree`) decides the structure of a mail for every purpose: limits, the cryptographic
//! envelope, the content. `mail-parser` decodes what the splitter found (encoded words, charsets, transfer
//! encodings, dates), so no two readings of one mail can disagree about what was signed.

mod attached;
mod authres;
mod autocrypt;
pub mod clean;
pub mod compose;
pub mod content;
mod encode;
pub mod envelope;
mod from;
pub mod html;
pub mod limits;
pub mod notice;
mod notice_words;
pub mod parse;
pub mod protected;
mod quote;
pub mod reply;
mod sniff;
mod tree;

pub use attached::attached_text;
pub use authres::{AuthResults, dmarc_failed};
pub use autocrypt::autocrypt;
pub use clean::{CannotClean, strip_metadata};
pub use compose::{
    CALENDAR, OutPart, Outgoing, encrypted, is_multipart_encrypted, new_message_id, outer_headers_allowed, payload,
    signed,
};
pub use content::{Attachment, AttachmentClass, Content, content};
pub use envelope::{Envelope, envelope, inline_entity};
pub use limits::{Limits, MimeError};
pub use notice::{Notice, notice};
pub use parse::{FromField, Mail};
pub use protected::protected;
pub use reply::{
    ReplyText, Said, TOKEN_LABELS, banner, contains_address, is_placeholder, new_text, reply_text, said, strip_codes,
    strip_prefixes,
};
pub use tree::undoubled;

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod reply_tests;
#[cfg(test)]
mod tests;
