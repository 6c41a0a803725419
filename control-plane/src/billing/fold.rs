//! Records of the queue, put together by message: what was taken, and the steps of it in order. Pure.

use std::collections::HashMap;

use serde_json::{Value, json};
use warp_events::{Cursor, Event};
use warp_model::{BanId, CustomerId, MessageId, Money, Wall};
use warp_smpp::pdu::{self, Body};
use warp_smpp::receipt::MessageState;
use warp_smpp::record::{Direction, Outcome, Record, Terms};
use warp_smpp::text::Udh;
use warp_smpp::{Command, Header, Status};

use super::messages::us;
use crate::store::messages::{Content, NewMessage, Progress, day_of};
use crate::store::messaging::Said;
use crate::store::posting::clean;

/// Where reading stands between batches.
#[derive(Clone, Debug, Default)]
pub(super) struct Folds {
    /// Records that still say again what stood before.
    repeats: u8,
    /// Where a reader begins who does not know that.
    begin: Option<String>,
    /// Behind the last record of the batch before.
    last: Option<String>,
}

/// What a batch is made of.
pub(super) struct Read<'e> {
    pub(super) folds: Vec<Fold>,
    /// What cannot be read, with the reason.
    pub(super) unreadable: Vec<(&'e Event, &'static str)>,
    /// What handsets have said of senders, in order.
    pub(super) said: Vec<Said>,
}

/// What a batch says of one message.
#[derive(Clone, Debug)]
pub(super) struct Fold {
    pub(super) id: u128,
    /// How it was taken, when that is in the batch.
    pub(super) taken: Option<Taken>,
    /// Its steps: the number of each record, and when it was written.
    steps: Vec<(i64, Wall, Step)>,
}

#[derive(Clone, Debug)]
enum Step {
    Sent,
    Carried(String),
    Noticed,
    Told,
    Retry { until: Wall, attempts: u8 },
    Moved { bind: String, buy: Option<Money> },
    Final(Outcome),
    Done,
    Replaced { not_before: Wall, expires: Wall },
}

/// A message as its first record has it.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    number: i64,
    id: u128,
    direction: Direction,
    account: String,
    bind: String,
    at: Wall,
    not_before: Wall,
    expires: Wall,
    route: u16,
    terms: Terms,
    source: String,
    destination: String,
    coding: u8,
    part: u8,
    octets: Vec<u8>,
}

impl Folds {
    /// At the place where a reader begins.
    pub(super) fn at(place: Option<String>) -> Self {
        Self { last: place, ..Self::default() }
    }

    /// Puts a batch together, in the order in which its messages came first; and what cannot be read, with the reason.
    pub(super) fn read<'e>(&mut self, events: &'e [Event]) -> Read<'e> {
        let mut folds: Vec<Fold> = Vec::new();
        let mut places: HashMap<u128, usize> = HashMap::new();
        let mut unreadable = Vec::new();
        let mut said = Vec::new();
        for event in events {
            let came_before = self.last.replace(event.after.to_string());
            if self.repeats > 0 {
                self.repeats -= 1;
                if self.repeats == 0 {
                    self.begin = None;
                }
                continue;
            }
            let Some(record) = Record::decode(&event.value) else {
                unreadable.push((event, "it is cut, or of a kind that this version does not know"));
                continue;
            };
            let number = i64::try_from(event.offset).unwrap_or(i64::MAX);
            let (id, step) = match record {
                Record::Again { records, .. } => {
                    self.repeats = records;
                    self.begin = came_before;
                    continue;
                }
                // It is about no message yet.
                Record::Parked { .. } => continue,
                Record::Consent { id, customer, sender, recipient, out, at } => {
                    let (message, customer) = (MessageId::from_u128(id), CustomerId::from_u128(customer));
                    said.push(Said { message, customer, sender, recipient, out, at });
                    continue;
                }
                Record::Accepted { id, not_before, expires, terms, .. } => {
                    let known =
                        places.get(&id).and_then(|at| folds.get(*at)).is_some_and(|f| f.taken.is_some());
                    match (known, Terms::decode(terms)) {
                        (false, Some(terms)) => {
                            let Some(taken) = taken(number, &record, terms) else {
                                unreadable.push((event, "its PDU cannot be read"));
                                continue;
                            };
                            fold_of(&mut folds, &mut places, id).taken = Some(taken);
                            // Of one that is there already it is another form.
                            (id, Step::Replaced { not_before, expires })
                        }
                        (true, _) => (id, Step::Replaced { not_before, expires }),
                        // Of an account that nobody keeps: it is in no list.
                        (false, None) => continue,
                    }
                }
                Record::Sent { id } => (id, Step::Sent),
                Record::Carried { id, carrier_id } => (id, Step::Carried(shown(carrier_id))),
                Record::Noticed { id } => (id, Step::Noticed),
                Record::Told { id } => (id, Step::Told),
                Record::Retry { id, until, attempts } => (id, Step::Retry { until, attempts }),
                Record::Moved { id, vendor, buy } => (id, Step::Moved { bind: shown(vendor), buy }),
                Record::Final { id, outcome } => (id, Step::Final(outcome)),
                Record::Done { id } => (id, Step::Done),
            };
            fold_of(&mut folds, &mut places, id).steps.push((number, event.at, step));
        }
        Read { folds, unreadable, said }
    }

    /// Where a start goes on after a batch that ended here.
    pub(super) fn from(&self, after: &Cursor) -> String {
        self.begin.clone().filter(|_| self.repeats > 0).unwrap_or_else(|| after.to_string())
    }
}

fn fold_of<'f>(folds: &'f mut Vec<Fold>, places: &mut HashMap<u128, usize>, id: u128) -> &'f mut Fold {
    let at = *places.entry(id).or_insert_with(|| {
        folds.push(Fold { id, taken: None, steps: Vec::new() });
        folds.len() - 1
    });
    &mut folds[at]
}

fn shown(bytes: &[u8]) -> String {
    clean(&String::from_utf8_lossy(bytes))
}

/// Without the plus of a number.
fn digits(address: &[u8]) -> String {
    let text = shown(address);
    match text.strip_prefix('+') {
        Some(number) if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) => number.to_owned(),
        _ => text,
    }
}

fn taken(number: i64, record: &Record<'_>, terms: Terms) -> Option<Taken> {
    let Record::Accepted { id, direction, account, vendor, at, not_before, expires, body, route, .. } =
        *record
    else {
        return None;
    };
    let header = Header { length: 0, command: Command::SUBMIT_SM, status: Status::ROK, sequence: 1 };
    let Ok(Body::Message(message)) = pdu::decode(&header, body) else { return None };
    let payload = message.payload().ok()?;
    let (part, text) = match message.has_udh().then(|| Udh::split(payload)).flatten() {
        Some((header, text)) => (header.concatenation().map_or(1, |c| c.number.max(1)), text),
        None => (1, payload),
    };
    Some(Taken {
        number,
        id,
        direction,
        account: shown(account),
        bind: shown(vendor),
        at,
        not_before,
        expires,
        route,
        terms,
        source: digits(message.source.text),
        destination: digits(message.destination.text),
        coding: message.data_coding,
        // Parts that a customer cut itself are messages of their own.
        part: if terms.parts > 1 { part } else { 1 },
        octets: text.to_vec(),
    })
}

fn money(money: Option<Money>) -> Option<Value> {
    money.map(|m| json!({ "amount": m.amount.text().as_str(), "currency": m.currency.as_str() }))
}

impl Taken {
    /// Whether another message stands for the whole text.
    pub(super) fn is_part(&self) -> bool {
        self.terms.whole != 0
    }

    pub(super) fn direction(&self) -> &'static str {
        match self.direction {
            Direction::Terminated => "from_customer",
            Direction::Originated => "from_handset",
        }
    }

    /// What it was taken with.
    pub(super) fn message(&self, id: String) -> NewMessage {
        let Terms { customer, ban, lease, parts, segments, sell, .. } = self.terms;
        NewMessage {
            id,
            customer: CustomerId::from_u128(customer).to_string(),
            account: self.account.clone(),
            direction: self.direction(),
            source: self.source.clone(),
            destination: self.destination.clone(),
            segments: i32::from(segments),
            parts: i32::from(parts),
            coding: i32::from(self.coding),
            price: sell.map(|m| m.amount.0),
            currency: sell.map_or_else(|| "USD".to_owned(), |m| m.currency.to_string()),
            ban: (ban != 0).then(|| BanId::from_u128(ban).to_string()),
            posting: None,
            lease: (lease != 0).then_some(lease),
            place: i32::from(self.route),
            at: us(self.at),
        }
    }

    /// How it stands when it was taken.
    pub(super) fn progress(&self) -> Progress {
        let later = self.not_before > self.at;
        let from_customer = self.direction == Direction::Terminated;
        Progress {
            status: if later { "scheduled" } else { "queued" }.to_owned(),
            not_before: later.then(|| us(self.not_before)),
            expires: from_customer.then(|| us(self.expires)),
            timeline: vec![entry(self.at, "accepted", json!({ "bind_id": self.bind }))],
            bind: Some(self.bind.clone()),
            cost: money(self.terms.buy),
            through: self.number,
            updated: us(self.at),
            ..Progress::default()
        }
    }
}

impl Fold {
    /// The day that its row stands on.
    pub(super) fn day(&self) -> i32 {
        day_of(MessageId::from_u128(self.id).made_at())
    }

    /// The number of its last record.
    pub(super) fn last(&self) -> i64 {
        self.steps.last().map_or(-1, |(number, ..)| *number)
    }

    /// The text that came with it, under the message that stands for the whole.
    pub(super) fn contents(&self, taken: &Taken) -> Option<Content> {
        let whole = if taken.is_part() { taken.terms.whole } else { taken.id };
        Some(Content {
            id: MessageId::from_u128(whole).to_string(),
            part: i32::from(taken.part),
            customer: CustomerId::from_u128(taken.terms.customer).to_string(),
            coding: i32::from(taken.coding),
            octets: taken.octets.clone(),
        })
    }

    /// Adds the steps behind record `through`. `carried`: a vendor had it before them.
    pub(super) fn apply(&self, to: &mut Progress, direction: &str, mut carried: bool, through: i64) {
        let first = self.taken.as_ref().map_or(-1, |t| t.number);
        for (number, at, step) in &self.steps {
            if *number <= through || (through < 0 && *number == first) {
                continue;
            }
            (to.through, to.updated) = (*number, us(*at));
            let mut say = |name: &str, more: Value| to.timeline.push(entry(*at, name, more));
            match step {
                Step::Sent => {
                    say("sent", json!({}));
                    to.status = "sent".to_owned();
                }
                Step::Carried(id) => {
                    say("carried", json!({ "carrier_id": id }));
                    (to.status, to.carrier_id, carried) = ("carried".to_owned(), Some(id.clone()), true);
                }
                Step::Noticed => say("noticed", json!({})),
                Step::Told => say("told", json!({})),
                // Nobody refused it: it is marketing that waits for the recipient's day.
                Step::Retry { until, attempts: 0 } => {
                    say("held", json!({ "until": until.to_string() }));
                    (to.status, to.not_before) = ("scheduled".to_owned(), Some(us(*until)));
                }
                Step::Retry { until, attempts } => {
                    say("retry", json!({ "until": until.to_string(), "attempts": attempts }));
                    to.status = "waiting".to_owned();
                }
                Step::Moved { bind, buy } => {
                    say("moved", json!({ "bind_id": bind }));
                    // What a vendor has accepted costs, also when the next one refuses it.
                    (to.status, to.bind) = ("queued".to_owned(), Some(bind.clone()));
                    to.moves = to.moves.saturating_add(1);
                    to.cost = money(*buy).or(to.cost.take());
                }
                Step::Replaced { not_before, expires } => {
                    say("replaced", json!({}));
                    (to.not_before, to.expires) = (Some(us(*not_before)), Some(us(*expires)));
                }
                Step::Final(outcome) => {
                    let status = status_of(outcome.state);
                    to.timeline.push(entry(outcome.at, status, json!({ "error": outcome.error })));
                    to.status = status.to_owned();
                    to.error = Some(i32::from(outcome.error));
                    to.finished = Some(us(outcome.at));
                    // What no vendor ever had costs nothing.
                    let failed = matches!(status, "failed" | "expired" | "rejected" | "cancelled");
                    to.refunded |= failed && !carried && direction == "from_customer";
                }
                Step::Done if to.finished.is_none() && !is_over(&to.status) => {
                    say("done", json!({}));
                    (to.status, to.finished) = ("unknown".to_owned(), Some(us(*at)));
                }
                Step::Done => {}
            }
        }
    }
}

fn entry(at: Wall, step: &str, more: Value) -> Value {
    let mut entry = json!({ "at": at.to_string(), "step": step });
    if let (Value::Object(entry), Value::Object(more)) = (&mut entry, more) {
        entry.extend(more);
    }
    entry
}

/// Whether a message with this status has ended.
fn is_over(status: &str) -> bool {
    matches!(
        status,
        "delivered" | "failed" | "expired" | "rejected" | "cancelled" | "taken" | "unknown" | "skipped"
    )
}

fn status_of(state: MessageState) -> &'static str {
    match state {
        MessageState::Delivered => "delivered",
        MessageState::Expired => "expired",
        MessageState::Deleted => "cancelled",
        MessageState::Undeliverable => "failed",
        MessageState::Accepted => "taken",
        MessageState::Rejected => "rejected",
        MessageState::Skipped => "skipped",
        _ => "unknown",
    }
}
