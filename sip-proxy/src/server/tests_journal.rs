//! F-DISK-01, F-DISK-02: running shards whose call journal fails, on real sockets and a disk that fails by a switch.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use warp_events::journal::{JournalOptions, kind};
use warp_events::segment::{self, Item, Scan};
use warp_events::{Disk, EventsMetrics, Journal};
use warp_feed::Subscriber;
use warp_model::Nanos;
use warp_model::cdr::{CallRecord, Outcome};
use warp_net::epoll::Events;
use warp_policy::Snapshot;
use warp_sip::flow::{Flow, Transport};

use crate::config::Config;
use crate::core::tests_world::{reply, snapshot};
use crate::core::{CoreConfig, Listener, Mode};
use crate::metrics::Metrics;
use crate::server::Note;
use crate::server::media_control::MediaControl;
use crate::server::shard::Shard;
use crate::server::tests::shard_of;
use crate::{Handles, Proxy, start};

/// A proxy with a customer at 127.0.0.2 and its cheapest vendor at 127.0.0.3.
struct Running {
    proxy: Proxy,
    us: SocketAddr,
    customer: UdpSocket,
    vendor: UdpSocket,
    broken: Arc<AtomicBool>,
    dir: tempfile::TempDir,
}

fn peer(ip: [u8; 4]) -> UdpSocket {
    let socket = UdpSocket::bind(SocketAddr::from((ip, 0))).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket
}

/// The customer, the only vendor, and who they are to a proxy.
pub(super) fn world() -> (UdpSocket, UdpSocket, Subscriber<Snapshot>) {
    let (customer, vendor) = (peer([127, 0, 0, 2]), peer([127, 0, 0, 3]));
    let whole = snapshot(|_| ());
    let mut rows = whole.directory.rows().clone();
    rows.trunks[0].acl = vec!["127.0.0.2/32".parse().unwrap()];
    rows.vendor_trunks[0].addresses = vec![vendor.local_addr().unwrap()];
    rows.vendors.iter_mut().skip(1).for_each(|v| v.enabled = false);
    rows.emergency_route = vec![rows.vendor_trunks[0].id];
    let directory = Arc::new(rows.build().unwrap());
    let (publisher, snapshots) = warp_feed::channel(Snapshot::empty());
    publisher.publish(whole.with_directory(directory));
    (customer, vendor, snapshots)
}

/// A first INVITE.
pub(super) fn invite(us: SocketAddr, from: SocketAddr, number: &str, call: &str) -> String {
    format!(
        "INVITE sip:{number}@{us} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{call}\r\nMax-Forwards: 70\r\n\
         From: <sip:+14155550100@{from}>;tag=at\r\nTo: <sip:{number}@{us}>\r\nCall-ID: {call}\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:a@{from}>\r\nContent-Length: 0\r\n\r\n"
    )
}

impl Running {
    fn start() -> Running {
        let (customer, vendor, snapshots) = world();
        let listener =
            Listener { transport: Transport::Udp, bind: "127.0.0.1:0".parse().unwrap(), advertise: None };
        let mut core = CoreConfig::new(Mode::Policy, vec![listener]);
        core.anchor_media = false;
        let dir = tempfile::tempdir().unwrap();
        let broken = Arc::new(AtomicBool::new(false));
        let journal = JournalOptions {
            segment_bytes: 64 << 10,
            disk: Disk::breaking(&broken),
            ..JournalOptions::new(EventsMetrics::detached())
        };
        let handles = Handles {
            snapshots: Some(snapshots),
            state: None,
            media: MediaControl::None,
            journal: Some((dir.path().to_owned(), journal)),
            capture: None,
            spent: Vec::new(),
            seed: [7; 32],
            metrics: Metrics::detached(),
        };
        let proxy = start(Config::new(core), handles).unwrap();
        let us = proxy.udp_addr().unwrap();
        Running { proxy, us, customer, vendor, broken, dir }
    }

    fn invite(&self, call: &str) {
        self.dial("+14155550123", call);
    }

    fn dial(&self, number: &str, call: &str) {
        let text = invite(self.us, self.customer.local_addr().unwrap(), number, call);
        self.customer.send_to(text.as_bytes(), self.us).unwrap();
    }

    /// The customer's BYE.
    fn hang_up(&self, ok: &str, call: &str) {
        let (us, from) = (self.us, self.customer.local_addr().unwrap());
        let to = ok.lines().find(|l| l.starts_with("To:")).unwrap();
        let contact = self.vendor.local_addr().unwrap();
        let routes: String = ok
            .lines()
            .filter(|l| l.starts_with("Record-Route:"))
            .map(|l| format!("{}\r\n", l.replacen("Record-Route", "Route", 1)))
            .collect();
        let bye = format!(
            "BYE sip:b@{contact} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bKbye\r\nMax-Forwards: 70\r\n{routes}\
             From: <sip:+14155550100@{from}>;tag=at\r\n{to}\r\nCall-ID: {call}\r\nCSeq: 2 BYE\r\nContent-Length: 0\r\n\r\n"
        );
        self.customer.send_to(bye.as_bytes(), us).unwrap();
        let bye = Running::next(&self.vendor, "BYE ");
        self.answer(&bye, "200 OK");
        Running::next(&self.customer, "SIP/2.0 200 ");
    }

    /// The next message whose first line has this; others (100, 180, OPTIONS, repetitions) are passed over.
    fn next(socket: &UdpSocket, wanted: &str) -> String {
        let end = Instant::now() + Duration::from_secs(20);
        let mut bytes = [0; 8_192];
        loop {
            let n = socket.recv(&mut bytes).unwrap_or_else(|e| panic!("{wanted}: {e}"));
            let text = String::from_utf8_lossy(&bytes[..n]).into_owned();
            if text.starts_with(wanted) {
                return text;
            }
            assert!(Instant::now() < end, "{wanted} does not come; last: {text}");
        }
    }

    fn answer(&self, invite: &str, status: &str) {
        let contact = self.vendor.local_addr().unwrap().to_string();
        self.vendor.send_to(reply(invite, status, "bt", &contact, "", "").as_bytes(), self.us).unwrap();
    }

    /// Makes a call, for which the vendor is busy; gives what the customer hears at its end.
    fn busy(&self, call: &str) -> String {
        self.invite(call);
        let of_it = format!("Call-ID: {call}\r\n");
        let short = Some(Duration::from_millis(20));
        self.customer.set_read_timeout(short).unwrap();
        self.vendor.set_read_timeout(short).unwrap();
        let end = Instant::now() + Duration::from_secs(30);
        let mut bytes = [0; 8_192];
        // A call that was taken may be refused before its vendor has it.
        let heard = loop {
            assert!(Instant::now() < end, "{call} has no end");
            let said = self
                .customer
                .recv(&mut bytes)
                .ok()
                .map(|n| String::from_utf8_lossy(&bytes[..n]).into_owned());
            if let Some(said) = said.filter(|s| s.contains(&of_it) && !s.starts_with("SIP/2.0 1")) {
                break said;
            }
            let asked =
                self.vendor.recv(&mut bytes).ok().map(|n| String::from_utf8_lossy(&bytes[..n]).into_owned());
            if let Some(invite) = asked.filter(|s| s.starts_with("INVITE ") && s.contains(&of_it)) {
                self.answer(&invite, "486 Busy Here");
            }
        };
        self.acknowledge(&heard, call);
        self.customer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        self.vendor.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        heard
    }

    /// The customer's ACK of a refusal.
    fn acknowledge(&self, refused: &str, call: &str) {
        let (us, from) = (self.us, self.customer.local_addr().unwrap());
        let to = refused.lines().find(|l| l.starts_with("To:")).unwrap();
        let ack = format!(
            "ACK sip:+14155550123@{us} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{call}\r\nMax-Forwards: 70\r\n\
             From: <sip:+14155550100@{from}>;tag=at\r\n{to}\r\nCall-ID: {call}\r\nCSeq: 1 ACK\r\nContent-Length: 0\r\n\r\n"
        );
        self.customer.send_to(ack.as_bytes(), us).unwrap();
    }

    /// Every record of the journal, after the proxy's end, once: what a failed sync may have lost is written again, and readers
    /// drop doubles by `cdr_id`.
    fn records(self) -> Vec<(u8, CallRecord)> {
        let Running { proxy, dir, .. } = self;
        drop(proxy);
        let mut paths: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path()).collect();
        paths.sort();
        let (mut out, mut seen) = (Vec::new(), std::collections::BTreeSet::new());
        for path in paths.iter().filter(|p| p.extension().is_some_and(|e| e == "jrn")) {
            let Some((header, bytes)) = segment::read(path).unwrap() else { continue };
            for item in Scan::new(&header, &bytes) {
                if let Item::Frame(f) = item
                    && matches!(f.kind, kind::ANSWERED | kind::ENDED)
                    && seen.insert((f.kind, f.payload.to_vec()))
                {
                    out.push((f.kind, serde_json::from_slice(f.payload).unwrap()));
                }
            }
        }
        out
    }
}

#[test]
fn f_disk_01_an_unrecorded_answer_becomes_a_503_and_the_vendors_2xx_gets_ack_and_bye() {
    let running = Running::start();
    running.invite("unrecorded");
    let invite = Running::next(&running.vendor, "INVITE ");
    running.answer(&invite, "180 Ringing");
    Running::next(&running.customer, "SIP/2.0 180 ");
    running.broken.store(true, Ordering::Release);
    running.answer(&invite, "200 OK");
    let refused = Running::next(&running.customer, "SIP/2.0 ");
    assert!(refused.starts_with("SIP/2.0 503 "), "{refused}");
    assert!(refused.contains("Retry-After: ") && !refused.contains("Contact: "), "{refused}");
    let ack = Running::next(&running.vendor, "ACK ");
    assert!(ack.contains("CSeq: 1 ACK") && ack.contains(";tag=bt"), "{ack}");
    let bye = Running::next(&running.vendor, "BYE ");
    assert!(bye.contains("CSeq: 2 BYE") && bye.contains(";tag=bt"), "{bye}");
    running.answer(&bye, "200 OK");
    // The disk is well again: the next call is recorded, and so is the end of this one.
    running.broken.store(false, Ordering::Release);
    let end = Instant::now() + Duration::from_secs(30);
    let mut n = 0;
    loop {
        // New calls are refused until a write and its sync have worked.
        running.invite(&format!("again-{n}"));
        n += 1;
        let mut bytes = [0; 8_192];
        running.customer.recv(&mut bytes).unwrap();
        let heard = Running::next(&running.customer, "SIP/2.0 ");
        if heard.starts_with("SIP/2.0 503 ") {
            assert!(Instant::now() < end, "still refused: {heard}");
            continue;
        }
        break;
    }
    let records = running.records();
    let of_first: Vec<_> = records.iter().filter(|(_, r)| r.sip_call_id == "unrecorded").collect();
    assert_eq!(
        of_first.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(),
        [kind::ENDED],
        "no answer is recorded"
    );
    let record = &of_first[0].1;
    assert_eq!(
        (record.sip_code, record.internal_code.as_str(), record.outcome),
        (503, "journal", Outcome::Failed)
    );
    assert_eq!((record.answer_at, record.duration_ms), (None, 0));
    assert!(record.rating.is_none(), "nobody pays for a call that was refused");
}

#[test]
fn f_disk_01_running_calls_end_and_new_ones_are_refused_while_the_journal_fails() {
    let running = Running::start();
    running.invite("running");
    let invite = Running::next(&running.vendor, "INVITE ");
    running.answer(&invite, "200 OK");
    let ok = Running::next(&running.customer, "SIP/2.0 200 ");
    running.broken.store(true, Ordering::Release);
    // The heartbeat of the next second finds it out: from then on new calls are refused, none reaches a vendor. Until then the
    // vendor is busy, so that one new call is open at a time: thousands that ring would drown the call that is watched.
    let end = Instant::now() + Duration::from_secs(60);
    for n in 0.. {
        let call = format!("new-{n}");
        if running.busy(&call).starts_with("SIP/2.0 503 ") {
            break;
        }
        assert!(Instant::now() < end, "{call} is not refused");
    }
    // The call in the air goes on and ends as usual.
    running.hang_up(&ok, "running");
    running.broken.store(false, Ordering::Release);
    let records = running.records();
    let of_it: Vec<u8> =
        records.iter().filter(|(_, r)| r.sip_call_id == "running").map(|(kind, _)| *kind).collect();
    // Its end waited in memory for the disk.
    assert_eq!(of_it, [kind::ANSWERED, kind::ENDED]);
    let charge = records
        .iter()
        .find_map(|(k, r)| (*k == kind::ENDED && r.sip_call_id == "running").then(|| r.rating.clone()));
    assert!(charge.flatten().is_some_and(|r| r.sell.charge > Nanos(0)));
}

/// `ref/telecom-domain` §9: nobody pays for an emergency call, so it is not hung up because its record must wait.
#[test]
fn f_disk_01_an_emergency_call_is_connected_while_the_journal_fails() {
    let running = Running::start();
    running.broken.store(true, Ordering::Release);
    running.dial("911", "help");
    let invite = Running::next(&running.vendor, "INVITE sip:911@");
    running.answer(&invite, "200 OK");
    let heard = loop {
        let heard = Running::next(&running.customer, "SIP/2.0 ");
        if !heard.starts_with("SIP/2.0 100 ") {
            break heard;
        }
    };
    assert!(heard.starts_with("SIP/2.0 200 "), "{heard}");
    running.hang_up(&heard, "help");
    running.broken.store(false, Ordering::Release);
    let records = running.records();
    let ends: Vec<_> = records.iter().filter(|(kind, _)| *kind == kind::ENDED).map(|(_, r)| r).collect();
    assert_eq!((ends.len(), ends[0].sip_code, ends[0].outcome), (1, 200, Outcome::Answered));
    assert!(ends[0].answer_at.is_some() && ends[0].rating.is_none());
}

/// The end of a call whose answer was not recorded needs no mailbox: it comes before whatever is read next.
#[test]
fn f_disk_01_an_unrecorded_answer_ends_its_call_though_the_mailbox_is_full() {
    let (customer, vendor, snapshots) = world();
    let (mut shard, metrics) = shard_of(Mode::Policy, Some(snapshots));
    let dir = tempfile::tempdir().unwrap();
    let broken = Arc::new(AtomicBool::new(false));
    let options = JournalOptions {
        segment_bytes: 64 << 10,
        disk: Disk::breaking(&broken),
        ..JournalOptions::new(EventsMetrics::detached())
    };
    shard.keep_journal(Journal::open(dir.path(), 0, options).unwrap());
    let now = warp_net::clock::Clock::now();
    shard.take_snapshot(now);
    let us = shard.udp_addr();
    let hear = |shard: &mut Shard, from: &UdpSocket, text: &str| {
        let flow = Flow::udp(us, from.local_addr().unwrap());
        shard.with_core(now, |core| core.handle_message(flow, text.as_bytes(), now));
    };
    hear(&mut shard, &customer, &invite(us, customer.local_addr().unwrap(), "+14155550123", "full"));
    let mut events = Events::with_capacity(8);
    shard.send_to_itself(Note::Snapshot);
    shard.turn(&mut events);
    let at_v = Running::next(&vendor, "INVITE ");
    broken.store(true, Ordering::Release);
    while shard.try_to_send_to_itself(Note::Snapshot) {}
    let ok = reply(&at_v, "200 OK", "bt", &vendor.local_addr().unwrap().to_string(), "", "");
    // The vendor repeats itself before the shard wakes up again.
    hear(&mut shard, &vendor, &ok);
    hear(&mut shard, &vendor, &ok);
    assert_eq!(metrics.mailbox_full.value(()), 0);
    shard.turn(&mut events);
    assert!(Running::next(&vendor, "ACK ").contains("CSeq: 1 ACK"));
    Running::next(&vendor, "BYE ");
    let mut heard = Vec::new();
    let mut bytes = [0; 8_192];
    customer.set_nonblocking(true).unwrap();
    while let Ok(n) = customer.recv(&mut bytes) {
        heard.push(String::from_utf8_lossy(&bytes[..11]).into_owned());
        assert!(n > 11);
    }
    assert_eq!(heard, ["SIP/2.0 100", "SIP/2.0 503"]);
}
