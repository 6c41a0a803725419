//! One seeded world: callers → proxy core → vendors, over a bad network, with a relay that keeps books, and the ledger that
//! the invariants of `ref/threats-and-faults` §4 are checked against.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use warp_model::cdr::{CallRecord, JournalRecord};
use warp_model::{CallId, Mono, Now, Wall};
use warp_ng::Reply;
use warp_sip::flow::{Flow, LinkId, Transport};
use warp_sip_proxy::core::{AskId, AskReply, Core, CoreConfig, MediaError, Output, Question, Shared};

use crate::agent::{CallPlan, Caller, Parsed, Vendor};
use crate::net::{Datagram, Network, Weather};
use crate::rng::Rng;
use crate::spoof::Spoofer;

/// The wall clock at virtual time zero.
const EPOCH: Wall = Wall(1_795_000_000_000_000);

/// A third address.
const SPOOFER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 9, 9, 9)), 5060);

/// The connection that an agent keeps to the proxy.
fn link_of(agent: SocketAddr) -> LinkId {
    match agent.ip() {
        IpAddr::V4(ip) => LinkId(u64::from(ip.to_bits())),
        IpAddr::V6(_) => LinkId::NONE,
    }
}

/// What the relay did: which calls it holds.
#[derive(Debug, Default)]
struct Relay {
    /// Open calls with their branches: offers made and not deleted.
    open: BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>>,
    offers: u64,
}

/// A world in virtual time: a proxy, its customers and vendors, and the network between them.
pub struct World {
    /// The virtual time, since the world began.
    pub now: Mono,
    /// Source of all chance.
    pub rng: Rng,
    network: Network,
    core: Core,
    shared: Arc<Shared>,
    proxy: SocketAddr,
    /// All calls placed, by number.
    pub callers: BTreeMap<u64, Caller>,
    /// The vendors, in the order of their making.
    pub vendors: Vec<Vendor>,
    relay: Relay,
    answers: BTreeMap<(Mono, u64), (AskId, AskReply)>,
    asked: u64,
    /// Journal records in order: answered, then ended.
    answered: BTreeMap<CallId, CallRecord>,
    ended: BTreeMap<CallId, CallRecord>,
    /// Journal records that must not be.
    faults: Vec<String>,
    /// Final responses that the proxy sent per server transaction (branch and CSeq method), without repeats.
    finals: BTreeMap<(String, String), BTreeSet<u16>>,
    over_tcp: u64,
    /// Somebody who overhears everything, and forges.
    pub spoofer: Spoofer,
    /// Per mille of relay questions that get no answer.
    pub relay_deaf_per_mille: u64,
    /// How far the wall clock has been put forward or back (F-TIME-01), in ms.
    pub wall_shift_ms: i64,
}

impl World {
    /// An empty world around a core.
    pub fn new(
        seed: u64,
        config: CoreConfig,
        proxy: SocketAddr,
        vendors: Vec<Vendor>,
        weather: Weather,
    ) -> World {
        let mut rng = Rng::new(seed);
        let shared = Arc::new(Shared::new(rng.seed()));
        let core = Core::new(Arc::new(config), 0, rng.seed(), shared.clone());
        World {
            now: Mono(1_000_000_000),
            network: Network::new(weather),
            core,
            shared,
            proxy,
            callers: BTreeMap::new(),
            vendors,
            relay: Relay::default(),
            answers: BTreeMap::new(),
            asked: 0,
            answered: BTreeMap::new(),
            ended: BTreeMap::new(),
            faults: Vec::new(),
            finals: BTreeMap::new(),
            over_tcp: 0,
            spoofer: Spoofer::new(SPOOFER, proxy),
            relay_deaf_per_mille: 0,
            wall_shift_ms: 0,
            rng,
        }
    }

    /// The core, to hand it a snapshot or a command.
    pub fn core_mut(&mut self) -> &mut Core {
        &mut self.core
    }

    /// Both clocks of the virtual time: since the beginning, and of the wall.
    pub fn clock(&self) -> Now {
        let wall = EPOCH.plus(Duration::from_nanos(self.now.0));
        Now { mono: self.now, wall: Wall(wall.0.saturating_add(self.wall_shift_ms.saturating_mul(1_000))) }
    }

    /// Places a call now.
    pub fn place(&mut self, number: u64, addr: SocketAddr, called: &str, plan: CallPlan) {
        let caller = Caller::start(number, addr, self.proxy, called, plan, self.now);
        self.callers.insert(number, caller);
        self.collect();
    }

    /// Runs until `until`, or until nothing is left to happen.
    pub fn run_until(&mut self, until: Mono) {
        self.drain_core();
        self.collect();
        while let Some(at) = self.next_at().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            while let Some(d) = self.network.take(self.now) {
                self.deliver(d);
            }
            while let Some(key) = self.answers.keys().next().copied().filter(|(at, _)| *at <= self.now) {
                if let Some((id, answer)) = self.answers.remove(&key) {
                    self.core.handle_answer(id, answer, self.clock());
                    self.drain_core();
                }
            }
            if self.core.poll_timeout().is_some_and(|at| at <= self.now) {
                self.core.handle_timeout(self.clock());
                self.drain_core();
            }
            for caller in self.callers.values_mut() {
                if caller.next_at().is_some_and(|at| at <= self.now) {
                    caller.handle_timeout(self.now);
                }
            }
            for vendor in &mut self.vendors {
                if vendor.next_at().is_some_and(|at| at <= self.now) {
                    vendor.handle_timeout(self.now);
                }
            }
            self.collect();
        }
        self.now = self.now.max(until);
    }

    fn next_at(&self) -> Option<Mono> {
        [self.network.next_at(), self.core.poll_timeout(), self.answers.keys().next().map(|(at, _)| *at)]
            .into_iter()
            .flatten()
            .chain(self.callers.values().filter_map(Caller::next_at))
            .chain(self.vendors.iter().filter_map(Vendor::next_at))
            .min()
    }

    fn deliver(&mut self, d: Datagram) {
        if d.to == self.proxy {
            let flow = match d.stream {
                false => Flow::udp(self.proxy, d.from),
                true => Flow { link: link_of(d.from), ..Flow::unlinked(Transport::Tcp, self.proxy, d.from) },
            };
            self.core.handle_message(flow, &d.bytes, self.clock());
            self.drain_core();
        } else if d.to == self.spoofer.addr {
            // It has nothing to gain from an answer.
        } else if let Some(vendor) = self.vendors.iter_mut().find(|v| v.addr == d.to) {
            vendor.handle(d.from, &d.bytes, self.now);
        } else if let Some(caller) = self.callers.values_mut().find(|c| c.addr == d.to) {
            caller.handle(&d.bytes, self.now);
        } else {
            self.faults.push(format!("a datagram for nobody: {}", d.to));
        }
        self.collect();
    }

    /// Sends what agents want to send.
    fn collect(&mut self) {
        let outs =
            self.callers.values_mut().map(|c| &mut c.out).chain(self.vendors.iter_mut().map(|v| &mut v.out));
        for out in outs {
            for d in out.drain(..) {
                self.network.send(self.now, d, &mut self.rng);
            }
        }
    }

    fn drain_core(&mut self) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Transmit { flow, bytes } => {
                    if flow.remote != self.spoofer.addr {
                        self.note_final(&bytes);
                    }
                    if std::env::var_os("WARP_TRACE").is_some() {
                        let first = String::from_utf8_lossy(&bytes);
                        println!("{:?} -> {} {}", self.now, flow.remote, first.lines().next().unwrap_or(""));
                    }
                    if let Some(forged) = self.spoofer.overhear(&bytes, &mut self.rng) {
                        self.network.send(self.now, forged, &mut self.rng);
                    }
                    let stream = flow.transport.is_reliable();
                    self.over_tcp += u64::from(stream);
                    if stream && flow.link != link_of(flow.remote) {
                        self.faults.push(format!("a message for {} by another connection", flow.remote));
                    }
                    let datagram =
                        Datagram { from: self.proxy, to: flow.remote, bytes: bytes.to_vec(), stream };
                    self.network.send(self.now, datagram, &mut self.rng);
                    self.core.recycle(bytes);
                }
                Output::Ask { id, question: Question::Media(command) } => self.ask(id, command),
                Output::Ask {
                    question: Question::Look(_) | Question::Write { .. } | Question::Locate(_),
                    ..
                } => {}
                Output::Journal(JournalRecord::Answered(r)) => {
                    let id = r.cdr_id;
                    if self.ended.contains_key(&id) || self.answered.insert(id, *r).is_some() {
                        self.faults.push(format!("{id}: answered twice, or after its end"));
                    }
                }
                Output::Journal(JournalRecord::Ended(r)) => {
                    let id = r.cdr_id;
                    if self.ended.insert(id, *r).is_some() {
                        self.faults.push(format!("{id}: ended twice"));
                    }
                }
                Output::CloseFlow(_) => {}
            }
        }
    }

    /// Keeps every final response to a caller: at most one status per server transaction.
    fn note_final(&mut self, bytes: &[u8]) {
        let m = Parsed::read(bytes);
        if m.status() >= 200 && m.branch().starts_with("z9hG4bKc") {
            let key = (m.branch().to_owned(), m.method().to_owned());
            self.finals.entry(key).or_default().insert(m.status());
        }
    }

    fn ask(&mut self, id: AskId, command: warp_ng::Command) {
        use warp_ng::Command as C;
        let deaf = self.rng.chance(self.relay_deaf_per_mille);
        let answer = match command {
            C::Offer(c) => {
                if !deaf {
                    self.relay.offers += 1;
                    let branches = self.relay.open.entry(c.call_id.clone()).or_default();
                    branches.insert(c.via_branch.clone().unwrap_or_default());
                }
                Reply::Sdp { sdp: c.sdp, warning: None, recordings: Vec::new() }
            }
            C::Answer(c) => {
                if !self.relay.open.contains_key(&c.call_id) {
                    self.faults.push("answer for a call that the relay does not hold".into());
                }
                Reply::Sdp { sdp: c.sdp, warning: None, recordings: Vec::new() }
            }
            C::Delete(c) => {
                // A branch's delete keeps the call as long as another branch uses it; the last one, without branch, ends it.
                if let (Some(branch), Some(held)) = (&c.via_branch, self.relay.open.get_mut(&c.call_id)) {
                    held.remove(branch);
                }
                let left = self.relay.open.get(&c.call_id).is_some_and(|b| !b.is_empty());
                if c.via_branch.is_none() || !left {
                    self.relay.open.remove(&c.call_id);
                }
                Reply::Stats(Default::default())
            }
            _ => Reply::Pong,
        };
        self.asked += 1;
        let answer = if deaf { Err(MediaError::Timeout) } else { Ok(answer) };
        let delay = Duration::from_micros(200 + self.rng.below(3_000));
        self.answers.insert((self.now + delay, self.asked), (id, AskReply::Media(answer)));
    }

    /// Checks everything that must hold once the dust has settled; returns broken rules in words.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = self.faults.clone();
        for v in &self.vendors {
            faults.extend(v.faults.iter().cloned());
            faults.extend(v.open().map(|id| format!("{id}: the vendor never saw its end")));
        }
        for ((branch, method), statuses) in &self.finals {
            if statuses.len() > 1 {
                faults.push(format!("{method} {branch}: several final answers {statuses:?}"));
            }
        }
        for (n, c) in &self.callers {
            if c.answered_tags.len() > 1 {
                faults.push(format!("call {n}: answered by two: {:?}", c.answered_tags));
            }
            if c.finals.len() > 1 {
                faults.push(format!("call {n}: several finals {:?}", c.finals));
            }
            if !c.answered_tags.is_empty() && !c.ended {
                faults.push(format!("call {n}: answered, never ended"));
            }
        }
        if let Some(at) = self.core.poll_timeout() {
            faults.push(format!("a timer is left: in {:?}", at - self.now));
        }
        let (server, client) = self.core.transactions();
        if client + server > 0 || self.shared.transactions() > 0 {
            faults.push(format!("transactions left: {client} client, {server} server"));
        }
        faults
    }

    /// The ledger's rules (policy mode): every answered call is journalled before and ended exactly once, and so on.
    pub fn ledger_faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for id in self.answered.keys().filter(|id| !self.ended.contains_key(id)) {
            faults.push(format!("{id}: answered, no CDR"));
        }
        let by_call: BTreeMap<&str, Vec<&CallRecord>> =
            self.ended.values().fold(BTreeMap::new(), |mut m, r| {
                m.entry(r.sip_call_id.as_str()).or_default().push(r);
                m
            });
        for (n, c) in &self.callers {
            let id = format!("call{n}@sim");
            let records = by_call.get(id.as_str()).map_or(&[][..], Vec::as_slice);
            let answered = records.iter().filter(|r| r.answer_at.is_some()).count();
            if !c.answered_tags.is_empty() && answered != 1 {
                faults
                    .push(format!("{id}: the caller got a 200, the ledger has {answered} answered records"));
            }
            if records.len() > 1 {
                faults.push(format!("{id}: {} records", records.len()));
            }
            if !c.finals.is_empty() && records.is_empty() {
                faults.push(format!("{id}: got {:?}, the ledger has nothing", c.finals));
            }
        }
        for r in self.ended.values() {
            if r.answer_at.is_some() != (r.sip_code == 200) {
                faults.push(format!("{}: code {} and answer {:?}", r.cdr_id, r.sip_code, r.answer_at));
            }
            if r.answer_at.is_some() && r.rating.is_none() {
                faults.push(format!("{}: answered and not rated", r.cdr_id));
            }
        }
        if !self.relay.open.is_empty() {
            faults.push(format!("the relay still holds {} calls", self.relay.open.len()));
        }
        faults
    }

    /// The records of the calls that are over, in the order of their ids.
    pub fn ended(&self) -> impl Iterator<Item = &CallRecord> {
        self.ended.values()
    }

    /// What trunks and vendor trunks of `directory` hold when nothing should be held: calls at once, and money beside `charged`, what the
    /// records of the day come to.
    pub fn lent(&self, directory: &Arc<warp_policy::Directory>) -> Vec<String> {
        let bound = self.shared.usage().bind(directory);
        let charged: i64 =
            self.ended.values().filter_map(|r| r.rating.as_ref()).map(|r| r.sell.charge.0).sum();
        let mut faults = Vec::new();
        for (ix, _) in directory.trunks() {
            if let Some(g) = bound.trunk(ix)
                && (g.channels != 0 || g.spent.0 != charged)
            {
                faults
                    .push(format!("trunk {ix:?}: {} channels, {} spent of {charged}", g.channels, g.spent.0));
            }
        }
        for (ix, _) in directory.vendor_trunks() {
            if bound.vendor_trunk_channels(ix) != Some(0) {
                faults.push(format!("vendor trunk {ix:?}: {:?} channels", bound.vendor_trunk_channels(ix)));
            }
        }
        faults
    }

    /// Messages that the proxy sent on connections.
    pub fn tcp_messages(&self) -> u64 {
        self.over_tcp
    }

    /// Figures for a summary: calls answered, ended, datagrams lost, offers.
    pub fn figures(&self) -> (usize, usize, u64, u64) {
        (self.answered.len(), self.ended.len(), self.network.lost, self.relay.offers)
    }
}
