//! Media questions of the core on their way to a relay and back: in process as typed values, or over UDP in ng to WARP's own
//! relay elsewhere or to an rtpengine.
//!
//! Each question has one answer: the relay's reply, or [`MediaError`] when the time is over. A reply that comes later is
//! dropped. Over UDP a request is repeated under the same cookie, so that the relay runs it once (T-NG-03).
//!
//! Nobody waits for a `delete` as for an offer: to a relay in this process it goes with those of the next [`COMPANY`], by the first other
//! command after that or by itself after [`LAZY`], and its reply wakes nobody up. So the end of a call costs no task switch of its own, and
//! on a busy shard several ends are worked on at once, which a processor does in less time than one by one.
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
use crate::core::{AskId, AskReply, MediaError};

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
    answers: VecDeque<(AskId, AskReply)>,
    /// Deletes that gather, and when they go without another command.
    lazy: Vec<(u64, Command)>,
    lazy_due: Option<Mono>,
    /// Deletes that an in-process relay has, and when the mailbox is looked into for their replies at the latest.
    lazy_out: usize,
    look_at: Option<Mono>,
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
    /// An in-process relay has it as one of those that nobody waits for.
    is_lazy: bool,
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
            lazy: Vec::new(),
            lazy_due: None,
            lazy_out: 0,
            look_at: None,
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
            self.answers.push_back((id, AskReply::Media(Err(MediaError::Timeout))));
            return;
        }
        let number = self.next;
        self.next += 1;
        let mut is_full = false;
        let (datagram, wait) = match &self.control {
            MediaControl::None => {
                self.answers.push_back((id, AskReply::Media(Err(MediaError::Unreachable))));
                return;
            }
            MediaControl::InProcess(submit) => {
                let submit = Arc::clone(submit);
                if matches!(command, Command::Delete(_)) {
                    self.lazy.push((number, command));
                    self.lazy_due.get_or_insert(now + LAZY);
                    is_full = self.lazy.len() >= LAZY_MAX;
                } else {
                    if self.goes_first(&command, now) {
                        self.submit_lazy(now);
                    }
                    let to_self = self.to_self.clone();
                    let reply = move |reply| {
                        // A full mailbox loses the reply; the deadline below answers instead.
                        let _ = to_self.send(Note::MediaReply(number, reply));
                    };
                    submit(command, Box::new(reply));
                }
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
        let mut pending = Pending { id, asked: now, datagram, tries: 1, due, refused: false, is_lazy: false };
        if let Some(socket) = &self.socket {
            pending.refused = send(socket, &self.control, &pending.datagram);
        }
        self.pending.insert(number, pending);
        self.due.push(Reverse((due, number)));
        if is_full {
            self.submit_lazy(now);
        }
    }

    /// Whether the deletes go before this command: they have waited for company long enough, or one is about the same call, whose commands
    /// keep their order.
    fn goes_first(&self, command: &Command, now: Mono) -> bool {
        let Some(due) = self.lazy_due else { return false };
        let same = |waiting: &Command| waiting.call_id() == command.call_id();
        due <= now + (LAZY - COMPANY) || self.lazy.iter().any(|(_, waiting)| same(waiting))
    }

    /// Hands the relay in this process the deletes that wait for company.
    pub(super) fn submit_lazy(&mut self, now: Mono) {
        self.lazy_due = None;
        let MediaControl::InProcess(submit) = &self.control else { return };
        for (number, command) in self.lazy.drain(..) {
            if let Some(pending) = self.pending.get_mut(&number) {
                pending.is_lazy = true;
                self.lazy_out += 1;
                self.look_at.get_or_insert(now + LAZY);
            }
            let to_self = self.to_self.clone();
            let reply = move |reply| {
                let _ = to_self.put(Note::MediaReply(number, reply));
            };
            submit(command, Box::new(reply));
        }
    }

    /// Whether replies may lie in the mailbox that woke nobody up.
    pub(super) fn has_lazy(&self) -> bool {
        self.lazy_out > 0
    }

    fn take_pending(&mut self, number: u64) -> Option<Pending> {
        let pending = self.pending.remove(&number)?;
        if pending.is_lazy {
            self.lazy_out = self.lazy_out.saturating_sub(1);
            self.look_at = self.look_at.filter(|_| self.lazy_out > 0);
        }
        // A deadline of what was answered would wake the shard up for nothing.
        while let Some(&Reverse((due, number))) = self.due.peek() {
            if self.pending.get(&number).is_some_and(|p| p.due == due) {
                break;
            }
            self.due.pop();
        }
        Some(pending)
    }

    /// An in-process relay has answered.
    pub(super) fn handle_reply(&mut self, number: u64, reply: Reply) {
        if let Some(pending) = self.take_pending(number) {
            let result = if reply.is_ok() { RequestResult::Ok } else { RequestResult::Error };
            self.seconds.observe((result,), Clock::mono().since(pending.asked));
            self.answers.push_back((pending.id, AskReply::Media(Ok(reply))));
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
        if self.lazy_due.is_some_and(|at| at <= now) {
            self.submit_lazy(now);
        }
        if self.look_at.is_some_and(|at| at <= now) {
            self.look_at = Some(now + LAZY);
        }
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
                    self.take_pending(number);
                    self.answers.push_back((id, AskReply::Media(Err(error))));
                }
            }
        }
    }

    /// When to call [`handle_timeout`](MediaLink::handle_timeout): none is for a question that has its answer.
    pub(super) fn poll_timeout(&self) -> Option<Mono> {
        let due = self.due.peek().map(|Reverse((due, _))| *due);
        [due, self.lazy_due, self.look_at].into_iter().flatten().min()
    }

    /// The next answer for the core.
    pub(super) fn take_answer(&mut self) -> Option<(AskId, AskReply)> {
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
/// How long a delete waits for others, then for another command, in all; and its reply for another wake-up.
const LAZY: Duration = Duration::from_millis(20);
/// How long it waits for others only.
const COMPANY: Duration = Duration::from_millis(10);
/// So many deletes go at once.
const LAZY_MAX: usize = 64;
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
        assert!(matches!(answer, AskReply::Media(Err(MediaError::Unreachable))));
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
        assert!(matches!(l.take_answer(), Some((_, AskReply::Media(Err(MediaError::Timeout))))));
        let counted =
            |l: &MediaLink| [RequestResult::Ok, RequestResult::Error].map(|r| l.seconds.count((r,)));
        assert_eq!(counted(&l), [0, 1]);

        let prompt = Arc::new(|_: Command, reply: Box<dyn FnOnce(Reply) + Send>| reply(Reply::Pong));
        let (mut l, mut rx) = link(MediaControl::InProcess(prompt));
        l.ask(AskId(2), Command::Ping, at_ms(0));
        let Some(Note::MediaReply(number, reply)) = rx.take() else { panic!("no reply") };
        l.handle_reply(number, reply);
        assert!(matches!(l.take_answer(), Some((id, AskReply::Media(Ok(Reply::Pong)))) if id == AskId(2)));
        assert_eq!(counted(&l), [1, 0]);
        l.handle_timeout(at_ms(5_000));
        assert!(l.take_answer().is_none(), "answered once");
    }

    /// RFC 0006: nobody waits for a delete. It goes with others, before a later command, or by itself after a while; its reply wakes nobody
    /// up, and is looked for.
    #[test]
    fn a_delete_waits_for_company_and_its_reply_wakes_nobody() {
        let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
        let heard = Arc::clone(&seen);
        let relay = Arc::new(move |command: Command, reply: Box<dyn FnOnce(Reply) + Send>| {
            heard.lock().unwrap().push(matches!(command, Command::Delete(_)));
            reply(Reply::Pong);
        });
        let delete = || Command::Delete(warp_ng::Delete::call(b"c".as_slice()));
        let (mut l, mut rx) = link(MediaControl::InProcess(relay));
        let epoll = Epoll::new().unwrap();
        epoll.add(&rx, 0, Interest::READ.edge()).unwrap();
        let mut events = Events::with_capacity(1);
        let mut woken = || {
            epoll.wait(&mut events, Some(Duration::ZERO)).unwrap();
            events.len()
        };
        let answered = |l: &mut MediaLink, rx: &mut Mailbox<Note>| {
            let mut notes = Vec::new();
            rx.drain(9, |note| notes.push(note));
            for note in notes {
                let Note::MediaReply(number, reply) = note else { panic!("no reply") };
                l.handle_reply(number, reply);
            }
            std::iter::from_fn(|| l.take_answer()).map(|(id, _)| id.0).collect::<Vec<_>>()
        };
        l.ask(AskId(1), delete(), at_ms(0));
        assert!(seen.lock().unwrap().is_empty() && !l.has_lazy());
        l.ask(AskId(2), Command::Ping, at_ms(9));
        assert_eq!(*seen.lock().unwrap(), [false], "it waits for company");
        assert!(!l.has_lazy() && woken() == 1);
        l.ask(AskId(7), delete(), at_ms(9));
        l.ask(AskId(8), Command::Ping, at_ms(10));
        assert_eq!(*seen.lock().unwrap(), [false, true, true, false], "together, before the next command");
        assert!(l.has_lazy());
        assert_eq!(answered(&mut l, &mut rx), [2, 1, 7, 8]);
        // Commands about one call keep their order.
        l.ask(AskId(4), delete(), at_ms(20));
        l.ask(AskId(5), Command::Offer(warp_ng::SdpCommand::new("d", "f", "")), at_ms(21));
        assert_eq!(seen.lock().unwrap()[4..], [false], "another call");
        l.ask(AskId(6), Command::Offer(warp_ng::SdpCommand::new("c", "f", "")), at_ms(22));
        assert_eq!(seen.lock().unwrap()[4..], [false, true, false]);
        assert_eq!(answered(&mut l, &mut rx), [5, 4, 6]);
        let (_, before) = (woken(), seen.lock().unwrap().len());
        assert!(!l.has_lazy());
        assert_eq!(l.poll_timeout(), None, "nothing is waited for, so nothing wakes the shard up");
        // Alone: when its time has come. Its reply is in the mailbox, and announced to nobody.
        l.ask(AskId(3), delete(), at_ms(100));
        assert_eq!(l.poll_timeout(), Some(at_ms(120)));
        l.handle_timeout(at_ms(119));
        assert_eq!(seen.lock().unwrap().len(), before);
        l.handle_timeout(at_ms(120));
        assert_eq!(seen.lock().unwrap().len(), before + 1);
        assert_eq!((woken(), rx.has_news(), l.has_lazy()), (0, true, true));
        assert_eq!(l.poll_timeout(), Some(at_ms(140)), "then it is looked for");
        l.handle_timeout(at_ms(140));
        assert_eq!(l.poll_timeout(), Some(at_ms(160)));
        // Many at once do not wait.
        for id in 0..64 {
            assert_eq!(seen.lock().unwrap().len(), before + 1);
            l.ask(AskId(10 + id), delete(), at_ms(150));
        }
        assert_eq!(seen.lock().unwrap().len(), before + 65);
    }

    /// A relay that does not answer a delete: its time is up as for any other question.
    #[test]
    fn a_delete_without_a_reply_times_out() {
        let silent = Arc::new(|_: Command, _: Box<dyn FnOnce(Reply) + Send>| {});
        let (mut l, _rx) = link(MediaControl::InProcess(silent));
        l.ask(AskId(1), Command::Delete(warp_ng::Delete::call(b"c".as_slice())), at_ms(0));
        for ms in (0..1_000).step_by(10) {
            l.handle_timeout(at_ms(ms));
        }
        assert!(l.take_answer().is_none() && l.has_lazy());
        l.handle_timeout(at_ms(1_000));
        assert!(matches!(l.take_answer(), Some((AskId(1), AskReply::Media(Err(MediaError::Timeout))))));
        assert!(!l.has_lazy());
        assert_eq!(l.poll_timeout(), None);
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
                assert!(matches!(answer, AskReply::Media(Ok(Reply::Pong))));
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
            let Some((_, AskReply::Media(Err(error)))) = l.take_answer() else { panic!("no verdict") };
            assert_eq!(error, expected);
            assert!(l.poll_timeout().is_none());
        }
    }
}
