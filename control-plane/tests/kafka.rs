//! Records on their way through Apache Kafka: journal, pump, three brokers, consumer, PostgreSQL.
#![cfg(feature = "kafka")]

#[path = "../../crates/events/tests/brokers/mod.rs"]
mod brokers;
mod common;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use brokers::Brokers;
use common::{Api, audit, record, with_api};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use warp_control_plane::billing::consumer::Consumer;
use warp_control_plane::store::Scope;
use warp_events::*;
use warp_model::CallId;
use warp_model::cdr::{CallRecord, JournalRecord};
use warp_telemetry::health::State;
use warp_telemetry::{Health, Registry};

/// Records that are written while brokers and the node end and start.
const UNDER_LOAD: u64 = 3_000;
/// Records that are written while there is no Kafka.
const AWAY: u64 = 200;

/// What a process has open of the way.
struct Way {
    pump: Pump,
    stop: watch::Sender<bool>,
    consumer: JoinHandle<()>,
}

impl Way {
    fn start(api: &Api, journals: &Path, options: &KafkaOptions, metrics: &EventsMetrics) -> Way {
        let log = EventLog::kafka(options.clone(), LogOptions::new(metrics.clone())).unwrap();
        let topic = log.topic(TOPIC_CDR_VOICE).unwrap();
        topic.hold("test");
        let every = PumpOptions { every: Duration::from_millis(50) };
        let pump = Pump::start(journals, topic, every, metrics.clone()).unwrap();
        let app = &api.control.app;
        let consumer = Consumer::new(app.store.clone(), &log, "test", app.metrics.clone()).unwrap();
        let (stop, stopping) = watch::channel(false);
        Way { pump, stop, consumer: tokio::spawn(consumer.run(stopping)) }
    }

    async fn end(self) {
        self.stop.send_replace(true);
        self.consumer.await.unwrap();
        tokio::task::spawn_blocking(move || drop(self.pump)).await.unwrap();
    }
}

async fn posted(api: &Api) -> u64 {
    let mut tx = api.control.app.store.begin(Scope::Operator("test")).await.unwrap();
    let n: i64 = sqlx::query_scalar("SELECT count(*) FROM calls").fetch_one(tx.db()).await.unwrap();
    u64::try_from(n).unwrap()
}

/// Brokers start slowly on a busy machine.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(180);
    let mut look = tokio::time::interval(Duration::from_millis(100));
    while !holds().await {
        look.tick().await;
        assert!(Instant::now() < deadline, "not within three minutes: {what}");
    }
}

/// The broker that leads the partition, and how many replicas are in step.
fn leader(options: &KafkaOptions) -> Option<(usize, usize)> {
    let said = options.examine(TOPIC_CDR_VOICE).ok()?;
    let (rest, leader) = said.rsplit_once(' ')?;
    let in_step = rest.split_once("replicas, ")?.1.split_once(' ')?.0;
    Some((leader.parse::<usize>().ok()?.checked_sub(1)?, in_step.parse().ok()?))
}

#[test]
fn f_kafka_01_every_record_is_posted_once_though_brokers_are_killed_under_load_and_kafka_is_away() {
    let Some(mut brokers) = Brokers::start(3) else { return };
    with_api(|api| async move {
        let (customer, key) = api.customer("Acme").await;
        let trunk = api.call(&key, "POST", "/api/v1/trunks", Some(json!({ "name": "t" }))).await.data();
        let (trunk, ban) =
            (trunk["id"].as_str().unwrap().to_owned(), trunk["ban_id"].as_str().unwrap().to_owned());
        let dir = tempfile::tempdir().unwrap();
        let journals = dir.path().join("journal");
        let registry = Registry::new();
        let health = Health::new(&registry);
        let metrics = EventsMetrics::new(&registry);
        let options = KafkaOptions {
            timeout: Duration::from_secs(10),
            part: Some(health.optional("kafka")),
            ..KafkaOptions::new(brokers.servers())
        };
        let kafka = || health.readiness().parts.into_iter().find(|(name, ..)| *name == "kafka").unwrap().2;
        let call = {
            let text = record(&CallId::from_u128(0).to_string(), &customer, &trunk).to_string();
            move |n: u64| {
                let mut call: CallRecord = serde_json::from_str(&text).unwrap();
                call.cdr_id = CallId::from_u128(u128::from(n) + 1);
                JournalRecord::Ended(Box::new(call))
            }
        };
        let mut journal = Journal::open(&journals, 0, JournalOptions::new(metrics.clone())).unwrap();
        let way = Way::start(&api, &journals, &options, &metrics);

        // Load, all the while.
        let done = AtomicBool::new(false);
        let load = async {
            let mut tick = tokio::time::interval(Duration::from_millis(10));
            for n in 0..UNDER_LOAD {
                if n % 3 == 0 {
                    tick.tick().await;
                }
                journal.append(&call(n)).unwrap();
            }
            done.store(true, Ordering::Release);
        };
        let faults = async {
            until("the first records", async || posted(&api).await >= 200).await;
            let (led, _) = leader(&options).expect("a leader");
            brokers.kill(led);
            assert!(!done.load(Ordering::Acquire), "it was killed under load");
            let before = posted(&api).await;
            until("records after the kill", async || posted(&api).await >= before + 300).await;
            // The process ends too, and starts on what is left.
            way.end().await;
            let way = Way::start(&api, &journals, &options, &metrics);
            tokio::task::block_in_place(|| brokers.restart(&[led]));
            until("all three in step", async || leader(&options).is_some_and(|(_, n)| n == 3)).await;
            way
        };
        let ((), way) = tokio::join!(load, faults);
        until("every record", async || posted(&api).await == UNDER_LOAD).await;
        assert_eq!(kafka(), State::Up);

        // Without two of three nothing is durable any more. The journal keeps the records, and readiness says so.
        let (led, _) = leader(&options).expect("a leader");
        (0..3).filter(|n| *n != led).for_each(|n| brokers.kill(n));
        for n in UNDER_LOAD..UNDER_LOAD + AWAY {
            journal.append(&call(n)).unwrap();
        }
        until("word that nothing is written", async || matches!(kafka(), State::Down(_))).await;
        assert!(health.readiness().ready, "calls go on");
        assert!(registry.render().contains("warp_dependency_up{name=\"kafka\"} 0"));
        assert_eq!(posted(&api).await, UNDER_LOAD);
        // A start without any of them does not wait for them, and loses nothing.
        brokers.kill(led);
        way.end().await;
        let way = Way::start(&api, &journals, &options, &metrics);
        assert!(matches!(kafka(), State::Down(_)));
        tokio::task::block_in_place(|| brokers.restart(&[0, 1, 2]));
        until("every record after Kafka came back", async || posted(&api).await == UNDER_LOAD + AWAY).await;
        until("word that it is back", async || kafka() == State::Up).await;
        way.end().await;

        // Each once, none other, none put aside; the account has paid for each of them.
        let mut tx = api.control.app.store.begin(Scope::Operator("test")).await.unwrap();
        let ids: Vec<String> =
            sqlx::query_scalar("SELECT cdr_id::text FROM calls").fetch_all(tx.db()).await.unwrap();
        let mut ids: Vec<String> = ids;
        ids.sort();
        let mut wanted: Vec<String> =
            (0..UNDER_LOAD + AWAY).map(|n| CallId::from_u128(u128::from(n) + 1).to_string()).collect();
        wanted.sort();
        assert!(ids == wanted, "{} of {} records", ids.len(), wanted.len());
        let rejects: i64 =
            sqlx::query_scalar("SELECT count(*) FROM cdr_rejects").fetch_one(tx.db()).await.unwrap();
        assert_eq!(rejects, 0);
        drop(tx);
        audit(&api).await;
        let seen = api.op("GET", &format!("/bans/{ban}/balance"), None).await.data();
        // A cent each.
        assert_eq!(seen["balance"]["amount"].as_str(), Some("-32"));
        assert_eq!(metrics.missed.value(()), 0);
    });
}
