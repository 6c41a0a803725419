//! Forking (RFC 3261 §16.6, §16.7): one request to several ways, those of one preference together, the next when all of them have failed;
//! the first 2xx goes back, else the best final.
//!
//! A fork outlives its request for as long as a callee may repeat its 2xx. A 2xx of another branch than the first is ACKed and ended by us
//! (RFC 0007): [`Forks::response`] says so.

use warp_sip::edit::Edit;
use warp_sip::flow::Flow;
use warp_sip::header::Header;
use warp_sip::message::{Message, Method, max_breadth};
use warp_sip::proxy::ResponseContext;

use super::answer::Heard;
use super::forward;
use super::ingress::{Arrived, makes_dialog};
use super::route::{self, Plan};
use super::slab::{Id, Slab};
use super::table::Owner;
use super::timers::Key;
use super::transactions::{Failed, Transactions};

/// One way that a request may take.
#[derive(Clone, Debug)]
pub(super) struct Way {
    /// Request-URI of the copy.
    pub(super) contact: Vec<u8>,
    /// Route of the copy; empty: none.
    pub(super) path: Vec<u8>,
    /// Preference; those with the highest are tried first, together.
    pub(super) rank: u16,
    pub(super) flow: Flow,
    /// Listener that it goes out by.
    pub(super) out_by: usize,
    /// Only this flow leads there: later requests of the dialog take it, too.
    pub(super) pinned: bool,
}

/// The best final so far.
#[derive(Debug, Default)]
enum Best {
    #[default]
    None,
    /// Of our own making: time-out, transport failure.
    Own(u16),
    /// As it goes back.
    Theirs(u16, Vec<u8>),
}

#[derive(Debug)]
struct Branch {
    client: Id,
    over: bool,
}

/// One request on several ways.
#[derive(Debug)]
struct Fork {
    server: Id,
    came: Flow,
    request: Vec<u8>,
    method: Method,
    stranger: bool,
    /// Not tried yet, the best last.
    waiting: Vec<Way>,
    branches: Vec<Branch>,
    context: ResponseContext,
    best: Best,
    /// Challenges of all branches that asked for credentials: header and value (RFC 3261 §16.7 step 7).
    challenges: Vec<(Header, Vec<u8>)>,
    /// The branch whose 2xx went back.
    winner: Option<Id>,
    cancelled: bool,
}

/// The forks of one shard.
#[derive(Debug)]
pub(super) struct Forks {
    all: Slab<Fork>,
}

impl Default for Forks {
    fn default() -> Forks {
        Forks { all: Slab::new() }
    }
}

impl Forks {
    /// Sends a request on its ways, which stand in the order of their preference. Its server transaction is answered by the fork from now on.
    pub(super) fn begin(
        &mut self,
        arrived: &Arrived<'_, '_>,
        server: Id,
        mut ways: Vec<Way>,
        tx: &mut Transactions,
    ) {
        ways.truncate(BRANCHES);
        ways.reverse();
        let request = tx.copy_buf(arrived.bytes);
        let fork = Fork {
            server,
            came: arrived.flow,
            request,
            method: arrived.msg.method(),
            stranger: arrived.stranger,
            waiting: ways,
            branches: Vec::new(),
            context: ResponseContext::default(),
            best: Best::None,
            challenges: Vec::new(),
            winner: None,
            cancelled: false,
        };
        let id = self.all.insert(fork);
        if let Some(txn) = tx.table.servers.get_mut(server) {
            txn.call = Some(id);
        }
        self.with(id, tx, |fork, tx| fork.go_on(id, tx));
    }

    /// Works on a fork; what is over afterwards is forgotten.
    fn with<R>(
        &mut self,
        id: Id,
        tx: &mut Transactions,
        step: impl FnOnce(&mut Fork, &mut Transactions) -> R,
    ) -> Option<R> {
        let mut fork = self.all.lend(id)?;
        let result = step(&mut fork, tx);
        if fork.is_over() {
            tx.give_buf(fork.request);
            self.all.remove_lent(id);
        } else {
            self.all.give_back(id, fork);
        }
        Some(result)
    }

    /// A response of a branch. True: a 2xx that nobody waits for any more, which is ours to ACK and to end.
    pub(super) fn response(
        &mut self,
        id: Id,
        branch: u16,
        heard: &Heard,
        msg: &Message<'_>,
        status: u16,
        tx: &mut Transactions,
    ) -> bool {
        let late = self.with(id, tx, |fork, tx| {
            match status {
                100 => {}
                101..=199 => {
                    if fork.winner.is_none() {
                        tx.pass_back(fork.server, msg, status);
                    }
                }
                200..=299 => return fork.answered(id, heard.client, msg, status, tx),
                _ => fork.ended(id, branch, status, Some(msg), tx),
            }
            false
        });
        late.unwrap_or((200..300).contains(&status)) && msg.method_of_cseq() == Method::Invite
    }

    /// A branch ended without a response.
    pub(super) fn failed(&mut self, id: Id, branch: u16, failed: &Failed, tx: &mut Transactions) {
        let status = match (failed.timed_out, failed.cancelled) {
            (true, true) => 487,
            (true, false) => 408,
            (false, _) => 503,
        };
        self.with(id, tx, |fork, tx| fork.ended(id, branch, status, None, tx));
    }

    /// The caller takes his INVITE back.
    pub(super) fn cancelled(&mut self, id: Id, cancel: &Message<'_>, tx: &mut Transactions) {
        self.with(id, tx, |fork, tx| {
            fork.cancelled = true;
            fork.waiting.clear();
            for branch in fork.branches.iter().filter(|b| !b.over) {
                tx.note_reason(branch.client, cancel);
                tx.want_cancel(branch.client);
            }
        });
    }

    /// An answered fork is old enough to be forgotten.
    pub(super) fn due(&mut self, id: Id, tx: &mut Transactions) {
        if let Some(fork) = self.all.remove(id) {
            tx.give_buf(fork.request);
        }
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }
}

impl Fork {
    fn is_over(&self) -> bool {
        let settled = self.winner.is_none() || self.method != Method::Invite;
        settled && self.waiting.is_empty() && self.branches.iter().all(|b| b.over)
    }

    /// Tries the next ways when none is open; without a further one, the best final goes back.
    fn go_on(&mut self, id: Id, tx: &mut Transactions) {
        while self.winner.is_none() && self.branches.iter().all(|b| b.over) {
            match self.waiting.last().map(|w| w.rank) {
                Some(rank) => self.try_rank(id, rank, tx),
                None => return self.give_up(tx),
            }
        }
    }

    fn try_rank(&mut self, id: Id, rank: u16, tx: &mut Transactions) {
        let request = std::mem::take(&mut self.request);
        let parsed = Message::parse(&request);
        let plan = parsed.as_ref().ok().and_then(|msg| Plan::of(&tx.config, &self.came, msg));
        let wanted = self.waiting.iter().filter(|way| way.rank == rank).count();
        let (breadth, together) = shares(parsed.as_ref().ok(), wanted);
        // Those without a share wait until these have failed (RFC 5393 §5.3.3.1): one after another needs no more than one share.
        for _ in 0..together {
            let Some(way) = self.waiting.pop_if(|way| way.rank == rank) else { break };
            let branch = u16::try_from(self.branches.len()).unwrap_or(u16::MAX);
            let client = match (&parsed, &plan) {
                (Ok(msg), Some(plan)) => {
                    self.send(Owner::Fork { fork: id, branch }, msg, plan, &way, breadth, tx)
                }
                _ => None,
            };
            match client {
                Some(client) => self.branches.push(Branch { client, over: false }),
                None => self.note(u16::MAX, 503, None),
            }
        }
        self.request = request;
    }

    fn send(
        &self,
        owner: Owner,
        msg: &Message<'_>,
        plan: &Plan<'_>,
        way: &Way,
        breadth: u32,
        tx: &mut Transactions,
    ) -> Option<Id> {
        let copy = forward::Copy {
            incoming: route::listener_of(&tx.ours, &self.came),
            out_by: way.out_by,
            record_route: msg.to_tag().is_none() && makes_dialog(msg.method()),
            untrusted: self.stranger,
            strip_credentials: true,
            uri: Some(&way.contact),
            path: &way.path,
            pin_in: route::is_pinned(&tx.config, msg, &self.came),
            pin_out: way.pinned,
            breadth: Some(breadth),
            ..forward::Copy::new(plan, self.came)
        };
        tx.forward_request(msg, &copy, way.flow, owner)
    }

    /// True: this 2xx is not the caller's.
    fn answered(
        &mut self,
        id: Id,
        client: Id,
        msg: &Message<'_>,
        status: u16,
        tx: &mut Transactions,
    ) -> bool {
        if self.winner.is_some_and(|winner| winner != client) {
            return true;
        }
        if self.winner.is_none() {
            self.winner = Some(client);
            self.waiting.clear();
            self.cancel_others(client, tx);
            // Until then the callee may repeat it, and others may answer as well.
            let t1_64 = tx.config.timers.t1_64();
            tx.wheel.arm(tx.now.mono + t1_64 + t1_64, Key::Fork(id));
        }
        for branch in self.branches.iter_mut().filter(|b| b.client == client) {
            branch.over = true;
        }
        tx.pass_back(self.server, msg, status);
        false
    }

    fn cancel_others(&self, client: Id, tx: &mut Transactions) {
        if self.method == Method::Invite {
            self.branches
                .iter()
                .filter(|b| !b.over && b.client != client)
                .for_each(|b| tx.want_cancel(b.client));
        }
    }

    /// A branch ended with a final of 300 or more, theirs or ours.
    fn ended(&mut self, id: Id, branch: u16, status: u16, msg: Option<&Message<'_>>, tx: &mut Transactions) {
        let Some(held) = self.branches.get_mut(usize::from(branch)).filter(|b| !b.over) else {
            return;
        };
        held.over = true;
        let client = held.client;
        if self.winner.is_some() {
            return;
        }
        let bytes = msg.and_then(|msg| tx.copy_back(self.server, msg));
        if let (401 | 407, Some(msg)) = (status, msg) {
            let header = if status == 401 { Header::WwwAuthenticate } else { Header::ProxyAuthenticate };
            self.challenges.extend(msg.lines_of(header).map(|v| (header, v.to_vec())));
        }
        self.note(branch, status, bytes);
        if status >= 600 {
            // Nobody else is asked (RFC 3261 §16.7 step 5).
            self.waiting.clear();
            self.cancel_others(client, tx);
        }
        self.go_on(id, tx);
    }

    fn note(&mut self, branch: u16, status: u16, bytes: Option<Vec<u8>>) {
        if self.context.add(branch, status) {
            self.best = bytes.map_or(Best::Own(status), |bytes| Best::Theirs(status, bytes));
        }
    }

    /// All have failed: the best final goes back.
    fn give_up(&mut self, tx: &mut Transactions) {
        match std::mem::take(&mut self.best) {
            // That the callee's side is out of service says nothing about us (RFC 3261 §16.7 step 6).
            Best::Own(503) | Best::Theirs(503, _) => tx.answer(self.server, 500, "", &[]),
            // RFC 4320 §4.2: a 408 to another request than INVITE comes too late to be of use.
            Best::Own(408) if self.method != Method::Invite => tx.remove_server(self.server),
            Best::Own(_) if self.cancelled => tx.answer(self.server, 487, "", &[]),
            Best::Own(status) => tx.answer(self.server, status, "", &[]),
            Best::Theirs(status, bytes) => {
                let bytes = self.with_challenges(status, bytes);
                tx.send_response(self.server, status, bytes);
            }
            Best::None => tx.answer(self.server, 480, "", &[]),
        }
    }

    /// A 401 or 407 asks for what all branches asked for.
    fn with_challenges(&self, status: u16, bytes: Vec<u8>) -> Vec<u8> {
        if !matches!(status, 401 | 407) {
            return bytes;
        }
        let Ok(msg) = Message::parse(&bytes) else { return bytes };
        let has = |header: Header, value: &[u8]| msg.lines_of(header).any(|v| v == value);
        let mut edit = Edit::new(&msg);
        for (header, value) in self.challenges.iter().filter(|(h, v)| !has(*h, v)) {
            edit.add_header(header.name().as_bytes(), value);
        }
        let mut out = Vec::with_capacity(bytes.len() + 512);
        match edit.write_to(&mut out) {
            Ok(()) => out,
            Err(_) => bytes,
        }
    }
}

/// The breadth of each of so many branches that are open together, and how many may be: what the request has left, shared evenly.
fn shares(request: Option<&Message<'_>>, wanted: usize) -> (u32, usize) {
    let left = request.and_then(max_breadth).flatten().unwrap_or(forward::BREADTH).max(1);
    let wanted = u32::try_from(wanted).unwrap_or(u32::MAX).max(1);
    let together = wanted.min(left);
    (left.checked_div(together).unwrap_or(1), usize::try_from(together).unwrap_or(1))
}

/// Ways of one request (T-SIP-14).
const BRANCHES: usize = 64;
