//! RFC 3263 by question and answer: a book of records answers, as a DNS server would, and what was asked is looked at as well.

use std::collections::BTreeMap;

use warp_sip::flow::Transport::{self, Tcp, Tls, Udp};
use warp_sip::resolve::{
    DnsAnswer, DnsQuestion, DnsRecord, Lookup, LookupError, QUESTIONS, RecordType, Server, Servers, Wanted,
};

const ALL: [Transport; 3] = [Udp, Tcp, Tls];

#[derive(Default)]
struct Book(BTreeMap<(String, RecordType), DnsAnswer>);

impl Book {
    fn with(mut self, name: &str, kind: RecordType, answer: DnsAnswer) -> Book {
        self.0.insert((name.to_owned(), kind), answer);
        self
    }

    fn records(self, name: &str, kind: RecordType, records: &[DnsRecord]) -> Book {
        self.with(name, kind, DnsAnswer::Records(records.to_vec(), 300))
    }

    /// What comes of a look-up, and what it asked.
    fn look_up(
        &self,
        wanted: Wanted,
        ours: &[Transport],
    ) -> (Result<Servers, LookupError>, Vec<DnsQuestion>) {
        let (mut lookup, mut asked) = (Lookup::begin(wanted, ours), Vec::new());
        while let Some(question) = lookup.question() {
            let key = (question.name.clone(), question.kind);
            asked.push(question);
            lookup.answer(self.0.get(&key).cloned().unwrap_or(DnsAnswer::Nothing(60)));
            assert!(asked.len() <= QUESTIONS, "{asked:?}");
        }
        (lookup.result(), asked)
    }

    fn found(&self, wanted: Wanted) -> Vec<String> {
        let servers = self.look_up(wanted, &ALL).0.unwrap();
        servers.order(|_| 0).iter().map(|(transport, at)| format!("{transport} {at}")).collect()
    }
}

fn naptr(order: u16, preference: u16, service: &str, replacement: &str) -> DnsRecord {
    DnsRecord::Naptr {
        order,
        preference,
        flags: b"s".to_vec(),
        service: service.into(),
        replacement: replacement.into(),
    }
}

fn srv(priority: u16, weight: u16, port: u16, target: &str) -> DnsRecord {
    DnsRecord::Srv { priority, weight, port, target: target.into() }
}

fn ip(text: &str) -> DnsRecord {
    DnsRecord::Address(text.parse().unwrap())
}

fn name(host: &str) -> Wanted {
    Wanted::new(host, None, None, false).unwrap()
}

fn texts(asked: &[DnsQuestion]) -> Vec<String> {
    asked.iter().map(|q| format!("{:?} {}", q.kind, q.name)).collect()
}

/// The example of RFC 3263 §4.1: TLS before TCP before UDP, because the domain says so; SRV after that.
#[test]
fn naptr_says_which_transport_and_srv_which_host() {
    let book = Book::default()
        .records(
            "example.com",
            RecordType::Naptr,
            &[
                naptr(90, 50, "SIP+D2T", "_sip._tcp.example.com"),
                naptr(50, 50, "SIPS+D2T", "_sips._tcp.example.com"),
                naptr(100, 50, "SIP+D2U", "_sip._udp.example.com"),
                naptr(1, 1, "E2U+email", "mail.example.com"),
            ],
        )
        .records("_sips._tcp.example.com", RecordType::Srv, &[srv(0, 1, 5061, "s1.example.com")])
        .records("_sip._tcp.example.com", RecordType::Srv, &[srv(0, 1, 5060, "s1.example.com")])
        .records("_sip._udp.example.com", RecordType::Srv, &[srv(0, 1, 5070, "s2.example.com.")])
        .records("s1.example.com", RecordType::A, &[ip("192.0.2.1")])
        .records("s2.example.com", RecordType::Aaaa, &[ip("2001:db8::2")]);
    assert_eq!(
        book.found(name("Example.com.")),
        ["TLS 192.0.2.1:5061", "TCP 192.0.2.1:5060", "UDP [2001:db8::2]:5070"]
    );
    // What we cannot send by is not asked for.
    let (found, asked) = book.look_up(name("example.com"), &[Udp]);
    assert_eq!(found.unwrap().list.len(), 1);
    assert_eq!(
        texts(&asked),
        ["Naptr example.com", "Srv _sip._udp.example.com", "A s2.example.com", "Aaaa s2.example.com"]
    );
}

/// RFC 3263 §4.1, §4.2: what is asked when there is no NAPTR, when the transport is said, when the port is said.
#[test]
fn without_naptr_srv_is_asked_for_each_transport_and_without_srv_the_host_itself() {
    let host = || Book::default().records("h.example", RecordType::A, &[ip("192.0.2.7")]);
    let (found, asked) = host().look_up(name("h.example"), &ALL);
    assert_eq!(found.unwrap().order(|_| 0), [(Udp, "192.0.2.7:5060".parse().unwrap())]);
    assert_eq!(
        texts(&asked),
        [
            "Naptr h.example",
            "Srv _sip._udp.h.example",
            "Srv _sip._tcp.h.example",
            "Srv _sips._tcp.h.example",
            "A h.example",
            "Aaaa h.example"
        ]
    );
    let tcp = Wanted::new("h.example", None, Some(Tcp), false).unwrap();
    let (found, asked) = host().look_up(tcp, &ALL);
    assert_eq!(found.unwrap().order(|_| 0), [(Tcp, "192.0.2.7:5060".parse().unwrap())]);
    assert_eq!(texts(&asked), ["Srv _sip._tcp.h.example", "A h.example", "Aaaa h.example"]);
    let port = Wanted::new("h.example", Some(5080), None, false).unwrap();
    let (found, asked) = host().look_up(port, &ALL);
    assert_eq!(found.unwrap().order(|_| 0), [(Udp, "192.0.2.7:5080".parse().unwrap())]);
    assert_eq!(texts(&asked), ["A h.example", "Aaaa h.example"]);
}

/// RFC 3263 §4.1: for `sips:` only what is encrypted will do, whatever else the domain has.
#[test]
fn sips_never_leads_to_a_transport_without_tls() {
    let book = Book::default()
        .records("s.example", RecordType::Naptr, &[naptr(1, 1, "SIP+D2U", "_sip._udp.s.example")])
        .records("_sip._udp.s.example", RecordType::Srv, &[srv(0, 0, 5060, "s.example")])
        .records("s.example", RecordType::A, &[ip("192.0.2.7")]);
    let secure = Wanted::new("s.example", None, None, true).unwrap();
    let (found, asked) = book.look_up(secure.clone(), &ALL);
    assert_eq!(found.unwrap().order(|_| 0), [(Tls, "192.0.2.7:5061".parse().unwrap())]);
    assert!(texts(&asked).iter().all(|q| !q.contains("_udp")), "{asked:?}");
    assert_eq!(book.look_up(secure, &[Udp, Tcp]).0, Err(LookupError::NoServer(300)));
}

/// RFC 2782: a target of "." says that there is no such service, and the host is not tried instead.
#[test]
fn a_service_that_is_not_offered_is_not_looked_for_elsewhere() {
    let book = Book::default().records("_sip._udp.n.example", RecordType::Srv, &[srv(0, 0, 0, "")]).records(
        "n.example",
        RecordType::A,
        &[ip("192.0.2.7")],
    );
    let udp = Wanted::new("n.example", None, Some(Udp), false).unwrap();
    let (found, asked) = book.look_up(udp, &ALL);
    assert!(matches!(found, Err(LookupError::NoServer(_))), "{found:?}");
    assert_eq!(asked.len(), 1);
}

/// RFC 2782: priorities are an order, weights are shares; those without weight have a small one.
#[test]
fn weights_are_shares_within_a_priority() {
    let server = |group, weight, last: u8| Server {
        transport: Udp,
        group,
        weight,
        addresses: vec![format!("192.0.2.{last}:5060").parse().unwrap()],
    };
    let servers = Servers {
        list: vec![server(2, 10, 9), server(1, 60, 1), server(1, 20, 2), server(1, 0, 3)],
        ttl: 60,
    };
    let mut first = [0; 10];
    let mut state = 1_u64;
    for _ in 0..8_100 {
        let order = servers.order(|most| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) % (u64::from(most) + 1)) as u32
        });
        assert_eq!(order.len(), 4);
        assert_eq!(order[3].1.to_string(), "192.0.2.9:5060");
        let std::net::IpAddr::V4(ip) = order[0].1.ip() else { panic!() };
        first[usize::from(ip.octets()[3])] += 1;
    }
    let within = |count: i32, wanted: i32| (count - wanted).abs() < wanted / 5 + 60;
    assert!(within(first[1], 6_000) && within(first[2], 2_000) && within(first[3], 100), "{first:?}");
}

/// Answers that lie or never end: bounded questions, bounded addresses, no name that is none (T-SIP-14, F-DNS).
#[test]
fn t_sip_14_an_answer_that_never_ends_is_cut() {
    let many: Vec<DnsRecord> = (0..1_000).map(|n| srv(n, 1, 5060, &format!("h{n}.evil.example"))).collect();
    let addresses: Vec<DnsRecord> =
        (0..1_000_u32).map(|n| DnsRecord::Address(std::net::Ipv4Addr::from(n + (10 << 24)).into())).collect();
    let mut book = Book::default().records("_sip._udp.evil.example", RecordType::Srv, &many);
    for n in 0..1_000 {
        book = book.records(&format!("h{n}.evil.example"), RecordType::A, &addresses);
    }
    let udp = |host| Wanted::new(host, None, Some(Udp), false).unwrap();
    let (found, asked) = book.look_up(udp("evil.example"), &ALL);
    let found = found.unwrap().order(|_| 0);
    assert!(found.len() <= 64 && asked.len() <= QUESTIONS, "{} {}", found.len(), asked.len());
    // A name that leads to itself, by every type there is.
    let itself = Book::default()
        .records("loop.example", RecordType::Naptr, &[naptr(1, 1, "SIP+D2U", "loop.example")])
        .records("loop.example", RecordType::Srv, &[srv(1, 1, 5060, "loop.example")]);
    let (found, asked) = itself.look_up(name("loop.example"), &ALL);
    assert!(found.is_err() && asked.len() <= 8, "{found:?} {asked:?}");
    // Names that are none are not asked for.
    for target in
        ["a b", "x\r\ny", "-a.example", &"a".repeat(64), &"a.".repeat(200), "192.0.2.1 ", "é.example"]
    {
        let book =
            Book::default().records("_sip._udp.odd.example", RecordType::Srv, &[srv(1, 1, 5060, target)]);
        let (found, asked) = book.look_up(udp("odd.example"), &ALL);
        assert!(found.is_err() && asked.len() == 1, "{target:?} {asked:?}");
    }
}

/// DNS that is dead costs two questions, not one for each transport; what was found before it died counts.
#[test]
fn dead_servers_are_told_from_names_that_do_not_exist() {
    let dead = |kinds: &[&str]| {
        let mut book = Book::default().records("d.example", RecordType::Aaaa, &[ip("2001:db8::1")]);
        for name in kinds {
            book = book.with(name, RecordType::Srv, DnsAnswer::Failed);
        }
        book.with("d.example", RecordType::Naptr, DnsAnswer::Failed)
    };
    let (found, asked) = dead(&["_sip._udp.d.example"]).look_up(name("d.example"), &ALL);
    assert_eq!((found, asked.len()), (Err(LookupError::Failed), 2));
    // One that is lost does not end it.
    let (found, _) = dead(&[]).look_up(name("d.example"), &ALL);
    assert_eq!(found.unwrap().order(|_| 0), [(Udp, "[2001:db8::1]:5060".parse().unwrap())]);
    let (found, _) = Book::default().look_up(name("nobody.example"), &ALL);
    assert_eq!(found, Err(LookupError::NoServer(60)));
}

/// The shortest TTL of what was used counts, within bounds.
#[test]
fn an_answer_is_good_for_its_shortest_ttl() {
    for (srv_ttl, a_ttl, ttl) in [(300, 20, 20), (20, 300, 20), (0, 300, 5), (u32::MAX, u32::MAX, 86_400)] {
        let book = Book::default()
            .with(
                "_sip._udp.t.example",
                RecordType::Srv,
                DnsAnswer::Records(vec![srv(1, 1, 5060, "a.example")], srv_ttl),
            )
            .with("a.example", RecordType::A, DnsAnswer::Records(vec![ip("192.0.2.1")], a_ttl));
        let udp = Wanted::new("t.example", None, Some(Udp), false).unwrap();
        assert_eq!(book.look_up(udp, &ALL).0.unwrap().ttl, ttl);
    }
}

#[test]
fn only_host_names_are_looked_for() {
    for bad in ["", ".", "a..b", "192.0.2.1", "host name", "a_b\n", "[2001:db8::1]", &"x".repeat(300)] {
        assert_eq!(Wanted::new(bad, None, None, false), None, "{bad:?}");
    }
    assert_eq!(Wanted::new("h.example", Some(0), None, false), None);
    assert_eq!(Wanted::new("SIP.Example.COM.", Some(5060), None, false).unwrap().host, "sip.example.com");
}
