//! The transaction table of one shard: server transactions by key (RFC 3261 §17.2.3), client transactions by the slab id
//! that stands in our own branch (§17.1.3), so that a response is matched without hashing.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use warp_model::{Lent, Mono, VendorTrunkId};
use warp_sip::flow::{Flow, LinkId, Transport};
use warp_sip::message::{Message, Method};
use warp_sip::proxy::{CancelState, TimerC};
use warp_sip::transaction::{
    Actions, ClientInput, ClientInvite, ClientOther, NEVER, ServerInput, ServerInvite, ServerOther, Timers,
    client_invite, client_other, server_invite, server_other,
};

use super::random::{HashTable, Keyed};
use super::shared::Place;
use super::slab::{Id, Slab};

/// A server transaction machine of either kind.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ServerMachine {
    Invite(ServerInvite),
    Other(ServerOther),
}

impl ServerMachine {
    pub(crate) fn on_input(&mut self, input: ServerInput, t: &Timers, now: Mono) -> Actions {
        match self {
            Self::Invite(m) => m.on_input(input, t, now),
            Self::Other(m) => m.on_input(input, t, now),
        }
    }

    pub(crate) fn on_timeout(&mut self, t: &Timers, now: Mono) -> Actions {
        match self {
            Self::Invite(m) => m.on_timeout(t, now),
            Self::Other(m) => m.on_timeout(t, now),
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Mono> {
        match self {
            Self::Invite(m) => m.next_timeout(),
            Self::Other(m) => m.next_timeout(),
        }
    }

    /// Whether nothing more can happen to it.
    pub(crate) fn is_over(&self) -> bool {
        match self {
            Self::Invite(m) => m.state() == server_invite::State::Terminated,
            Self::Other(m) => m.state() == server_other::State::Terminated,
        }
    }

    /// Whether an ACK of this transaction would be for a 300–699, or for none yet.
    pub(crate) fn failed_or_open(&self) -> bool {
        matches!(self, Self::Invite(m) if m.state() != server_invite::State::Accepted)
    }

    /// Whether the final response is still to come.
    pub(crate) fn is_open(&self) -> bool {
        match self {
            Self::Invite(m) => m.state() == server_invite::State::Proceeding,
            Self::Other(m) => {
                matches!(m.state(), server_other::State::Trying | server_other::State::Proceeding)
            }
        }
    }
}

/// A client transaction machine of either kind.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ClientMachine {
    Invite(ClientInvite),
    Other(ClientOther),
}

impl ClientMachine {
    pub(crate) fn on_input(&mut self, input: ClientInput, t: &Timers, now: Mono) -> Actions {
        match self {
            Self::Invite(m) => m.on_input(input, t, now),
            Self::Other(m) => m.on_input(input, t, now),
        }
    }

    pub(crate) fn on_timeout(&mut self, t: &Timers, now: Mono) -> Actions {
        match self {
            Self::Invite(m) => m.on_timeout(t, now),
            Self::Other(m) => m.on_timeout(t, now),
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Mono> {
        match self {
            Self::Invite(m) => m.next_timeout(),
            Self::Other(m) => m.next_timeout(),
        }
    }

    /// Whether nothing more can happen to it.
    pub(crate) fn is_over(&self) -> bool {
        match self {
            Self::Invite(m) => m.state() == client_invite::State::Terminated,
            Self::Other(m) => m.state() == client_other::State::Terminated,
        }
    }

    /// An INVITE that failed: its request is needed for the ACK of repeated finals.
    pub(crate) fn is_completed_invite(&self) -> bool {
        matches!(self, Self::Invite(m) if m.state() == client_invite::State::Completed)
    }

    /// Whether a final response may still come.
    pub(crate) fn is_open(&self) -> bool {
        use warp_sip::transaction::client_other::State;
        match self {
            Self::Invite(m) => {
                matches!(m.state(), client_invite::State::Calling | client_invite::State::Proceeding)
            }
            Self::Other(m) => matches!(m.state(), State::Trying | State::Proceeding),
        }
    }
}

/// One server transaction.
#[derive(Debug)]
pub(crate) struct ServerTxn {
    /// Its room in the table of the process.
    pub(crate) _place: Lent<Place>,
    pub(crate) key: u128,
    pub(crate) machine: ServerMachine,
    pub(crate) method: Method,
    /// Where responses go (RFC 3261 §18.2.2, RFC 3581).
    pub(crate) flow: Flow,
    /// Where the request came from.
    pub(crate) source: SocketAddr,
    /// Its number, as the asker counts.
    pub(crate) cseq: u32,
    /// The request as received, while it may still be needed.
    pub(crate) request: Vec<u8>,
    /// The last response, while it may have to be repeated.
    pub(crate) response: Vec<u8>,
    /// The branch that it was forwarded by.
    pub(crate) client: Option<Id>,
    /// What it began: a call (policy mode), or a fork (registrar).
    pub(crate) call: Option<Id>,
    pub(crate) stranger: bool,
    /// Where it stands in its connection's list.
    pub(crate) nth: usize,
    pub(crate) armed: Mono,
}

/// Whom a client transaction works for, and whose question is asked: a branch, a transaction within a dialog, a call as a whole, or a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// It forwards the request of this server transaction.
    Server(Id),
    /// It is the INVITE of a branch of a call.
    Branch { call: Id, branch: u16 },
    /// It is one way of a request that goes to all contacts of a user.
    Fork { fork: Id, branch: u16 },
    /// It forwards an in-dialog request of a call, of this server transaction.
    InDialog { call: Id, server: Id },
    /// It is about the whole call (its media: figures, what was agreed).
    Call(Id),
    /// OPTIONS to a vendor trunk that is out of rotation.
    Probe(VendorTrunkId),
    /// A CANCEL or BYE of ours: nobody waits for its answer.
    Ours,
}

/// One client transaction.
#[derive(Debug)]
pub(crate) struct ClientTxn {
    /// Its room in the table of the process.
    pub(crate) _place: Lent<Place>,
    /// In the branch besides the id: not to be guessed (T-SIP-11).
    pub(crate) nonce: u64,
    pub(crate) machine: ClientMachine,
    pub(crate) method: Method,
    pub(crate) flow: Flow,
    /// As sent, for repetitions, ACK and CANCEL.
    pub(crate) request: Vec<u8>,
    pub(crate) owner: Owner,
    /// The vendor trunk that it goes to, whose challenge is ours to answer.
    pub(crate) vendor: Option<VendorTrunkId>,
    /// Challenges that were answered before this one was sent.
    pub(crate) tries: u8,
    /// Realm that the INVITE of its dialog was challenged by and got credentials for: of an INVITE that was sent again, and of a request of
    /// our own making. What belongs to a call asks its branch instead.
    pub(crate) realm: Option<Box<[u8]>>,
    pub(crate) cancel: CancelState,
    /// Header lines of the CANCEL that asked for its end: why (RFC 3326).
    pub(crate) reason: Vec<u8>,
    /// The transaction of our CANCEL: it has the same branch (RFC 3261 §9.1), so it is found through this one.
    pub(crate) cancelled_by: Option<Id>,
    /// Timer C; after CANCEL the time until which a final may take (RFC 3261 §9.1).
    pub(crate) timer_c: Option<TimerC>,
    /// The request carried an SDP offer that the relay rewrote.
    pub(crate) offered: bool,
    /// Callees whose 2xx came too late and was ACKed and BYEd by us: their tags, and the ACK for a repetition.
    pub(crate) reaped: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where it stands in its target's list.
    pub(crate) nth: usize,
    pub(crate) armed: Mono,
}

impl ClientTxn {
    pub(crate) fn next_timeout(&self) -> Option<Mono> {
        let c = self.timer_c.map(|c| c.at()).filter(|c| *c != NEVER);
        match (self.machine.next_timeout(), c) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}

/// The transactions of one shard, found by key, by id and by where they went.
pub(crate) struct Table {
    pub(crate) servers: Slab<ServerTxn>,
    pub(crate) clients: Slab<ClientTxn>,
    by_key: HashTable<Id>,
    /// Client transactions by where they went: only those are looked at when a transport fails.
    targets: HashMap<(Transport, SocketAddr), Vec<Id>>,
    /// Server transactions by the connection that their responses go back over.
    by_link: HashMap<LinkId, Vec<Id>>,
    strangers: HashMap<IpAddr, u32>,
}

impl Table {
    pub(crate) fn new() -> Table {
        Table {
            servers: Slab::counting(|t| matches!(t.machine, ServerMachine::Invite(_))),
            clients: Slab::counting(|t| matches!(t.machine, ClientMachine::Invite(_))),
            by_key: HashTable::default(),
            targets: HashMap::new(),
            by_link: HashMap::new(),
            strangers: HashMap::new(),
        }
    }

    /// Living transactions by kind: client INVITE, server INVITE, client other, server other.
    pub(crate) fn kinds(&self) -> [usize; 4] {
        let (ict, ist) = (self.clients.counted(), self.servers.counted());
        [ict, ist, self.clients.len() - ict, self.servers.len() - ist]
    }

    /// Finds a server transaction by its key.
    pub(crate) fn find(&self, key: u128) -> Option<Id> {
        self.by_key.get(&key).copied()
    }

    /// Stores a server transaction.
    pub(crate) fn insert(&mut self, mut txn: ServerTxn) -> Id {
        let (key, stranger, source, link) = (txn.key, txn.stranger, txn.source.ip(), txn.flow.link);
        txn.nth = self.by_link.get(&link).map_or(0, Vec::len);
        let id = self.servers.insert(txn);
        if link.is_some() {
            self.by_link.entry(link).or_default().push(id);
        }
        self.by_key.insert(key, id);
        if stranger {
            *self.strangers.entry(source).or_insert(0) += 1;
        }
        id
    }

    /// Takes a server transaction out.
    pub(crate) fn remove(&mut self, id: Id) -> Option<ServerTxn> {
        let txn = self.servers.remove(id)?;
        self.by_key.remove(&txn.key);
        if txn.flow.link.is_some()
            && let Some(moved) = unlist(&mut self.by_link, &txn.flow.link, txn.nth)
            && let Some(other) = self.servers.get_mut(moved)
        {
            other.nth = txn.nth;
        }
        if txn.stranger
            && let Some(n) = self.strangers.get_mut(&txn.source.ip())
        {
            *n -= 1;
            if *n == 0 {
                self.strangers.remove(&txn.source.ip());
            }
        }
        Some(txn)
    }

    /// Stores a client transaction.
    pub(crate) fn insert_client(&mut self, mut txn: ClientTxn) -> Id {
        let there = self.targets.entry((txn.flow.transport, txn.flow.remote)).or_default();
        txn.nth = there.len();
        let id = self.clients.insert(txn);
        there.push(id);
        id
    }

    /// Takes a client transaction out.
    pub(crate) fn remove_client(&mut self, id: Id) -> Option<ClientTxn> {
        let txn = self.clients.remove(id)?;
        if let Some(moved) = unlist(&mut self.targets, &(txn.flow.transport, txn.flow.remote), txn.nth)
            && let Some(other) = self.clients.get_mut(moved)
        {
            other.nth = txn.nth;
        }
        Some(txn)
    }

    /// No index holds anything.
    #[cfg(test)]
    pub(crate) fn is_unindexed(&self) -> bool {
        self.targets.is_empty() && self.by_link.is_empty() && self.by_key.is_empty()
    }

    /// The client transactions that went to an address.
    pub(crate) fn gone_to(&self, transport: Transport, remote: SocketAddr) -> &[Id] {
        self.targets.get(&(transport, remote)).map_or(&[], Vec::as_slice)
    }

    /// The server transactions whose responses go back over a connection.
    pub(crate) fn answered_over(&self, link: LinkId) -> &[Id] {
        self.by_link.get(&link).map_or(&[], Vec::as_slice)
    }

    /// Server transactions that a stranger has here.
    pub(crate) fn of_stranger(&self, source: IpAddr) -> usize {
        self.strangers.get(&source).copied().unwrap_or(0) as usize
    }
}

/// Takes the `nth` id out of a list of an index; gives the one that has taken its place.
fn unlist<K: std::hash::Hash + Eq>(lists: &mut HashMap<K, Vec<Id>>, key: &K, nth: usize) -> Option<Id> {
    let list = lists.get_mut(key)?;
    if nth < list.len() {
        list.swap_remove(nth);
    }
    if list.is_empty() {
        lists.remove(key);
        return None;
    }
    list.get(nth).copied()
}

/// Key of the server transaction of a request (RFC 3261 §17.2.3). `method` is the method of the transaction wanted: INVITE for an
/// ACK, INVITE for the one that a CANCEL is about.
pub(crate) fn server_key(keyed: &Keyed, msg: &Message<'_>, method: &[u8]) -> u128 {
    let via = msg.top_via();
    match via.branch {
        Some(branch) if branch.len() > 7 && branch[..7].eq_ignore_ascii_case(b"z9hG4bK") => {
            let port = via.port.unwrap_or(0).to_be_bytes();
            keyed.hash128(&[branch, via.host, &port, method])
        }
        // RFC 2543 peers: no unique branch. The To tag is left out: an ACK has one where its INVITE had none.
        _ => keyed.hash128(&[
            via.raw,
            msg.call_id(),
            msg.from_tag().unwrap_or(b""),
            &msg.cseq().0.to_be_bytes(),
            msg.request_uri().unwrap_or(b""),
            method,
        ]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::random::Rng;

    /// RFC 3261 §17.2.3: a branch without the cookie says nothing of its own, and Call-ID, CSeq and the rest decide; one with it
    /// decides alone, with its host.
    #[test]
    fn a_branch_without_the_cookie_is_no_key() {
        let keyed = Keyed::new(&mut Rng::new([7; 32], 0));
        let key = |branch: &str, call_id: &str, cseq: u32| {
            let text = format!(
                "INVITE sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch={branch}\r\nMax-Forwards: 70\r\nFrom: <sip:a@h>;tag=1\r\n\
                 To: <sip:b@h>\r\nCall-ID: {call_id}\r\nCSeq: {cseq} INVITE\r\nContent-Length: 0\r\n\r\n"
            );
            server_key(&keyed, &Message::parse(text.as_bytes()).unwrap(), b"INVITE")
        };
        for branch in ["1", "z9hG4b", "z9hG4bX12", "a-long-one-of-an-old-peer"] {
            assert_eq!(key(branch, "one", 1), key(branch, "one", 1));
            assert_ne!(key(branch, "one", 1), key(branch, "two", 1), "{branch}");
            assert_ne!(key(branch, "one", 1), key(branch, "one", 2), "{branch}");
        }
        for branch in ["z9hG4bK1", "Z9HG4BK1"] {
            assert_eq!(key(branch, "one", 1), key(branch, "two", 2), "{branch}");
        }
        assert_ne!(key("z9hG4bK1", "one", 1), key("z9hG4bK2", "one", 1));
    }
}
