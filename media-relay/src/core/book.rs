//! The call book: ng commands in, replies and [`Output`] out.
//!
//! Call (Call-ID) → dialogue (offerer, answerer and Via branch) → media line → one port pair towards each party. Branches of one
//! offer share the ports towards the offerer, and one of them at a time is open towards it ([`branches`]), so that early media
//! of one never mixes with another's. An offer takes ports; its answer sets the rules of both directions; a re-offer changes
//! nothing until it is answered (RFC 3264 §5). Either party may offer at any time.
//!
//! Invariants: pure (time is an argument, ports come from [`Ports`]); an error leaves everything as it was; ports taken =
//! ports of the calls in the book; outputs do not depend on hash order. Full: new calls get `load limit`, calls in
//! progress go on (T-NG-04). Absent on purpose: sockets, cookies, checks and handshakes
//! themselves (a port's session makes them), transcoding.

mod answer;
mod branches;
mod call;
mod circle;
mod config;
mod dialogues;
mod end;
mod hidden;
mod keep;
mod keyring;
mod offer;
mod play;
mod quality;
mod record;
mod session;
mod table;
mod taken;
#[cfg(test)]
mod tests_walks;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use warp_media::LocalPort;
use warp_model::{Mono, Now};
use warp_ng::reply::reasons;
use warp_ng::{Command, Ice, Reply};

pub use self::config::{BookConfig, KeySource, RelayLimits};
pub(crate) use self::record::NO_FOLDER;
pub use self::record::Recordings;

use self::branches::Past;
use self::call::{Call, Dialogue};
use self::table::CallTable;
use super::Output;
use super::ports::{PortPair, Ports};

/// Calls looked at for quality in one go.
const SAMPLES: usize = 256;

/// Bytes of a `list` reply at most: it is one datagram.
const LIST_BYTES: usize = 60_000;
/// Figures of a call whose media timed out are kept so long for the `delete` of signalling.
const ENDED_KEPT: Duration = Duration::from_secs(60);

/// The book of calls: it takes ng commands and gives replies and [`Output`].
pub struct Book {
    config: BookConfig,
    ports: Box<dyn Ports + Send>,
    /// By serial number: the order of arrival.
    calls: CallTable,
    // Looked up, never iterated.
    by_id: HashMap<Vec<u8>, u64>,
    by_port: HashMap<LocalPort, u64>,
    timers: BTreeSet<(Mono, u64)>,
    /// When the quality of a call's streams is looked at.
    samples: BTreeSet<(Mono, u64)>,
    out: VecDeque<Output>,
    next: u64,
    next_recording: u64,
    /// Calls that are not ended.
    live: usize,
    pairs: usize,
    /// Pairs taken by the command at work; see [`lent`].
    taken: Vec<PortPair>,
    /// What is remembered of calls that are gone.
    past: Past,
    /// Our own addresses, as they are and as SDP shows them.
    own: Vec<IpAddr>,
    /// The command at work gets its SDP in the canonical rendering.
    canonical: bool,
    /// The command at work is of this process, whose families are wishes: it knows how a peer signals, not what media he has.
    ours: bool,
}

impl Book {
    /// An empty book over a supply of ports.
    pub fn new(config: BookConfig, ports: Box<dyn Ports + Send>) -> Self {
        let own = ports.ips().iter().chain(&config.advertise).copied().collect();
        Self {
            config,
            ports,
            calls: CallTable::default(),
            by_id: HashMap::new(),
            by_port: HashMap::new(),
            timers: BTreeSet::new(),
            samples: BTreeSet::new(),
            out: VecDeque::new(),
            next: 0,
            next_recording: 0,
            live: 0,
            pairs: 0,
            taken: Vec::new(),
            past: Past::default(),
            own,
            canonical: false,
            ours: false,
        }
    }

    /// Other limits, for what begins and for what is looked at from now on. Sockets, addresses and shards stay.
    pub fn set_limits(&mut self, limits: &RelayLimits) {
        self.config.max_calls = limits.max_calls;
        self.config.media_timeout = limits.media_timeout;
        self.config.hold_timeout = limits.hold_timeout;
        self.config.offer_timeout = limits.offer_timeout;
        self.config.delete_delay = limits.delete_delay;
    }

    /// Carries out one command. `from` is the ng client; which clients may speak is the listener's affair.
    pub fn handle_command(&mut self, command: Command, from: Option<IpAddr>, now: Now) -> Reply {
        self.canonical = from.is_some() && self.config.canonical;
        self.ours = from.is_none();
        match command {
            Command::Ping => Reply::Pong,
            Command::Offer(mut c) => {
                // This process says what it wants of ICE, and nothing is nothing.
                c.ice = c.ice.or(from.is_none().then_some(Ice::Remove));
                let reply = self.offer(&c, now).unwrap_or_else(|refused| refused);
                let call = self.by_id.get(&c.call_id).and_then(|serial| self.calls.get_mut(*serial));
                if let Some(call) = call {
                    call.client = c.xmlrpc_callback.or(call.client).or(from);
                }
                reply
            }
            Command::Answer(mut c) => {
                c.ice = c.ice.or(from.is_none().then_some(Ice::Remove));
                self.answer(&c, now).unwrap_or_else(|refused| refused)
            }
            Command::Delete(c) => self.delete(&c, now),
            Command::Query(c) => self.query(&c, now),
            Command::Keep(c) => self.keep_back(&c, now).unwrap_or_else(|refused| refused),
            Command::Record(c) => self.record(&c, now).unwrap_or_else(|refused| refused),
            // Its sounds come from elsewhere: [`Book::handle_play`].
            Command::Play(_) => Reply::error(reasons::NO_HANDLER),
            // Of the whole relay, and the book is only a part of it.
            Command::Statistics => Reply::error(reasons::NO_HANDLER),
            Command::List { limit } => {
                let limit = usize::try_from(limit).unwrap_or(usize::MAX);
                let mut room = LIST_BYTES;
                let live = self.calls.walk().filter(|c| c.ended.is_none());
                let named = live.take(limit).map_while(|c| {
                    // What stands around an id is shorter than this in either notation.
                    room = room.checked_sub(c.id.len().saturating_add(8))?;
                    Some(c.id.clone())
                });
                Reply::Calls(named.collect())
            }
        }
    }

    /// A shard learnt the address of a party behind a NAT; only statistics need it here.
    pub fn handle_learnt(&mut self, port: LocalPort, peer: SocketAddr) {
        if let Some(call) = self.by_port.get(&port).and_then(|serial| self.calls.get_mut(*serial)) {
            call.learn(port, peer);
        }
    }

    /// Deletes what is due, ends calls without media (T-RTP-10).
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some((at, serial)) = self.timers.first().copied() {
            if at > now.mono {
                break;
            }
            self.timers.pop_first();
            self.look_at(serial, now);
        }
    }

    /// Looks at the quality of the streams that are due: some of them, so that commands need not wait for many calls.
    pub fn handle_samples(&mut self, now: Now) {
        for _ in 0..SAMPLES {
            let Some((at, serial)) = self.samples.first().copied().filter(|(at, _)| *at <= now.mono) else {
                return;
            };
            self.samples.remove(&(at, serial));
            if let Some(call) = self.calls.get_mut(serial).filter(|c| c.ended.is_none()) {
                call.look_at_quality(now);
                self.samples.insert((now.mono + quality::INTERVAL, serial));
            }
        }
    }

    /// When to call [`Book::handle_samples`].
    pub fn poll_sample(&self) -> Option<Mono> {
        self.samples.first().map(|(at, _)| *at)
    }

    /// What to do next; drain after every `handle_*`.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When to call [`Book::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Mono> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Calls that are not ended.
    pub fn calls(&self) -> usize {
        self.live
    }

    /// Its limits, as they are now.
    pub fn config(&self) -> &BookConfig {
        &self.config
    }

    /// Port pairs in use.
    pub fn pairs_used(&self) -> usize {
        self.pairs
    }

    /// The supply of ports.
    pub fn ports(&self) -> &dyn Ports {
        &*self.ports
    }

    /// The address that SDP shows for a pair.
    fn advertised(&self, ip: u8, media_address: Option<IpAddr>) -> Option<IpAddr> {
        let at = usize::from(ip);
        let local = *self.ports.ips().get(at)?;
        let shown = self.config.advertise.get(at).copied().unwrap_or(local);
        Some(media_address.filter(|ip| ip.is_ipv4() == shown.is_ipv4()).unwrap_or(shown))
    }

    /// Index of the local address to use: the first of the family on the logical interface `name`, or the one that `name`
    /// spells; else the first of the family, as for every unknown name.
    fn interface(&self, name: Option<&[u8]>, ipv4: bool) -> Option<u8> {
        let ips = self.ports.ips();
        let text = name.and_then(|n| std::str::from_utf8(n).ok());
        let spelt = text.and_then(|n| n.parse::<IpAddr>().ok());
        let of_family = |ip: &IpAddr| ip.is_ipv4() == ipv4;
        let named = |at: usize| text.is_some() && self.config.interfaces.get(at).map(String::as_str) == text;
        let find = |fits: &dyn Fn(usize, &IpAddr) -> bool| {
            ips.iter().enumerate().position(|(at, ip)| of_family(ip) && fits(at, ip))
        };
        let at = find(&|at, _| named(at))
            .or_else(|| find(&|_, ip| Some(*ip) == spelt))
            .or_else(|| find(&|_, _| true))?;
        u8::try_from(at).ok()
    }

    /// Takes over the marking that a command asks for and tells the ports: all of the call when it has changed, else those
    /// just taken, which carry the default.
    fn mark(&mut self, call: &mut Call, tos: Option<i64>, taken: &[PortPair]) {
        let before = call.tos;
        match tos.map(u8::try_from) {
            Some(Ok(tos)) => call.tos = Some(tos),
            Some(Err(_)) if tos.is_some_and(|t| t > 255) => call.tos = None,
            _ => {}
        }
        let pairs: Vec<PortPair> = if call.tos != before {
            call.dialogues.iter().flat_map(Dialogue::pairs).collect()
        } else if call.tos.is_some() {
            taken.to_vec()
        } else {
            return;
        };
        for port in pairs.into_iter().flat_map(|p| [p.rtp_port(), p.rtcp_port()]) {
            self.out.push_back(Output::Mark { shard: call.shard, port, tos: call.tos });
        }
    }

    fn new_call(&mut self, serial: u64, id: &[u8], now: Now) -> Call {
        let shard = serial.checked_rem(u64::from(self.config.shards)).unwrap_or(0);
        Call {
            id: id.to_vec(),
            shard: u16::try_from(shard).unwrap_or(0),
            created: now,
            last_signal: now,
            dialogues: Vec::new(),
            look_at: now.mono,
            ended: None,
            tos: None,
            metadata: None,
            is_sampled: false,
            client: None,
            recording: None,
            counter: 0,
            kept: Default::default(),
            gone: self.past.take(id, now.mono),
        }
    }
}
