//! What needs a shard in the hand: panics, deadlines of streams.

use std::sync::Arc;
use std::time::Duration;

use warp_feed::Subscriber;
use warp_model::{Mono, Now, Wall};
use warp_net::clock::Clock;
use warp_net::epoll::{Epoll, Events, Interest};
use warp_net::mailbox::mailbox;
use warp_net::tcp::{Accepted, TcpConnection, TcpListener};
use warp_policy::Snapshot;
use warp_sip::flow::{Flow, Transport};
use warp_telemetry::health::RequestResult;

use super::Note;
use super::media_control::MediaControl;
use super::shard::{Parts, Shard};
use super::sockets;
use super::streams::{Quota, Streams};
use crate::config::{Config, StreamLimits};
use crate::core::{AskId, Command, CoreConfig, Listener, Mode, Shared};
use crate::metrics::{Metrics, Stream as StreamKind, StreamState};

fn at_s(s: u64) -> Now {
    Now { mono: Mono(s * 1_000_000_000), wall: Wall(s as i64 * 1_000_000) }
}

fn shard() -> (Shard, Metrics) {
    let mode = Mode::Static { next: "127.0.0.1:9".parse().unwrap(), trusted: Vec::new() };
    shard_of(mode, None)
}

pub(super) fn shard_of(mode: Mode, snapshots: Option<Subscriber<Snapshot>>) -> (Shard, Metrics) {
    shard_with(mode, snapshots, MediaControl::None)
}

pub(super) fn shard_with(
    mode: Mode,
    snapshots: Option<Subscriber<Snapshot>>,
    media: MediaControl,
) -> (Shard, Metrics) {
    let any = "127.0.0.1:0".parse().unwrap();
    let listener = Listener { transport: Transport::Udp, bind: any, advertise: None };
    let mut core = CoreConfig::new(mode, vec![listener]);
    core.anchor_media = !matches!(media, MediaControl::None);
    let mut config = Config::new(core);
    let sockets = sockets::bind(&mut config).unwrap().remove(0);
    let (sender, mailbox) = mailbox(16).unwrap();
    let metrics = Metrics::detached();
    let shard = Shard::new(Parts {
        index: 0,
        seed: [3; 32],
        shared: Arc::new(Shared::new([3; 32])),
        quota: Arc::new(Quota::new(config.streams)),
        certificate: None,
        config: Arc::new(config),
        sockets,
        mailbox,
        senders: vec![sender],
        state: None,
        dns: super::resolver::DnsLink::none(0),
        media,
        snapshots,
        journal: None,
        tap: None,
        metrics: metrics.clone(),
    });
    (shard.unwrap(), metrics)
}

/// G-1, F-PROC-05: a panic in the core costs the input that caused it. Only a core that keeps panicking is replaced.
#[test]
fn g_1_a_panic_costs_one_input_and_many_cost_the_core() {
    let (mut shard, metrics) = shard();
    let options = "OPTIONS sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
        From: <sip:a@h>;tag=1\r\nTo: <sip:h>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";
    let remote = "127.0.0.1:9".parse().unwrap();
    let flow = Flow::udp(remote, remote);
    let now = at_s(1_000);
    let ask = |shard: &mut Shard| {
        shard.with_core(now, |core| core.handle_message(flow, options.as_bytes(), now));
        shard.core_stats().requests_in
    };
    assert_eq!(ask(&mut shard), 1);
    shard.with_core(now, |_| panic!("meant"));
    assert_eq!(metrics.panics.value(()), 1);
    assert_eq!(ask(&mut shard), 2, "the same core goes on");
    for _ in 0..16 {
        shard.with_core(now, |_| panic!("meant"));
    }
    assert_eq!(metrics.panics.value(()), 17);
    assert_eq!(ask(&mut shard), 1, "a new core");
}

/// The reply to a delete wakes nobody up: the shard finds it by itself, long before the question's time is over.
#[test]
fn a_reply_that_nobody_waits_for_is_found_by_the_shard() {
    let mode = Mode::Static { next: "127.0.0.1:9".parse().unwrap(), trusted: Vec::new() };
    let relay = Arc::new(|_: warp_ng::Command, reply: Box<dyn FnOnce(warp_ng::Reply) + Send>| {
        reply(warp_ng::Reply::Pong);
    });
    let (mut shard, metrics) = shard_with(mode, None, MediaControl::InProcess(relay));
    let delete = warp_ng::Command::Delete(warp_ng::Delete::call(b"c".as_slice()));
    shard.media().ask(AskId(1), delete, Clock::mono());
    let mut events = Events::with_capacity(8);
    while shard.media().poll_timeout().is_some() {
        shard.guarded(|shard| shard.turn(&mut events));
    }
    let counted = [RequestResult::Ok, RequestResult::Error].map(|r| metrics.media_requests.count((r,)));
    assert_eq!(counted, [1, 0]);
}

/// G-1: a panic of the runtime itself (a relay's callback, say) ends one wake-up; the shard still reads its socket.
#[test]
fn g_1_a_panic_outside_the_core_ends_one_wake_up() {
    let (mut shard, metrics) = shard();
    shard.guarded(|shard| shard.without_buffers(|| panic!("meant")));
    assert_eq!(metrics.panics.value(()), 1);
    shard.guarded(|shard| shard.without_buffers(|| {}));
    assert_eq!(metrics.panics.value(()), 1, "the buffers are back");
}

/// F-PROC-05: a note that panics costs itself; those behind it are handled by the next turn.
#[test]
fn f_proc_05_a_panic_costs_one_note_and_no_listener() {
    let (mut shard, metrics) = shard();
    let now = at_s(1_000);
    let heard = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let listing = |heard: &Arc<std::sync::atomic::AtomicU32>, fails: bool| {
        let heard = Arc::clone(heard);
        Note::Command(Command::ListCalls {
            reply: Box::new(move |_| {
                heard.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                assert!(!fails, "meant");
            }),
        })
    };
    for fails in [false, true, false, true, false] {
        shard.send_to_itself(listing(&heard, fails));
    }
    shard.guarded(|shard| shard.on_mailbox(now));
    assert_eq!(
        heard.load(std::sync::atomic::Ordering::SeqCst),
        5,
        "panics of a core's callback are caught at the core"
    );
    assert_eq!(metrics.panics.value(()), 2);
    // A panic of the shard itself, with notes left: the next turn finds them.
    shard.send_to_itself(listing(&heard, false));
    shard.guarded(|shard| {
        shard.fill_notes();
        panic!("meant");
    });
    shard.guarded(|shard| shard.on_notes(now));
    assert_eq!(heard.load(std::sync::atomic::Ordering::SeqCst), 6);
    assert_eq!(metrics.panics.value(()), 3);
    assert!(!shard.is_stopping());
}

/// F-PROC-05: panics of the shard itself, however many, leave its loop running and its sockets open.
#[test]
fn f_proc_05_a_shard_that_keeps_panicking_still_answers() {
    let (mut shard, metrics) = shard();
    let client = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    for _ in 0..40 {
        shard.guarded(|_| panic!("meant"));
    }
    assert_eq!(metrics.panics.value(()), 40);
    let us = shard.udp_addr();
    let options = format!(
        "OPTIONS sip:{us} SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bK1;rport\r\nMax-Forwards: 70\r\n\
         From: <sip:a@h>;tag=1\r\nTo: <sip:{us}>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n",
        client.local_addr().unwrap()
    );
    client.send_to(options.as_bytes(), us).unwrap();
    let mut events = Events::with_capacity(8);
    let mut answer = [0; 2_048];
    client.set_nonblocking(true).unwrap();
    let n = loop {
        shard.guarded(|shard| shard.turn(&mut events));
        if let Ok((n, _)) = client.recv_from(&mut answer) {
            break n;
        }
    };
    assert!(answer[..n].starts_with(b"SIP/2.0 200 "));
}

/// F-PROC-05: a record whose writing was cut short is written by the clearing up; one that never can be is given up, not tried for ever.
#[test]
fn f_proc_05_a_record_in_hand_is_written_after_a_panic() {
    let (mut shard, metrics) = shard();
    let folder = tempfile::tempdir().unwrap();
    let options = warp_events::JournalOptions::new(warp_events::EventsMetrics::detached());
    shard.keep_journal(warp_events::Journal::open(folder.path(), 0, options).unwrap());
    let record = crate::core::tests_world::ended_record();
    shard.guarded(|shard| {
        shard.in_hand = Some(record);
        panic!("meant");
    });
    assert!(shard.in_hand.is_none());
    assert_eq!((metrics.panics.value(()), metrics.journal_errors.value(())), (1, 0));
    drop(shard);
    let text = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|e| String::from_utf8_lossy(&std::fs::read(e.unwrap().path()).unwrap()).into_owned())
        .collect::<String>();
    assert_eq!(text.matches("\"sip_call_id\":\"c1\"").count(), 1, "written once");
}

fn connection() -> (TcpListener, TcpConnection, TcpConnection) {
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap(), false).unwrap();
    let client = TcpConnection::connect(listener.local_addr(), None, 1_000).unwrap();
    let epoll = Epoll::new().unwrap();
    epoll.add(&listener, 0, Interest::READ).unwrap();
    epoll.wait(&mut Events::with_capacity(1), Some(Duration::from_secs(10))).unwrap();
    let Accepted::Connection(server) = listener.accept(1_000) else { panic!("no connection") };
    (listener, client, server)
}

/// F-PROC-05: a panic while a connection is read ends that connection; its room is another's.
#[test]
fn f_proc_05_a_panic_while_a_connection_is_read_gives_its_room_back() {
    let (mut shard, metrics) = shard();
    let now = at_s(1_000).mono;
    let mut held = Vec::new();
    let mut accept = |shard: &mut Shard| {
        let (listener, client, server) = connection();
        let remote = server.remote_addr();
        shard.streams.accepted(Transport::Tcp, server, false, &shard.epoll, now);
        held.push((listener, client));
        let counted = metrics.connections.value((StreamKind::Tcp, StreamState::Open));
        (remote, counted, metrics.streams_refused.value(()))
    };
    let (first, ..) = accept(&mut shard);
    let full = loop {
        let (_, open, refused) = accept(&mut shard);
        if refused > 0 {
            break open;
        }
    };
    let link = shard.streams.to(Transport::Tcp, first).unwrap();
    shard.guarded(|shard| {
        shard.reading = Some(link);
        panic!("meant");
    });
    assert!(shard.streams.get(link).is_none());
    let (_, open, refused) = accept(&mut shard);
    assert_eq!((open, refused), (full, 1));
}

/// T-SIP-15: 5 s for the first message, then 120 s of silence; a keep-alive or a message starts the time anew.
#[test]
fn t_sip_15_streams_have_deadlines() {
    let limits = StreamLimits::default();
    let metrics = Metrics::detached();
    let epoll = Epoll::new().unwrap();
    let mut streams = Streams::new(0, limits, Arc::new(Quota::new(limits)), metrics.clone(), None);
    let (_l, _client, server) = connection();
    let remote = server.remote_addr();
    streams.accepted(Transport::Tcp, server, false, &epoll, at_s(0).mono);
    let id = streams.to(Transport::Tcp, remote).unwrap();
    let swept = |streams: &mut Streams, s: u64| {
        let mut lost = Vec::new();
        streams.sweep(at_s(s).mono, |flow| lost.push(flow));
        lost
    };
    assert!(swept(&mut streams, 4).is_empty());
    streams.heard(id, at_s(4).mono);
    assert!(swept(&mut streams, 123).is_empty());
    streams.heard(id, at_s(123).mono);
    assert!(swept(&mut streams, 242).is_empty());
    let lost = swept(&mut streams, 243);
    assert_eq!((lost.len(), lost[0].link, lost[0].remote), (1, id, remote));
    assert!(streams.is_empty());
    assert_eq!(metrics.connections.value((StreamKind::Tcp, StreamState::Open)), 0);

    let (_l, _client, server) = connection();
    streams.accepted(Transport::Tcp, server, false, &epoll, at_s(300).mono);
    assert_eq!(swept(&mut streams, 305).len(), 1, "no first message in 5 s");
    assert_eq!(metrics.streams_timed_out.value(()), 2);
}
