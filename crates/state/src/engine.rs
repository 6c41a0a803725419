//! What is asked of Redis, and when: batches one after another, each with everything that waits; what could not be written is owed; a Redis
//! that is slow or away is left alone for a while, and its questions have the answer "not now" at once (F-REDIS-01, F-REDIS-04).
//!
//! Pure: time is an argument, and whoever drives it carries out [`Engine::next_batch`] and says what came of it.
//!
//! What has been written when is told by numbers. Each batch has one, which rises; a [`View`] says in which batch a look-up was made, and
//! since which batch Redis has forgotten nothing. A row that was written before the look-up, and since then, and is not found, was taken
//! away by somebody else; any other one that is not found was lost, and its owner writes it again (F-REDIS-03).

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use warp_model::{Mono, Now, Wall};

use crate::layout::Layout;
use crate::record::{Aor, COLUMNS, Record, write_time};
use crate::script::Script;

/// When changes are written, in Kamailio's words (`db_mode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// At once; who registers is answered when it is written, or when the deadline is over.
    Through,
    /// By a timer, and at the end.
    Behind,
}

/// Who asks: where the answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// A shard of the proxy.
    pub shard: u16,
    /// The number of its question.
    pub id: u64,
}

/// A question or an order.
#[derive(Clone, Debug)]
pub enum Ask {
    /// The contacts of an address of record.
    Look {
        /// Who wants to know.
        token: Token,
        /// The address of record whose contacts are meant.
        aor: Aor,
    },
    /// Changes of one address of record.
    Write {
        /// Who waits until it is written; nobody.
        token: Option<Token>,
        /// The rows that come and go.
        write: Write,
    },
}

/// Changes of the rows of one address of record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Write {
    /// New or renewed rows.
    pub puts: Vec<Record>,
    /// Rows that are taken out.
    pub removed: Vec<Removal>,
}

/// A row that goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// Its unique id, `ruid`.
    pub ruid: Vec<u8>,
    /// Call-ID of the REGISTER that it is of.
    pub call_id: Vec<u8>,
    /// And its CSeq: a newer one of the same Call-ID stays.
    pub cseq: u32,
    /// It goes only if it has expired: somebody else may have renewed it.
    pub expired: bool,
}

/// From when an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// Number of the batch.
    pub batch: u64,
    /// The first batch since which Redis has forgotten nothing that we know of.
    pub floor: u64,
}

impl View {
    /// Whether a row that was written in a batch must have been seen by this look-up, had nobody removed it.
    pub fn must_show(&self, written: u64) -> bool {
        (self.floor..self.batch).contains(&written)
    }
}

/// What a look-up found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Looked {
    /// Rows of this address of record that are alive and can be used.
    pub records: Vec<Record>,
    /// From when this is.
    pub view: View,
}

/// What comes of an [`Ask`] with a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateReply {
    /// To a look-up: what it found.
    Found(Looked),
    /// To changes: they are in Redis.
    Stored,
    /// Redis is away, slow, full, or says what makes no sense: memory must do. Changes are owed, and written later.
    Unavailable,
}

/// One command for Redis: a script with its key and arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Which of the scripts.
    pub script: Script,
    /// The one key that it touches first.
    pub key: Vec<u8>,
    /// Its arguments, in the order of [`Script`].
    pub args: Vec<Vec<u8>>,
}

/// What Redis says to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// There is no such thing.
    Nil,
    /// A number of 64 bits.
    Int(i64),
    /// Bytes of any kind.
    Bytes(Vec<u8>),
    /// A list of replies.
    List(Vec<Reply>),
    /// An error, or no reply.
    Failed,
}

/// One thing in a batch.
#[derive(Clone, Debug)]
enum Item {
    Look {
        token: Token,
        aor: Aor,
        asked: Mono,
    },
    Write {
        token: Option<Token>,
        write: Write,
    },
    /// Written again: the newer of two rows stands.
    Again(Box<Record>),
}

#[derive(Debug)]
struct Flight {
    items: Vec<Item>,
    since: Mono,
    number: u64,
}

/// Counters of one engine; none ever falls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Look-ups that Redis answered, and those that had to do without.
    pub looks: u64,
    /// Questions and orders that were answered "not now".
    pub unavailable: u64,
    /// Rows written and removed.
    pub written: u64,
    /// Rows passed over because they could not be used, and rows of ours that may not be written.
    pub unusable: u64,
    /// Replies that made no sense, and errors.
    pub failed: u64,
    /// Removals forgotten because too many were owed: those rows stay until they expire.
    pub forgotten: u64,
    /// How often Redis was left alone.
    pub opened: u64,
}

/// What is asked when, what is owed, and when Redis is left alone (see the module).
#[derive(Debug)]
pub struct Engine {
    layout: Layout,
    mode: Mode,
    deadline: Duration,
    up: bool,
    /// Left alone until then.
    open_until: Option<Mono>,
    /// Slow batches in a row.
    slow: u32,
    flight: Option<Flight>,
    waiting: VecDeque<Item>,
    /// Mode "behind": by id, the last word counts.
    gathered: BTreeMap<Vec<u8>, Change>,
    gathered_due: Option<Mono>,
    /// Removals that Redis has not heard of.
    owed: BTreeMap<Vec<u8>, Removal>,
    /// Rows that are written again, and which part of the caller's table comes next.
    backlog: VecDeque<Record>,
    part: Option<usize>,
    /// When all that is not written is looked for.
    resync_at: Option<Mono>,
    ending: bool,
    number: u64,
    floor: u64,
    answers: VecDeque<(Token, StateReply)>,
    stored: VecDeque<(Record, u64)>,
    stats: Stats,
}

#[derive(Clone, Debug)]
enum Change {
    Put(Box<Record>),
    Remove(Removal),
}

/// Questions and orders that may wait. Beyond: "not now".
const WAITING: usize = 16_384;
/// Removals that may be owed, changes that may be gathered.
const OWED: usize = 100_000;
/// Items of one batch that somebody waits for, and those that nobody does.
const URGENT: usize = 1_024;
const IDLE: usize = 256;
/// Slow batches in a row until Redis is left alone, and for how long.
const SLOW: u32 = 3;
const OPEN: Duration = Duration::from_secs(5);
/// How long changes are gathered in the mode "behind".
const GATHER: Duration = Duration::from_secs(1);
/// After a failure, when what is not written is looked for.
const RESYNC: Duration = Duration::from_secs(1);

impl Engine {
    /// Not connected yet. `deadline`: how long a question may take.
    pub fn new(layout: Layout, mode: Mode, deadline: Duration) -> Engine {
        Engine {
            layout,
            mode,
            deadline,
            up: false,
            open_until: None,
            slow: 0,
            flight: None,
            waiting: VecDeque::new(),
            gathered: BTreeMap::new(),
            gathered_due: None,
            owed: BTreeMap::new(),
            backlog: VecDeque::new(),
            part: None,
            resync_at: None,
            ending: false,
            number: 0,
            floor: 1,
            answers: VecDeque::new(),
            stored: VecDeque::new(),
            stats: Stats::default(),
        }
    }

    /// Whether Redis is asked at all now.
    pub fn is_available(&self, now: Mono) -> bool {
        self.up && self.open_until.is_none_or(|until| until <= now)
    }

    /// A question or an order.
    pub fn handle_ask(&mut self, ask: Ask, now: Mono) {
        let behind = self.flight.as_ref().is_some_and(|f| now.since(f.since) >= self.deadline);
        let away = !self.is_available(now) || behind || self.waiting.len() >= WAITING;
        match ask {
            Ask::Look { token, .. } if away => self.not_now(token),
            Ask::Look { token, aor } => self.waiting.push_back(Item::Look { token, aor, asked: now }),
            Ask::Write { token, write } if away => {
                token.into_iter().for_each(|token| self.not_now(token));
                self.owe(write, now);
            }
            Ask::Write { token: None, write } if self.mode == Mode::Behind => self.gather(write, now),
            Ask::Write { token, write } => self.waiting.push_back(Item::Write { token, write }),
        }
    }

    fn not_now(&mut self, token: Token) {
        self.stats.unavailable += 1;
        self.answers.push_back((token, StateReply::Unavailable));
    }

    /// Rows stay unwritten in their owner's memory, which is walked later; removals have no other memory than this.
    fn owe(&mut self, write: Write, now: Mono) {
        if !write.puts.is_empty() {
            self.resync_at.get_or_insert(now + RESYNC);
        }
        for put in &write.puts {
            self.owed.remove(&put.ruid);
        }
        for removal in write.removed {
            if self.owed.len() >= OWED && !self.owed.contains_key(&removal.ruid) {
                self.stats.forgotten += 1;
                continue;
            }
            self.owed.insert(removal.ruid.clone(), removal);
        }
    }

    fn gather(&mut self, write: Write, now: Mono) {
        if self.gathered.len() >= OWED {
            return self.owe(write, now);
        }
        for put in write.puts {
            self.gathered.insert(put.ruid.clone(), Change::Put(Box::new(put)));
        }
        for removal in write.removed {
            self.gathered.insert(removal.ruid.clone(), Change::Remove(removal));
        }
        if !self.gathered.is_empty() {
            self.gathered_due.get_or_insert(now + GATHER);
        }
    }

    /// Redis can be reached, for the first time or again. It may be another one, or one that has forgotten.
    pub fn handle_connected(&mut self) {
        self.up = true;
        self.open_until = None;
        self.slow = 0;
        self.floor = self.number + 1;
        self.begin_walk();
    }

    fn begin_walk(&mut self) {
        self.resync_at = None;
        self.backlog.clear();
        self.part = Some(0);
    }

    /// Redis cannot be reached.
    pub fn handle_lost(&mut self, now: Mono) {
        self.up = false;
        self.give_up_waiting(now);
    }

    /// What waits is answered "not now".
    fn give_up_waiting(&mut self, now: Mono) {
        for item in std::mem::take(&mut self.waiting) {
            self.give_up(item, now);
        }
    }

    fn give_up(&mut self, item: Item, now: Mono) {
        match item {
            Item::Look { token, .. } => self.not_now(token),
            Item::Write { token, write, .. } => {
                token.into_iter().for_each(|token| self.not_now(token));
                self.owe(write, now);
            }
            Item::Again(_) => {
                self.resync_at.get_or_insert(now + RESYNC);
            }
        }
    }

    /// Which part of the caller's table is wanted next, to write again what it has not written since [`Engine::floor`].
    pub fn wants_part(&self) -> Option<usize> {
        self.part.filter(|_| self.backlog.len() < IDLE)
    }

    /// Rows written in an earlier batch than this may be lost.
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// A part of the caller's table; `None`: there are no more.
    pub fn handle_part(&mut self, rows: Option<Vec<Record>>) {
        match (rows, self.part) {
            (Some(rows), Some(part)) => {
                self.backlog.extend(rows);
                self.part = Some(part.saturating_add(1));
            }
            _ => self.part = None,
        }
    }

    /// No more orders will come: what is gathered goes at once.
    pub fn finish(&mut self) {
        self.ending = true;
    }

    /// Nothing is left to be written, or nothing can be.
    pub fn is_idle(&self) -> bool {
        let owes = !(self.waiting.is_empty()
            && self.gathered.is_empty()
            && self.owed.is_empty()
            && self.backlog.is_empty());
        self.flight.is_none() && (!self.up || !(owes || self.part.is_some()))
    }

    /// The next commands for Redis, all at once; call [`Engine::handle_done`] with their replies. `None`: nothing to do, not now, or the
    /// last ones are still under way.
    pub fn next_batch(&mut self, now: Now) -> Option<Vec<Command>> {
        if self.flight.is_some() || !self.is_available(now.mono) {
            return None;
        }
        let mut items = Vec::new();
        while items.len() < URGENT
            && let Some(item) = self.waiting.pop_front()
        {
            match item {
                // Nobody waits for it any more.
                Item::Look { token, asked, .. } if now.mono.since(asked) >= self.deadline => {
                    self.not_now(token)
                }
                item => items.push(item),
            }
        }
        if self.ending || self.gathered_due.is_some_and(|due| due <= now.mono) {
            self.take_gathered(&mut items, now.mono);
        }
        for _ in 0..IDLE {
            let Some((_, removal)) = self.owed.pop_first() else { break };
            let write = Write { puts: Vec::new(), removed: vec![removal] };
            items.push(Item::Write { token: None, write });
        }
        let again = self.backlog.len().min(IDLE);
        items.extend(self.backlog.drain(..again).map(|record| Item::Again(Box::new(record))));
        if items.is_empty() {
            return None;
        }
        self.number += 1;
        let mut commands = Vec::new();
        for item in &mut items {
            let mut unfit = 0;
            self.commands_of(item, now.wall, &mut commands, &mut unfit);
            self.stats.unusable += unfit;
        }
        self.flight = Some(Flight { items, since: now.mono, number: self.number });
        if commands.is_empty() {
            // Rows that may not be written: their asker is answered all the same.
            self.handle_done(Vec::new(), now);
            return None;
        }
        Some(commands)
    }

    fn take_gathered(&mut self, items: &mut Vec<Item>, now: Mono) {
        for _ in 0..IDLE {
            let Some((_, change)) = self.gathered.pop_first() else { break };
            let mut write = Write::default();
            match change {
                Change::Put(record) => write.puts.push(*record),
                Change::Remove(removal) => write.removed.push(removal),
            }
            items.push(Item::Write { token: None, write });
        }
        self.gathered_due = (!self.gathered.is_empty()).then_some(now);
    }

    /// Rows that must not be written are taken out.
    fn commands_of(&self, item: &mut Item, wall: Wall, out: &mut Vec<Command>, unfit: &mut u64) {
        let put = |record: &Record, newest: &[u8]| {
            let mut args = vec![newest.to_vec()];
            for (name, value) in record.write().ok()? {
                args.push(name.as_bytes().to_vec());
                args.push(value);
            }
            Some(Command { script: Script::Put, key: self.layout.entry_key(&record.ruid), args })
        };
        match item {
            Item::Look { aor, .. } => {
                out.push(Command { script: Script::Look, key: self.layout.user_key(aor), args: Vec::new() });
            }
            Item::Write { write, .. } => {
                write.puts.retain(|record| match put(record, b"0") {
                    Some(command) => {
                        out.push(command);
                        true
                    }
                    None => {
                        *unfit += 1;
                        false
                    }
                });
                for removal in &write.removed {
                    let bound =
                        if removal.expired { write_time(wall).unwrap_or_default() } else { Vec::new() };
                    let args = vec![removal.call_id.clone(), removal.cseq.to_string().into_bytes(), bound];
                    out.push(Command {
                        script: Script::Remove,
                        key: self.layout.entry_key(&removal.ruid),
                        args,
                    });
                }
            }
            Item::Again(record) => match put(record, b"1") {
                Some(command) => out.push(command),
                None => {
                    *unfit += 1;
                    *item = Item::Write { token: None, write: Write::default() };
                }
            },
        }
    }

    /// Redis has answered a batch: one reply for each command, [`Reply::Failed`] where there is none.
    pub fn handle_done(&mut self, replies: Vec<Reply>, now: Now) {
        let Some(flight) = self.flight.take() else { return };
        let all_failed = !replies.is_empty() && replies.iter().all(|r| *r == Reply::Failed);
        let took = now.mono.since(flight.since);
        self.slow = if took > self.deadline || all_failed { self.slow.saturating_add(1) } else { 0 };
        let mut replies = replies.into_iter();
        for item in flight.items {
            self.item_done(item, flight.number, &mut replies, now);
        }
        if self.slow >= SLOW || (all_failed && took > self.deadline) {
            self.slow = 0;
            self.stats.opened += 1;
            self.open_until = Some(now.mono + OPEN);
            self.give_up_waiting(now.mono);
        }
    }

    fn item_done(&mut self, item: Item, number: u64, replies: &mut impl Iterator<Item = Reply>, now: Now) {
        let mut next = || replies.next().unwrap_or(Reply::Failed);
        match item {
            Item::Look { token, aor, .. } => match next() {
                Reply::List(rows) => {
                    let records = self.read(&aor, rows, now.wall);
                    self.stats.looks += 1;
                    let view = View { batch: number, floor: self.floor };
                    self.answers.push_back((token, StateReply::Found(Looked { records, view })));
                }
                _ => {
                    self.stats.failed += 1;
                    self.not_now(token);
                }
            },
            Item::Write { token, write, .. } => {
                let mut failed = Write::default();
                for put in write.puts {
                    match next() {
                        Reply::Int(0 | 1) => self.stored(put, number),
                        _ => failed.puts.push(put),
                    }
                }
                for removal in write.removed {
                    match next() {
                        Reply::Int(0 | 1) => self.stats.written += 1,
                        _ => failed.removed.push(removal),
                    }
                }
                let whole = failed == Write::default();
                if !whole {
                    self.stats.failed += 1;
                    self.owe(failed, now.mono);
                }
                match token {
                    Some(token) if whole => self.answers.push_back((token, StateReply::Stored)),
                    Some(token) => self.not_now(token),
                    None => {}
                }
            }
            Item::Again(record) => match next() {
                Reply::Int(0 | 1) => self.stored(*record, number),
                _ => {
                    self.stats.failed += 1;
                    self.resync_at.get_or_insert(now.mono + RESYNC);
                }
            },
        }
    }

    fn stored(&mut self, record: Record, number: u64) {
        self.stats.written += 1;
        self.stored.push_back((record, number));
    }

    /// The rows of a reply that are usable, alive and of this address of record; what is owed to be removed is not there.
    fn read(&mut self, aor: &Aor, rows: Vec<Reply>, now: Wall) -> Vec<Record> {
        let mut records = Vec::new();
        for row in rows {
            let Reply::List(values) = row else {
                self.stats.unusable += 1;
                continue;
            };
            let values: Vec<Option<Vec<u8>>> = values
                .into_iter()
                .take(COLUMNS.len())
                .map(|v| match v {
                    Reply::Bytes(bytes) => Some(bytes),
                    Reply::Int(n) => Some(n.to_string().into_bytes()),
                    _ => None,
                })
                .collect();
            match Record::read(&values) {
                Ok(record) if record.aor.username != aor.username || !is_domain(&record.aor, aor) => {
                    self.stats.unusable += 1;
                }
                Ok(record) if !record.is_alive(now) || self.is_owed(&record) => {}
                Ok(record) => records.push(record),
                Err(_) => self.stats.unusable += 1,
            }
        }
        records
    }

    fn is_owed(&self, record: &Record) -> bool {
        self.owed.get(&record.ruid).is_some_and(|r| r.call_id == record.call_id && r.cseq >= record.cseq)
            || matches!(self.gathered.get(&record.ruid), Some(Change::Remove(_)))
    }

    /// The next answer, and whose question it is to.
    pub fn poll_answer(&mut self) -> Option<(Token, StateReply)> {
        self.answers.pop_front()
    }

    /// The next row that is in Redis now, and the number of its batch.
    pub fn poll_stored(&mut self) -> Option<(Record, u64)> {
        self.stored.pop_front()
    }

    /// When to call [`Engine::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Mono> {
        let flight =
            self.flight.as_ref().filter(|_| !self.waiting.is_empty()).map(|f| f.since + self.deadline);
        let resync = self.resync_at.filter(|_| self.up && self.open_until.is_none());
        // A batch under way is waited for.
        let gathered = self.gathered_due.filter(|_| self.flight.is_none());
        [flight, self.open_until, resync, gathered].into_iter().flatten().min()
    }

    /// Does what is due at this time.
    pub fn handle_timeout(&mut self, now: Mono) {
        if self.flight.as_ref().is_some_and(|f| now.since(f.since) >= self.deadline) {
            self.give_up_waiting(now);
        }
        if self.open_until.is_some_and(|until| until <= now) {
            self.open_until = None;
            self.begin_walk();
        }
        if self.is_available(now) && self.resync_at.is_some_and(|at| at <= now) {
            self.begin_walk();
        }
        // While Redis is away, what is gathered is owed.
        if !self.is_available(now) && self.gathered_due.is_some_and(|at| at <= now) {
            self.gathered_due = None;
            let mut write = Write::default();
            for (_, change) in std::mem::take(&mut self.gathered) {
                match change {
                    Change::Put(record) => write.puts.push(*record),
                    Change::Remove(removal) => write.removed.push(removal),
                }
            }
            self.owe(write, now);
        }
    }

    /// What happened so far.
    pub fn stats(&self) -> Stats {
        self.stats
    }
}

/// Without domains in the table, none is said.
fn is_domain(record: &Aor, asked: &Aor) -> bool {
    record.domain.is_empty() || record.domain.eq_ignore_ascii_case(&asked.domain)
}

#[cfg(test)]
mod tests;
