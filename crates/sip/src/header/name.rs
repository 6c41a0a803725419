//! Header names: one id per header, whatever its spelling (case, compact form). An unknown name is [`Header::Other`].

macro_rules! headers {
    ($($id:ident $name:literal $compact:literal $many:ident $source:literal,)*) => {
        /// A header field by its parsed name, never by its spelling (T-SIP-03).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Header {
            $(#[doc = concat!("`", $name, "`, ", $source, ".")] $id,)*
            /// A name that is not in this list; ask the line for its text.
            Other,
        }

        impl Header {
            /// Every known header, in the order of the enum.
            pub const ALL: &[Header] = &[$(Header::$id,)*];

            /// Name as the standard writes it; empty for [`Header::Other`].
            pub fn name(self) -> &'static str {
                Header::NAMES.get(self as usize).copied().unwrap_or("")
            }

            const NAMES: &[&str] = &[$($name,)*];

            const fn compact(self) -> u8 {
                match self { $(Header::$id => $compact,)* Header::Other => 0 }
            }

            /// Whether a message may carry it once only, with one value (T-SIP-03: twice is 400).
            pub const fn is_single(self) -> bool {
                match self { $(Header::$id => headers!(@single $many),)* Header::Other => false }
            }
        }
    };
    (@single one) => { true };
    (@single many) => { false };
}

headers! {
    Via "Via" b'v' many "RFC 3261 §20.42",
    From "From" b'f' one "RFC 3261 §20.20",
    To "To" b't' one "RFC 3261 §20.39",
    CallId "Call-ID" b'i' one "RFC 3261 §20.8",
    CSeq "CSeq" 0 one "RFC 3261 §20.16",
    MaxForwards "Max-Forwards" 0 one "RFC 3261 §20.22",
    Contact "Contact" b'm' many "RFC 3261 §20.10",
    Route "Route" 0 many "RFC 3261 §20.34",
    RecordRoute "Record-Route" 0 many "RFC 3261 §20.30",
    ContentLength "Content-Length" b'l' one "RFC 3261 §20.14",
    ContentType "Content-Type" b'c' one "RFC 3261 §20.15",
    ContentEncoding "Content-Encoding" b'e' many "RFC 3261 §20.12",
    ContentDisposition "Content-Disposition" 0 one "RFC 3261 §20.11",
    ContentLanguage "Content-Language" 0 many "RFC 3261 §20.13",
    MimeVersion "MIME-Version" 0 one "RFC 3261 §20.24",
    Authorization "Authorization" 0 many "RFC 3261 §20.7",
    ProxyAuthorization "Proxy-Authorization" 0 many "RFC 3261 §20.28",
    WwwAuthenticate "WWW-Authenticate" 0 many "RFC 3261 §20.44",
    ProxyAuthenticate "Proxy-Authenticate" 0 many "RFC 3261 §20.27",
    AuthenticationInfo "Authentication-Info" 0 many "RFC 3261 §20.6",
    Require "Require" 0 many "RFC 3261 §20.32",
    ProxyRequire "Proxy-Require" 0 many "RFC 3261 §20.29",
    Supported "Supported" b'k' many "RFC 3261 §20.37",
    Unsupported "Unsupported" 0 many "RFC 3261 §20.40",
    Allow "Allow" 0 many "RFC 3261 §20.5",
    Accept "Accept" 0 many "RFC 3261 §20.1",
    AcceptEncoding "Accept-Encoding" 0 many "RFC 3261 §20.2",
    AcceptLanguage "Accept-Language" 0 many "RFC 3261 §20.3",
    AlertInfo "Alert-Info" 0 many "RFC 3261 §20.4",
    CallInfo "Call-Info" 0 many "RFC 3261 §20.9",
    Date "Date" 0 one "RFC 3261 §20.17",
    ErrorInfo "Error-Info" 0 many "RFC 3261 §20.18",
    Expires "Expires" 0 one "RFC 3261 §20.19",
    InReplyTo "In-Reply-To" 0 many "RFC 3261 §20.21",
    MinExpires "Min-Expires" 0 one "RFC 3261 §20.23",
    Organization "Organization" 0 one "RFC 3261 §20.25",
    Priority "Priority" 0 one "RFC 3261 §20.26",
    ReplyTo "Reply-To" 0 one "RFC 3261 §20.31",
    RetryAfter "Retry-After" 0 one "RFC 3261 §20.33",
    Server "Server" 0 one "RFC 3261 §20.35",
    Subject "Subject" b's' one "RFC 3261 §20.36",
    Timestamp "Timestamp" 0 one "RFC 3261 §20.38",
    UserAgent "User-Agent" 0 one "RFC 3261 §20.41",
    Warning "Warning" 0 many "RFC 3261 §20.43",
    RAck "RAck" 0 one "RFC 3262 §7.2",
    RSeq "RSeq" 0 one "RFC 3262 §7.1",
    Reason "Reason" 0 many "RFC 3326",
    Path "Path" 0 many "RFC 3327",
    ServiceRoute "Service-Route" 0 many "RFC 3608",
    Privacy "Privacy" 0 many "RFC 3323 §4.2",
    PAssertedIdentity "P-Asserted-Identity" 0 many "RFC 3325 §9.1",
    PPreferredIdentity "P-Preferred-Identity" 0 many "RFC 3325 §9.2",
    PChargeInfo "P-Charge-Info" 0 many "RFC 8496",
    PChargingVector "P-Charging-Vector" 0 many "RFC 7315 §4.6",
    PEarlyMedia "P-Early-Media" 0 many "RFC 5009",
    RemotePartyId "Remote-Party-ID" 0 many "draft-ietf-sip-privacy",
    Diversion "Diversion" 0 many "RFC 5806",
    HistoryInfo "History-Info" 0 many "RFC 7044",
    SessionExpires "Session-Expires" b'x' one "RFC 4028 §4",
    MinSe "Min-SE" 0 one "RFC 4028 §5",
    ReferTo "Refer-To" b'r' one "RFC 3515 §2.1",
    ReferredBy "Referred-By" b'b' one "RFC 3892",
    Replaces "Replaces" 0 one "RFC 3891",
    Join "Join" 0 one "RFC 3911",
    Event "Event" b'o' one "RFC 6665 §8.2.1",
    AllowEvents "Allow-Events" b'u' many "RFC 6665 §8.2.2",
    SubscriptionState "Subscription-State" 0 one "RFC 6665 §8.2.3",
    AcceptContact "Accept-Contact" b'a' many "RFC 3841",
    RejectContact "Reject-Contact" b'j' many "RFC 3841",
    RequestDisposition "Request-Disposition" b'd' many "RFC 3841",
    Identity "Identity" b'y' many "RFC 8224 §4",
    Geolocation "Geolocation" 0 many "RFC 6442",
    XInternal "X-Internal" 0 many "our own trust header (T-SIP-03)",
}

impl Header {
    /// How many known headers there are.
    pub const COUNT: usize = Header::ALL.len();

    /// From a name in any spelling, compact forms too (RFC 3261 §7.3.3). Constant time in the number of known headers.
    pub fn from_name(name: &[u8]) -> Header {
        let mut chunk = [0; WORD];
        let Some(to) = chunk.get_mut(..name.len()) else {
            return Header::from_long_name(name);
        };
        to.copy_from_slice(name);
        Header::from_word(u128::from_le_bytes(chunk), name.len())
    }

    /// The name before the first colon of a line, and its length: the parser's way, without a copy. `None` when it is longer than a word
    /// or has white space behind it, which [`Header::from_name`] is for.
    #[inline]
    pub(crate) fn at_start(line: &[u8]) -> Option<(Header, usize)> {
        const ONES: u128 = 0x0101_0101_0101_0101_0101_0101_0101_0101;
        let word = u128::from_le_bytes(*line.first_chunk::<WORD>()?);
        // A byte becomes zero where it was a colon, and the lowest zero byte is the first whose high bit the subtraction sets.
        let x = word ^ ONES.wrapping_mul(b':' as u128);
        let zero = x.wrapping_sub(ONES) & !x & (ONES << 7);
        if zero == 0 {
            return None;
        }
        let bit = zero.trailing_zeros() & 0x78;
        let header = Header::from_word(word & (1_u128 << bit).wrapping_sub(1), (bit >> 3) as usize);
        (header != Header::Other).then_some((header, (bit >> 3) as usize))
    }

    /// By up to 16 bytes as one little-endian number.
    #[inline]
    fn from_word(word: u128, len: usize) -> Header {
        let word = lower(word);
        if len == 1 {
            let at = COMPACT.get((word & 127) as usize).copied().unwrap_or(NONE);
            let known = Header::ALL.get(usize::from(at)).copied().unwrap_or(Header::Other);
            // Eight bits, of which the table has seven.
            return if word < 128 { known } else { Header::Other };
        }
        let mut at = WORDS.slots.get(slot(word)).copied().unwrap_or(NONE);
        while let Some(known) = WORDS.words.get(usize::from(at)) {
            // The length too: a NUL behind a name is no part of the number.
            if *known == word
                && let Some(header) = Header::ALL.get(usize::from(at))
                && header.name().len() == len
            {
                return *header;
            }
            at = WORDS.chain.get(usize::from(at)).copied().unwrap_or(NONE);
        }
        Header::Other
    }

    /// By a name of more than 16 bytes: there are few.
    fn from_long_name(name: &[u8]) -> Header {
        let same = |at: &&u8| {
            let known = Header::NAMES.get(usize::from(**at)).map_or("", |n| n);
            known.len() == name.len() && known.as_bytes().eq_ignore_ascii_case(name)
        };
        let found = LONG.iter().find(same).and_then(|at| Header::ALL.get(usize::from(*at)));
        found.copied().unwrap_or(Header::Other)
    }

    /// Whether its value is a comma-separated list that may be split over lines, and commas at the top level separate values
    /// (RFC 3261 §7.3.1). Only asked of headers that a proxy looks into.
    pub fn is_list(self) -> bool {
        matches!(
            self,
            Header::Via
                | Header::Route
                | Header::RecordRoute
                | Header::Contact
                | Header::Path
                | Header::ServiceRoute
                | Header::PAssertedIdentity
                | Header::PPreferredIdentity
                | Header::Diversion
                | Header::HistoryInfo
                | Header::RemotePartyId
                | Header::Require
                | Header::ProxyRequire
                | Header::Supported
                | Header::Unsupported
                | Header::Allow
                | Header::Reason
        )
    }
}

const NONE: u8 = u8::MAX;
const SLOTS: usize = 256;
/// Bytes of a name that are compared as one number.
const WORD: usize = 16;

/// Letters in lower case. A byte with bit 6 set gets bit 5: that makes A–Z into a–z, and no other byte into a letter or a hyphen, so that
/// only a name's own spellings become equal to it (T-SIP-03).
const fn lower(word: u128) -> u128 {
    word | (word & 0x4040_4040_4040_4040_4040_4040_4040_4040) >> 1
}

const fn slot(word: u128) -> usize {
    let folded = (word as u64) ^ ((word >> 64) as u64).rotate_left(17);
    (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as usize
}

/// Names of up to 16 bytes as numbers (0 for longer ones, which no name is), and which are in each slot: made by the compiler.
struct Words {
    words: [u128; Header::COUNT],
    slots: [u8; SLOTS],
    chain: [u8; Header::COUNT],
}

#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)] // evaluated by the compiler
static WORDS: Words = {
    let mut t = Words { words: [0; Header::COUNT], slots: [NONE; SLOTS], chain: [NONE; Header::COUNT] };
    let mut i = 0;
    while i < Header::COUNT {
        let name = Header::NAMES[i].as_bytes();
        if name.len() <= WORD {
            let mut chunk = [0; WORD];
            let mut at = 0;
            while at < name.len() {
                chunk[at] = name[at];
                at += 1;
            }
            let word = lower(u128::from_le_bytes(chunk));
            t.words[i] = word;
            t.chain[i] = t.slots[slot(word)];
            t.slots[slot(word)] = i as u8;
        }
        i += 1;
    }
    t
};

#[allow(clippy::indexing_slicing)] // evaluated by the compiler
const fn long_names() -> usize {
    let (mut i, mut n) = (0, 0_usize);
    while i < Header::COUNT {
        n = n.wrapping_add((Header::NAMES[i].len() > WORD) as usize);
        i = i.wrapping_add(1);
    }
    n
}

/// Headers whose names are longer than a word.
#[allow(clippy::indexing_slicing)] // evaluated by the compiler
static LONG: [u8; long_names()] = {
    let mut all = [0; long_names()];
    let (mut i, mut n) = (0, 0_usize);
    while i < Header::COUNT {
        if Header::NAMES[i].len() > WORD {
            all[n] = i as u8;
            n = n.wrapping_add(1);
        }
        i = i.wrapping_add(1);
    }
    all
};

#[allow(clippy::indexing_slicing)] // evaluated by the compiler
static COMPACT: [u8; 128] = {
    let mut table = [NONE; 128];
    let mut i = 0;
    while i < Header::COUNT {
        let c = Header::ALL[i].compact();
        if c != 0 {
            table[c as usize] = i as u8;
        }
        i += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_in_any_case() {
        for h in Header::ALL {
            assert_eq!(Header::from_name(h.name().as_bytes()), *h);
            assert_eq!(Header::from_name(h.name().to_uppercase().as_bytes()), *h);
            assert_eq!(Header::from_name(h.name().to_lowercase().as_bytes()), *h);
        }
        assert_eq!(Header::from_name(b"V"), Header::Via);
        assert_eq!(Header::from_name(b"k"), Header::Supported);
        assert_eq!(Header::from_name(b"z"), Header::Other);
        assert_eq!(Header::from_name(b""), Header::Other);
        assert_eq!(Header::from_name(b"Viaa"), Header::Other);
        assert_eq!(Header::from_name(b"\xff"), Header::Other);
        assert_eq!(Header::from_name(b"\xf6"), Header::Other, "v with the high bit");
        assert_eq!(Header::from_name(b"Via\0"), Header::Other);
    }

    /// Every byte in the place of every byte of every name: only the other case of a letter is the same header.
    #[test]
    fn t_sip_03_nothing_but_case_makes_names_equal() {
        for h in Header::ALL {
            for at in 0..h.name().len() {
                for b in 0..=255_u8 {
                    let mut name = h.name().as_bytes().to_vec();
                    let same = b.eq_ignore_ascii_case(&name[at]);
                    name[at] = b;
                    let text = [&name[..], b": a value, longer than a word"].concat();
                    let colon = name.iter().position(|b| *b == b':').unwrap_or(name.len());
                    let expected = Header::from_name(&name[..colon]);
                    let got = Header::at_start(&text);
                    assert_eq!(got, (colon < WORD && expected != Header::Other).then_some((expected, colon)));
                    assert_eq!(Header::from_name(&name) == *h, same, "{}", name.escape_ascii());
                }
            }
        }
    }
}
