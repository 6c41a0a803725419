//! Media questions of the core on their way to a relay and back: in process as typed values, or over UDP in ng to WARP's own
//! relay elsewhere or to an rtpengine.
//!
//! Each question has one answer: the relay's reply, or [`MediaError`] when the time is over. A reply that comes later is
//! dropped. Over UDP a request is repeated under the same cookie, so that the relay runs it once (T-NG-03).
//! Everything here is owned by one shard; replies of an in-process relay come through the shard's mailbox.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use warp_model::Mono;
use warp_net::clock::Clock;
use warp_net::mailbox::Sender;
use warp_net::udp::{Received, Sent, UdpOptions, UdpSocket};
use warp_ng::codec::{self, Encoding};
use warp_ng::{Command, Reply};
use warp_telemetry::health::{RequestResult, RequestSeconds};

use super::Note;
use crate::core::{Answer, AskId, MediaError};

/// Hands a command to a relay in this process; the reply may come from any thread, at once or later.
pub type Submit = dyn Fn(Command, Box<dyn FnOnce(Reply) + Send>) + Send + Sync;

/// Where the proxy's media questions go.
#[derive(Clone)]
pub enum MediaControl {
    /// Nowhere: the proxy does not anchor media.
    None,
    /// A relay in this process.
    InProcess(Arc<Submit>),
    /// A relay's ng port.
    Udp(SocketAddr),
}

impl fmt::Debug for MediaControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MediaControl::None => f.write_str("None"),
            MediaControl::InProcess(_) => f.write_str("InProcess"),
            MediaControl::Udp(a) => write!(f, "Udp({a})"),
        }
    }
}

/// One shard's end.
pub(super) struct MediaLink {
    control: MediaControl,
    to_self: Sender<Note>,
    socket: Option<UdpSocket>,
    /// Makes cookies unique among shards, and among restarts within the relay's cookie life.
    prefix: String,
    next: u64,
    pending: BTreeMap<u64, Pending>,
    due: BinaryHeap<Reverse<(Mono, u64)>>,
    answers: VecDeque<(AskId, Answer)>,
    buffer: Vec<u8>,
    /// How long answers take.
    seconds: RequestSeconds,
}

struct Pending {
    id: AskId,
    asked: Mono,
    /// The datagram to repeat; empty in process.
    datagram: Vec<u8>,
    tries: usize,
    due: Mono,
    refused: bool,
}

impl MediaLink {
    /// `instance` is random per process. Errors: no socket for the relay.
    pub(super) fn new(
        control: MediaControl,
        to_self: Sender<Note>,
        shard: u16,
        instance: u64,
        seconds: RequestSeconds,
    ) -> io::Result<MediaLink> {
        let socket = match control {
            MediaControl::Udp(relay) => {
                let any = match relay {
                    SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                    SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
                };
                let socket = UdpSocket::bind(SocketAddr::new(any, 0), &UdpOptions::default())?;
                socket.connect(relay)?;
                Some(socket)
            }
            _ => None,
        };
        Ok(MediaLink {
            control,
            to_self,
            socket,
            prefix: format!("{instance:016x}{shard:02x}"),
            next: 0,
            pending: BTreeMap::new(),
            due: BinaryHeap::new(),
            answers: VecDeque::new(),
            buffer: vec![0; RECEIVE_BYTES],
            seconds,
        })
    }

    /// To be watched for reading.
    pub(super) fn socket(&self) -> Option<&UdpSocket> {
        self.socket.as_ref()
    }

    /// Asks the relay. The answer comes out of [`take_answer`](MediaLink::take_answer), sooner or later.
    pub(super) fn ask(&mut self, id: AskId, command: Command, now: Mono) {
        if self.pending.len() >= PENDING_MAX {
            self.answers.push_back((id, Answer::Media(Err(MediaError::Timeout))));
            return;
        }
        let number = self.next;
        self.next += 1;
        let (datagram, wait) = match &self.control {
            MediaControl::None => {
                self.answers.push_back((id, Answer::Media(Err(MediaError::Unreachable))));
                return;
            }
            MediaControl::InProcess(submit) => {
                let to_self = self.to_self.clone();
                let reply = move |reply| {
                    // A full mailbox loses the reply; the deadline below answers instead.
                    let _ = to_self.send(Note::MediaReply(number, reply));
                };
                submit(command, Box::new(reply));
                (Vec::new(), IN_PROCESS_WAIT)
            }
            MediaControl::Udp(_) => {
                let cookie = format!("{}_{number}", self.prefix);
                let mut datagram = Vec::with_capacity(1_500);
                codec::encode_request(cookie.as_bytes(), Encoding::Bencode, true, &command, &mut datagram);
                (datagram, RETRY_AFTER[0])
            }
        };
        let due = now + wait;
        let mut pending = Pending { id, asked: now, datagram, tries: 1, due, refused: false };
        if let Some(socket) = &self.socket {
            pending.refused = send(socket, &self.control, &pending.datagram);
        }
        self.pending.insert(number, pending);
        self.due.push(Reverse((due, number)));
    }

    /// An in-process relay has answered.
    pub(super) fn handle_reply(&mut self, number: u64, reply: Reply) {
        if let Some(pending) = self.pending.remove(&number) {
            let result = if reply.is_ok() { RequestResult::Ok } else { RequestResult::Error };
            self.seconds.observe((result,), Clock::mono().since(pending.asked));
            self.answers.push_back((pending.id, Answer::Media(Ok(reply))));
        }
    }

    /// The socket is readable or has an error.
    pub(super) fn handle_readable(&mut self) {
        for _ in 0..READS_PER_WAKE_UP {
            let Some(socket) = &self.socket else { return };
            match socket.recv_from(&mut self.buffer) {
                Received::Empty => return,
                // Nobody listens there now. It may be restarting: the repeats go on, the verdict is "unreachable".
                Received::Error(_) => {
                    for pending in self.pending.values_mut() {
                        pending.refused = true;
                    }
                }
                Received::Datagram { len, .. } => {
                    let Some(datagram) = self.buffer.get(..len) else { return };
                    let Ok((cookie, reply)) = codec::decode_reply(datagram) else { continue };
                    if let Some(number) = number_of(cookie, &self.prefix) {
                        self.handle_reply(number, reply);
                    }
                }
            }
        }
    }

    /// Repeats what is overdue, and gives up what was repeated often enough.
    pub(super) fn handle_timeout(&mut self, now: Mono) {
        while let Some(&Reverse((due, number))) = self.due.peek() {
            if due > now {
                return;
            }
            self.due.pop();
            let Some(pending) = self.pending.get_mut(&number).filter(|p| p.due <= now) else { continue };
            match (&self.socket, RETRY_AFTER.get(pending.tries)) {
                (Some(socket), Some(wait)) => {
                    pending.tries += 1;
                    pending.due = now + *wait;
                    pending.refused |= send(socket, &self.control, &pending.datagram);
                    self.due.push(Reverse((pending.due, number)));
                }
                _ => {
                    let error = if pending.refused { MediaError::Unreachable } else { MediaError::Timeout };
                    let id = pending.id;
                    self.seconds.observe((RequestResult::Error,), now.since(pending.asked));
                    self.pending.remove(&number);
                    self.answers.push_back((id, Answer::Media(Err(error))));
                }
            }
        }
    }

    /// When to call [`handle_timeout`](MediaLink::handle_timeout). May be early.
    pub(super) fn poll_timeout(&self) -> Option<Mono> {
        self.due.peek().map(|Reverse((due, _))| *due)
    }

    /// The next answer for the core.
    pub(super) fn take_answer(&mut self) -> Option<(AskId, Answer)> {
        self.answers.pop_front()
    }
}

/// True when the network refused it.
fn send(socket: &UdpSocket, control: &MediaControl, datagram: &[u8]) -> bool {
    match control {
        MediaControl::Udp(relay) => matches!(socket.send_to(datagram, *relay), Sent::Failed(_)),
        _ => false,
    }
}

fn number_of(cookie: &[u8], prefix: &str) -> Option<u64> {
    let text = std::str::from_utf8(cookie).ok()?;
    text.strip_prefix(prefix)?.strip_prefix('_')?.parse().ok()
}

/// Waits after each sending over UDP; after the last one the question has failed: 1 s in all.
const RETRY_AFTER: [Duration; 4] = [
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(300),
    Duration::from_millis(400),
];
/// How long an in-process relay may take.
const IN_PROCESS_WAIT: Duration = Duration::from_secs(1);
/// Questions under way on one shard. When full: the next ones fail at once (503 to the caller).
const PENDING_MAX: usize = 16_384;
const READS_PER_WAKE_UP: usize = 64;
const RECEIVE_BYTES: usize = 65_535;

#[cfg(test)]
mod tests {
    use super::*;
    use warp_net::epoll::{Epoll, Events, Interest};
    use warp_net::mailbox::{Mailbox, mailbox};

    fn link(control: MediaControl) -> (MediaLink, Mailbox<Note>) {
        let (tx, rx) = mailbox(16).unwrap();
        (MediaLink::new(control, tx, 1, 0xABCD, RequestSeconds::detached(&[1.0])).unwrap(), rx)
    }

    fn at_ms(ms: u64) -> Mono {
        Mono(ms * 1_000_000)
    }

    fn wait_readable(socket: &UdpSocket) {
        let epoll = Epoll::new().unwrap();
        epoll.add(socket, 0, Interest::READ).unwrap();
        let mut events = Events::with_capacity(1);
        epoll.wait(&mut events, Some(Duration::from_secs(10))).unwrap();
        assert_eq!(events.len(), 1, "nothing arrived");
    }

    #[test]
    fn without_a_relay_the_answer_is_unreachable() {
        let (mut link, _rx) = link(MediaControl::None);
        link.ask(AskId(7), Command::Ping, at_ms(0));
        let (id, answer) = link.take_answer().unwrap();
        assert_eq!(id, AskId(7));
        assert!(matches!(answer, Answer::Media(Err(MediaError::Unreachable))));
        assert!(link.poll_timeout().is_none());
    }

    #[test]
    fn an_in_process_relay_answers_through_the_mailbox_or_times_out() {
        let silent = Arc::new(|_: Command, _: Box<dyn FnOnce(Reply) + Send>| {});
        let (mut l, _rx) = link(MediaControl::InProcess(silent));
        l.ask(AskId(1), Command::Ping, at_ms(0));
        l.handle_timeout(at_ms(999));
        assert!(l.take_answer().is_none());
        l.handle_timeout(at_ms(1_000));
        assert!(matches!(l.take_answer(), Some((_, Answer::Media(Err(MediaError::Timeout))))));
        let counted =
            |l: &MediaLink| [RequestResult::Ok, RequestResult::Error].map(|r| l.seconds.count((r,)));
        assert_eq!(counted(&l), [0, 1]);

        let prompt = Arc::new(|_: Command, reply: Box<dyn FnOnce(Reply) + Send>| reply(Reply::Pong));
        let (mut l, mut rx) = link(MediaControl::InProcess(prompt));
        l.ask(AskId(2), Command::Ping, at_ms(0));
        let Some(Note::MediaReply(number, reply)) = rx.take() else { panic!("no reply") };
        l.handle_reply(number, reply);
        assert!(matches!(l.take_answer(), Some((id, Answer::Media(Ok(Reply::Pong)))) if id == AskId(2)));
        assert_eq!(counted(&l), [1, 0]);
        l.handle_timeout(at_ms(5_000));
        assert!(l.take_answer().is_none(), "answered once");
    }

    /// T-NG-03: repeats carry the same cookie; the first reply counts, a second one and a stranger's are dropped.
    #[test]
    fn t_ng_03_requests_are_repeated_under_one_cookie() {
        let relay = UdpSocket::bind("127.0.0.1:0".parse().unwrap(), &UdpOptions::default()).unwrap();
        let (mut l, _rx) = link(MediaControl::Udp(relay.local_addr()));
        l.ask(AskId(3), Command::Ping, at_ms(0));
        assert_eq!(l.poll_timeout(), Some(at_ms(100)));
        l.handle_timeout(at_ms(100));
        let mut buffer = [0; 2_000];
        let mut seen = Vec::new();
        let mut from = None;
        while seen.len() < 2 {
            wait_readable(&relay);
            if let Received::Datagram { len, from: f } = relay.recv_from(&mut buffer) {
                seen.push(buffer[..len].to_vec());
                from = Some(f);
            }
        }
        assert_eq!(seen[0], seen[1]);
        let request = codec::decode_request(&seen[0]).unwrap();
        let mut reply = Vec::new();
        codec::encode_reply(b"other_0", Encoding::Bencode, true, &Reply::Pong, &mut reply);
        relay.send_to(&reply, from.unwrap());
        for _ in 0..2 {
            reply.clear();
            codec::encode_reply(request.cookie, Encoding::Bencode, true, &Reply::Pong, &mut reply);
            relay.send_to(&reply, from.unwrap());
        }
        let mut answers = 0;
        while answers == 0 {
            wait_readable(l.socket().unwrap());
            l.handle_readable();
            while let Some((id, answer)) = l.take_answer() {
                assert_eq!(id, AskId(3));
                assert!(matches!(answer, Answer::Media(Ok(Reply::Pong))));
                answers += 1;
            }
        }
        l.handle_timeout(at_ms(10_000));
        assert!(l.take_answer().is_none());
        assert_eq!(answers, 1);
    }

    #[test]
    fn a_dead_relay_is_unreachable_and_a_silent_one_times_out_after_a_second() {
        let relay = UdpSocket::bind("127.0.0.1:0".parse().unwrap(), &UdpOptions::default()).unwrap();
        let address = relay.local_addr();
        for (dead, ask) in [(false, 4), (true, 5)] {
            let (mut l, _rx) = link(MediaControl::Udp(address));
            let keep = (!dead).then(|| relay.local_addr());
            if dead {
                // A closed port of our own choosing: bind, remember, close.
                let gone = UdpSocket::bind("127.0.0.1:0".parse().unwrap(), &UdpOptions::default()).unwrap();
                let closed = gone.local_addr();
                drop(gone);
                l = link(MediaControl::Udp(closed)).0;
            }
            l.ask(AskId(ask), Command::Ping, at_ms(0));
            if dead {
                wait_readable(l.socket().unwrap());
                l.handle_readable();
            }
            for ms in [100, 300, 600] {
                l.handle_timeout(at_ms(ms));
                assert!(l.take_answer().is_none());
            }
            l.handle_timeout(at_ms(1_000));
            let expected = if keep.is_some() { MediaError::Timeout } else { MediaError::Unreachable };
            let Some((_, Answer::Media(Err(error)))) = l.take_answer() else { panic!("no verdict") };
            assert_eq!(error, expected);
            assert!(l.poll_timeout().is_none());
        }
    }
}
