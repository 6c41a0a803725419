//! Reads the steps of short messages from the SMSC's own queue (`sms.queue.v1`) and posts them to PostgreSQL exactly once (RFC 0037): one
//! row per message with its timeline, its price in the ledger, its text apart.
//!
//! Rows, ledger and cursor are written in one transaction. A row knows the number of the last record that is in it, so that records that
//! come again, after a wiped cursor or in other batches, change nothing. The queue keeps its records until they are posted: with
//! PostgreSQL away nothing is lost, and messages go on.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use warp_events::{Event, EventLog, EventsError, Reader, Topic};
use warp_model::id::PostingKind;
use warp_model::{CustomerId, Id, MessageId, Nanos, PostingId, Wall};

use super::fold::{Fold, Folds, Read};
use super::paid::Leases;
use crate::App;
use crate::metrics::Metrics;
use crate::store::ledger::{self, NewPosting};
use crate::store::messages::{self as rows, Content, Known, NewMessage, Progress};
use crate::store::{Scope, Store, StoreError, messaging, posting};

/// The topic of the SMSC's queue.
pub const TOPIC: &str = "sms.queue.v1";
/// Records of one transaction: some hundred messages.
pub const BATCH: usize = 4_000;
/// Days that messages are kept.
pub const DAYS: i32 = 30;
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long the first of a few records waits for more.
const GATHER: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(2);
/// How often days are made ahead and old ones dropped.
const HOUSEKEEPING: Duration = Duration::from_secs(3_600);

/// The reader of one queue.
pub struct MessageConsumer {
    store: Store,
    topic: Topic,
    reader: Reader,
    name: String,
    metrics: Metrics,
    app: Option<Arc<App>>,
    placed: bool,
    /// Where the store says that reading goes on, when records before the reader are not posted whole.
    folds: Folds,
    days: HashSet<i32>,
}

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Posted {
    /// Read so many records.
    Records(usize),
    /// There was nothing new.
    Idle,
}

impl MessageConsumer {
    /// Over the queue in this log. Until its place is known nothing of it is deleted.
    pub fn new(store: Store, log: &EventLog, name: &str, metrics: Metrics) -> Result<Self, EventsError> {
        let topic = log.topic(TOPIC)?;
        topic.hold(name);
        let reader = topic.from_floor();
        let folds = Folds::default();
        let (app, placed, days) = (None, false, HashSet::new());
        Ok(Self { store, topic, reader, name: name.to_owned(), metrics, app, placed, folds, days })
    }

    /// Says when everything that was in the queue at the start is posted.
    pub fn telling(mut self, app: Arc<App>) -> Self {
        self.app = Some(app);
        self
    }

    /// Works until told to stop.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut pause = Duration::from_millis(50);
        let mut kept = None;
        while !*stop.borrow() {
            let now = std::time::Instant::now();
            if kept.is_none_or(|at| now >= at) {
                match self.keep_days().await {
                    Ok(()) => kept = Some(now + HOUSEKEEPING),
                    Err(e) => tracing::debug!(error = %e, "days of messages wait for the database"),
                }
            }
            match self.step().await {
                Ok(Posted::Records(n)) => {
                    pause = Duration::from_millis(50);
                    if n < BATCH {
                        self = self.wait_for_news().await;
                    }
                }
                Ok(Posted::Idle) => self = self.wait_for_news().await,
                Err(e) => {
                    tracing::warn!(error = %e, "messages are not posted now; the queue keeps their records");
                    let _ = tokio::time::timeout(pause, stop.wait_for(|s| *s)).await;
                    pause = (pause * 2).min(RETRY_MAX);
                }
            }
        }
    }

    /// Posts one batch. Errors: nothing of it counts, the same batch comes again.
    pub async fn step(&mut self) -> Result<Posted, StoreError> {
        if !self.placed {
            self.place().await?;
        }
        let from = self.reader.cursor();
        let mut reader = std::mem::replace(&mut self.reader, self.topic.from_floor());
        let read = tokio::task::spawn_blocking(move || {
            let batch = reader.next_batch(BATCH);
            (reader, batch)
        });
        let Ok((reader, batch)) = read.await else {
            self.placed = false;
            return Err(StoreError::Internal("reader of the queue".into()));
        };
        self.reader = reader;
        let events = match batch {
            Ok(events) => events,
            Err(e @ (EventsError::Gone { .. } | EventsError::Ahead { .. })) => {
                // A row knows what is in it, so that the oldest record is always a safe place.
                tracing::error!(error = %e, cursor = %from, "the place in the queue is none any more; reading from its beginning");
                self.reader = self.topic.from_floor();
                self.folds = Folds::default();
                return Ok(Posted::Idle);
            }
            Err(e) => return Err(unreadable(e)),
        };
        if events.is_empty() {
            self.metrics.messages_lag_seconds.set(0.0);
            if let Some(app) = &self.app {
                app.messages_caught_up();
            }
            return Ok(Posted::Idle);
        }
        let before = self.folds.clone();
        let posted = match self.post(&events).await {
            Err(e) if e.refuses_the_row() => {
                self.folds = before.clone();
                self.post_singly(&events).await
            }
            posted => posted,
        };
        match posted {
            Ok(()) => {
                self.reader.acknowledge(&self.name);
                Ok(Posted::Records(events.len()))
            }
            Err(e) => {
                self.folds = before;
                self.reader.seek(&from).map_err(unreadable)?;
                Err(e)
            }
        }
    }

    async fn place(&mut self) -> Result<(), StoreError> {
        let mut tx = self.store.begin(Scope::Operator("messages")).await?;
        let stored = posting::cursor(&mut tx, &self.name, &self.topic.log()).await?;
        drop(tx);
        self.reader = self.topic.from_floor();
        self.folds = Folds::default();
        if let Some(position) = stored {
            match self.topic.cursor(&position) {
                Ok(cursor) => {
                    self.reader.seek(&cursor).map_err(unreadable)?;
                    self.folds = Folds::at(Some(position));
                }
                Err(e @ (EventsError::Foreign { .. } | EventsError::NoCursor)) => {
                    tracing::warn!(error = %e, position, "the stored place is not one of this queue; reading it from its beginning");
                }
                Err(e) => return Err(unreadable(e)),
            }
        }
        self.reader.acknowledge(&self.name);
        self.placed = true;
        Ok(())
    }

    /// Each record in a transaction of its own. One that the database refuses is put aside.
    async fn post_singly(&mut self, events: &[Event]) -> Result<(), StoreError> {
        for event in events {
            let before = self.folds.clone();
            match self.post(std::slice::from_ref(event)).await {
                Ok(()) => {}
                Err(e) if !e.refuses_the_row() => return Err(e),
                Err(e) => {
                    tracing::error!(offset = event.offset, error = %e, "a record of a message was refused by PostgreSQL; it is put aside");
                    self.folds = before;
                    let mut tx = self.store.begin(Scope::Operator("messages")).await?;
                    rows::put_aside(&mut tx, event.offset, &e.to_string(), &event.value).await?;
                    self.end(&mut tx, &Leases::new(), event).await?;
                    tx.commit().await?;
                    self.metrics.messages_put_aside.inc(());
                }
            }
        }
        Ok(())
    }

    async fn end(&self, tx: &mut Tx, leases: &Leases, last: &Event) -> Result<(), StoreError> {
        // Records that repeat what stood before are known as such by the one in front of them: a start begins there again.
        let position = self.folds.from(&last.after);
        posting::end(tx, leases, &[], (&self.name, &self.topic.log(), &position)).await
    }

    async fn post(&mut self, events: &[Event]) -> Result<(), StoreError> {
        let Some(last) = events.last() else { return Ok(()) };
        let Read { folds, unreadable, said } = self.folds.read(events);
        let oldest = rows::day_of(crate::wall_now()).saturating_sub(DAYS);
        let mut gone = HashSet::new();
        for day in folds.iter().filter(|f| f.taken.is_some()).map(Fold::day).collect::<BTreeSet<i32>>() {
            if !self.days.contains(&day) {
                let mut tx = self.store.begin(Scope::Operator("messages")).await?;
                let there = rows::make_day(&mut tx, day, oldest).await?;
                tx.commit().await?;
                if there {
                    self.days.insert(day)
                } else {
                    gone.insert(day)
                };
            }
        }
        let mut tx = self.store.begin(Scope::Operator("messages")).await?;
        let ids: Vec<String> = folds.iter().map(|f| MessageId::from_u128(f.id).to_string()).collect();
        let known = rows::lock(&mut tx, &ids).await?;
        let mut batch = Batch::default();
        for (fold, id) in folds.iter().zip(&ids) {
            match (known.get(id), &fold.taken) {
                (Some(row), _) => batch.more(id, fold, row),
                (None, Some(taken)) if !gone.contains(&fold.day()) => batch.new_one(id, fold, taken)?,
                // A part of a longer text, or one that left.
                (None, _) => {}
            }
        }
        let payers: BTreeSet<String> = batch.sums.keys().cloned().collect();
        let whose: BTreeSet<String> = batch.sums.values().map(|s| s.customer.clone()).collect();
        let there =
            posting::known(&mut tx, Vec::new(), payers.into_iter().collect(), whose.into_iter().collect());
        let there = there.await?;
        let postings = batch.postings(&there.bans)?;
        rows::insert(&mut tx, &batch.new).await?;
        rows::update(&mut tx, &batch.changed).await?;
        rows::insert_contents(&mut tx, &batch.contents).await?;
        messaging::say(&mut tx, &said).await?;
        let booked: Vec<NewPosting<'_>> = postings.iter().map(Booked::posting).collect();
        if ledger::post_all(&mut tx, &booked).await? != booked.len() {
            return Err(StoreError::Conflict("ledger_postings_ban_id_key_key".into()));
        }
        for (event, reason) in &unreadable {
            tracing::error!(
                offset = event.offset,
                reason,
                "a record of the queue cannot be read; it is put aside"
            );
            rows::put_aside(&mut tx, event.offset, reason, &event.value).await?;
        }
        self.end(&mut tx, &batch.leases, last).await?;
        tx.commit().await?;
        self.metrics.messages_posted.add((), batch.new.len() as u64);
        self.metrics.messages_put_aside.add((), unreadable.len() as u64);
        if let Some(oldest) = events.first() {
            let us = crate::wall_now().0.saturating_sub(oldest.at.0).max(0);
            self.metrics.messages_lag_seconds.set(us as f64 / 1e6);
        }
        Ok(())
    }

    /// Makes the partitions of today and of the next days, and drops those that are over.
    async fn keep_days(&mut self) -> Result<(), StoreError> {
        let today = rows::day_of(crate::wall_now());
        let oldest = today.saturating_sub(DAYS);
        for day in today..=today.saturating_add(2) {
            let mut tx = self.store.begin(Scope::Operator("messages")).await?;
            rows::make_day(&mut tx, day, oldest).await?;
            tx.commit().await?;
            self.days.insert(day);
        }
        let mut tx = self.store.begin(Scope::Operator("messages")).await?;
        let dropped = rows::drop_days(&mut tx, oldest).await?;
        tx.commit().await?;
        if dropped > 0 {
            tracing::info!(days = dropped, "days of messages left by retention");
            self.days.retain(|day| *day >= oldest);
        }
        Ok(())
    }

    async fn wait_for_news(self) -> Self {
        let (topic, cursor) = (self.topic.clone(), self.reader.cursor());
        let waited = tokio::task::spawn_blocking(move || {
            topic
                .reader(&cursor)
                .is_ok_and(|reader| reader.wait(LOOK_EVERY) && reader.wait_for(BATCH as u64, GATHER))
        });
        if waited.await.is_err() {
            tokio::task::yield_now().await;
        }
        self
    }
}

use crate::store::Tx;

fn unreadable(e: EventsError) -> StoreError {
    StoreError::Internal(format!("the queue: {e}"))
}

/// What a batch does to an account.
#[derive(Clone, Debug)]
struct Sum {
    customer: String,
    currency: String,
    amount: i64,
    messages: i32,
}

/// What is written of a batch.
#[derive(Default)]
struct Batch {
    new: Vec<(NewMessage, Progress)>,
    changed: Vec<(String, Progress)>,
    contents: Vec<Content>,
    sums: BTreeMap<String, Sum>,
    leases: Leases,
}

/// A posting with what it is made of.
struct Booked {
    id: PostingId,
    key: String,
    ban: String,
    customer: CustomerId,
    currency: String,
    amount: i64,
    messages: i32,
}

impl Booked {
    fn posting(&self) -> NewPosting<'_> {
        NewPosting {
            id: self.id,
            customer: self.customer,
            ban: &self.ban,
            kind: "usage",
            key: &self.key,
            currency: &self.currency,
            amount: Nanos(self.amount.saturating_neg()),
            against: "revenue",
            calls: Some(self.messages),
            reason: "messages",
            reverses: None,
            actor: "system",
        }
    }
}

impl Batch {
    /// A message that is not there yet.
    fn new_one(&mut self, id: &str, fold: &Fold, taken: &super::fold::Taken) -> Result<(), StoreError> {
        self.contents.extend(fold.contents(taken));
        if taken.is_part() {
            return Ok(());
        }
        let mut progress = taken.progress();
        fold.apply(&mut progress, taken.direction(), false, -1);
        let mut message = taken.message(id.to_owned());
        if let (Some(price @ 1..), Some(ban)) = (message.price, message.ban.clone()) {
            // What failed before it was posted at all costs nothing.
            if progress.refunded {
                if let Some(lease) = message.lease {
                    // The lease has counted it as spent: the posting says so, and gives it back at once.
                    self.add(&ban, &message.customer, &message.currency, 0)?;
                    let cost = self.leases.entry((ban.clone(), lease)).or_default();
                    *cost = cost.saturating_add(price);
                }
            } else {
                self.add(&ban, &message.customer, &message.currency, price)?;
                if let Some(lease) = message.lease {
                    let cost = self.leases.entry((ban.clone(), lease)).or_default();
                    *cost = cost.saturating_add(price);
                }
            }
            message.ban = Some(ban);
        }
        self.new.push((message, progress));
        Ok(())
    }

    /// More of a message that is there.
    fn more(&mut self, id: &str, fold: &Fold, row: &Known) {
        if fold.last() <= row.through {
            return;
        }
        let mut progress = Progress {
            status: row.status.clone(),
            moves: row.moves,
            refunded: row.refunded,
            ..Progress::default()
        };
        fold.apply(&mut progress, &row.direction, row.is_carried, row.through);
        if progress.refunded
            && !row.refunded
            && let (Some(price @ 1..), Some(ban)) = (row.price, &row.ban)
            && self.add(ban, &row.customer, &row.currency, price.saturating_neg()).is_err()
        {
            progress.refunded = false;
        }
        self.changed.push((id.to_owned(), progress));
    }

    fn add(&mut self, ban: &str, customer: &str, currency: &str, amount: i64) -> Result<(), StoreError> {
        let new =
            || Sum { customer: customer.to_owned(), currency: currency.to_owned(), amount: 0, messages: 0 };
        let sum = self.sums.entry(ban.to_owned()).or_insert_with(new);
        let too_much = || StoreError::Value("a batch of messages costs more than fits".into());
        sum.amount = sum.amount.checked_add(amount).ok_or_else(too_much)?;
        sum.messages = sum.messages.saturating_add(1);
        Ok(())
    }

    /// One posting per account that is still its customer's; each message of it is told its posting.
    fn postings(&mut self, bans: &HashMap<String, String>) -> Result<Vec<Booked>, StoreError> {
        let mut all = Vec::new();
        for (ban, sum) in std::mem::take(&mut self.sums) {
            let customer = sum.customer.parse().ok().filter(|_| bans.get(&ban) == Some(&sum.customer));
            // Whoever is gone pays nothing; what nets to nothing is no posting.
            let Some(customer) = customer.filter(|_| sum.amount != 0) else { continue };
            let id = new_id()?;
            for (message, _) in self.new.iter_mut().filter(|(m, _)| m.ban.as_ref() == Some(&ban)) {
                message.posting = message.price.filter(|p| *p > 0).map(|_| id.to_string());
            }
            let Sum { currency, amount, messages, .. } = sum;
            all.push(Booked { id, key: id.to_string(), ban, customer, currency, amount, messages });
        }
        Ok(all)
    }
}

fn new_id() -> Result<PostingId, StoreError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|e| StoreError::Internal(format!("no randomness: {e}")))?;
    Ok(Id::<PostingKind>::new(crate::wall_now(), u128::from_le_bytes(bytes)))
}

/// A wall time in microseconds.
pub(super) fn us(at: Wall) -> i64 {
    at.0
}
