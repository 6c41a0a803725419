//! F-DISK-01, F-DISK-02: running shards whose call journal fails, on real sockets and a disk that fails by a switch.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use warp_events::journal::{JournalOptions, kind};
use warp_events::segment::{self, Item, Scan};
use warp_events::{Disk, EventsMetrics};
use warp_model::Nanos;
use warp_model::cdr::{CallRecord, Outcome};
use warp_policy::Snapshot;
use warp_sip::flow::Transport;

use crate::config::Config;
use crate::core::tests_world::{reply, snapshot};
use crate::core::{CoreConfig, Listener, Mode};
use crate::metrics::Metrics;
use crate::server::media_control::MediaControl;
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

impl Running {
    fn start() -> Running {
        let (customer, vendor) = (peer([127, 0, 0, 2]), peer([127, 0, 0, 3]));
        let whole = snapshot(|_| ());
        let mut rows = whole.directory.rows().clone();
        rows.trunks[0].acl = vec!["127.0.0.2/32".parse().unwrap()];
        rows.vendor_trunks[0].addresses = vec![vendor.local_addr().unwrap()];
        rows.vendors.iter_mut().skip(1).for_each(|v| v.enabled = false);
        let directory = Arc::new(rows.build().unwrap());
        let (publisher, snapshots) = warp_feed::channel(Snapshot::empty());
        publisher.publish(whole.with_directory(directory));
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
            media: MediaControl::None,
            journal: Some((dir.path().to_owned(), journal)),
            spent: Vec::new(),
            seed: [7; 32],
            metrics: Metrics::detached(),
        };
        let proxy = start(Config::new(core), handles).unwrap();
        let us = proxy.udp_addr().unwrap();
        Running { proxy, us, customer, vendor, broken, dir }
    }

    fn invite(&self, call: &str) {
        let (us, from) = (self.us, self.customer.local_addr().unwrap());
        let text = format!(
            "INVITE sip:+14155550123@{us} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{call}\r\nMax-Forwards: 70\r\n\
             From: <sip:+14155550100@{from}>;tag=at\r\nTo: <sip:+14155550123@{us}>\r\nCall-ID: {call}\r\nCSeq: 1 INVITE\r\n\
             Contact: <sip:a@{from}>\r\nContent-Length: 0\r\n\r\n"
        );
        self.customer.send_to(text.as_bytes(), us).unwrap();
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

    /// Every record of the journal, after the proxy's end.
    fn records(self) -> Vec<(u8, CallRecord)> {
        let Running { proxy, dir, .. } = self;
        drop(proxy);
        let mut paths: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path()).collect();
        paths.sort();
        let mut out = Vec::new();
        for path in paths.iter().filter(|p| p.extension().is_some_and(|e| e == "jrn")) {
            let Some((header, bytes)) = segment::read(path).unwrap() else { continue };
            for item in Scan::new(&header, &bytes) {
                if let Item::Frame(f) = item
                    && matches!(f.kind, kind::ANSWERED | kind::ENDED)
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
    let second = loop {
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
        break n;
    };
    assert!(second >= 1);
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
    // The heartbeat of the next second finds it out: from then on new calls are refused, none reaches a vendor.
    let end = Instant::now() + Duration::from_secs(30);
    for n in 0.. {
        running.invite(&format!("new-{n}"));
        // 100: it was taken, the journal has not failed yet.
        let heard = Running::next(&running.customer, "SIP/2.0 ");
        if heard.starts_with("SIP/2.0 503 ") {
            break;
        }
        assert!(Instant::now() < end, "not refused: {heard}");
    }
    // The call in the air goes on and ends as usual.
    let (us, from) = (running.us, running.customer.local_addr().unwrap());
    let to = ok.lines().find(|l| l.starts_with("To:")).unwrap();
    let contact = running.vendor.local_addr().unwrap();
    let routes: String = ok
        .lines()
        .filter(|l| l.starts_with("Record-Route:"))
        .map(|l| format!("{}\r\n", l.replacen("Record-Route", "Route", 1)))
        .collect();
    let bye = format!(
        "BYE sip:b@{contact} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bKbye\r\nMax-Forwards: 70\r\n{routes}\
         From: <sip:+14155550100@{from}>;tag=at\r\n{to}\r\nCall-ID: running\r\nCSeq: 2 BYE\r\nContent-Length: 0\r\n\r\n"
    );
    running.customer.send_to(bye.as_bytes(), us).unwrap();
    let bye = Running::next(&running.vendor, "BYE ");
    running.answer(&bye, "200 OK");
    Running::next(&running.customer, "SIP/2.0 200 ");
    running.broken.store(false, Ordering::Release);
    let records = running.records();
    let of_it: Vec<u8> =
        records.iter().filter(|(_, r)| r.sip_call_id == "running").map(|(kind, _)| *kind).collect();
    // Once more where a failed sync was made good; its end, once, waited in memory for the disk.
    let ends = of_it.iter().filter(|k| **k == kind::ENDED).count();
    assert_eq!(
        (of_it.first(), of_it.last(), ends),
        (Some(&kind::ANSWERED), Some(&kind::ENDED), 1),
        "{of_it:?}"
    );
    let charge = records
        .iter()
        .find_map(|(k, r)| (*k == kind::ENDED && r.sip_call_id == "running").then(|| r.rating.clone()));
    assert!(charge.flatten().is_some_and(|r| r.sell.charge > Nanos(0)));
}
