//! `a=crypto` lines (SDES, RFC 4568): which suites we speak, and what one line offers.

use std::fmt::Write;

/// A crypto suite that we speak; all others are passed over (T-RTP-12). In the order in which we offer them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Suite {
    /// The suite `AEAD_AES_256_GCM` of RFC 7714.
    Gcm256,
    /// The suite `AEAD_AES_128_GCM` of RFC 7714.
    Gcm128,
    /// The suite `AES_256_CM_HMAC_SHA1_80` of RFC 6188.
    Cm256Long,
    /// The suite `AES_256_CM_HMAC_SHA1_32` of RFC 6188.
    Cm256Short,
    /// The suite `AES_CM_128_HMAC_SHA1_80` of RFC 4568.
    Cm128Long,
    /// The suite `AES_CM_128_HMAC_SHA1_32` of RFC 4568.
    Cm128Short,
}

impl Suite {
    /// All of them, in the order in which we offer them.
    pub const ALL: [Suite; 6] =
        [Self::Gcm256, Self::Gcm128, Self::Cm256Long, Self::Cm256Short, Self::Cm128Long, Self::Cm128Short];

    /// Its name in SDP.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gcm256 => "AEAD_AES_256_GCM",
            Self::Gcm128 => "AEAD_AES_128_GCM",
            Self::Cm256Long => "AES_256_CM_HMAC_SHA1_80",
            Self::Cm256Short => "AES_256_CM_HMAC_SHA1_32",
            Self::Cm128Long => "AES_CM_128_HMAC_SHA1_80",
            Self::Cm128Short => "AES_CM_128_HMAC_SHA1_32",
        }
    }

    /// By its name in SDP.
    pub fn from_bytes(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.as_str().as_bytes() == name)
    }

    /// Bytes of the master key, and of the session key.
    pub fn key_len(self) -> usize {
        match self {
            Self::Gcm256 | Self::Cm256Long | Self::Cm256Short => 32,
            Self::Gcm128 | Self::Cm128Long | Self::Cm128Short => 16,
        }
    }

    /// Bytes of the master salt.
    pub fn salt_len(self) -> usize {
        if self.is_gcm() { 12 } else { 14 }
    }

    /// Bytes of master key and salt together.
    pub fn master_len(self) -> usize {
        self.key_len().saturating_add(self.salt_len())
    }

    /// Bytes of an SRTP packet's tag.
    pub fn tag_len(self) -> usize {
        match self {
            Self::Gcm256 | Self::Gcm128 => 16,
            Self::Cm256Long | Self::Cm128Long => 10,
            Self::Cm256Short | Self::Cm128Short => 4,
        }
    }

    /// Authenticated encryption (RFC 7714).
    pub fn is_gcm(self) -> bool {
        matches!(self, Self::Gcm256 | Self::Gcm128)
    }
}

/// One `a=crypto` line that we can use: suite, tag and one master key.
#[derive(Clone, PartialEq, Eq)]
pub struct CryptoLine {
    /// Number of the line, unique in its section.
    pub tag: u32,
    /// The suite of the key.
    pub suite: Suite,
    /// Master key and salt.
    master: Vec<u8>,
    /// Master key identifier that the author's packets carry; empty = none.
    mki: Vec<u8>,
}

/// Never shows a key.
impl std::fmt::Debug for CryptoLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CryptoLine({} {})", self.tag, self.suite.as_str())
    }
}

/// The longest master key identifier that is taken; RFC 4568 §6.1 would allow 128 bytes, phones use 1 to 4.
const MKI_BYTES: usize = 16;

impl CryptoLine {
    /// A line of ours. `None`: the key is not as long as the suite wants.
    pub fn new(tag: u32, suite: Suite, master: Vec<u8>) -> Option<Self> {
        (master.len() == suite.master_len()).then_some(Self { tag, suite, master, mki: Vec::new() })
    }

    /// Reads what follows `a=crypto:`. `None`: not a line that we can use (RFC 4568 §5.1.1 lets us pass it over): another
    /// suite, several keys, a session parameter that weakens the suite or that we do not know.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let mut words = text.split([' ', '\t']).filter(|w| !w.is_empty());
        let tag = words.next()?;
        let tag =
            Some(tag).filter(|t| t.len() <= 9 && t.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()?;
        let suite = Suite::from_bytes(words.next()?.as_bytes())?;
        let key = words.next()?;
        let scheme = key.get(..7).filter(|s| s.eq_ignore_ascii_case("inline:"));
        let mut parts = scheme.and_then(|_| key.get(7..)).filter(|k| !k.contains(';'))?.split('|');
        let master = decode(parts.next()?)?;
        if master.len() != suite.master_len() {
            return None;
        }
        let mut mki = Vec::new();
        for part in parts {
            // A lifetime (`2^20` or a number) says when the author will change the key; a colon makes it an identifier.
            if let Some((value, length)) = part.split_once(':') {
                let length: usize = length.parse().ok().filter(|n| (1..=MKI_BYTES).contains(n))?;
                let value: u128 = value.parse().ok()?;
                let bytes = value.to_be_bytes();
                let (high, low) = bytes.split_at_checked(bytes.len().checked_sub(length)?)?;
                if high.iter().any(|b| *b != 0) {
                    return None;
                }
                mki = low.to_vec();
            }
        }
        words.all(is_harmless).then_some(Self { tag, suite, master, mki })
    }

    /// Master key and salt.
    pub fn master(&self) -> &[u8] {
        &self.master
    }

    /// The master key identifier that the author's packets carry; empty = none.
    pub fn mki(&self) -> &[u8] {
        &self.mki
    }

    /// The whole line, without its end; with the padding of base 64 when `pad` is set.
    pub fn line(&self, pad: bool) -> String {
        let mut out = format!("a=crypto:{} {} inline:", self.tag, self.suite.as_str());
        encode(&self.master, pad, &mut out);
        out
    }
}

/// A session parameter (RFC 4568 §6.3) that changes nothing about the packets: a window hint, or one marked as optional.
fn is_harmless(parameter: &str) -> bool {
    parameter.starts_with('-') || parameter.starts_with("WSH=") || parameter == "KDR=0"
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base 64 (RFC 4648 §4), with or without padding; nothing else in it. At most a key's length.
fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').as_bytes();
    if text.len() > 64 {
        return None;
    }
    let (mut out, mut bits, mut count) = (Vec::with_capacity(48), 0u32, 0u32);
    for byte in text {
        let value = u32::try_from(BASE64.iter().position(|b| b == byte)?).ok()?;
        bits = (bits << 6 | value) & 0xFFFF;
        count = count.saturating_add(6);
        if let Some(rest) = count.checked_sub(8) {
            count = rest;
            out.push((bits >> rest) as u8);
        }
    }
    Some(out)
}

fn encode(bytes: &[u8], pad: bool, out: &mut String) {
    for chunk in bytes.chunks(3) {
        let mut word = 0u32;
        for i in 0..3 {
            word = word << 8 | u32::from(chunk.get(i).copied().unwrap_or(0));
        }
        for i in 0..4usize {
            if i <= chunk.len() {
                let at = (word >> (18usize.saturating_sub(i.saturating_mul(6))) & 63) as usize;
                let _ = out.write_char(char::from(BASE64.get(at).copied().unwrap_or(b'A')));
            } else if pad {
                out.push('=');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4648 §4; no more of it than the longest key has.
    #[test]
    fn t_rtp_12_no_more_is_decoded_than_a_key() {
        assert_eq!(decode("TWFu"), Some(b"Man".to_vec()));
        assert_eq!((decode("TWE="), decode("TQ==")), (Some(b"Ma".to_vec()), Some(b"M".to_vec())));
        assert_eq!(decode(&"A".repeat(64)), Some(vec![0; 48]));
        for bad in ["A".repeat(65), "A".repeat(66), "A".repeat(4_096), "TW-u".into(), "TW u".into()] {
            assert_eq!(decode(&bad), None, "{}", bad.len());
        }
    }

    #[test]
    fn t_rtp_12_lines_are_read_written_and_passed_over_where_they_are_weak() {
        // The example of RFC 4568 §6.1.
        let line = b"1 AES_CM_128_HMAC_SHA1_80 inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR|2^20|1:4";
        let read = CryptoLine::parse(line).unwrap();
        assert_eq!((read.tag, read.suite, read.mki()), (1, Suite::Cm128Long, &[0, 0, 0, 1][..]));
        assert_eq!(read.master().len(), 30);
        let written = CryptoLine::new(1, read.suite, read.master().to_vec()).unwrap().line(false);
        assert_eq!(
            written,
            "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR"
        );
        for suite in Suite::ALL {
            let ours = CryptoLine::new(7, suite, (0..suite.master_len() as u8).collect()).unwrap();
            for pad in [false, true] {
                let line = ours.line(pad);
                assert_eq!(
                    CryptoLine::parse(line.as_bytes().strip_prefix(b"a=crypto:").unwrap()),
                    Some(ours.clone())
                );
                assert_eq!(line.ends_with('='), pad && suite.master_len() % 3 != 0);
            }
        }
        let good = "inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR";
        assert!(
            CryptoLine::parse(format!("2 AES_CM_128_HMAC_SHA1_32 {good} WSH=64 KDR=0 -x").as_bytes())
                .is_some()
        );
        for bad in [
            format!("1 NULL_HMAC_SHA1_80 {good}"),
            format!("1 F8_128_HMAC_SHA1_80 {good}"),
            format!("1 AES_CM_128_HMAC_SHA1_80 {good} UNENCRYPTED_SRTP"),
            format!("1 AES_CM_128_HMAC_SHA1_80 {good} UNAUTHENTICATED_SRTP"),
            format!("1 AES_CM_128_HMAC_SHA1_80 {good} KDR=1"),
            format!("1 AES_CM_128_HMAC_SHA1_80 {good};{good}"),
            format!("1 AES_256_CM_HMAC_SHA1_80 {good}"),
            format!("x AES_CM_128_HMAC_SHA1_80 {good}"),
            format!("1 AES_CM_128_HMAC_SHA1_80 {good}|2^20|256:1"),
            "1 AES_CM_128_HMAC_SHA1_80 inline:PS1u".to_owned(),
            "1 AES_CM_128_HMAC_SHA1_80 inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaV*R".to_owned(),
            "1 AES_CM_128_HMAC_SHA1_80".to_owned(),
            String::new(),
        ] {
            assert_eq!(CryptoLine::parse(bad.as_bytes()), None, "{bad}");
        }
        assert!(!format!("{read:?}").contains("PS1u"));
    }
}
