//! The packed form of a call record, as it is kept in the topic `cdr.voice.v1` and by the ledger: the record's JSON,
//! compressed with a dictionary that knows the usual record.
//!
//! | bytes | |
//! |---|---|
//! | 0 | form: 1. `{` (0x7B) is no form but the JSON itself, as versions before wrote it |
//! | 1 | number of the dictionary |
//! | 2–5 | length of the JSON, little-endian |
//! | 6– | one Zstandard frame (RFC 8878) |
//!
//! A dictionary never changes: a better one gets the next number, and the old ones stay readable. A form or a dictionary
//! that this program does not know is refused in words, never guessed at.

use std::borrow::Cow;
use std::fmt;
use std::sync::OnceLock;

use zstd::bulk::{Compressor, Decompressor};
use zstd::dict::{DecoderDictionary, EncoderDictionary};

use crate::segment::PAYLOAD_BYTES;

/// Level of compression: beyond it a record takes twice the time for two percent.
const LEVEL: i32 = 3;
const FORM: u8 = 1;
const PLAIN: u8 = b'{';
const HEAD_BYTES: usize = 6;
/// Newest last; the last one is written.
const DICTIONARIES: &[&[u8]] = &[include_bytes!("dictionaries/cdr-1.txt")];

/// Packs records. One per thread: it keeps its working memory.
pub struct Packer {
    compressor: Option<Compressor<'static>>,
}

impl Default for Packer {
    fn default() -> Self {
        static NEWEST: OnceLock<EncoderDictionary<'static>> = OnceLock::new();
        let newest = NEWEST
            .get_or_init(|| EncoderDictionary::copy(DICTIONARIES.last().copied().unwrap_or_default(), LEVEL));
        let made = Compressor::with_prepared_dictionary(newest).and_then(|mut compressor| {
            compressor.include_checksum(true)?;
            Ok(compressor)
        });
        Self { compressor: made.ok() }
    }
}

impl Packer {
    /// The packed form of a record's JSON. Where it cannot be packed, the JSON itself, which every reader takes.
    pub fn pack(&mut self, json: &[u8]) -> Vec<u8> {
        let packed = self.compressor.as_mut().and_then(|c| c.compress(json).ok());
        match (packed, u32::try_from(json.len())) {
            (Some(frame), Ok(len)) if frame.len() + HEAD_BYTES < json.len() => {
                let mut out = Vec::with_capacity(HEAD_BYTES + frame.len());
                out.push(FORM);
                out.push(u8::try_from(DICTIONARIES.len()).unwrap_or(u8::MAX));
                out.extend_from_slice(&len.to_le_bytes());
                out.extend_from_slice(&frame);
                out
            }
            _ => json.to_vec(),
        }
    }
}

/// Opens packed records. One per thread: it keeps its working memory.
#[derive(Default)]
pub struct Unpacker {
    /// By the dictionary's number less one, made when first needed.
    decompressors: Vec<Option<Decompressor<'static>>>,
}

/// Why bytes are no record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnpackError {
    /// Nothing, or cut within the head.
    Short,
    /// A form of a newer version.
    Form(u8),
    /// A dictionary of a newer version.
    Dictionary(u8),
    /// Says that it is longer than any record.
    TooLarge(u32),
    /// The compressed bytes are damaged.
    Damaged(String),
}

impl fmt::Display for UnpackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => f.write_str("a packed record is cut short"),
            Self::Form(form) => write!(f, "a record is packed in form {form}, which a newer version wrote"),
            Self::Dictionary(n) => {
                write!(f, "a record is packed with dictionary {n}, which a newer version has")
            }
            Self::TooLarge(len) => write!(f, "a packed record claims {len} bytes"),
            Self::Damaged(why) => write!(f, "a packed record is damaged: {why}"),
        }
    }
}

impl std::error::Error for UnpackError {}

impl Unpacker {
    /// The JSON of a record, packed or as it is. Errors: see [`UnpackError`].
    pub fn unpack<'a>(&mut self, bytes: &'a [u8]) -> Result<Cow<'a, [u8]>, UnpackError> {
        if bytes.first() == Some(&PLAIN) {
            return Ok(Cow::Borrowed(bytes));
        }
        let (head, frame) = bytes.split_first_chunk::<HEAD_BYTES>().ok_or(UnpackError::Short)?;
        let [form, number, len @ ..] = *head;
        if form != FORM {
            return Err(UnpackError::Form(form));
        }
        let len = u32::from_le_bytes(len);
        let size = usize::try_from(len).ok().filter(|n| *n <= PAYLOAD_BYTES);
        let size = size.ok_or(UnpackError::TooLarge(len))?;
        let at = usize::from(number).checked_sub(1).filter(|at| *at < DICTIONARIES.len());
        let at = at.ok_or(UnpackError::Dictionary(number))?;
        let damaged = |e: std::io::Error| UnpackError::Damaged(e.to_string());
        if self.decompressors.len() <= at {
            self.decompressors.resize_with(at + 1, || None);
        }
        let slot = self.decompressors.get_mut(at).ok_or(UnpackError::Dictionary(number))?;
        let decompressor = match slot {
            Some(made) => made,
            None => {
                static ALL: OnceLock<Vec<DecoderDictionary<'static>>> = OnceLock::new();
                let all =
                    ALL.get_or_init(|| DICTIONARIES.iter().map(|d| DecoderDictionary::copy(d)).collect());
                let dictionary = all.get(at).ok_or(UnpackError::Dictionary(number))?;
                slot.insert(Decompressor::with_prepared_dictionary(dictionary).map_err(damaged)?)
            }
        };
        let json = decompressor.decompress(frame, size).map_err(damaged)?;
        if json.len() != size {
            return Err(UnpackError::Damaged(format!("{} bytes of {size}", json.len())));
        }
        Ok(Cow::Owned(json))
    }
}

/// [`Unpacker::unpack`] of a single record.
pub fn unpack(bytes: &[u8]) -> Result<Cow<'_, [u8]>, UnpackError> {
    Unpacker::default().unpack(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Packed by the first version with dictionary 1: what is stored must stay readable.
    const STORED: &str =
        "01015f00000028b52ffd245fe5000070316a643766316140626e756c6c7d0400c3789001f7058902e37c829e88e378";

    fn unhex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
    }

    const JSON: &str =
        r#"{"cdr_id":"call_01jd7f00000000000000000001","version":1,"sip_call_id":"a@b","customer_id":null}"#;

    #[test]
    fn what_an_earlier_version_stored_is_readable() {
        assert_eq!(
            unpack(JSON.as_bytes()).unwrap(),
            JSON.as_bytes(),
            "plain JSON, as before the packed form"
        );
        let packed = Packer::default().pack(JSON.as_bytes());
        assert_eq!(unpack(&packed).unwrap(), JSON.as_bytes());
        let hex: String = packed.iter().map(|b| format!("{b:02x}")).collect();
        let stored = unhex(STORED);
        assert_eq!(unpack(&stored).as_deref(), Ok(JSON.as_bytes()), "now: {hex}");
    }

    #[test]
    fn another_form_dictionary_or_length_is_refused_in_words() {
        let packed = Packer::default().pack(JSON.as_bytes());
        let with = |at: usize, value: u8| {
            let mut bent = packed.clone();
            bent[at] = value;
            unpack(&bent).unwrap_err()
        };
        assert_eq!(with(0, 2), UnpackError::Form(2));
        assert_eq!(with(1, 0), UnpackError::Dictionary(0));
        assert_eq!(with(1, 2), UnpackError::Dictionary(2));
        assert!(matches!(with(5, 1), UnpackError::TooLarge(_)));
        assert!(matches!(with(2, packed[2] + 1), UnpackError::Damaged(_)));
        assert!(matches!(with(2, packed[2] - 1), UnpackError::Damaged(_)));
        assert_eq!(unpack(b""), Err(UnpackError::Short));
        assert_eq!(unpack(&packed[..5]), Err(UnpackError::Short));
        assert!(UnpackError::Form(2).to_string().contains("newer version"));
    }

    proptest! {
        #[test]
        fn anything_that_is_packed_comes_back(json in prop::collection::vec(any::<u8>(), 0..3_000)) {
            // A record begins with a brace; so does what is not packed.
            let mut record = b"{".to_vec();
            record.extend_from_slice(&json);
            let packed = Packer::default().pack(&record);
            prop_assert_eq!(unpack(&packed).unwrap(), record);
        }

        #[test]
        fn f_disk_03_mutated_bytes_are_refused_or_read_and_never_panic(at in any::<prop::sample::Index>(), flip in 1u8..) {
            let mut packed = Packer::default().pack(JSON.as_bytes());
            let at = at.index(packed.len());
            packed[at] ^= flip;
            let _ = unpack(&packed);
        }
    }
}
