//! A whole node: a phone registers over TLS with its customer's secret, is shown, and is called by its connection when its number is.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use serde_json::json;
use warp_control_plane::app::inbound::{self, InboundTermsInput};
use warp_control_plane::app::input::Input;
use warp_control_plane::app::numbers::{self, NewNumberInput};
use warp_control_plane::app::seed::Seed;
use warp_control_plane::app::trunks::{get_credential, ha1};
use warp_control_plane::app::{Change, Ctx, Expected};
use warp_net::tls::{TlsClient, TlsSession};
use warp_sip_proxy::core::Transport;

use super::tests::{Database, until};
use super::*;

const NUMBER: &str = "+14155550188";

/// A phone on a TLS connection.
struct Phone {
    tcp: TcpStream,
    tls: TlsSession,
    read: Vec<u8>,
}

impl Phone {
    fn connect(at: SocketAddr, root: &std::path::Path) -> Phone {
        let tcp = TcpStream::connect(at).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let tls = TlsClient::open(Some(root)).unwrap().connect("127.0.0.1").unwrap();
        Phone { tcp, tls, read: Vec::new() }
    }

    fn send(&mut self, text: &str) {
        self.tls.send(text.as_bytes());
        self.flush();
    }

    fn flush(&mut self) {
        let mut out = Vec::new();
        self.tls.take_output(&mut out);
        self.tcp.write_all(&out).unwrap();
    }

    /// The next message without a body.
    fn next(&mut self) -> String {
        loop {
            if let Some(end) = self.read.windows(4).position(|w| w == b"\r\n\r\n") {
                let rest = self.read.split_off(end + 4);
                return String::from_utf8(std::mem::replace(&mut self.read, rest)).unwrap();
            }
            let mut bytes = [0; 8_192];
            let n = self.tcp.read(&mut bytes).expect("bytes in time");
            assert!(n > 0, "closed");
            self.tls.receive(&bytes[..n], &mut self.read).unwrap();
            self.flush();
        }
    }
}

fn header<'t>(text: &'t str, name: &str) -> &'t str {
    text.lines()
        .find_map(|l| l.strip_prefix(name)?.strip_prefix(": "))
        .unwrap_or_else(|| panic!("{name}: {text}"))
}

fn register(to: SocketAddr, cseq: u32, more: &str) -> String {
    format!(
        "REGISTER sip:{to};transport=tls SIP/2.0\r\nVia: SIP/2.0/TLS 192.0.2.7:5061;branch=z9hG4bKr{cseq}\r\nMax-Forwards: 70\r\n\
         From: <sip:phone1@{to}>;tag=r\r\nTo: <sip:phone1@{to}>\r\nCall-ID: phone1\r\nCSeq: {cseq} REGISTER\r\n\
         Contact: <sip:phone1@192.0.2.7:5061;transport=tls>\r\nUser-Agent: desk phone\r\n{more}Content-Length: 0\r\n\r\n"
    )
}

#[test]
fn a_phone_registers_over_tls_at_a_node_and_its_number_leads_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let Some(database) = Database::start(&dir.path().join("pg")) else { return };
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let mut loaded = database.node(dir.path(), "data");
    loaded.config.sip.listen =
        ["udp:127.0.0.1:0", "tls:127.0.0.1:0", "ws:127.0.0.1:0"].map(|l| l.parse().unwrap()).to_vec();
    loaded.config.sip.tls_certificate = Some(certificate.clone());
    loaded.config.sip.tls_key = Some(key);
    loaded.config.sip.digest = vec![crate::config::Algorithm::Md5];
    let stack = Stack::start(&loaded, "sip,api,jobs".parse().unwrap()).unwrap();
    let links: Vec<Transport> = stack.addresses.sip_links.iter().map(|(t, _)| *t).collect();
    assert_eq!(links, [Transport::Tls, Transport::Ws]);
    let (tls_at, udp_at) = (stack.addresses.sip_links[0].1, stack.addresses.sip_udp.unwrap());
    let app = stack.control_plane.as_ref().unwrap().app().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();

    let trunk = runtime.block_on(async {
        let (seed, ctx) = (Seed::new(&app), Ctx::system(&app, "test"));
        let csv = "NPANXX,Interstate,Intrastate,Indeterminate\n415,0.01,0.01,0.01\n".to_owned();
        let sell = seed.deck("sell", "us", csv).await.unwrap();
        let partition = seed.partition(json!({ "name": "none", "vendors": [] })).await.unwrap();
        let body = json!({ "name": "Acme", "sell_deck_ids": [sell], "partition_id": partition });
        let customer = seed.customer(body).await.unwrap();
        let caller = json!({ "name": "pbx" });
        seed.trunk(customer, caller, &["127.0.0.1"], &[]).await.unwrap();
        let users = [("phone1", "a long enough secret")];
        let trunk = seed.trunk(customer, json!({ "name": "phones" }), &[], &users).await.unwrap();
        let terms = InboundTermsInput::from_json(&json!({ "deck_ids": [sell] })).unwrap();
        inbound::set_customer_terms(&ctx, customer, terms).await.unwrap();
        let number = json!({ "number": NUMBER, "customer_id": customer });
        let number = numbers::create(&ctx, NewNumberInput::from_json(&number).unwrap()).await.unwrap();
        let id = number.id.parse().unwrap();
        let unknown = json!({ "targets": [{ "trunk_id": trunk, "username": "nobody" }] });
        let refused = numbers::update(&ctx, id, Change::Patch(&unknown), &Expected::Any).await;
        assert!(format!("{refused:?}").contains("the trunk has no such user"), "{refused:?}");
        let targets = json!({ "targets": [{ "trunk_id": trunk, "username": "phone1" }] });
        let number = numbers::update(&ctx, id, Change::Patch(&targets), &Expected::Any).await.unwrap();
        assert_eq!(number.targets[0].username.as_deref(), Some("phone1"));
        app.publish_now().await.unwrap();
        trunk
    });

    let mut phone = Phone::connect(tls_at, &certificate);
    phone.send(&register(tls_at, 1, ""));
    let challenged = phone.next();
    assert!(challenged.starts_with("SIP/2.0 401 "), "{challenged}");
    let offered = header(&challenged, "WWW-Authenticate");
    let part = |name: &str| offered.split(&format!("{name}=\"")).nth(1).unwrap().split('"').next().unwrap();
    let (realm, nonce) = (part("realm"), part("nonce"));
    // H(a:b:c) thrice: of the secret, of the request, and of both with the nonce (RFC 2617 §3.2.2).
    let md5 = |a: &str, b: &str, c: &str| ha1(a, b, c).0;
    let secret = md5("phone1", realm, "a long enough secret");
    let asked = md5("REGISTER", "sip", &format!("{tls_at};transport=tls"));
    let response = md5(&secret, &format!("{nonce}:00000001:0a:auth"), &asked);
    let signed = format!(
        "Authorization: Digest username=\"phone1\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"sip:{tls_at};transport=tls\", \
         response=\"{response}\", algorithm=MD5, cnonce=\"0a\", qop=auth, nc=00000001\r\n"
    );
    phone.send(&register(tls_at, 2, &signed));
    let granted = phone.next();
    assert!(granted.starts_with("SIP/2.0 200 "), "{granted}");

    let shown = runtime.block_on(get_credential(&Ctx::system(&app, "test"), trunk, "phone1")).unwrap();
    let shown = &shown.registrations[0];
    assert_eq!((shown.transport.as_str(), shown.user_agent.as_deref()), ("tls", Some("desk phone")));
    assert_eq!(shown.source, phone.tcp.local_addr().unwrap().to_string());

    let caller = UdpSocket::bind("127.0.0.1:0").unwrap();
    let from = caller.local_addr().unwrap();
    let invite = format!(
        "INVITE sip:{NUMBER}@{udp_at} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
         From: <sip:+12125550100@{from}>;tag=a\r\nTo: <sip:{NUMBER}@{udp_at}>\r\nCall-ID: to-the-phone\r\n\
         CSeq: 1 INVITE\r\nContact: <sip:{from}>\r\nContent-Length: 0\r\n\r\n"
    );
    until("the snapshot has the number", || {
        app.publication.latest().numbers.find(NUMBER.parse().unwrap()).map(|_| ())
    });
    caller.send_to(invite.as_bytes(), udp_at).unwrap();
    let rings = phone.next();
    assert!(rings.starts_with("INVITE sip:phone1@192.0.2.7:5061;transport=tls SIP/2.0\r\n"), "{rings}");
    assert_eq!(header(&rings, "Call-ID"), "to-the-phone");
    drop(app);
    stack.stop();
}
