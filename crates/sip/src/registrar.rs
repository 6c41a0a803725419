//! Registrations (RFC 3261 §10, RFC 3327, RFC 5626) without I/O: what a REGISTER asks for, and the bindings of one address of record.
//!
//! Invariants: a REGISTER takes effect as a whole or not at all; time, ids and the flow that it came by are arguments; the bindings of an
//! address of record are bounded. Not here on purpose: who may register what (digest), where bindings are kept, GRUU (RFC 5627).

use std::time::Duration;

use warp_model::Mono;

use crate::flow::{Flow, Transport};
use crate::header::{Header, NameAddr, lex};
use crate::message::{Message, Method};
use crate::uri::{Scheme, Uri};

/// One way to reach somebody who has registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The Contact's URI as written, without brackets.
    pub contact: Vec<u8>,
    /// Preference in thousandths, from 0 to 1,000; `None` when the Contact says nothing, which is as good as 1,000.
    pub q: Option<u16>,
    /// When it ends by itself.
    pub expires: Mono,
    /// Call-ID of the REGISTER that made or renewed it.
    pub call_id: Vec<u8>,
    /// Its CSeq number, which rises within a Call-ID (RFC 3261 §10.3).
    pub cseq: u32,
    /// The Path set in order, as one header value (RFC 3327); empty when there is none.
    pub path: Vec<u8>,
    /// Where the REGISTER came from and by which connection; requests go back there when [`Binding::pinned`] says so.
    pub flow: Flow,
    /// The Contact does not say where its owner is (address translation, a connection, a browser): only the flow leads there.
    pub pinned: bool,
    /// `+sip.instance` with its angle brackets, without quotes (RFC 5626 §4.1).
    pub instance: Vec<u8>,
    /// Number of the flow of this instance, from 1; 0: no outbound (RFC 5626 §4.2).
    pub reg_id: u32,
    /// What the phone calls itself.
    pub user_agent: Vec<u8>,
    /// The methods of Allow, as Kamailio's bit set; `u32::MAX`: it did not say.
    pub methods: u32,
    /// Id of the binding, unique among all servers that share it.
    pub ruid: Vec<u8>,
    /// When its last REGISTER came.
    pub made: Mono,
    /// For whoever keeps it; 0 in a new and in a renewed one.
    pub mark: u64,
}

impl Binding {
    /// Preference for the order of forking: none given is 1,000 (RFC 3261 §20.10).
    pub fn rank(&self) -> u16 {
        self.q.unwrap_or(1_000)
    }

    /// One Contact value of a 200 to REGISTER: `<URI>;expires=…` with q, instance and reg-id (RFC 3261 §10.3 step 8).
    pub fn write(&self, now: Mono, out: &mut Vec<u8>) {
        out.push(b'<');
        out.extend_from_slice(&self.contact);
        out.push(b'>');
        if let Some(q) = self.q {
            let (whole, part) = (q.checked_div(1_000).unwrap_or(0), q.checked_rem(1_000).unwrap_or(0));
            out.extend_from_slice(format!(";q={whole}.{part:03}").as_bytes());
        }
        let left = self.expires.since(now).as_millis().div_ceil(1_000);
        out.extend_from_slice(format!(";expires={left}").as_bytes());
        if !self.instance.is_empty() {
            out.extend_from_slice(b";+sip.instance=\"");
            out.extend_from_slice(&self.instance);
            out.push(b'"');
            if self.reg_id > 0 {
                out.extend_from_slice(format!(";reg-id={}", self.reg_id).as_bytes());
            }
        }
    }
}

/// Bounds of what is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Less is refused with 423, but 0 (RFC 3261 §10.3 step 7).
    pub min: Duration,
    /// Granted where the REGISTER says nothing.
    pub usual: Duration,
    /// More is cut to this.
    pub max: Duration,
    /// Bindings of one address of record (T-SIP-14); more are refused with 503.
    pub contacts: usize,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            min: Duration::from_secs(60),
            usual: Duration::from_secs(3_600),
            max: Duration::from_secs(86_400),
            contacts: 10,
        }
    }
}

/// Why a REGISTER is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// 400: it cannot mean anything, with what is wrong.
    Bad(&'static str),
    /// 423: an interval below the least ([`Bounds::min`]).
    TooBrief,
    /// 500: older than what is known of its Call-ID (RFC 3261 §10.3).
    OutOfOrder,
    /// 503: the address of record would have more bindings than [`Bounds::contacts`].
    TooMany,
}

impl Refused {
    /// Status and reason of the response.
    pub fn status(self) -> (u16, &'static str) {
        match self {
            Refused::Bad(why) => (400, why),
            Refused::TooBrief => (423, ""),
            Refused::OutOfOrder => (500, "Out of order"),
            Refused::TooMany => (503, "Too many contacts"),
        }
    }
}

/// One Contact of a REGISTER.
#[derive(Clone, Copy, Debug)]
struct Asked<'a> {
    uri: Uri<'a>,
    q: Option<u16>,
    /// Zero removes.
    lasts: Duration,
    instance: &'a [u8],
    reg_id: u32,
}

/// A REGISTER, read: what it asks for, and where it came from.
#[derive(Clone, Debug)]
pub struct Registration<'a> {
    call_id: &'a [u8],
    cseq: u32,
    contacts: Vec<Asked<'a>>,
    /// `Contact: *`: everything goes.
    all: bool,
    path: Vec<u8>,
    flow: Flow,
    /// It came from the phone itself, not by way of another proxy.
    first_hop: bool,
    /// The phone believes that it is at another address than the one that we see.
    translated: bool,
    user_agent: &'a [u8],
    methods: u32,
}

impl<'a> Registration<'a> {
    /// Reads a REGISTER that came by `flow`. Errors: [`Refused::Bad`] or [`Refused::TooBrief`].
    pub fn read(msg: &Message<'a>, flow: Flow, bounds: &Bounds) -> Result<Registration<'a>, Refused> {
        let header = msg.header(Header::Expires);
        // What cannot be read counts as the usual time (RFC 3261 §10.2.1.1).
        let usual = header.map(|v| seconds(v).unwrap_or(bounds.usual));
        let all = msg.values(Header::Contact).any(|v| lex::trim(v) == b"*");
        let mut contacts = Vec::new();
        for contact in msg.contacts() {
            contacts.push(Self::contact(&contact, usual, bounds)?);
        }
        if all && (!contacts.is_empty() || usual != Some(Duration::ZERO)) {
            return Err(Refused::Bad("Contact * needs Expires 0"));
        }
        if !all && contacts.is_empty() && msg.has(Header::Contact) {
            return Err(Refused::Bad("Contact"));
        }
        let mut path = Vec::new();
        for value in msg.values(Header::Path) {
            NameAddr::parse(value).ok().and_then(|a| a.uri().ok()).ok_or(Refused::Bad("Path"))?;
            if !path.is_empty() {
                path.extend_from_slice(b", ");
            }
            path.extend_from_slice(value);
        }
        // They are kept, and shared with servers whose columns end.
        if path.len() > LONGEST || msg.call_id().len() > LONGEST {
            return Err(Refused::Bad("Path or Call-ID too long"));
        }
        let via = msg.top_via();
        Ok(Registration {
            call_id: msg.call_id(),
            cseq: msg.cseq().0,
            contacts,
            all,
            path,
            flow,
            first_hop: msg.vias().nth(1).is_none(),
            translated: !flow.transport.is_reliable()
                && (via.ip(), via.port.unwrap_or(flow.transport.default_port()))
                    != (Some(flow.remote.ip()), flow.remote.port()),
            user_agent: msg.header(Header::UserAgent).unwrap_or(b""),
            methods: methods_of(msg),
        })
    }

    fn contact(c: &NameAddr<'a>, usual: Option<Duration>, bounds: &Bounds) -> Result<Asked<'a>, Refused> {
        let uri = c.uri().map_err(|_| Refused::Bad("Contact"))?;
        if !matches!(uri.scheme, Scheme::Sip | Scheme::Sips) {
            return Err(Refused::Bad("Contact scheme"));
        }
        let own = c.params.value(b"expires").map(|v| seconds(v).unwrap_or(bounds.usual));
        let lasts = own.or(usual).unwrap_or(bounds.usual);
        if lasts > Duration::ZERO && lasts < bounds.min {
            return Err(Refused::TooBrief);
        }
        let instance = c.params.value(b"+sip.instance").map_or(&b""[..], unquoted);
        if instance.len() > LONGEST {
            return Err(Refused::Bad("Contact too long"));
        }
        let reg_id = c.params.value(b"reg-id").and_then(lex::number).unwrap_or(0);
        Ok(Asked {
            uri,
            q: c.params.value(b"q").and_then(thousandths),
            lasts: lasts.min(bounds.max),
            instance,
            // Without an instance there is nothing that it could be a flow of (RFC 5626 §6).
            reg_id: if instance.is_empty() { 0 } else { reg_id },
        })
    }

    /// Whether it changes anything: without a Contact it only asks (RFC 3261 §10.2.3).
    pub fn changes(&self) -> bool {
        self.all || !self.contacts.is_empty()
    }

    /// Whether one of its Contacts is a flow of outbound (RFC 5626 §6): the 200 says `Require: outbound`.
    pub fn is_outbound(&self) -> bool {
        self.contacts.iter().any(|c| c.reg_id > 0 && c.lasts > Duration::ZERO)
    }

    /// The Path that the 200 repeats (RFC 3327 §5.3); empty when there is none.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    fn binding(&self, asked: &Asked<'a>, now: Mono, ruid: Vec<u8>) -> Binding {
        // A phone may register from one port and listen on another; another address, or a connection that nobody can open anew, is no
        // choice of its own.
        let elsewhere = asked.uri.ip() != Some(self.flow.remote.ip()) || self.translated;
        let alone = matches!(self.flow.transport, Transport::Tls | Transport::Ws | Transport::Wss);
        let direct = self.first_hop && self.path.is_empty();
        Binding {
            contact: asked.uri.raw.to_vec(),
            q: asked.q,
            expires: Mono(now.0.saturating_add(u64::try_from(asked.lasts.as_nanos()).unwrap_or(u64::MAX))),
            call_id: self.call_id.to_vec(),
            cseq: self.cseq,
            path: self.path.clone(),
            flow: self.flow,
            pinned: direct && (elsewhere || alone || asked.reg_id > 0),
            instance: asked.instance.to_vec(),
            reg_id: asked.reg_id,
            user_agent: self.user_agent.get(..USER_AGENT).unwrap_or(self.user_agent).to_vec(),
            methods: self.methods,
            ruid,
            made: now,
            mark: 0,
        }
    }
}

/// What a REGISTER did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Bindings that are new or renewed.
    pub put: Vec<Binding>,
    /// Bindings that are gone.
    pub removed: Vec<Binding>,
}

/// The bindings of one address of record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bindings {
    all: Vec<Binding>,
}

impl Bindings {
    /// Those that are alive, in the order in which they were made.
    pub fn alive(&self, now: Mono) -> impl Iterator<Item = &Binding> {
        self.all.iter().filter(move |b| b.expires > now)
    }

    /// All that are held, expired ones included.
    pub fn all(&self) -> impl Iterator<Item = &Binding> {
        self.all.iter()
    }

    /// How many are held, expired ones included.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Forgets what has expired, and gives it.
    pub fn expire(&mut self, now: Mono) -> Vec<Binding> {
        let (alive, over) = std::mem::take(&mut self.all).into_iter().partition(|b| b.expires > now);
        self.all = alive;
        over
    }

    /// The bindings themselves, for whoever shares them with other servers.
    pub fn edit(&mut self) -> &mut Vec<Binding> {
        &mut self.all
    }

    /// Does what a REGISTER asks for, or nothing. `new_id` makes the id of a new binding; a renewed one keeps its own.
    /// Errors: [`Refused::OutOfOrder`], [`Refused::TooMany`].
    pub fn apply(
        &mut self,
        request: &Registration<'_>,
        bounds: &Bounds,
        now: Mono,
        mut new_id: impl FnMut() -> Vec<u8>,
    ) -> Result<Changes, Refused> {
        let mut changes = Changes { put: Vec::new(), removed: self.expire(now) };
        let stale = |b: &Binding| b.call_id == request.call_id && b.cseq >= request.cseq;
        if request.all {
            if self.all.iter().any(stale) {
                return Err(Refused::OutOfOrder);
            }
            changes.removed.append(&mut self.all);
            return Ok(changes);
        }
        let mut next = self.all.clone();
        for asked in &request.contacts {
            let held = next.iter().position(|b| is_same(b, asked));
            if held.and_then(|n| next.get(n)).is_some_and(stale) {
                return Err(Refused::OutOfOrder);
            }
            let gone = held.map(|n| next.remove(n));
            match gone {
                Some(gone) if asked.lasts.is_zero() => changes.removed.push(gone),
                None if asked.lasts.is_zero() => {}
                renewed => {
                    let ruid = renewed.map_or_else(&mut new_id, |b| b.ruid);
                    let binding = request.binding(asked, now, ruid);
                    changes.put.push(binding.clone());
                    let at = held.unwrap_or(next.len()).min(next.len());
                    next.insert(at, binding);
                }
            }
        }
        if next.len() > bounds.contacts.max(self.all.len()) {
            return Err(Refused::TooMany);
        }
        self.all = next;
        Ok(changes)
    }
}

/// Whether a Contact means a binding: the same flow of the same instance (RFC 5626 §6), else an equal URI (RFC 3261 §10.3 step 7).
fn is_same(held: &Binding, asked: &Asked<'_>) -> bool {
    if asked.reg_id > 0 && held.reg_id > 0 {
        return held.reg_id == asked.reg_id && held.instance == asked.instance;
    }
    held.contact == asked.uri.raw || Uri::parse(&held.contact).is_ok_and(|uri| uri.is_equal(&asked.uri))
}

fn seconds(text: &[u8]) -> Option<Duration> {
    lex::number(lex::trim(text)).map(|n| Duration::from_secs(n.into()))
}

/// `0.7`, `1`, `1.000`: up to three decimals (RFC 3261 §25.1 `qvalue`).
fn thousandths(text: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if part.len() > 3 || !matches!(whole, "" | "0" | "1") || !part.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part: u16 = format!("{part:0<3}").parse().ok()?;
    let n = u16::from(whole == "1").checked_mul(1_000)?.checked_add(part)?;
    (n <= 1_000).then_some(n)
}

fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value)
}

/// Kamailio's bits of the methods of Allow (783: INVITE, CANCEL, ACK, BYE, OPTIONS, MESSAGE).
fn methods_of(msg: &Message<'_>) -> u32 {
    const BITS: [(Method, u32); 14] = [
        (Method::Invite, 1),
        (Method::Cancel, 2),
        (Method::Ack, 4),
        (Method::Bye, 8),
        (Method::Info, 16),
        (Method::Register, 32),
        (Method::Subscribe, 64),
        (Method::Notify, 128),
        (Method::Message, 256),
        (Method::Options, 512),
        (Method::Prack, 1_024),
        (Method::Update, 2_048),
        (Method::Refer, 4_096),
        (Method::Publish, 8_192),
    ];
    if !msg.has(Header::Allow) {
        return u32::MAX;
    }
    msg.values(Header::Allow).fold(0, |set, token| {
        let method = Method::from_token(lex::trim(token));
        BITS.iter().find(|(m, _)| *m == method).map_or(set, |(_, bit)| set | bit)
    })
}

/// Bytes of a Path, an instance or a Call-ID that is kept; a URI has its own limit.
const LONGEST: usize = 1_024;
/// Bytes of User-Agent that are kept.
const USER_AGENT: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: &str = "192.0.2.7:5070";

    fn at(s: u64) -> Mono {
        Mono(s.saturating_mul(1_000_000_000))
    }

    fn text(call: &str, cseq: u32, more: &str) -> String {
        format!(
            "REGISTER sip:carrier.test SIP/2.0\r\nVia: SIP/2.0/UDP {HOME};branch=z9hG4bK{cseq}\r\nFrom: <sip:a@h>;tag=1\r\n\
             To: <sip:a@h>\r\nCall-ID: {call}\r\nCSeq: {cseq} REGISTER\r\n{more}Content-Length: 0\r\n\r\n"
        )
    }

    /// Applies one REGISTER; new ids are numbered by its CSeq.
    fn register(
        held: &mut Bindings,
        now: u64,
        call: &str,
        cseq: u32,
        more: &str,
    ) -> Result<Changes, Refused> {
        let text = text(call, cseq, more);
        let msg = Message::parse(text.as_bytes()).unwrap();
        let flow = Flow::udp("192.0.2.1:5060".parse().unwrap(), HOME.parse().unwrap());
        let bounds = Bounds { contacts: 3, ..Bounds::default() };
        let request = Registration::read(&msg, flow, &bounds)?;
        held.apply(&request, &bounds, at(now), || format!("id-{cseq}").into_bytes())
    }

    fn contacts(held: &Bindings, now: u64) -> Vec<String> {
        let one = |b: &Binding| {
            let mut out = Vec::new();
            b.write(at(now), &mut out);
            String::from_utf8(out).unwrap()
        };
        held.alive(at(now)).map(one).collect()
    }

    #[test]
    fn a_phone_that_unregisters_leaves_nothing() {
        let mut held = Bindings::default();
        assert!(held.is_empty());
        register(&mut held, 0, "c1", 1, "Contact: <sip:a@192.0.2.1>\r\n").unwrap();
        assert_eq!((held.is_empty(), held.len()), (false, 1));
        register(&mut held, 1, "c1", 2, "Contact: <sip:a@192.0.2.1>;expires=0\r\n").unwrap();
        assert_eq!((held.is_empty(), held.len()), (true, 0));
    }

    #[test]
    fn several_contacts_with_their_own_times_and_preferences() {
        let mut held = Bindings::default();
        let more = "Contact: <sip:a@192.0.2.7:5070>;q=0.7, <sip:a@192.0.2.8>;expires=120\r\nExpires: 600\r\n";
        register(&mut held, 0, "c", 1, more).unwrap();
        assert_eq!(
            contacts(&held, 0),
            ["<sip:a@192.0.2.7:5070>;q=0.700;expires=600", "<sip:a@192.0.2.8>;expires=120"]
        );
        let pinned: Vec<bool> = held.alive(at(0)).map(|b| b.pinned).collect();
        assert_eq!(pinned, [false, true], "the second is not where the REGISTER came from");
        assert_eq!(contacts(&held, 119).len(), 2);
        assert_eq!(contacts(&held, 120), ["<sip:a@192.0.2.7:5070>;q=0.700;expires=480"]);
        assert_eq!(
            register(&mut held, 130, "c", 2, "").unwrap().removed.len(),
            1,
            "an expired one is told of"
        );
    }

    #[test]
    fn a_binding_is_renewed_in_its_place_and_keeps_its_id() {
        let mut held = Bindings::default();
        register(&mut held, 0, "c", 1, "Contact: <sip:a@192.0.2.7>\r\n").unwrap();
        // Equal by RFC 3261 §19.1.4, of another Call-ID with a lower number.
        let changes =
            register(&mut held, 10, "d", 1, "Contact: <sip:a@192.0.2.7;x=1>;expires=100\r\n").unwrap();
        assert_eq!((changes.put[0].ruid.as_slice(), changes.removed.len(), held.len()), (&b"id-1"[..], 0, 1));
        assert_eq!(contacts(&held, 10), ["<sip:a@192.0.2.7;x=1>;expires=100"]);
    }

    #[test]
    fn what_is_older_than_what_is_known_changes_nothing() {
        let mut held = Bindings::default();
        register(&mut held, 0, "c", 5, "Contact: <sip:a@192.0.2.7>\r\n").unwrap();
        for more in
            ["Contact: <sip:new@192.0.2.9>, <sip:a@192.0.2.7>;expires=0\r\n", "Contact: *\r\nExpires: 0\r\n"]
        {
            assert_eq!(register(&mut held, 1, "c", 5, more), Err(Refused::OutOfOrder), "{more}");
            assert_eq!(contacts(&held, 1), ["<sip:a@192.0.2.7>;expires=3599"], "as a whole or not at all");
        }
        assert!(register(&mut held, 1, "c", 6, "Contact: <sip:a@192.0.2.7>;expires=0\r\n").is_ok());
        assert!(held.is_empty());
    }

    #[test]
    fn star_removes_all_and_needs_expires_zero() {
        let mut held = Bindings::default();
        register(&mut held, 0, "c", 1, "Contact: <sip:a@192.0.2.7>, <sip:a@192.0.2.8>\r\n").unwrap();
        for more in [
            "Contact: *\r\n",
            "Contact: *\r\nExpires: 10\r\n",
            "Contact: *, <sip:b@192.0.2.7>\r\nExpires: 0\r\n",
        ] {
            assert!(matches!(register(&mut held, 0, "c", 2, more), Err(Refused::Bad(_))), "{more}");
        }
        let gone = register(&mut held, 0, "other", 1, "Contact: *\r\nExpires: 0\r\n").unwrap().removed;
        assert_eq!((gone.len(), held.len()), (2, 0));
    }

    #[test]
    fn intervals_have_a_least_a_usual_and_a_longest() {
        let mut held = Bindings::default();
        let brief = register(&mut held, 0, "c", 1, "Contact: <sip:a@192.0.2.7>;expires=59\r\n");
        assert_eq!((brief, held.len()), (Err(Refused::TooBrief), 0));
        for (cseq, expires, granted) in
            [(2, "60", 60), (3, "soon", 3_600), (4, "4294967295", 86_400), (5, "99999999999", 3_600)]
        {
            let more = format!("Contact: <sip:a@192.0.2.7>\r\nExpires: {expires}\r\n");
            register(&mut held, 0, "c", cseq, &more).unwrap();
            assert_eq!(contacts(&held, 0), [format!("<sip:a@192.0.2.7>;expires={granted}")]);
        }
    }

    /// T-SIP-14: one address of record cannot be made to fork without bounds.
    #[test]
    fn t_sip_14_an_address_of_record_has_so_many_bindings_and_no_more() {
        let mut held = Bindings::default();
        for n in 1..=3 {
            register(&mut held, 0, "c", n, &format!("Contact: <sip:a@192.0.2.{n}>\r\n")).unwrap();
        }
        assert_eq!(register(&mut held, 0, "c", 4, "Contact: <sip:a@192.0.2.4>\r\n"), Err(Refused::TooMany));
        let swap = "Contact: <sip:a@192.0.2.4>, <sip:a@192.0.2.1>;expires=0\r\n";
        assert!(register(&mut held, 0, "c", 5, swap).is_ok());
        assert_eq!(held.len(), 3);
        // Nor is anything kept that is as long as a datagram.
        let mut asks = |call: &str, more: &str| {
            register(&mut held, 0, call, 9, &format!("Contact: <sip:a@192.0.2.4>{more}\r\n"))
        };
        let long = "a".repeat(1_100);
        assert_eq!(asks("c", &format!(";+sip.instance=\"{long}\"")), Err(Refused::Bad("Contact too long")));
        let path =
            format!("\r\nPath: <sip:192.0.2.1;lr;x={}>, <sip:192.0.2.2;lr;x={}>", &long[..600], &long[..600]);
        assert_eq!(asks("c", &path), Err(Refused::Bad("Path or Call-ID too long")));
        assert_eq!(asks(&long, ""), Err(Refused::Bad("Path or Call-ID too long")));
        assert!(asks("c", "").is_ok());
    }

    /// RFC 5626 §6: a phone that comes back with another address and Call-ID takes the place of its former flow, and of no other.
    #[test]
    fn a_flow_of_an_instance_replaces_itself() {
        let mut held = Bindings::default();
        let flow = |host: u8, id: u8| {
            format!(
                "Supported: outbound, path\r\nContact: <sip:a@192.0.2.{host}>;+sip.instance=\"<urn:uuid:1>\";reg-id={id}\r\n"
            )
        };
        register(&mut held, 0, "c1", 1, &flow(1, 1)).unwrap();
        register(&mut held, 0, "c2", 1, &flow(2, 2)).unwrap();
        let changes = register(&mut held, 5, "c3", 1, &flow(3, 1)).unwrap();
        assert_eq!(changes.put[0].contact, b"sip:a@192.0.2.3");
        assert_eq!(
            contacts(&held, 5),
            [
                "<sip:a@192.0.2.3>;expires=3600;+sip.instance=\"<urn:uuid:1>\";reg-id=1",
                "<sip:a@192.0.2.2>;expires=3595;+sip.instance=\"<urn:uuid:1>\";reg-id=2"
            ]
        );
        // Without an instance a reg-id says nothing.
        register(&mut held, 5, "c4", 1, "Contact: <sip:b@192.0.2.9>;reg-id=1\r\n").unwrap();
        assert_eq!(held.alive(at(5)).last().unwrap().reg_id, 0);
    }

    /// RFC 3327: the Path is kept in its order; the phone behind it is not where the REGISTER came from, and not pinned to it.
    #[test]
    fn the_path_is_kept_in_order() {
        let mut held = Bindings::default();
        let more = "Path: <sip:p2;lr>, <sip:p1;lr>\r\nPath: <sip:p0;lr>\r\nContact: <sip:a@10.0.0.1>\r\n";
        register(&mut held, 0, "c", 1, more).unwrap();
        let binding = held.alive(at(0)).next().unwrap();
        assert_eq!(binding.path, b"<sip:p2;lr>, <sip:p1;lr>, <sip:p0;lr>");
        assert!(!binding.pinned);
        assert!(matches!(register(&mut held, 0, "c", 2, "Path: <x y>\r\n"), Err(Refused::Bad(_))));
    }

    /// They are kept for days and shared with others whose columns end: the longest passes, and one byte more is refused.
    #[test]
    fn a_path_and_a_call_id_have_a_longest() {
        let contact = "Contact: <sip:a@192.0.2.7:5070>\r\n";
        let path = |n: usize| format!("Path: <sip:{};lr>\r\n{contact}", "p".repeat(n - "<sip:;lr>".len()));
        let long = |more: usize| "c".repeat(LONGEST + more);
        for (call, more, fits) in [
            ("c".to_owned(), path(LONGEST), true),
            ("c".to_owned(), path(LONGEST + 1), false),
            (long(0), contact.to_owned(), true),
            (long(1), contact.to_owned(), false),
        ] {
            let mut held = Bindings::default();
            let got = register(&mut held, 0, &call, 1, &more);
            assert_eq!(got.is_ok(), fits, "{} {}: {got:?}", call.len(), more.len());
            assert_eq!(contacts(&held, 0).len(), usize::from(fits));
        }
    }

    /// Where the Contact is the phone's own address it is called there; else, and where nobody can connect to it, by its flow.
    #[test]
    fn a_flow_is_the_way_back_where_the_contact_leads_nowhere() {
        let outbound = ";+sip.instance=\"<urn:uuid:1>\";reg-id=1";
        for (transport, source, contact, pinned) in [
            (Transport::Udp, HOME, "<sip:a@192.0.2.7:6000>".to_owned(), false),
            (Transport::Udp, HOME, format!("<sip:a@192.0.2.7:5070>{outbound}"), true),
            (Transport::Udp, "192.0.2.7:40000", "<sip:a@192.0.2.7:5070>".to_owned(), true),
            (Transport::Udp, "203.0.113.1:5070", "<sip:a@192.0.2.7:5070>".to_owned(), true),
            (Transport::Tcp, "192.0.2.7:40000", "<sip:a@192.0.2.7:5070;transport=tcp>".to_owned(), false),
            (Transport::Tcp, HOME, "<sip:a@10.0.0.1:5070;transport=tcp>".to_owned(), true),
            (Transport::Tls, HOME, "<sip:a@192.0.2.7:5070;transport=tls>".to_owned(), true),
            (Transport::Wss, HOME, "<sip:a@x.invalid;transport=ws>".to_owned(), true),
        ] {
            let text = text("c", 1, &format!("Contact: {contact}\r\n"));
            let msg = Message::parse(text.as_bytes()).unwrap();
            let flow = Flow::unlinked(transport, "192.0.2.1:5060".parse().unwrap(), source.parse().unwrap());
            let request = Registration::read(&msg, flow, &Bounds::default()).unwrap();
            let mut held = Bindings::default();
            let changes = held.apply(&request, &Bounds::default(), at(0), Vec::new).unwrap();
            assert_eq!(changes.put[0].pinned, pinned, "{transport} {source} {contact}");
        }
    }

    #[test]
    fn methods_are_kamailios_bits() {
        let text = text("c", 1, "Allow: INVITE, ACK, CANCEL, BYE\r\nAllow: OPTIONS, MESSAGE, X\r\n");
        assert_eq!(methods_of(&Message::parse(text.as_bytes()).unwrap()), 783);
    }

    #[test]
    fn preferences_have_three_decimals() {
        for (text, n) in [
            ("1", Some(1_000)),
            ("0.7", Some(700)),
            ("0.001", Some(1)),
            ("1.1", None),
            ("0.7777", None),
            ("x", None),
        ] {
            assert_eq!(thousandths(text.as_bytes()), n, "{text}");
        }
    }
}
