//! Webhooks: events are handed over to those that want them, and delivered until they are taken (RFC 0016).
//!
//! [`schedule`] and `destination` are pure; [`send`] does one delivery over HTTP, [`mail`] one by SMTP; here stands who does which, when. An endpoint has one
//! worker of a process, which sends [`AT_ONCE`] deliveries at a time and then makes room; so one that is slow delays no other one. What a
//! process has taken and not said the end of is tried again by any other one after [`LEASE_S`]: at least once, never lost (T-HOOK-03).

pub mod calls;
pub mod mail;
pub mod schedule;
pub mod send;

pub use crate::destination::{signature, target};

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;
use warp_model::Secret;

use self::mail::Address;
use self::send::Outcome;

use crate::App;
use crate::app::events::EventView;
use crate::app::events::catalogue::{CONFIRM, WebhookDisabled};
use crate::app::webhooks::body;
use crate::metrics::DeliveryResult;
use crate::store::outbox::{self, Which};
use crate::store::webhooks::{self as rows, Attempt, ClaimRow, EndpointRow, NewDelivery};
use crate::store::{Scope, StoreError, Tx};

/// Deliveries to one endpoint at once.
pub const AT_ONCE: i64 = 4;
/// Endpoints that a process sends to at once.
pub const WORKERS: usize = 64;
/// How long a delivery belongs to whoever took it, in seconds: more than an attempt can take.
const LEASE_S: i64 = 15;
/// Events that are handed over at once.
const HANDED: i64 = 200;
/// How often it is looked for what is due.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often it is counted how many wait.
const COUNT_EVERY: Duration = Duration::from_secs(10);

/// Hands over and delivers until told to stop; then what runs is let come to its end.
pub async fn run(app: Arc<App>, mut stop: watch::Receiver<bool>) {
    let mut news = app.feed.follow();
    let mut workers: JoinSet<String> = JoinSet::new();
    let mut busy: HashSet<String> = HashSet::new();
    let mut counted: Option<Instant> = None;
    loop {
        if counted.is_none_or(|at| at.elapsed() >= COUNT_EVERY) {
            counted = Some(Instant::now());
            if let Ok(pending) = pending(&app).await {
                app.metrics.webhooks.pending.set((), pending);
            }
        }
        news.mark_unchanged();
        if let Err(error) = look(&app, &mut workers, &mut busy).await {
            tracing::debug!(%error, "webhooks wait for PostgreSQL");
        }
        tokio::select! {
            _ = stop.wait_for(|s| *s) => break,
            Some(done) = workers.join_next(), if !workers.is_empty() => finished(done, &mut busy),
            told = news.changed() => if told.is_err() { break },
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        while let Some(done) = workers.try_join_next() {
            finished(done, &mut busy);
        }
    }
    while workers.join_next().await.is_some() {}
}

/// How many deliveries wait.
async fn pending(app: &App) -> Result<i64, StoreError> {
    rows::pending(&mut app.store.begin(Scope::Operator("webhooks")).await?).await
}

fn finished(done: Result<String, tokio::task::JoinError>, busy: &mut HashSet<String>) {
    match done {
        Ok(id) => drop(busy.remove(&id)),
        Err(e) => {
            // Whose worker it was is not known any more: the leases say what is free.
            tracing::error!(error = %e, "a worker of webhooks panicked");
            busy.clear();
        }
    }
}

async fn look(
    app: &Arc<App>,
    workers: &mut JoinSet<String>,
    busy: &mut HashSet<String>,
) -> Result<(), StoreError> {
    // Most looks find nothing, and cost one question.
    let mut tx = app.store.begin(Scope::Operator("webhooks")).await?;
    let (events, deliveries) = rows::look(&mut tx).await?;
    drop(tx);
    if events {
        while hand_over(app).await? {}
    } else if !deliveries {
        return Ok(());
    }
    let room = i64::try_from(WORKERS.saturating_sub(busy.len())).unwrap_or(0);
    if room == 0 {
        return Ok(());
    }
    let mut tx = app.store.begin(Scope::Operator("webhooks")).await?;
    let due = rows::due(&mut tx, busy.iter().cloned().collect(), room).await?;
    drop(tx);
    for endpoint in due {
        busy.insert(endpoint.id.clone());
        let app = app.clone();
        workers.spawn(async move {
            if let Err(error) = work(&app, &endpoint).await {
                tracing::warn!(%error, webhook = endpoint.id, "deliveries wait");
            }
            endpoint.id
        });
    }
    Ok(())
}

/// Makes deliveries of the next events; whether there may be more. One process at a time.
pub async fn hand_over(app: &App) -> Result<bool, StoreError> {
    let mut tx = app.store.begin(Scope::Operator("webhooks")).await?;
    let Some(place) = rows::cursor(&mut tx).await? else { return Ok(false) };
    let events = outbox::after(&mut tx, &Which::default(), place, HANDED).await?;
    let Some(last) = events.last().map(|e| e.position) else { return Ok(false) };
    let more = i64::try_from(events.len()).is_ok_and(|n| n == HANDED);
    let events: Vec<EventView> = events.into_iter().map(EventView::from).collect();
    insert(&mut tx, &events).await?;
    rows::set_cursor(&mut tx, last).await?;
    tx.commit().await?;
    Ok(more)
}

/// Makes deliveries of these events, to the webhooks of their customers and of the carrier that want them.
pub(crate) async fn insert(tx: &mut Tx, events: &[EventView]) -> Result<(), StoreError> {
    if events.is_empty() {
        return Ok(());
    }
    let customers: HashSet<&String> = events.iter().filter_map(|e| e.customer_id.as_ref()).collect();
    let customers: Vec<String> = customers.into_iter().cloned().collect();
    // Those of the carrier, which may want events of anybody, stand under `None`.
    let mut hooks: HashMap<Option<String>, Vec<EndpointRow>> = HashMap::new();
    for hook in rows::of_customers(tx, &customers).await? {
        hooks.entry(hook.customer_id.clone()).or_default().push(hook);
    }
    let mut new = Vec::new();
    for event in events {
        let of_customer = event.customer_id.as_ref().and_then(|_| hooks.get(&event.customer_id));
        let wanting = of_customer.into_iter().chain(hooks.get(&None)).flatten();
        let wanting = wanting.filter(|h| wants(h, event));
        let mut text: Option<String> = None;
        for hook in wanting {
            new.push(NewDelivery {
                webhook: hook.id.clone(),
                customer: hook.customer_id.clone(),
                event: event.id.clone(),
                kind: event.r#type.clone(),
                body: text.get_or_insert_with(|| body(event)).clone(),
            });
        }
    }
    rows::insert(tx, &new).await?;
    Ok(())
}

/// Whether an event is sent there. Calls are many: the carrier's webhooks get them only when they ask for them by name, mail never.
fn wants(hook: &EndpointRow, event: &EventView) -> bool {
    let of_calls = event.r#type.starts_with("call.");
    if of_calls && Address::parse(&hook.url).is_ok() {
        return false;
    }
    if hook.events.is_empty() {
        return hook.customer_id.is_some() || !of_calls;
    }
    hook.events.contains(&event.r#type)
}

/// One round of an endpoint: what is due, [`AT_ONCE`] of it.
async fn work(app: &Arc<App>, endpoint: &EndpointRow) -> Result<(), StoreError> {
    let mut tx = app.store.begin(Scope::Operator("webhooks")).await?;
    let secrets = rows::secrets(&mut tx, &endpoint.id, app.store.seal()).await?;
    let claims = rows::claim(&mut tx, &endpoint.id, AT_ONCE, LEASE_S).await?;
    tx.commit().await?;
    let secrets = Arc::new(secrets);
    let mut sending = JoinSet::new();
    for claim in claims {
        let (app, secrets) = (app.clone(), secrets.clone());
        let (id, customer, url) = (endpoint.id.clone(), endpoint.customer_id.clone(), endpoint.url.clone());
        sending.spawn(async move { deliver(&app, (&id, customer.as_deref(), &url), &secrets, &claim).await });
    }
    let mut first = Ok(());
    while let Some(done) = sending.join_next().await {
        let done = done.unwrap_or_else(|e| Err(StoreError::Internal(e.to_string())));
        if first.is_ok() {
            first = done;
        }
    }
    first
}

/// One attempt of one mail. Where the platform sends none any more, what is on its way waits.
async fn mailed(
    app: &App,
    (id, url, address): (&str, &str, &Address),
    secrets: &[Secret<String>],
    claim: &ClaimRow,
) -> Outcome {
    let Some(post) = &app.mail else {
        let error = "this platform sends no mail: mail.host is not set".to_owned();
        return Outcome { error, ..Outcome::default() };
    };
    let code =
        secrets.first().filter(|_| claim.kind == CONFIRM).map(|secret| signature::code(secret, id, url));
    post.send(address, &claim.kind, &claim.body, code.as_deref()).await
}

/// One attempt of one delivery, and what came of it.
async fn deliver(
    app: &App,
    (id, customer, url): (&str, Option<&str>, &str),
    secrets: &[Secret<String>],
    claim: &ClaimRow,
) -> Result<(), StoreError> {
    let begun = Instant::now();
    let outcome = match Address::parse(url) {
        Ok(address) => mailed(app, (id, url, &address), secrets, claim).await,
        Err(_) => {
            let signature = signature::header(&claim.event_id, app.wall(), claim.body.as_bytes(), secrets);
            let headers = [("warp-webhook-id", claim.event_id.clone()), ("warp-signature", signature)];
            app.webhooks.send(url, &headers, &claim.body).await
        }
    };
    let took = begun.elapsed();
    let took_ms = i64::try_from(took.as_millis()).unwrap_or(i64::MAX);
    let attempt = Attempt { status: outcome.status, took_ms, error: &outcome.error, answer: &outcome.answer };
    let mut tx = app.store.begin(Scope::Operator("webhooks")).await?;
    if outcome.is_good() {
        let ours = rows::delivered(&mut tx, id, claim, &attempt).await?;
        tx.commit().await?;
        if ours {
            app.metrics.webhooks.attempt(DeliveryResult::Delivered, took);
        }
        return Ok(());
    }
    let age = Duration::from_millis(u64::try_from(claim.age_ms).unwrap_or(0));
    let attempts = u32::try_from(claim.attempts).unwrap_or(u32::MAX);
    let random = u32::try_from(app.random_id() & 0xffff_ffff).unwrap_or(0);
    let pause = schedule::pause(attempts, age, random).filter(|_| !outcome.forever);
    let pause_ms = pause.map(|p| i64::try_from(p.as_millis()).unwrap_or(i64::MAX));
    let ours = rows::failed(&mut tx, id, claim, &attempt, pause_ms).await?;
    if ours {
        let fails_s = i64::try_from(schedule::FAILS.as_secs()).unwrap_or(i64::MAX);
        if let Some(failing_since) = rows::disable(&mut tx, id, fails_s).await? {
            tracing::info!(webhook = id, "a webhook failed for three days and is disabled");
            let event = WebhookDisabled { webhook_id: id.to_owned(), url: url.to_owned(), failing_since };
            outbox::tell(&mut tx, customer.and_then(|c| c.parse().ok()), event).await?;
        }
    }
    tx.commit().await?;
    if ours {
        let result = if pause_ms.is_some() { DeliveryResult::Failed } else { DeliveryResult::Dead };
        app.metrics.webhooks.attempt(result, took);
    }
    Ok(())
}
