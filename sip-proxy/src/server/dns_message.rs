//! Messages of DNS (RFC 1035 §4), as much as a stub resolver needs: a question out, an answer in. Whatever comes is a stranger's: lengths
//! are checked, names are read by pointers that lead backwards only, and what does not answer the question is nothing.

use std::net::{Ipv4Addr, Ipv6Addr};

use warp_sip::resolve::{DnsRecord, RecordType};

/// Aliases (CNAME) of one answer that are followed.
const ALIASES: usize = 8;
/// Records of one message that are read.
const RECORDS: usize = 256;
/// What we say that we can take by UDP (RFC 6891; the size that is not fragmented).
const PAYLOAD: u16 = 1_232;

const CNAME: u16 = 5;
const SOA: u16 = 6;

fn code(kind: RecordType) -> u16 {
    match kind {
        RecordType::A => 1,
        RecordType::Aaaa => 28,
        RecordType::Srv => 33,
        RecordType::Naptr => 35,
    }
}

/// One question under way: what a message must repeat to be its answer.
#[derive(Clone, Debug)]
pub(super) struct Query {
    id: u16,
    kind: RecordType,
    /// The name as it was sent: letters in an order of cases that nobody guesses (draft-vixie-dnsext-dns0x20).
    name: Vec<u8>,
}

/// What a message said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// These records, for so many seconds.
    Records(Vec<DnsRecord>, u32),
    /// No such record, or no such name, for so many seconds when it says how many.
    Nothing(Option<u32>),
    /// The name is another one's alias, of which nothing is said; for so many seconds.
    Alias(String, u32),
    /// It did not fit: the same is to be asked by TCP.
    Truncated,
    /// The server cannot answer, or will not.
    Refused,
}

impl Query {
    /// A question about a name; `random` makes its id and the cases of its letters. `None`: it is no name.
    pub(super) fn new(name: &str, kind: RecordType, random: [u8; 32]) -> Option<Query> {
        let mut out = Vec::with_capacity(name.len() + 2);
        let mut bits = random.iter().skip(2).cycle();
        for label in name.split('.') {
            let length = u8::try_from(label.len()).ok().filter(|n| (1..=63).contains(n))?;
            out.push(length);
            for byte in label.bytes() {
                let upper = bits.next().is_some_and(|b| (b ^ byte).count_ones() % 2 == 0);
                out.push(if upper { byte.to_ascii_uppercase() } else { byte.to_ascii_lowercase() });
            }
        }
        out.push(0);
        let id = u16::from_be_bytes([*random.first()?, *random.get(1)?]);
        (out.len() <= 255).then_some(Query { id, kind, name: out })
    }

    /// The question as a datagram.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut out = self.id.to_be_bytes().to_vec();
        // Recursion is desired; one question, and one additional record.
        out.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
        out.extend_from_slice(&self.name);
        out.extend_from_slice(&code(self.kind).to_be_bytes());
        out.extend_from_slice(&[0, 1]);
        // OPT (RFC 6891 §6.1.2): the root, its type, the size, no flags, nothing more.
        out.extend_from_slice(&[0, 0, 41]);
        out.extend_from_slice(&PAYLOAD.to_be_bytes());
        out.extend_from_slice(&[0; 6]);
        out
    }

    /// What a message says to it. `None`: it is not the answer to this question, and the answer may still come.
    pub(super) fn read(&self, bytes: &[u8]) -> Option<Message> {
        let mut r = Reader { bytes, at: 0 };
        let (id, flags) = (r.u16()?, r.u16()?);
        let counts = [r.u16()?, r.u16()?, r.u16()?];
        r.u16()?;
        if id != self.id || flags & 0x8000 == 0 || counts[0] != 1 {
            return None;
        }
        let name = r.take(self.name.len())?;
        if name != self.name || r.u16()? != code(self.kind) || r.u16()? != 1 {
            return None;
        }
        if flags & 0x0200 != 0 {
            return Some(Message::Truncated);
        }
        if !matches!(flags & 15, 0 | 3) {
            return Some(Message::Refused);
        }
        Some(self.answer(&mut r, usize::from(counts[1]), usize::from(counts[2])).unwrap_or(Message::Refused))
    }

    /// `None`: the message is broken.
    fn answer(&self, r: &mut Reader<'_>, answers: usize, authorities: usize) -> Option<Message> {
        let asked = Reader { bytes: &self.name, at: 0 }.name()?;
        let mut all = Vec::new();
        for _ in 0..answers.min(RECORDS) {
            all.push(r.record()?);
        }
        // What the asked name is called, alias by alias.
        let (mut owner, mut ttl) = (asked.clone(), u32::MAX);
        for _ in 0..ALIASES {
            let alias = all.iter().find(|a| a.kind == CNAME && a.owner == owner);
            let Some((alias, target)) = alias.and_then(|a| Some((a, a.target()?))) else { break };
            ttl = ttl.min(alias.ttl);
            owner = target;
        }
        let mut records = Vec::new();
        for record in all.iter().filter(|a| a.owner == owner && a.kind == code(self.kind)) {
            ttl = ttl.min(record.ttl);
            records.push(record.read(self.kind)?);
        }
        if !records.is_empty() {
            return Some(Message::Records(records, ttl));
        }
        if answers > RECORDS {
            return None;
        }
        let mut nothing = None;
        for _ in 0..authorities.min(RECORDS) {
            let record = r.record()?;
            if record.kind == SOA {
                // RFC 2308 §5: the smaller of its own TTL and its last number.
                let minimum = record.data.last_chunk::<4>().map(|n| u32::from_be_bytes(*n));
                nothing = minimum.map(|n| n.min(record.ttl));
            }
        }
        match owner == asked || nothing.is_some() {
            true => Some(Message::Nothing(nothing)),
            false => Some(Message::Alias(owner, ttl)),
        }
    }
}

/// One record, its data still in the message, because names in it may point anywhere before.
struct Record<'m> {
    owner: String,
    kind: u16,
    ttl: u32,
    data: &'m [u8],
    /// Where its data begins in the message.
    from: usize,
    message: &'m [u8],
}

impl Record<'_> {
    /// A reader of its data.
    fn reader(&self) -> Reader<'_> {
        Reader { bytes: self.message, at: self.from }
    }

    fn target(&self) -> Option<String> {
        self.reader().name()
    }

    fn read(&self, kind: RecordType) -> Option<DnsRecord> {
        let mut r = self.reader();
        Some(match kind {
            RecordType::A => DnsRecord::Address(Ipv4Addr::from(<[u8; 4]>::try_from(self.data).ok()?).into()),
            RecordType::Aaaa => {
                DnsRecord::Address(Ipv6Addr::from(<[u8; 16]>::try_from(self.data).ok()?).into())
            }
            RecordType::Srv => {
                DnsRecord::Srv { priority: r.u16()?, weight: r.u16()?, port: r.u16()?, target: r.name()? }
            }
            RecordType::Naptr => {
                let (order, preference) = (r.u16()?, r.u16()?);
                let (flags, service, _) = (r.text()?.to_vec(), r.text()?.to_vec(), r.text()?);
                DnsRecord::Naptr { order, preference, flags, service, replacement: r.name()? }
            }
        })
    }
}

struct Reader<'m> {
    bytes: &'m [u8],
    at: usize,
}

impl<'m> Reader<'m> {
    fn take(&mut self, n: usize) -> Option<&'m [u8]> {
        let end = self.at.checked_add(n)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    /// A text with its length before it.
    fn text(&mut self) -> Option<&'m [u8]> {
        let n = self.u8()?;
        self.take(usize::from(n))
    }

    /// A name in lower case, without the dot at its end; the root is empty. What is no host name's byte becomes `?`, which no name has.
    fn name(&mut self) -> Option<String> {
        let mut out = String::new();
        // Each pointer must lead further back than the one before, so that they come to an end.
        let (mut at, mut end, mut least) = (self.at, None, self.at);
        loop {
            let length = *self.bytes.get(at)?;
            match length {
                0 => break,
                1..=63 => {
                    let from = at.checked_add(1)?;
                    let to = from.checked_add(usize::from(length))?;
                    if !out.is_empty() {
                        out.push('.');
                    }
                    for byte in self.bytes.get(from..to)? {
                        let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
                        out.push(if plain { byte.to_ascii_lowercase().into() } else { '?' });
                    }
                    at = to;
                }
                0xC0.. => {
                    let low = *self.bytes.get(at.checked_add(1)?)?;
                    end = end.or(at.checked_add(2));
                    let to = usize::from(length & 0x3F) << 8 | usize::from(low);
                    if to >= least {
                        return None;
                    }
                    (at, least) = (to, to);
                }
                _ => return None,
            }
            if out.len() > 255 {
                return None;
            }
        }
        self.at = end.or(at.checked_add(1))?;
        Some(out)
    }

    fn record(&mut self) -> Option<Record<'m>> {
        let owner = self.name()?;
        let (kind, _class, ttl) = (self.u16()?, self.u16()?, self.u32()?);
        let length = self.u16()?;
        let from = self.at;
        let data = self.take(usize::from(length))?;
        Some(Record { owner, kind, ttl, data, from, message: self.bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn query(name: &str, kind: RecordType) -> Query {
        Query::new(name, kind, [7; 32]).unwrap()
    }

    /// A message that answers `q`: its code and flags, then records as bytes.
    fn message(q: &Query, flags: u16, answers: &[Vec<u8>], authorities: &[Vec<u8>]) -> Vec<u8> {
        let mut out = q.id.to_be_bytes().to_vec();
        for n in [0x8180 | flags, 1, answers.len() as u16, authorities.len() as u16, 0] {
            out.extend_from_slice(&n.to_be_bytes());
        }
        out.extend_from_slice(&q.name);
        out.extend_from_slice(&code(q.kind).to_be_bytes());
        out.extend_from_slice(&[0, 1]);
        for record in answers.iter().chain(authorities) {
            out.extend_from_slice(record);
        }
        out
    }

    fn record(owner: &[u8], kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
        let mut out = owner.to_vec();
        out.extend_from_slice(&kind.to_be_bytes());
        out.extend_from_slice(&[0, 1]);
        out.extend_from_slice(&ttl.to_be_bytes());
        out.extend_from_slice(&(data.len() as u16).to_be_bytes());
        out.extend_from_slice(data);
        out
    }

    /// The asked name, by a pointer.
    const ASKED: &[u8] = &[0xC0, 12];

    #[test]
    fn a_question_is_written_as_rfc_1035_says() {
        let q = query("a.example", RecordType::Srv);
        let bytes = q.bytes();
        assert_eq!(&bytes[..12], &[7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
        assert_eq!(bytes[12..23].to_ascii_lowercase(), b"\x01a\x07example\0");
        assert_eq!(&bytes[23..], &[0, 33, 0, 1, 0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
        for bad in ["", "a..b", &"x".repeat(64), &"abcdefgh.".repeat(40)] {
            assert!(Query::new(bad, RecordType::A, [0; 32]).is_none(), "{bad}");
        }
    }

    #[test]
    fn records_are_read_and_aliases_followed() {
        let q = query("a.example", RecordType::A);
        let alias = record(ASKED, CNAME, 30, b"\x01b\xC0\x0E");
        // `b.example`: the label, then the rest of the asked name.
        let address = record(b"\x01b\xC0\x0E", 1, 300, &[192, 0, 2, 7]);
        let of_others = record(b"\x04evil\0", 1, 300, &[192, 0, 2, 66]);
        let read = q.read(&message(&q, 0, &[of_others, address, alias.clone()], &[]));
        assert_eq!(read, Some(Message::Records(vec![DnsRecord::Address([192, 0, 2, 7].into())], 30)));
        assert_eq!(q.read(&message(&q, 0, &[alias], &[])), Some(Message::Alias("b.example".into(), 30)));
        let q = query("_sip._udp.example", RecordType::Srv);
        let srv = record(ASKED, 33, 60, b"\0\x01\0\x02\x13\xC4\x02S1\xC0\x16");
        let expected = DnsRecord::Srv { priority: 1, weight: 2, port: 5060, target: "s1.example".into() };
        assert_eq!(q.read(&message(&q, 0, &[srv], &[])), Some(Message::Records(vec![expected], 60)));
        let q = query("example", RecordType::Naptr);
        let naptr = record(ASKED, 35, 60, b"\0\x01\0\x02\x01s\x07SIP+D2U\0\x04_sip\x04_udp\xC0\x0C");
        let expected = DnsRecord::Naptr {
            order: 1,
            preference: 2,
            flags: b"s".to_vec(),
            service: b"SIP+D2U".to_vec(),
            replacement: "_sip._udp.example".into(),
        };
        assert_eq!(q.read(&message(&q, 0, &[naptr], &[])), Some(Message::Records(vec![expected], 60)));
    }

    #[test]
    fn nothing_is_told_from_refusal_and_from_what_does_not_fit() {
        let q = query("a.example", RecordType::A);
        let soa = record(
            b"\x07example\0",
            SOA,
            600,
            b"\x01m\0\x01r\0\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04\0\0\0\x2A",
        );
        assert_eq!(
            q.read(&message(&q, 3, &[], std::slice::from_ref(&soa))),
            Some(Message::Nothing(Some(42)))
        );
        assert_eq!(q.read(&message(&q, 0, &[], &[soa])), Some(Message::Nothing(Some(42))));
        assert_eq!(q.read(&message(&q, 3, &[], &[])), Some(Message::Nothing(None)));
        for code in [1, 2, 4, 5, 9] {
            assert_eq!(q.read(&message(&q, code, &[], &[])), Some(Message::Refused), "{code}");
        }
        assert_eq!(q.read(&message(&q, 0x0200, &[], &[])), Some(Message::Truncated));
    }

    /// A stranger who does not see the question has to guess id and cases; who answers another one has answered nothing.
    #[test]
    fn an_answer_to_another_question_is_none() {
        let q = query("sip.vendor.example", RecordType::A);
        let good = message(&q, 0, &[record(ASKED, 1, 60, &[192, 0, 2, 1])], &[]);
        assert!(q.read(&good).is_some());
        let mut wrong_id = good.clone();
        wrong_id[0] ^= 1;
        let mut question = good.clone();
        question[2] &= 0x7F;
        let mut cases = good.clone();
        cases[13] ^= 0x20;
        let mut kind = good.clone();
        kind[12 + q.name.len() + 1] = 28;
        for other in [wrong_id, question, cases, kind, good[..20].to_vec(), vec![]] {
            assert_eq!(q.read(&other), None);
        }
    }

    /// Pointers to themselves, forwards, and round in circles; records that end before they should.
    #[test]
    fn t_sip_14_names_that_never_end_and_records_that_lie_are_refused() {
        let q = query("a.example", RecordType::A);
        let own = message(&q, 0, &[], &[]).len() as u8;
        for owner in [vec![0xC0, own], vec![0xC0, own + 1], vec![0xC0, 0xFF], vec![0x80, 1], vec![0x40]] {
            let bad = record(&owner, 1, 60, &[192, 0, 2, 1]);
            assert_eq!(q.read(&message(&q, 0, &[bad], &[])), Some(Message::Refused), "{owner:?}");
        }
        let short = record(ASKED, 1, 60, &[192, 0, 2]);
        assert_eq!(q.read(&message(&q, 0, &[short], &[])), Some(Message::Refused));
        let mut cut = message(&q, 0, &[record(ASKED, 1, 60, &[192, 0, 2, 1])], &[]);
        cut.truncate(cut.len() - 1);
        assert_eq!(q.read(&cut), Some(Message::Refused));
        // An alias of itself ends, too.
        let round = record(ASKED, CNAME, 60, ASKED);
        assert_eq!(q.read(&message(&q, 0, &[round], &[])), Some(Message::Nothing(None)));
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..600), flip in any::<(u16, u8)>()) {
            for kind in [RecordType::A, RecordType::Aaaa, RecordType::Srv, RecordType::Naptr] {
                let q = query("a.example", kind);
                let _ = q.read(&bytes);
                // The same behind a head that fits, and a good message with one wrong byte.
                let mut fitting = message(&q, 0, &[], &[]);
                fitting[7] = 9;
                fitting[9] = 9;
                fitting.extend_from_slice(&bytes);
                let _ = q.read(&fitting);
                let mut good = message(&q, 0, &[record(ASKED, code(kind), 60, b"\0\x01\0\x02\x01s\x03SIP\0\xC0\x0C")], &[]);
                let at = usize::from(flip.0) % good.len();
                good[at] ^= flip.1;
                let _ = q.read(&good);
            }
        }
    }
}
