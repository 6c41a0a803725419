//! Private networks, our own addresses, and the flags about them: the table of `docs/reference/ng.md`, row by row (PRODUCT §6).

mod desk;

use desk::*;
use warp_media::SourcePolicy;
use warp_media_relay::core::book::{Book, BookConfig};
use warp_media_relay::core::ports::PortPool;
use warp_ng::{Command, Delete, Flags};

/// Who may be learnt and where media goes first, of a caller with this SDP address, source and flags. The media set is
/// 192.0.2.50 and, where it says so, the SDP's address.
fn row(sdp_ip: &str, source: Option<&str>, set: fn(&mut Flags), more: &[&str]) -> (String, Option<String>) {
    let (mut book, mut rules) = (book(), Rules::default());
    let mut o = offer("c", "f", sdp(sdp_ip, 4000, more.first().copied().unwrap_or_default()));
    o.received_from = source.map(ip);
    o.media_ips = more.iter().skip(1).map(|t| ip(t)).collect();
    set(&mut o.flags);
    let b = port(&text(run(&mut book, Command::Offer(o), at(0))));
    let ok = answer("c", "f", "t", sdp("192.0.2.2", 5000, ""));
    let a = port(&text(run(&mut book, Command::Answer(ok), at(0))));
    rules.drain(&mut book);
    let source = match rules.at(a).source {
        SourcePolicy::Nobody | SourcePolicy::Checked => "nobody".to_owned(),
        SourcePolicy::Exact(at) => format!("exactly {at}"),
        SourcePolicy::Learn(policy) => {
            let all = ["10.0.0.5", "10.0.0.9", "198.51.100.1", "198.51.100.200", "192.0.2.50", "203.0.113.9"];
            let named: Vec<&str> = all.into_iter().filter(|t| policy.allows(ip(t))).collect();
            format!("any port of {}", named.join(", "))
        }
    };
    (source, rules.at(b).rtp.and_then(|way| way.to).map(|to| to.to_string()))
}

fn plain(_: &mut Flags) {}
fn trust(f: &mut Flags) {
    f.trust_address = true;
}
fn from_source(f: &mut Flags) {
    f.sip_source_address = true;
}
fn symmetric(f: &mut Flags) {
    f.symmetric = true;
}

#[test]
fn t_rtp_03_t_rtp_04_the_table_of_addresses_sources_and_flags() {
    const PRIVATE: &str = "10.0.0.5";
    const PUBLIC: &str = "198.51.100.1";
    const OTHER_PRIVATE: Option<&str> = Some("10.0.0.9");
    const OTHER_PUBLIC: Option<&str> = Some("198.51.100.200");
    const SET: &[&str] = &["", "192.0.2.50"];
    let at_its_word = |ip: &str| (format!("exactly {ip}:4000"), Some(format!("{ip}:4000")));
    let learns = |from: &str| (format!("any port of {from}"), None);
    let open = |ip: &str, from: &str| (format!("any port of {from}"), Some(format!("{ip}:4000")));

    // trust-address means the SDP's address, whoever sends the message, and whatever else is said.
    for ip in [PRIVATE, PUBLIC] {
        for source in [None, Some(ip), OTHER_PRIVATE, OTHER_PUBLIC] {
            assert_eq!(row(ip, source, trust, SET), at_its_word(ip), "{ip} {source:?}");
            let both = |f: &mut Flags| (f.trust_address, f.sip_source_address) = (true, true);
            assert_eq!(row(ip, source, both, SET), at_its_word(ip), "{ip} {source:?}");
            let ports = |f: &mut Flags| (f.trust_address, f.symmetric) = (true, true);
            assert_eq!(row(ip, source, ports, SET), open(ip, ip), "{ip} {source:?}");
        }
    }
    // SIP-source-address: the same address with another port, or another address.
    assert_eq!(row(PUBLIC, Some(PUBLIC), from_source, &[]), open(PUBLIC, PUBLIC));
    assert_eq!(row(PUBLIC, OTHER_PUBLIC, from_source, SET), learns("198.51.100.200, 192.0.2.50"));
    assert_eq!(row(PRIVATE, OTHER_PRIVATE, from_source, SET), learns("10.0.0.9, 192.0.2.50"));
    assert_eq!(row(PUBLIC, None, from_source, SET), at_its_word(PUBLIC), "no source to learn from");
    // A usable address, and an address of the media set.
    for source in [None, Some(PUBLIC), OTHER_PRIVATE, OTHER_PUBLIC] {
        assert_eq!(row(PUBLIC, source, plain, SET), at_its_word(PUBLIC), "{source:?}");
        assert_eq!(row(PUBLIC, source, symmetric, SET), open(PUBLIC, PUBLIC), "{source:?}");
    }
    assert_eq!(row(PRIVATE, OTHER_PUBLIC, plain, &["", PRIVATE]), at_its_word(PRIVATE));
    // Private: the same network, two networks behind one carrier, a NAT.
    assert_eq!(row(PRIVATE, None, plain, SET), at_its_word(PRIVATE));
    assert_eq!(row(PRIVATE, Some(PRIVATE), plain, SET), at_its_word(PRIVATE));
    assert_eq!(row(PRIVATE, OTHER_PRIVATE, plain, SET), open(PRIVATE, "10.0.0.5, 10.0.0.9, 192.0.2.50"));
    assert_eq!(row(PRIVATE, OTHER_PUBLIC, plain, SET), learns("198.51.100.200, 192.0.2.50"));
    assert_eq!(row(PRIVATE, OTHER_PUBLIC, symmetric, SET), learns("198.51.100.200, 192.0.2.50"));
}

#[test]
fn rtcp_lines_that_name_nobody_are_read_over() {
    let rtcp = |line: &str| {
        let (mut book, mut rules) = (book(), Rules::default());
        let o = offer("c", "f", sdp("198.51.100.1", 4000, line));
        let b = port(&text(run(&mut book, Command::Offer(o), at(0))));
        let ok = answer("c", "f", "t", sdp("192.0.2.2", 5000, ""));
        text(run(&mut book, Command::Answer(ok), at(0)));
        rules.drain(&mut book);
        rules.at(b + 1).rtcp.unwrap().to.unwrap().to_string()
    };
    assert_eq!(rtcp(""), "198.51.100.1:4001");
    for nobody in ["a=rtcp:9 IN IP4 0.0.0.0\r\n", "a=rtcp:9 IN IP6 ::\r\n", "a=rtcp:0\r\n"] {
        assert_eq!(rtcp(nobody), "198.51.100.1:4001", "{nobody}");
    }
    // A port that is one, beside an address that is none or cannot be reached.
    for address in ["10.0.0.5", "127.0.0.1", "255.255.255.255"] {
        assert_eq!(rtcp(&format!("a=rtcp:4100 IN IP4 {address}\r\n")), "198.51.100.1:4100", "{address}");
    }
    assert_eq!(rtcp("a=rtcp:4100 IN IP4 198.51.100.7\r\n"), "198.51.100.7:4100");
}

/// A relay on 10.9.9.9 that others see as 203.0.113.9.
fn behind_nat() -> Book {
    let pool = PortPool::new(&[ip("10.9.9.9")], 30_000..=30_099, 3).unwrap();
    let config = BookConfig { advertise: vec![ip("203.0.113.9")], ..BookConfig::default() };
    Book::new(config, Box::new(pool))
}

#[test]
fn our_own_address_is_our_own_other_leg_and_never_nat() {
    // A PBX in the signalling only: it sends the SDP of one leg on as another call's.
    for shown in ["10.9.9.9", "203.0.113.9"] {
        let (mut book, mut rules) = (behind_nat(), Rules::default());
        let b1 = port(&text(run(
            &mut book,
            Command::Offer(offer("1", "f", sdp("198.51.100.1", 4000, ""))),
            at(0),
        )));
        let mut second = offer("2", "g", sdp(shown, b1, ""));
        // Private, and from elsewhere: everywhere else that would be a NAT.
        second.received_from = Some(ip("198.51.100.77"));
        second.flags.sip_source_address = true;
        let b2 = port(&text(run(&mut book, Command::Offer(second), at(0))));
        let ok = answer("2", "g", "u", sdp("192.0.2.2", 5000, ""));
        let a2 = port(&text(run(&mut book, Command::Answer(ok), at(0))));
        let mut back = answer("1", "f", "t", sdp(shown, a2, ""));
        back.received_from = Some(ip("198.51.100.77"));
        let a1 = port(&text(run(&mut book, Command::Answer(back), at(0))));
        rules.drain(&mut book);
        // Media stays on this machine, by its own address.
        let local = |port: u16| sock(&format!("10.9.9.9:{port}"));
        assert_eq!(rules.at(a1).rtp.unwrap().to, Some(local(a2)), "{shown}");
        assert_eq!(rules.at(b2).rtp.unwrap().to, Some(local(b1)), "{shown}");
        assert_eq!(rules.at(b1).source, SourcePolicy::Exact(local(a2)), "{shown}");
        assert_eq!(rules.at(a2).source, SourcePolicy::Exact(local(b1)), "{shown}");
    }
}

#[test]
fn t_ng_06_only_ports_that_are_lent_to_another_dialogue_are_ours_to_send_to() {
    let mut book = behind_nat();
    let b =
        port(&text(run(&mut book, Command::Offer(offer("1", "f", sdp("198.51.100.1", 4000, ""))), at(0))));
    for shown in ["10.9.9.9", "203.0.113.9"] {
        let unlent = (30_000..30_099).step_by(2).find(|p| !used(&mut book, *p)).unwrap();
        let said = |port: u16| Command::Offer(offer("2", "g", sdp(shown, port, "")));
        assert_eq!(reason(run(&mut book, said(unlent), at(0))), "Failed to parse SDP", "{shown}:{unlent}");
        // Lent, but to the dialogue itself.
        let own = Command::Answer(answer("1", "f", "t", sdp(shown, b, "")));
        assert_eq!(reason(run(&mut book, own, at(0))), "Failed to parse SDP", "{shown}:{b}");
        // Beyond the range: another program here, or another machine behind the address that we show.
        text(run(&mut book, said(40_000), at(0)));
        run(&mut book, Command::Delete(Delete::call("2")), at(0));
    }
}

/// True when a port is lent, by what the statistics say.
fn used(book: &mut Book, port: u16) -> bool {
    let query = warp_ng::Query { call_id: "1".into(), ..Default::default() };
    let figures = stats(run(book, Command::Query(query), at(0)));
    let mut streams = figures.tags.iter().flat_map(|t| &t.medias).flat_map(|m| &m.streams);
    streams.any(|s| s.local.port() == port)
}
