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
        let (Some(first), Some(last)) = (name.first(), name.last()) else {
            return Header::Other;
        };
        if name.len() == 1 {
            let at = COMPACT.get(usize::from(first.to_ascii_lowercase())).copied().unwrap_or(NONE);
            return Header::ALL.get(usize::from(at)).copied().unwrap_or(Header::Other);
        }
        let mut at = TABLE.get(slot(name.len(), *first, *last)).copied().unwrap_or(NONE);
        while let Some(header) = Header::ALL.get(usize::from(at)) {
            let known = header.name().as_bytes();
            if known == name || known.eq_ignore_ascii_case(name) {
                return *header;
            }
            at = CHAIN.get(usize::from(at)).copied().unwrap_or(NONE);
        }
        Header::Other
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

const fn slot(len: usize, first: u8, last: u8) -> usize {
    let (a, b) = (first | 0x20, last | 0x20);
    len.wrapping_mul(31)
        .wrapping_add((a as usize).wrapping_mul(7))
        .wrapping_add((b as usize).wrapping_mul(59))
        % SLOTS
}

#[allow(clippy::indexing_slicing)] // evaluated by the compiler
/// First header of each slot, and the next one of the same slot after each header: made by the compiler.
const TABLES: ([u8; SLOTS], [u8; Header::COUNT]) = {
    let mut table = [NONE; SLOTS];
    let mut chain = [NONE; Header::COUNT];
    let mut i = 0;
    while i < Header::COUNT {
        let name = Header::NAMES[i].as_bytes();
        let s = slot(name.len(), name[0], name[name.len() - 1]);
        chain[i] = table[s];
        table[s] = i as u8;
        i += 1;
    }
    (table, chain)
};
static TABLE: [u8; SLOTS] = TABLES.0;
static CHAIN: [u8; Header::COUNT] = TABLES.1;

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
    }
}
