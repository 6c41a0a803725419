//! Reads finished call records from the topic `cdr.voice.v1` and posts them to PostgreSQL exactly once by `cdr_id`.
//!
//! Rows and cursor (one per consumer and log) are written in one transaction, and a record that is already there is not written again, so that kill −9
//! at any moment, a repeated record and a wiped cursor all end with one row per call. PostgreSQL or Kafka away: the consumer
//! waits with back-off, and log and journals keep the records (F-PG-01, F-KAFKA-01). A record that cannot be read is put aside in
//! `cdr_rejects`, metered and logged: it never stops the others. So is one that is older than the records that are kept.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use warp_events::metrics::{EventsMetrics, Sink, WriteResult};
use warp_events::record::{Packer, Unpacker};
use warp_events::{Event, EventLog, EventsError, Reader, TOPIC_CDR_VOICE, Topic};
use warp_model::CallId;
use warp_model::cdr::CallRecord;

use super::paid;
use super::rerate::{self, RatingCheck};
use crate::App;
use crate::metrics::Metrics;
use crate::store::posting::{self as rows, Posting, Written, clean};
use crate::store::{Scope, Store, StoreError, call_weeks};
use crate::webhooks;

/// Records of one transaction.
pub const BATCH: usize = 200;
/// Longest wait for news; also how long a stop may take.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long the first of a few records waits for more: what a transaction costs is shared by all that are in it.
const GATHER: Duration = Duration::from_millis(250);
/// Weeks whose partition is known to be there, or to be gone; when full, all are forgotten and asked for again.
const KNOWN_WEEKS: usize = 10_000;
/// Names of used snapshots that are remembered; when full, all are forgotten and told again.
const USED_SNAPSHOTS: usize = 10_000;
/// Longest pause between attempts while PostgreSQL is away (back within 5 s, F-PG-01).
const RETRY_MAX: Duration = Duration::from_secs(2);

/// The consumer of one topic.
pub struct Consumer {
    store: Store,
    topic: Topic,
    reader: Reader,
    name: String,
    metrics: Metrics,
    /// `warp_cdr_written_total` of all sinks.
    events: EventsMetrics,
    snapshots: Option<Arc<App>>,
    /// The cursor was read from the store.
    placed: bool,
    unpacker: Unpacker,
    packer: Packer,
    /// Snapshots that the store knows to be used.
    used_snapshots: HashSet<String>,
    /// Weeks that have a partition, and those that are older than all partitions.
    weeks: HashMap<i32, bool>,
}

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Posted so many records.
    Posted(usize),
    /// There was nothing new to post.
    Idle,
}

impl Consumer {
    /// Over the topic of finished calls.
    pub fn new(store: Store, log: &EventLog, name: &str, metrics: Metrics) -> Result<Self, EventsError> {
        let topic = log.topic(TOPIC_CDR_VOICE)?;
        // Until the cursor is known, nothing may be deleted under us.
        topic.hold(name);
        let reader = topic.from_floor();
        let events = log.metrics().clone();
        Ok(Self {
            store,
            topic,
            reader,
            name: name.to_owned(),
            metrics,
            events,
            snapshots: None,
            placed: false,
            unpacker: Unpacker::default(),
            packer: Packer::default(),
            used_snapshots: HashSet::new(),
            weeks: HashMap::new(),
        })
    }

    /// Rates each call again with the snapshots that were published lately.
    pub fn rating_again(mut self, app: Arc<App>) -> Self {
        self.snapshots = Some(app);
        self
    }

    /// Works until told to stop.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut pause = Duration::from_millis(50);
        loop {
            if *stop.borrow() {
                return;
            }
            match self.step().await {
                Ok(Step::Posted(n)) => {
                    pause = Duration::from_millis(50);
                    if n < BATCH {
                        self = self.wait_for_news().await;
                    }
                }
                Ok(Step::Idle) => self = self.wait_for_news().await,
                Err(e) => {
                    tracing::warn!(error = %e, "call records are not posted now; journals and event log keep them");
                    self.show_lag().await;
                    let _ = tokio::time::timeout(pause, stop.wait_for(|s| *s)).await;
                    pause = (pause * 2).min(RETRY_MAX);
                }
            }
        }
    }

    /// Posts one batch. Errors: nothing of it counts, the same batch comes again.
    pub async fn step(&mut self) -> Result<Step, StoreError> {
        if !self.placed {
            self.place().await?;
        }
        let from = self.reader.cursor();
        // Asked before the end is looked for: what comes in between is behind this end.
        let behind = self.topic.is_behind();
        let events = match self.next_batch().await? {
            Ok(events) => events,
            Err(e @ EventsError::Gone { .. }) => {
                let missed = self.reader.skip_to_floor();
                tracing::error!(error = %e, cursor = %from, missed, "call records were deleted from the event log before they were posted");
                return Ok(Step::Idle);
            }
            Err(e @ EventsError::Ahead { .. }) => {
                // The log lost its end. The oldest record is always safe, because one is posted once however often it is read.
                tracing::error!(error = %e, cursor = %from, "the cursor lies beyond the event log; reading from its beginning");
                self.reader = self.topic.from_floor();
                return Ok(Step::Idle);
            }
            Err(e) => return Err(unreadable_log(e)),
        };
        let Some(last) = events.last() else {
            self.metrics.cdr_lag_seconds.set(0.0);
            if let Some(app) = self.snapshots.as_ref().filter(|_| !behind) {
                app.caught_up();
            }
            return Ok(Step::Idle);
        };
        let posted = match self.post(&events, &last.after.to_string()).await {
            // One record is refused by the database: the others must not wait for it.
            Err(e) if e.refuses_the_row() => self.post_singly(&events).await,
            posted => posted,
        };
        match posted {
            Ok(()) => {
                self.reader.acknowledge(&self.name);
                Ok(Step::Posted(events.len()))
            }
            Err(e) => {
                self.reader.seek(&from).map_err(unreadable_log)?;
                Err(e)
            }
        }
    }

    /// What comes next in the log. The outer error: the reader is lost, and finds its place again.
    async fn next_batch(&mut self) -> Result<Result<Vec<Event>, EventsError>, StoreError> {
        let mut reader = std::mem::replace(&mut self.reader, self.topic.from_floor());
        let read = blocking(move || {
            let batch = reader.next_batch(BATCH);
            (reader, batch)
        });
        match read.await {
            Ok((reader, batch)) => {
                self.reader = reader;
                Ok(batch)
            }
            Err(e) => {
                self.placed = false;
                Err(e)
            }
        }
    }

    /// Goes to the stored cursor of this log, or to that of a version that kept one per consumer, if it is one of this log.
    /// Else reading begins at the floor.
    async fn place(&mut self) -> Result<(), StoreError> {
        let mut tx = self.store.begin(Scope::Operator("cdr consumer")).await?;
        let stored = match rows::cursor(&mut tx, &self.name, &self.topic.log()).await? {
            None => rows::cursor_of_before(&mut tx, &self.name, TOPIC_CDR_VOICE).await?,
            stored => stored,
        };
        // Its end is asked for, and the record before the place is read.
        let (topic, position) = (self.topic.clone(), stored.clone());
        let cursor = blocking(move || {
            topic.ready()?;
            position.map(|position| topic.cursor(&position)).transpose()
        });
        let cursor = cursor.await?;
        self.reader = self.topic.from_floor();
        if let Some(position) = stored {
            match cursor.and_then(|cursor| cursor.ok_or(EventsError::NoCursor)) {
                Ok(cursor) => self.reader.seek(&cursor).map_err(unreadable_log)?,
                Err(e @ (EventsError::Foreign { .. } | EventsError::NoCursor)) => {
                    tracing::warn!(error = %e, position, "the stored cursor is not used; reading the event log from its beginning");
                }
                Err(e) => return Err(unreadable_log(e)),
            }
        } else {
            cursor.map_err(unreadable_log)?;
        }
        self.reader.acknowledge(&self.name);
        self.placed = true;
        Ok(())
    }

    async fn post(&mut self, events: &[Event], position: &str) -> Result<(), StoreError> {
        let mut unreadable = Vec::new();
        let mut read: Vec<(&Event, Rated<'_>)> = Vec::with_capacity(events.len());
        let mut batch: Vec<Rated<'_>> = Vec::with_capacity(events.len());
        let mut by_id: HashMap<CallId, usize> = HashMap::with_capacity(events.len());
        let mut doubles = 0;
        for event in events {
            let rated = match self.read(event) {
                Ok(rated) => rated,
                Err(reason) => {
                    tracing::error!(offset = event.offset, reason, "a CDR cannot be read; it is put aside");
                    unreadable.push((event, reason));
                    continue;
                }
            };
            if self
                .snapshots
                .as_ref()
                .is_some_and(|app| super::retention::is_over(app, &rated.posting.record))
            {
                // Had it been posted, its row may be gone: nobody can say that it is not posted a second time.
                tracing::error!(offset = event.offset, cdr_id = %rated.posting.record.cdr_id, "a CDR is older than api.calls_keep; it is put aside and not billed");
                unreadable.push((event, "older than api.calls_keep".to_owned()));
                continue;
            }
            read.push((event, rated));
        }
        self.make_weeks(read.iter().map(|(_, rated)| week_of(rated)).collect()).await?;
        for (event, rated) in read {
            if self.weeks.get(&week_of(&rated)) == Some(&false) {
                // Had it been posted, its row left with its partition: nobody can say that it is not posted a second time.
                tracing::error!(offset = event.offset, cdr_id = %rated.posting.record.cdr_id, "a CDR is older than the partitions of calls; it is put aside and not billed");
                unreadable.push((event, "older than the partitions of calls".to_owned()));
                continue;
            }
            let at = *by_id.entry(rated.posting.record.cdr_id).or_insert(batch.len());
            match batch.get_mut(at) {
                None => batch.push(rated),
                // A real end beats one that was reconstructed; else the first word stands.
                Some(first) => {
                    doubles += 1;
                    if first.posting.record.recovered && !rated.posting.record.recovered {
                        *first = rated;
                    }
                }
            }
        }
        let new_snapshots: Vec<String> = batch
            .iter()
            .map(|r| &r.posting.record.snapshot_id)
            .filter(|id| !self.used_snapshots.contains(*id))
            .map(|id| clean(id))
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        let mut tx = self.store.begin(Scope::Operator("cdr consumer")).await?;
        let known = paid::known(&mut tx, &batch).await?;
        let paid = paid::Paid::of(&known, batch.iter_mut().map(|r| &mut r.posting))?;
        let postings: Vec<&Posting<'_>> = batch.iter().map(|r| &r.posting).collect();
        let written = rows::insert(&mut tx, &postings).await?;
        let leases = paid.post(&mut tx, &postings, &written).await?;
        rows::tell_of_spend(&mut tx, &postings, &written).await?;
        let wanting = (&known.webhooks, known.carriers_webhook);
        webhooks::calls::told(&mut tx, &postings, &written, wanting.0, wanting.1).await?;
        for (event, reason) in &unreadable {
            rows::put_aside(&mut tx, event.offset, reason, &event.value).await?;
        }
        let log = self.topic.log();
        let stands = (self.name.as_str(), log.as_str(), position);
        rows::end(&mut tx, &leases, &new_snapshots, stands).await?;
        tx.commit().await?;
        if self.used_snapshots.len() > USED_SNAPSHOTS {
            self.used_snapshots.clear();
        }
        self.used_snapshots.extend(new_snapshots);
        self.count(WriteResult::Ok, written.len() as u64);
        self.count(WriteResult::Duplicate, (doubles + batch.len().saturating_sub(written.len())) as u64);
        self.count(WriteResult::Error, unreadable.len() as u64);
        let mut unchecked = false;
        for Rated { posting: Posting { record, .. }, verdict } in &batch {
            match written.get(&record.cdr_id) {
                Some(Written::New) => {
                    self.metrics.rated(verdict.counted());
                    self.metrics.business.posted(record, *verdict == RatingCheck::Mismatch);
                    unchecked |= *verdict == RatingCheck::Unchecked;
                }
                Some(Written::Instead(_)) => {
                    tracing::warn!(cdr_id = %record.cdr_id, "a record with a real end took the place of a reconstructed one");
                    unchecked |= *verdict == RatingCheck::Unchecked;
                }
                None => {}
            }
        }
        if unchecked && let Some(app) = &self.snapshots {
            app.unchecked.notify_one();
        }
        if let Some(oldest) = events.first() {
            self.metrics.cdr_lag_seconds.set(age(oldest));
        }
        Ok(())
    }

    /// Makes sure of the partitions of these weeks. They are made ahead of their calls, so that this finds them, but for calls of a clock
    /// that was wrong.
    async fn make_weeks(&mut self, weeks: BTreeSet<i32>) -> Result<(), StoreError> {
        if self.weeks.len() > KNOWN_WEEKS {
            self.weeks.clear();
        }
        for week in weeks {
            if self.weeks.contains_key(&week) {
                continue;
            }
            let mut tx = self.store.begin(Scope::Operator("cdr consumer")).await?;
            let there = call_weeks::make(&mut tx, week).await?;
            tx.commit().await?;
            self.weeks.insert(week, there);
        }
        Ok(())
    }

    /// A record of the log, rated again. `Err`: it cannot be read, in words.
    fn read<'e>(&mut self, event: &'e Event) -> Result<Rated<'e>, String> {
        let json = self.unpacker.unpack(&event.value).map_err(|e| e.to_string())?;
        let record: CallRecord = serde_json::from_slice(&json).map_err(|e| e.to_string())?;
        let packed = match &json {
            // As an earlier version wrote it.
            Cow::Borrowed(json) => Cow::Owned(self.packer.pack(json)),
            Cow::Owned(_) => Cow::Borrowed(event.value.as_slice()),
        };
        let verdict = self.rate_again(&record);
        Ok(Rated {
            posting: Posting { record, packed, rating_status: verdict.as_str(), paid_by: None },
            verdict,
        })
    }

    fn count(&self, result: WriteResult, n: u64) {
        self.events.cdr_written.add((Sink::Postgres, result), n);
    }

    fn rate_again(&self, record: &CallRecord) -> RatingCheck {
        let app = self.snapshots.as_ref();
        let snapshot = app.and_then(|a| a.publication.recent(record.snapshot_id.parse().ok()?));
        let begun = Instant::now();
        let verdict = rerate::check(snapshot.as_deref(), record);
        if matches!(verdict, RatingCheck::Confirmed | RatingCheck::Mismatch) {
            self.metrics.business.rated(begun.elapsed());
        }
        if verdict == RatingCheck::Mismatch {
            tracing::error!(cdr_id = %record.cdr_id, snapshot = record.snapshot_id, "a call's price cannot be repeated");
        }
        verdict
    }

    /// Each record in a transaction of its own, with its own cursor: what a crash leaves behind is read again. One that the
    /// database refuses is put aside.
    async fn post_singly(&mut self, events: &[Event]) -> Result<(), StoreError> {
        for event in events {
            let one = std::slice::from_ref(event);
            let position = event.after.to_string();
            match self.post(one, &position).await {
                Ok(()) => {}
                Err(e) if !e.refuses_the_row() => return Err(e),
                Err(e) => {
                    tracing::error!(offset = event.offset, error = %e, "a CDR was refused by PostgreSQL; it is put aside");
                    let mut tx = self.store.begin(Scope::Operator("cdr consumer")).await?;
                    rows::put_aside(&mut tx, event.offset, &e.to_string(), &event.value).await?;
                    let log = self.topic.log();
                    let stands = (self.name.as_str(), log.as_str(), position.as_str());
                    rows::end(&mut tx, &paid::Leases::new(), &[], stands).await?;
                    tx.commit().await?;
                    self.count(WriteResult::Error, 1);
                }
            }
        }
        Ok(())
    }

    /// Age of the oldest record that waits.
    async fn show_lag(&self) {
        let probe = self.topic.reader(&self.reader.cursor());
        let oldest = blocking(move || probe.and_then(|mut p| p.next_batch(1)));
        let oldest = oldest.await.ok().and_then(Result::ok).and_then(|e| e.into_iter().next());
        let age = oldest.as_ref().map_or(0.0, age);
        self.metrics.cdr_lag_seconds.set(age);
    }

    /// Blocks a thread made for blocking until there is news or [`LOOK_EVERY`] is over. News is given a moment to become
    /// a batch.
    async fn wait_for_news(self) -> Self {
        let (topic, cursor) = (self.topic.clone(), self.reader.cursor());
        let waited = tokio::task::spawn_blocking(move || {
            topic
                .reader(&cursor)
                .is_ok_and(|reader| reader.wait(LOOK_EVERY) && reader.wait_for(BATCH as u64, GATHER))
        })
        .await;
        if waited.is_err() {
            tokio::task::yield_now().await;
        }
        self
    }
}

/// Works on a thread made for blocking: the log may be on a disk or beyond a network that takes its time.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, StoreError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| StoreError::Internal(format!("reader of the event log: {e}")))
}

fn week_of(rated: &Rated<'_>) -> i32 {
    call_weeks::week_of(rated.posting.record.cdr_id.made_at())
}

fn unreadable_log(e: EventsError) -> StoreError {
    StoreError::Internal(format!("event log: {e}"))
}

/// Seconds since a record was appended.
fn age(event: &Event) -> f64 {
    let us = crate::wall_now().0.saturating_sub(event.at.0).max(0);
    us as f64 / 1e6
}

/// A record with what rating it again said.
pub(super) struct Rated<'a> {
    pub(super) posting: Posting<'a>,
    verdict: RatingCheck,
}
