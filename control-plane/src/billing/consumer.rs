//! Reads finished call records from the topic `cdr.voice.v1` and posts them to PostgreSQL exactly once by `cdr_id`.
//!
//! Rows and cursor are written in one transaction, and a record that is already there is not written again, so that kill −9
//! at any moment, a repeated record and a wiped cursor all end with one row per call. PostgreSQL away: the consumer waits
//! with back-off and the log keeps the records (F-PG-01, F-KAFKA-01). A record that cannot be read is put aside in
//! `cdr_rejects`, metered and logged: it never stops the others.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use warp_events::metrics::{EventsMetrics, Sink, WriteResult};
use warp_events::{Event, EventLog, Reader, TOPIC_CDR_VOICE, Topic};
use warp_model::Wall;
use warp_model::cdr::CallRecord;

use super::rerate::{self, Verdict};
use crate::App;
use crate::metrics::Metrics;
use crate::store::{Scope, Store, StoreError, Tx, sql};

/// Records of one transaction.
pub const BATCH: usize = 200;
/// Longest wait for news; also how long a stop may take.
const LOOK_EVERY: Duration = Duration::from_millis(100);
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
}

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Posted so many records.
    Posted(usize),
    /// Nothing new.
    Idle,
}

impl Consumer {
    /// Over the topic of finished calls.
    pub fn new(
        store: Store,
        log: &EventLog,
        name: &str,
        metrics: Metrics,
    ) -> Result<Self, warp_events::EventsError> {
        let topic = log.topic(TOPIC_CDR_VOICE)?;
        // Until the cursor is known, nothing may be deleted under us.
        topic.acknowledge(name, 0);
        let reader = topic.reader(0);
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
                Ok(Step::Posted(_)) => pause = Duration::from_millis(50),
                Ok(Step::Idle) => self = self.wait_for_news().await,
                Err(e) => {
                    tracing::warn!(error = %e, "CDRs wait for PostgreSQL; the event log keeps them");
                    self.show_lag();
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
        let events = match self.reader.next_batch(BATCH) {
            Ok(events) => events,
            Err(e @ warp_events::EventsError::Cursor { .. }) => {
                // Outside of what is kept: the log was wiped or its oldest part is gone. The first number that exists
                // is always safe, because a record is posted once however often it is read.
                tracing::error!(error = %e, cursor = from, "the cursor is outside of the event log; reading from its beginning");
                self.reader = self.topic.reader(0);
                return Ok(Step::Idle);
            }
            Err(e) => return Err(StoreError::Internal(format!("event log: {e}"))),
        };
        let Some(last) = events.last() else {
            self.metrics.cdr_lag_seconds.set(0.0);
            return Ok(Step::Idle);
        };
        let posted = match self.post(&events, &position_after(last)).await {
            // One record is refused by the database: the others must not wait for it.
            Err(e) if e.refuses_the_row() => self.post_singly(&events).await,
            posted => posted,
        };
        match posted {
            Ok(()) => {
                self.topic.acknowledge(&self.name, self.reader.cursor());
                Ok(Step::Posted(events.len()))
            }
            Err(e) => {
                self.reader.seek(from);
                Err(e)
            }
        }
    }

    /// Goes to the stored cursor. It names the last key too: when another record stands there, the log is not the one
    /// that the cursor was made for, and reading begins at its beginning.
    async fn place(&mut self) -> Result<(), StoreError> {
        use sqlx::Row;
        let mut tx = self.store.begin(Scope::Operator("cdr consumer")).await?;
        let row = sqlx::query(sql::CURSOR_GET).bind(&self.name).fetch_optional(tx.db()).await?;
        let position: Option<String> = row.map(|r| r.try_get(0)).transpose()?;
        let stored = position.as_deref().and_then(|p| p.split_once(' '));
        if let Some((number, key)) = stored
            && let Ok(number) = number.parse::<u64>()
        {
            let mut probe = self.topic.reader(number.saturating_sub(1));
            let same = probe
                .next_batch(1)
                .is_ok_and(|events| events.first().is_some_and(|e| e.key == key.as_bytes()));
            if same {
                self.reader.seek(number);
            } else {
                tracing::warn!(
                    number,
                    "the stored cursor belongs to another event log; reading from the beginning"
                );
                self.reader = self.topic.reader(0);
            }
        }
        self.placed = true;
        Ok(())
    }

    async fn post(&self, events: &[Event], position: &str) -> Result<(), StoreError> {
        let mut tx = self.store.begin(Scope::Operator("cdr consumer")).await?;
        let (mut written, mut duplicate, mut rejected) = (0, 0, 0);
        let mut posted = Vec::new();
        let mut used = BTreeSet::new();
        for event in events {
            let read = std::str::from_utf8(&event.value)
                .map_err(|e| e.to_string())
                .and_then(|text| serde_json::from_str::<CallRecord>(text).map_err(|e| e.to_string()));
            match read {
                Ok(record) => {
                    let verdict = self.rate_again(&record);
                    match post_call(&mut tx, &record, &event.value, verdict).await? {
                        true => {
                            written += 1;
                            used.insert(record.snapshot_id.clone());
                            posted.push((record, verdict));
                        }
                        false => duplicate += 1,
                    }
                }
                Err(reason) => {
                    tracing::error!(offset = event.offset, reason, "a CDR cannot be read; it is put aside");
                    let query = sqlx::query(sql::REJECT_INSERT)
                        .bind(event.offset.to_string())
                        .bind(clean(&reason))
                        .bind(event.value.as_slice());
                    tx.run(query).await?;
                    rejected += 1;
                }
            }
        }
        tx.run(sqlx::query(sql::SNAPSHOT_USED).bind(used.into_iter().collect::<Vec<_>>())).await?;
        tx.run(sqlx::query(sql::CURSOR_SET).bind(&self.name).bind(TOPIC_CDR_VOICE).bind(position)).await?;
        tx.commit().await?;
        self.count(WriteResult::Ok, written);
        self.count(WriteResult::Duplicate, duplicate);
        self.count(WriteResult::Error, rejected);
        for (record, verdict) in posted {
            self.metrics.rated(verdict);
            self.metrics.business.posted(&record, verdict);
        }
        if let Some(oldest) = events.first() {
            self.metrics.cdr_lag_seconds.set(age(oldest));
        }
        Ok(())
    }

    fn count(&self, result: WriteResult, n: u64) {
        self.events.cdr_written.add((Sink::Postgres, result), n);
    }

    fn rate_again(&self, record: &CallRecord) -> Verdict {
        let app = self.snapshots.as_ref();
        let snapshot = app.and_then(|a| a.publication.recent(record.snapshot_id.parse().ok()?));
        let begun = Instant::now();
        let verdict = rerate::check(snapshot.as_deref(), record);
        if matches!(verdict, Verdict::Confirmed | Verdict::Mismatch) {
            self.metrics.business.rated(begun.elapsed());
        }
        if verdict == Verdict::Mismatch {
            tracing::error!(cdr_id = %record.cdr_id, snapshot = record.snapshot_id, "a call's price cannot be repeated");
        }
        verdict
    }

    /// Each record in a transaction of its own, with its own cursor: what a crash leaves behind is read again. One that the
    /// database refuses is put aside.
    async fn post_singly(&self, events: &[Event]) -> Result<(), StoreError> {
        for event in events {
            let one = std::slice::from_ref(event);
            let position = position_after(event);
            match self.post(one, &position).await {
                Ok(()) => {}
                Err(e) if !e.refuses_the_row() => return Err(e),
                Err(e) => {
                    tracing::error!(offset = event.offset, error = %e, "a CDR was refused by PostgreSQL; it is put aside");
                    let mut tx = self.store.begin(Scope::Operator("cdr consumer")).await?;
                    let query = sqlx::query(sql::REJECT_INSERT)
                        .bind(event.offset.to_string())
                        .bind(clean(&e.to_string()))
                        .bind(event.value.as_slice());
                    tx.run(query).await?;
                    let cursor = sqlx::query(sql::CURSOR_SET).bind(&self.name).bind(TOPIC_CDR_VOICE);
                    tx.run(cursor.bind(position)).await?;
                    tx.commit().await?;
                    self.count(WriteResult::Error, 1);
                }
            }
        }
        Ok(())
    }

    /// Age of the oldest record that waits.
    fn show_lag(&self) {
        let mut probe = self.topic.reader(self.reader.cursor());
        let oldest = probe.next_batch(1).ok().and_then(|e| e.into_iter().next());
        let age = oldest.as_ref().map_or(0.0, age);
        self.metrics.cdr_lag_seconds.set(age);
    }

    /// Blocks a thread made for blocking until there is news or a tenth of a second is over.
    async fn wait_for_news(self) -> Self {
        let (topic, cursor) = (self.topic.clone(), self.reader.cursor());
        let waited = tokio::task::spawn_blocking(move || topic.reader(cursor).wait(LOOK_EVERY)).await;
        if waited.is_err() {
            tokio::task::yield_now().await;
        }
        self
    }
}

/// The cursor behind a record: the number of the next one, and the key that shows which log it belongs to.
fn position_after(event: &Event) -> String {
    format!("{} {}", event.offset + 1, clean(&String::from_utf8_lossy(&event.key)))
}

/// Seconds since a record was appended.
fn age(event: &Event) -> f64 {
    let us = crate::wall_now().0.saturating_sub(event.at.0).max(0);
    us as f64 / 1e6
}

/// Writes a call and its legs; false when they are already there.
async fn post_call(tx: &mut Tx, r: &CallRecord, raw: &[u8], verdict: Verdict) -> Result<bool, StoreError> {
    let us = |w: Option<Wall>| w.map(|w| w.0);
    let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let record: serde_json::Value =
        serde_json::from_slice(raw).map_err(|e| StoreError::Internal(e.to_string()))?;
    let sell = r.rating.as_ref().map(|x| &x.sell);
    let buy = r.rating.as_ref().map(|x| &x.buy);
    let query = sqlx::query(sql::CALL_INSERT)
        .bind(r.cdr_id.to_string())
        .bind(r.customer_id.map(|x| x.to_string()))
        .bind(r.trunk_id.map(|x| x.to_string()))
        .bind(clean(&r.sip_call_id))
        .bind(r.ingress_ip.to_string())
        .bind(clean(&r.caller))
        .bind(clean(&r.called))
        .bind(r.caller_e164.clone())
        .bind(r.called_e164.clone())
        .bind(r.jurisdiction.clone())
        .bind(r.setup_at.0)
        .bind(us(r.progress_at))
        .bind(us(r.answer_at))
        .bind(r.end_at.0)
        .bind(r.pdd_ms.map(signed))
        .bind(signed(r.duration_ms))
        .bind(i32::from(r.sip_code))
        .bind(r.q850.map(i32::from))
        .bind(match r.release_side {
            warp_model::cdr::ReleaseSide::Caller => "caller",
            warp_model::cdr::ReleaseSide::Callee => "callee",
            warp_model::cdr::ReleaseSide::System => "system",
        })
        .bind(r.internal_code.clone())
        .bind(r.outcome.as_str())
        .bind(r.recovered)
        .bind(r.snapshot_id.clone())
        .bind(r.route_rank.map(i32::from))
        .bind(r.vendor_id.map(|x| x.to_string()))
        .bind(r.vendor_trunk_id.map(|x| x.to_string()))
        .bind(sell.map(|s| s.currency.as_str().to_owned()))
        .bind(sell.map(|s| s.charge.0))
        .bind(buy.map(|s| s.currency.as_str().to_owned()))
        .bind(buy.map(|s| s.charge.0))
        .bind(r.rating.as_ref().and_then(|x| x.margin).map(|m| m.0))
        .bind(sell.map(|s| signed(s.billable_s)))
        .bind(without_nul(record))
        .bind(verdict.as_str());
    if tx.run(query).await? == 0 {
        return Ok(false);
    }
    for leg in &r.legs {
        let query = sqlx::query(sql::LEG_INSERT)
            .bind(r.cdr_id.to_string())
            .bind(i32::from(leg.attempt_no))
            .bind(r.customer_id.map(|x| x.to_string()))
            .bind(leg.vendor_id.map(|x| x.to_string()))
            .bind(leg.vendor_trunk_id.map(|x| x.to_string()))
            .bind(leg.egress_ip.to_string())
            .bind(leg.start_at.0)
            .bind(leg.pdd_ms.map(signed))
            .bind(i32::from(leg.sip_code))
            .bind(leg.q850.map(i32::from))
            .bind(leg.end_at.0)
            .bind(clean(&leg.ended_by));
        tx.run(query).await?;
    }
    Ok(true)
}

/// PostgreSQL's text knows no zero character; a peer may have sent one.
fn clean(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// The same for JSON.
fn without_nul(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::String(s) if s.contains('\0') => Value::String(clean(&s)),
        Value::Array(items) => Value::Array(items.into_iter().map(without_nul).collect()),
        Value::Object(map) => map.into_iter().map(|(k, v)| (clean(&k), without_nul(v))).collect(),
        other => other,
    }
}
