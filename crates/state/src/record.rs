//! One contact as Kamailio keeps it: a row of the table `location`, version 9.
//!
//! Reading is tolerant: what a look-up does not need may be absent, empty or odd. Writing is strict, because one bad row can keep a Kamailio
//! from starting.

use std::fmt::Write as _;
use std::time::Duration;

use warp_model::Wall;
use warp_model::now::{civil_from_days, days_from_civil};

/// The columns, in the order in which [`Record::read`] takes their values.
pub const COLUMNS: [&str; 21] = [
    "ruid",
    "username",
    "domain",
    "contact",
    "received",
    "path",
    "expires",
    "q",
    "callid",
    "cseq",
    "last_modified",
    "flags",
    "cflags",
    "user_agent",
    "socket",
    "methods",
    "instance",
    "reg_id",
    "server_id",
    "connection_id",
    "keepalive",
];
/// The only column besides those that a row has; ours is always in partition 0.
pub const PARTITION: &str = "partition";
/// Columns that are absent in a row whose value is NULL.
pub const NULLABLE: [&str; 3] = ["received", "path", "instance"];

/// Whose contacts: an address of record in its two columns.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Aor {
    /// The user, unescaped, in its own case.
    pub username: Vec<u8>,
    /// The domain, in its own case.
    pub domain: Vec<u8>,
}

/// When a contact ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// At a moment of the wall clock; whole seconds count.
    At(Wall),
    /// It never does (`1970-01-01 00:00:00`).
    Never,
}

/// One contact of one address of record: a row of `usrloc`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Unique id, and the end of the key.
    pub ruid: Vec<u8>,
    /// The address of record that it belongs to.
    pub aor: Aor,
    /// URI without brackets and header parameters.
    pub contact: Vec<u8>,
    /// Where the REGISTER came from, as a URI, when the phone is behind an address translation; empty: it is not.
    pub received: Vec<u8>,
    /// The Path set as one header value; empty: none.
    pub path: Vec<u8>,
    /// When it ends by itself.
    pub ends: Ends,
    /// Preference in thousandths; `None`: not given.
    pub q: Option<u16>,
    /// Call-ID of the last REGISTER.
    pub call_id: Vec<u8>,
    /// CSeq number of the last REGISTER.
    pub cseq: u32,
    /// When the row was written.
    pub modified: Wall,
    /// Branch flags; bit 6: behind an address translation.
    pub cflags: i64,
    /// What the phone calls itself; empty: it does not say.
    pub user_agent: Vec<u8>,
    /// `proto:address:port` that the REGISTER came in on; empty: unknown.
    pub socket: Vec<u8>,
    /// Bit set of Allow; `None`: it did not say.
    pub methods: Option<u32>,
    /// `+sip.instance` with angle brackets; empty: none.
    pub instance: Vec<u8>,
    /// RFC 5626 flow number; 0: none.
    pub reg_id: u32,
    /// The server id of the node that wrote it.
    pub server_id: u32,
    /// Connection that the REGISTER came by; `None`: a datagram.
    pub connection: Option<u32>,
    /// 1: its node sends keep-alives through its address translation.
    pub keepalive: u32,
}

/// Why a row cannot be used, or not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// A column that is needed is not there, or empty.
    Missing(&'static str),
    /// A column cannot mean anything.
    Wrong(&'static str),
    /// A column is longer than any row of Kamailio's.
    TooLong(&'static str),
}

/// Bytes of one column. Kamailio's own schema ends at 512.
const LONGEST: usize = 2_048;

impl Record {
    /// Reads the values of [`COLUMNS`]; `None`: the field is absent. Errors: the row is of no use to a look-up.
    pub fn read(values: &[Option<Vec<u8>>]) -> Result<Record, Unusable> {
        let get = |name: &'static str| -> Result<&[u8], Unusable> {
            let at = COLUMNS.iter().position(|c| *c == name);
            let value = at.and_then(|at| values.get(at)).and_then(Option::as_deref).unwrap_or(b"");
            match value.len() <= LONGEST && !value.iter().any(u8::is_ascii_control) {
                true => Ok(value),
                false if value.len() > LONGEST => Err(Unusable::TooLong(name)),
                false => Err(Unusable::Wrong(name)),
            }
        };
        let needed =
            |name| get(name).and_then(|v| if v.is_empty() { Err(Unusable::Missing(name)) } else { Ok(v) });
        // What a look-up does not need is taken for absent when it is odd.
        let odd = |name| get(name).unwrap_or(b"");
        let cseq =
            integer(needed("cseq")?).and_then(|n| u32::try_from(n).ok()).ok_or(Unusable::Wrong("cseq"))?;
        Ok(Record {
            ruid: needed("ruid")?.to_vec(),
            aor: Aor { username: needed("username")?.to_vec(), domain: odd("domain").to_vec() },
            contact: needed("contact")?.to_vec(),
            received: get("received")?.to_vec(),
            path: get("path")?.to_vec(),
            ends: read_ends(needed("expires")?).ok_or(Unusable::Wrong("expires"))?,
            q: read_q(needed("q")?).ok_or(Unusable::Wrong("q"))?,
            call_id: needed("callid")?.to_vec(),
            cseq,
            modified: read_time(odd("last_modified")).unwrap_or_default(),
            cflags: integer(odd("cflags")).unwrap_or(0),
            user_agent: odd("user_agent").to_vec(),
            socket: odd("socket").to_vec(),
            methods: integer(odd("methods")).and_then(|n| u32::try_from(n).ok()),
            instance: odd("instance").to_vec(),
            reg_id: small(odd("reg_id")),
            server_id: small(odd("server_id")),
            connection: integer(odd("connection_id")).and_then(|n| u32::try_from(n).ok()),
            keepalive: small(odd("keepalive")),
        })
    }

    /// The fields of the hash, in the order of the schema; what is NULL is left out.
    /// Errors: it could hurt a reader, and is not to be written.
    pub fn write(&self) -> Result<Vec<(&'static str, Vec<u8>)>, Unusable> {
        let text = |n: i64| n.to_string().into_bytes();
        let optional = |n: Option<u32>| n.map_or(-1, i64::from);
        let q = match self.q {
            None => b"-1.000000".to_vec(),
            Some(q) => {
                let q = q.min(1_000);
                format!("{}.{:03}000", q / 1_000, q % 1_000).into_bytes()
            }
        };
        let expires = match self.ends {
            Ends::Never => NEVER.to_vec(),
            Ends::At(at) => write_time(at).filter(|t| t != NEVER).ok_or(Unusable::Wrong("expires"))?,
        };
        let mut fields = vec![
            ("username", self.aor.username.clone()),
            ("contact", self.contact.clone()),
            ("received", self.received.clone()),
            ("path", self.path.clone()),
            ("expires", expires),
            ("q", q),
            ("callid", self.call_id.clone()),
            ("cseq", text(self.cseq.into())),
            ("last_modified", write_time(self.modified).ok_or(Unusable::Wrong("last_modified"))?),
            ("flags", text(0)),
            ("cflags", text(self.cflags)),
            ("user_agent", self.user_agent.clone()),
            ("socket", self.socket.clone()),
            ("methods", text(optional(self.methods.map(|m| m & 0x7fff_ffff)))),
            ("instance", self.instance.clone()),
            ("ruid", self.ruid.clone()),
            ("reg_id", text(self.reg_id.into())),
            ("server_id", text(self.server_id.into())),
            ("connection_id", text(optional(self.connection))),
            ("keepalive", text(self.keepalive.into())),
            (PARTITION, text(0)),
            ("domain", self.aor.domain.clone()),
        ];
        for (name, value) in &fields {
            if value.len() > LONGEST {
                return Err(Unusable::TooLong(name));
            }
            if value.iter().any(u8::is_ascii_control) {
                return Err(Unusable::Wrong(name));
            }
            if value.is_empty() && matches!(*name, "username" | "contact" | "callid" | "ruid") {
                return Err(Unusable::Missing(name));
            }
        }
        fields.retain(|(name, value)| !(value.is_empty() && NULLABLE.contains(name)));
        Ok(fields)
    }

    /// Whether it is alive.
    pub fn is_alive(&self, now: Wall) -> bool {
        match self.ends {
            Ends::Never => true,
            Ends::At(at) => at > now,
        }
    }
}

/// "Never", where a moment is expected.
const NEVER: &[u8] = b"1970-01-01 00:00:00";

fn integer(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn small(text: &[u8]) -> u32 {
    integer(text).and_then(|n| u32::try_from(n).ok()).unwrap_or(0)
}

fn read_ends(text: &[u8]) -> Option<Ends> {
    match text {
        NEVER => Some(Ends::Never),
        text => read_time(text).map(Ends::At),
    }
}

/// `-1.000000`: not given. Some(None) then; `None` when it is no number from 0 to 1.
#[allow(clippy::option_option)]
fn read_q(text: &[u8]) -> Option<Option<u16>> {
    let text = std::str::from_utf8(text).ok()?;
    if text.starts_with('-') {
        return text
            .strip_prefix("-1")
            .is_some_and(|t| t.bytes().all(|b| matches!(b, b'.' | b'0')))
            .then_some(None);
    }
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if !part.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part: u16 = format!("{:0<3}", part.get(..3).unwrap_or(part)).parse().ok()?;
    let q = whole.parse::<u16>().ok()?.checked_mul(1_000)?.checked_add(part)?;
    (q <= 1_000).then_some(Some(q))
}

/// `YYYY-MM-DD HH:MM:SS` in UTC: Kamailio writes its process's own zone, which is to be UTC.
pub fn read_time(text: &[u8]) -> Option<Wall> {
    let text = std::str::from_utf8(text).ok().filter(|t| t.len() == 19 && t.is_ascii())?;
    let part = |from: usize, to: usize| text.get(from..to)?.parse::<u32>().ok().map(i64::from);
    let between = |at: usize, byte: u8| text.as_bytes().get(at) == Some(&byte);
    if !(between(4, b'-') && between(7, b'-') && between(10, b' ') && between(13, b':') && between(16, b':'))
    {
        return None;
    }
    let (year, month, day) = (part(0, 4)?, part(5, 7)?, part(8, 10)?);
    let (hour, minute, second) = (part(11, 13)?, part(14, 16)?, part(17, 19)?);
    let sound = year >= 1970 && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !sound || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let days = days_from_civil(year, month, day);
    let seconds = days.checked_mul(86_400)?.checked_add(hour * 3_600 + minute * 60 + second)?;
    Some(Wall(seconds.checked_mul(1_000_000)?))
}

/// The same, written; a part of a second counts as a whole one. `None`: before 1970 or after 9999.
pub fn write_time(at: Wall) -> Option<Vec<u8>> {
    let up = at.plus(Duration::from_micros(999_999)).0.div_euclid(1_000_000);
    let (days, second) = (up.div_euclid(86_400), up.rem_euclid(86_400));
    let (year, month, day) = civil_from_days(days);
    if !(1970..=9999).contains(&year) {
        return None;
    }
    let mut out = String::with_capacity(19);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    write!(out, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}").ok()?;
    Some(out.into_bytes())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn alice() -> Record {
        Record {
            ruid: b"warp-1-2a".to_vec(),
            aor: Aor { username: b"alice".to_vec(), domain: b"carrier.test".to_vec() },
            contact: b"sip:alice@127.0.0.1:26001".to_vec(),
            received: Vec::new(),
            path: b"<sip:127.0.0.1:5060;lr>".to_vec(),
            ends: Ends::At(read_time(b"2026-11-22 07:18:31").unwrap()),
            q: Some(700),
            call_id: b"dc1fb48c11ac".to_vec(),
            cseq: 1,
            modified: read_time(b"2026-11-22 06:18:31").unwrap(),
            cflags: 0,
            user_agent: b"interop-phone/1".to_vec(),
            socket: b"udp:127.0.0.1:5060".to_vec(),
            methods: Some(783),
            instance: Vec::new(),
            reg_id: 0,
            server_id: 3,
            connection: None,
            keepalive: 0,
        }
    }

    pub(crate) fn values(record: &Record) -> Vec<Option<Vec<u8>>> {
        let fields = record.write().unwrap();
        COLUMNS.iter().map(|c| fields.iter().find(|(n, _)| n == c).map(|(_, v)| v.clone())).collect()
    }

    fn change(column: &str, value: Option<&str>) -> Result<Record, Unusable> {
        let mut values = values(&alice());
        values[COLUMNS.iter().position(|c| *c == column).unwrap()] = value.map(|v| v.as_bytes().to_vec());
        Record::read(&values)
    }

    /// The hash that a Kamailio 5.6.3 wrote (`ref/kamailio-redis-state.md` §2), read.
    #[test]
    fn a_captured_row_is_read() {
        let captured = [
            ("username", "bob"),
            ("contact", "sip:bob@10.0.0.5:5060"),
            ("expires", "2026-11-22 07:18:31"),
            ("q", "0.700000"),
            ("callid", "dc1fb48c11ac"),
            ("cseq", "12"),
            ("flags", "0"),
            ("cflags", "64"),
            ("received", "sip:127.0.0.1:26002"),
            ("path", "<sip:edge1.carrier.test;lr>"),
            ("instance", "<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>"),
            ("reg_id", "1"),
            ("keepalive", "1"),
            ("ruid", "uloc-7-6b028935-5db-1"),
            ("server_id", "7"),
            ("connection_id", "-1"),
            ("methods", "783"),
            ("socket", "udp:127.0.0.1:25061"),
            ("domain", "carrier.test"),
        ];
        let values: Vec<Option<Vec<u8>>> = COLUMNS
            .iter()
            .map(|c| captured.iter().find(|(n, _)| n == c).map(|(_, v)| v.as_bytes().to_vec()))
            .collect();
        let record = Record::read(&values).unwrap();
        assert_eq!((record.q, record.cseq, record.reg_id, record.connection), (Some(700), 12, 1, None));
        assert_eq!(record.ends, Ends::At(Wall(1_795_331_911_000_000)));
        assert_eq!((&record.received[..], record.cflags), (&b"sip:127.0.0.1:26002"[..], 64));
        assert_eq!((record.methods, &record.user_agent[..]), (Some(783), &b""[..]));
    }

    #[test]
    fn null_is_absent_or_empty_and_never_is_a_time() {
        assert_eq!(change("received", None), change("received", Some("")));
        assert_eq!(change("path", Some("")).unwrap().path, b"");
        assert_eq!(change("q", Some("-1.000000")).unwrap().q, None);
        assert_eq!(change("expires", Some("1970-01-01 00:00:00")).unwrap().ends, Ends::Never);
        assert!(change("expires", Some("1970-01-01 00:00:00")).unwrap().is_alive(Wall(i64::MAX)));
        let fields = alice().write().unwrap();
        assert!(!fields.iter().any(|(n, _)| *n == "received" || *n == "instance"));
        let q = |q| Record { q, ..alice() }.write().unwrap().into_iter().find(|(n, _)| *n == "q").unwrap().1;
        assert_eq!([q(None), q(Some(1_000)), q(Some(50))], [&b"-1.000000"[..], b"1.000000", b"0.050000"]);
    }

    #[test]
    fn what_a_look_up_needs_must_be_there_and_the_rest_may_be_odd() {
        for column in ["ruid", "username", "contact", "expires", "q", "callid", "cseq"] {
            assert_eq!(change(column, None), Err(Unusable::Missing(column)), "{column}");
        }
        for (column, value) in [
            ("expires", "1795331911"),
            ("expires", "0000-00-00 00:00:00"),
            ("expires", "2026-13-01 00:00:00"),
            ("cseq", "x"),
            ("cseq", "-1"),
            ("cseq", "99999999999"),
            ("q", "2"),
            ("q", "-2"),
            ("q", "0.a"),
            ("contact", "sip:a\r\nX: y"),
        ] {
            assert_eq!(change(column, Some(value)), Err(Unusable::Wrong(column)), "{column} {value:?}");
        }
        for column in
            ["last_modified", "cflags", "user_agent", "socket", "methods", "instance", "reg_id", "server_id"]
        {
            assert!(change(column, Some("\u{1}?")).is_ok(), "{column}");
            assert!(change(column, None).is_ok(), "{column}");
        }
        assert_eq!(change("contact", Some(&"x".repeat(2_049))), Err(Unusable::TooLong("contact")));
    }

    /// One bad row can keep a Kamailio from starting: it is not written.
    #[test]
    fn a_row_that_could_hurt_a_reader_is_not_written() {
        let wrong = |change: fn(&mut Record)| {
            let mut record = alice();
            change(&mut record);
            record.write().unwrap_err()
        };
        assert_eq!(wrong(|r| r.aor.username.clear()), Unusable::Missing("username"));
        assert_eq!(wrong(|r| r.contact = b"sip:a\nb".to_vec()), Unusable::Wrong("contact"));
        assert_eq!(wrong(|r| r.path = vec![b'x'; 3_000]), Unusable::TooLong("path"));
        assert_eq!(wrong(|r| r.ends = Ends::At(Wall(0))), Unusable::Wrong("expires"));
        assert_eq!(wrong(|r| r.ends = Ends::At(Wall(i64::MAX))), Unusable::Wrong("expires"));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            q in proptest::option::of(0_u16..=1_000), cseq: u32, at in 1_i64..4_000_000_000, methods in 0_u32..0x7fff_ffff,
            text in "[ -~]{1,40}", path in "[ -~]{0,40}", connection in proptest::option::of(0_u32..0x7fff_ffff),
        ) {
            let record = Record {
                q, cseq, path: path.into_bytes(), contact: text.into_bytes(), connection, methods: Some(methods),
                ends: Ends::At(Wall(at * 1_000_000)), ..alice()
            };
            prop_assert_eq!(Record::read(&values(&record)), Ok(record));
        }

        #[test]
        fn no_row_panics(values in proptest::collection::vec(proptest::option::of(proptest::collection::vec(any::<u8>(), 0..30)), 0..25)) {
            let _ = Record::read(&values);
        }
    }
}
