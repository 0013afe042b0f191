//! What is bounded before memory is taken (SPEC section 9, THREATS 8).

/// Upper bounds of one mail. All are checked by a scan that allocates nothing per byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the whole mail.
    pub message: usize,
    /// Bytes of one header block.
    pub header_bytes: usize,
    /// Fields of one header block.
    pub headers: usize,
    /// Parts of the whole mail, containers included.
    pub parts: usize,
    /// Containers inside each other.
    pub depth: usize,
    /// Bytes of everything that is unpacked from one mail (transfer encodings, archives).
    pub decompressed: usize,
}

impl Limits {
    /// The defaults with another size for the whole mail, in bytes.
    pub fn for_message(message: u64) -> Self {
        let message = usize::try_from(message).unwrap_or(usize::MAX);
        let decompressed = message.saturating_mul(2);
        Self { message, decompressed, ..Self::default() }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message: 25 * 1024 * 1024,
            header_bytes: 256 * 1024,
            headers: 1_000,
            parts: 500,
            depth: 20,
            decompressed: 50 * 1024 * 1024,
        }
    }
}

/// Why a mail can't be read. Never carries anything of the mail but sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MimeError {
    #[error("the mail has {bytes} bytes, more than the limit of {limit}; send it in several mails")]
    TooLarge { bytes: usize, limit: usize },
    #[error("a header block of the mail is longer than the limit of {limit} bytes")]
    HeaderTooLarge { limit: usize },
    #[error("a header block of the mail has more than the limit of {limit} fields")]
    TooManyHeaders { limit: usize },
    #[error("the mail has more than the limit of {limit} parts")]
    TooManyParts { limit: usize },
    #[error("the mail has parts nested deeper than the limit of {limit}")]
    TooDeep { limit: usize },
    #[error("the mail unpacks to more than the limit of {limit} bytes")]
    UnpacksTooLarge { limit: usize },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mime::tree::Entity;

    fn nested(levels: usize) -> Vec<u8> {
        let mut mail = Vec::new();
        for level in 0..levels {
            mail.extend_from_slice(
                format!("Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n").as_bytes(),
            );
        }
        mail.extend_from_slice(b"\r\nhello\r\n");
        mail
    }

    #[test]
    fn a_thousand_nested_multiparts_are_refused() {
        let limits = Limits::default();
        assert_eq!(Entity::read(&nested(1000), &limits).err(), Some(MimeError::TooDeep { limit: limits.depth }));
        assert!(Entity::read(&nested(limits.depth), &limits).is_ok());
    }

    #[test]
    fn ten_thousand_parts_are_refused() {
        let mut mail = b"Content-Type: multipart/mixed; boundary=b\n\n".to_vec();
        mail.extend_from_slice(&b"--b\n\nx\n".repeat(10_000));
        let limits = Limits::default();
        assert_eq!(Entity::read(&mail, &limits).err(), Some(MimeError::TooManyParts { limit: limits.parts }));
    }

    #[test]
    fn a_huge_header_is_refused_however_it_is_cut() {
        let limits = Limits::default();
        let one = [b"X-A: ".as_slice(), &b"a".repeat(limits.header_bytes), b"\r\n\r\nx"].concat();
        assert_eq!(Entity::read(&one, &limits).err(), Some(MimeError::HeaderTooLarge { limit: limits.header_bytes }));
        let many = [b"X-A: a\r\n".repeat(limits.headers + 1).as_slice(), b"\r\nx"].concat();
        assert_eq!(Entity::read(&many, &limits).err(), Some(MimeError::TooManyHeaders { limit: limits.headers }));
    }

    #[test]
    fn a_mail_over_the_limit_is_refused_and_one_at_it_is_not() {
        let limits = Limits { message: 100, ..Limits::default() };
        assert!(Entity::read(&[b'a'; 100], &limits).is_ok());
        assert_eq!(Entity::read(&[b'a'; 101], &limits).err(), Some(MimeError::TooLarge { bytes: 101, limit: 100 }));
    }
}
