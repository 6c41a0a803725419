//! Where the event log is: on this machine's disk, or in Apache Kafka.

use warp_events::{EventLog, LogOptions};
use warp_telemetry::{Health, Registry};

use crate::config::Config;

/// Opens it. Kafka may be away: readiness says so, and the journals keep the records until it is there.
pub(super) fn open(
    config: &Config,
    options: LogOptions,
    registry: &Registry,
    health: &Health,
) -> anyhow::Result<EventLog> {
    #[cfg(feature = "kafka")]
    if !config.events.kafka.is_empty() {
        let mut kafka = kafka_options(config)?;
        kafka.part = Some(health.optional("kafka"));
        kafka.seconds = Some(warp_telemetry::health::request_seconds(registry, "kafka"));
        return Ok(EventLog::kafka(kafka, options)?);
    }
    let _ = (registry, health);
    Ok(EventLog::open(&config.node.data_dir.join("events"), options)?)
}

/// What the configuration says of Kafka. Errors: the file of settings cannot be read, or says what it may not.
#[cfg(feature = "kafka")]
pub(crate) fn kafka_options(config: &Config) -> anyhow::Result<warp_events::KafkaOptions> {
    use anyhow::Context;

    let events = &config.events;
    let mut kafka = warp_events::KafkaOptions::new(events.kafka.clone());
    kafka.prefix = events.kafka_prefix.clone();
    (kafka.replicas, kafka.min_in_sync) = (events.kafka_replicas, events.kafka_min_in_sync);
    if let Some(path) = &events.kafka_client {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("events.kafka_client {}", path.display()))?;
        for (n, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let read = line.split_once('=').map(|(name, value)| (name.trim(), value.trim()));
            let known = |name: &str| ["security.", "sasl.", "ssl."].iter().any(|of| name.starts_with(of));
            match read {
                Some((name, value)) if known(name) => {
                    kafka.settings.push((name.to_owned(), value.to_owned()))
                }
                // The value may be a secret: it is not repeated.
                _ => anyhow::bail!(
                    "events.kafka_client {}:{}: not NAME=VALUE with a name that begins with security., sasl. or ssl.",
                    path.display(),
                    n + 1
                ),
            }
        }
    }
    kafka.check().map_err(|why| anyhow::anyhow!("events.kafka_client: {why}"))?;
    Ok(kafka)
}

#[cfg(all(test, feature = "kafka"))]
mod tests {
    use super::*;

    fn options(file: &str) -> anyhow::Result<warp_events::KafkaOptions> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kafka.properties");
        std::fs::write(&path, file).unwrap();
        let mut config = Config::default();
        config.events.kafka = vec!["127.0.0.1:9".to_owned()];
        config.events.kafka_client = Some(path);
        kafka_options(&config)
    }

    #[test]
    fn the_file_of_credentials_is_read_and_no_secret_is_said() {
        let good = "# a comment\n\nsecurity.protocol = SASL_SSL\nsasl.mechanism=SCRAM-SHA-512\nsasl.username=u\nsasl.password=a=b\n";
        let settings = options(good).unwrap().settings;
        assert_eq!(settings.last().unwrap(), &("sasl.password".to_owned(), "a=b".to_owned()));
        assert_eq!(settings.len(), 4);
        for (bad, said) in [
            ("acks=s3cret", ":1: not NAME=VALUE"),
            ("sasl.username=u\nenable.idempotence=s3cret", ":2: not NAME=VALUE"),
            ("s3cret", ":1: not NAME=VALUE"),
            ("security.protocol=s3cret", "security.protocol is not taken"),
            ("ssl.nothing=s3cret", "ssl.nothing is not taken"),
        ] {
            let error = format!("{:#}", options(bad).err().unwrap());
            assert!(error.contains(said) && !error.contains("s3cret"), "{bad}: {error}");
        }
    }

    /// F-KAFKA-01: no Kafka is no reason not to start, and doctor says what is wrong.
    #[test]
    fn f_kafka_01_a_node_starts_without_kafka_and_says_so() {
        let mut config = Config::default();
        // Nobody listens on the discard port.
        config.events.kafka = vec!["127.0.0.1:9".to_owned()];
        let registry = Registry::new();
        let health = Health::new(&registry);
        let options = LogOptions::new(warp_events::EventsMetrics::new(&registry));
        let log = open(&config, options, &registry, &health).unwrap();
        let topic = log.topic(warp_events::TOPIC_CDR_VOICE).unwrap();
        assert!(matches!(topic.append_durable(b"k", b"v"), Err(warp_events::EventsError::Away { .. })));
        let ready = health.readiness();
        assert!(ready.ready && ready.parts.iter().any(|(name, required, _)| *name == "kafka" && !required));
        assert!(registry.render().contains("warp_dependency_up{name=\"kafka\"} 0"));
        assert!(registry.render().contains("warp_journal_errors_total{reason=\"away\"} 1"));
    }
}
