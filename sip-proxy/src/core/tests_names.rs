//! Vendors and PBXs by name (RFC 3263): DNS is asked once, a call waits for it no longer than it may, and goes on with what is known.

use warp_policy::directory::{DirectoryBuilder, Transport};
use warp_sip::flow::Transport as Hop;
use warp_sip::resolve::{LookupError, Server, Servers};

use super::tests_static::{addr, at, line};
use super::tests_world::*;
use super::types::AskReply;

const N1: &str = "203.0.113.51:5070";
const N2: &str = "203.0.113.52:5070";
const HOST: &str = "sip.vendor.example";

/// The cheapest vendor has a name and no address.
fn named(rows: &mut DirectoryBuilder) {
    rows.vendor_trunks[0].hosts = vec![HOST.parse().unwrap()];
    rows.vendor_trunks[0].addresses.clear();
}

/// What a new directory has the core ask is asked.
fn world(tweak: Tweak) -> World {
    let mut w = World::new(false, tweak);
    w.drain();
    w
}

/// Two servers, one after the other, for a minute.
fn servers(ttl: u32) -> Result<Servers, LookupError> {
    let server = |group, at| Server { transport: Hop::Udp, group, weight: 1, addresses: vec![addr(at)] };
    Ok(Servers { list: vec![server(1, N1), server(2, N2)], ttl })
}

impl World {
    /// DNS answers the oldest question.
    fn dns(&mut self, found: Result<Servers, LookupError>) {
        let (id, wanted) = self.names.pop_front().expect("a question to DNS");
        assert_eq!(wanted.host, HOST);
        self.core.handle_answer(id, AskReply::Located(wanted, found), at(self.ms));
        self.drain();
    }

    /// To whom INVITEs went since the last look, each once.
    fn invited(&mut self) -> Vec<(String, String)> {
        let mut all: Vec<(String, String)> = vec![];
        for (to, text) in self.take().into_iter().filter(|(_, t)| t.starts_with("INVITE ")) {
            if all.iter().all(|(_, t)| *t != text) {
                all.push((to.to_string(), text));
            }
        }
        all
    }
}

/// A call rings at one server of the name: hung up by the other side, from the other node of the same name.
fn carried(w: &mut World, call: &str, at_v: &str, node: &str) {
    w.give(node, &reply(at_v, "200 OK", "bt", node, "", ""));
    let ok = w.to(CUSTOMER);
    assert!(ok.starts_with("SIP/2.0 200 "), "{ok}");
    w.give(CUSTOMER, &inside("ACK", &ok, true, &format!("ack{call}"), "", ""));
    w.take();
    let bye = inside("BYE", &ok, false, &format!("bye{call}"), "", "");
    w.give(N2, &bye);
    assert!(w.take().iter().any(|(to, t)| *to == addr(CUSTOMER) && t.starts_with("BYE ")), "believed");
}

#[test]
fn a_vendor_is_found_by_name_and_its_next_server_takes_over() {
    let mut w = world(named);
    // Asked for as soon as it is known, so that no call waits.
    assert_eq!(w.names.len(), 1);
    w.dns(servers(60));
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
    let all = w.invited();
    assert_eq!(all.iter().map(|(to, _)| to.as_str()).collect::<Vec<_>>(), [N1]);
    assert!(all[0].1.starts_with(&format!("INVITE sip:{NUMBER}@{HOST} ")), "{}", all[0].1);
    // RFC 3263 §4.3: a 503, then silence, then a dead port lead to the next server, not to the next vendor.
    w.give(N1, &reply(&all[0].1, "503 Service Unavailable", "x", N1, "", ""));
    let all = w.invited();
    assert_eq!(all.iter().map(|(to, _)| to.as_str()).collect::<Vec<_>>(), [N2]);
    carried(&mut w, "1", &all[0].1, N2);
    assert_eq!(w.ended[0].legs.iter().map(|l| l.sip_code).collect::<Vec<_>>(), [503, 200]);
    assert_eq!(w.ended[0].vendor_id.unwrap().as_u128(), 1);
    assert!(w.names.is_empty(), "the answer is kept");
    w.nothing_is_left();
}

#[test]
fn a_call_waits_for_a_name_and_a_dead_dns_costs_a_second_at_most() {
    let mut w = world(named);
    w.names.clear();
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
    assert!(w.invited().is_empty(), "it waits");
    w.dns(servers(60));
    let all = w.invited();
    assert_eq!(all[0].0, N1);
    carried(&mut w, "1", &all[0].1, N1);
    w.nothing_is_left();

    // Nobody answers: the next vendor has the call after a second, and the next call has it at once.
    let mut w = world(named);
    w.names.clear();
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
    w.wait(900);
    assert!(w.invited().is_empty());
    w.wait(200);
    assert_eq!(w.invited()[0].0, V2);
    w.names.clear();
    w.give(CUSTOMER, &invite(NUMBER, "c2", "", ""));
    assert_eq!(w.invited()[0].0, V2);
    assert!(w.names.is_empty(), "left alone for a while");
    // What comes late counts for the calls after it.
    w.wait(10_100);
    w.take();
    w.give(CUSTOMER, &invite(NUMBER, "c3", "", ""));
    w.dns(servers(60));
    assert_eq!(w.invited()[0].0, N1);
}

/// The last good answer is used while DNS is dead, however old it is (issue 9).
#[test]
fn the_last_good_answer_is_used_while_dns_is_dead() {
    let mut w = world(named);
    w.dns(servers(60));
    w.wait(3_600_000);
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
    assert!(w.invited().is_empty(), "too old to be used unasked");
    w.dns(Err(LookupError::Failed));
    assert_eq!(w.invited()[0].0, N1);
    // For ten seconds nobody asks again.
    w.wait(5_000);
    w.give(CUSTOMER, &invite(NUMBER, "c2", "", ""));
    assert_eq!((w.invited().last().unwrap().0.as_str(), w.names.len()), (N1, 0));
    // DNS lives, and says that the name is gone: that is an answer.
    w.wait(20_000);
    w.take();
    w.give(CUSTOMER, &invite(NUMBER, "c3", "", ""));
    w.dns(Err(LookupError::NoServer(60)));
    assert_eq!(w.invited()[0].0, V2);
}

#[test]
fn an_answer_is_asked_for_again_before_it_ends_and_nobody_waits_for_that() {
    let mut w = world(named);
    w.dns(servers(100));
    w.wait(95_000);
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
    assert_eq!((w.invited()[0].0.as_str(), w.names.len()), (N1, 1));
    w.give(CUSTOMER, &invite(NUMBER, "c2", "", ""));
    assert_eq!(w.names.len(), 1, "once");
    w.dns(servers(100));
    w.wait(50_000);
    w.take();
    w.give(CUSTOMER, &invite(NUMBER, "c3", "", ""));
    assert_eq!((w.invited()[0].0.as_str(), w.names.len()), (N1, 0));
}

/// The caller gives up while DNS is asked; what DNS then says begins nothing.
#[test]
fn a_call_that_waits_for_a_name_can_be_cancelled() {
    let mut w = world(named);
    w.names.clear();
    let first = invite(NUMBER, "c1", "", "");
    w.give(CUSTOMER, &first);
    w.give(CUSTOMER, &first.replace("INVITE sip", "CANCEL sip").replace("1 INVITE", "1 CANCEL"));
    assert!(w.take().iter().any(|(_, t)| t.starts_with("SIP/2.0 487 ")));
    w.dns(servers(60));
    assert!(w.invited().is_empty());
    assert_eq!(w.ended.len(), 1);
    w.nothing_is_left();
}

/// T-SIP-14: a name that leads to ourselves, or nowhere that may be sent to, is another vendor's turn. T-SIP-10: a vendor found by name
/// gets the trunk's credentials, and only there.
#[test]
fn t_sip_14_a_name_never_leads_to_ourselves_or_to_everybody() {
    for bad in [US, "224.0.0.1:5060", "255.255.255.255:5060", "0.0.0.0:5060"] {
        let mut w = world(named);
        let list = vec![Server { transport: Hop::Udp, group: 0, weight: 0, addresses: vec![addr(bad)] }];
        w.dns(Ok(Servers { list, ttl: 60 }));
        w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
        assert_eq!(w.invited()[0].0, V2, "{bad}");
    }
}

#[test]
fn t_sip_10_a_vendor_that_was_found_by_name_gets_the_credentials_of_its_trunk() {
    let mut w = world(|rows| {
        named(rows);
        rows.vendor_trunks[0].credentials = Some(warp_policy::directory::Credentials {
            username: "us".into(),
            password: warp_model::Secret::new("secret".into()),
            realm: None,
        });
    });
    w.dns(servers(60));
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
    let first = w.invited().remove(0).1;
    let challenge = "WWW-Authenticate: Digest realm=\"v\", nonce=\"n\", qop=\"auth\"\r\n";
    w.give(N1, &reply(&first, "401 Unauthorized", "x", N1, challenge, ""));
    let again = w.invited().remove(0);
    assert_eq!(again.0, N1);
    assert!(line(&again.1, "Authorization").starts_with("Digest "), "{}", again.1);
}

/// A trunk that leaves the transport to DNS goes by what DNS says, and a customer's PBX by name gets the calls to its numbers.
#[test]
fn dns_may_say_the_transport_where_the_trunk_leaves_it_open() {
    let mut w = world(|rows| {
        named(rows);
        rows.vendor_trunks[0].transport = Transport::Auto;
    });
    assert_eq!(w.names[0].1.transport, None);
    w.dns(servers(60));
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
    assert_eq!(w.invited()[0].0, N1);
    let mut w = world(|rows| {
        named(rows);
        rows.vendor_trunks[0].transport = Transport::Tls;
    });
    assert_eq!(w.names[0].1.transport, Some(Hop::Tls));
    // Without a listener for TLS there is no way.
    let list = vec![Server { transport: Hop::Tls, group: 0, weight: 0, addresses: vec![addr(N1)] }];
    w.dns(Ok(Servers { list, ttl: 60 }));
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
    assert_eq!(w.invited()[0].0, V2);
}
