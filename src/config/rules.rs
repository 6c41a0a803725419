//! What values may be beyond their type: one table of rules, by which a configuration is checked and which
//! `docs/reference/config.md` prints; and what only makes sense across keys.

use std::path::Path;
use std::time::Duration;

use super::{Api, Capture, Config, ConfigError, Events, Loaded, Login, Mail, Node, Origin, Sip, Smsc};

/// What a key must be.
pub(super) struct Rule<T: 'static> {
    /// The key, without its section.
    pub(super) key: &'static str,
    /// In words, as a refusal and the reference say it.
    pub(super) must: &'static str,
    /// Other keys of the section that it is weighed against.
    pub(super) with: &'static [&'static str],
    pub(super) holds: fn(&T) -> bool,
}

impl<T> Rule<T> {
    pub(super) const fn new(key: &'static str, must: &'static str, holds: fn(&T) -> bool) -> Self {
        Self { key, must, with: &[], holds }
    }

    /// A rule that weighs the key against others.
    pub(super) const fn with(mut self, others: &'static [&'static str]) -> Self {
        self.with = others;
        self
    }
}

const NODE: &[Rule<Node>] = &[
    Rule::new("name", "1 to 64 letters, digits, dots, underscores and hyphens", |node: &Node| {
        let taken = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
        (1..=64).contains(&node.name.len()) && node.name.bytes().all(taken)
    }),
    Rule::new("data_dir", "the path of a folder", |node: &Node| !node.data_dir.as_os_str().is_empty()),
];

const EVENTS: &[Rule<Events>] = &[
    Rule::new("segment", "at least 64KiB", |events| events.segment.0 >= 64 << 10),
    Rule::new("keep", "at least 1m", |events| events.keep.0 >= Duration::from_secs(60)),
    Rule::new(
        "kafka",
        "each HOST:PORT; none in a program that was built without the feature kafka",
        |events| {
            events.kafka.iter().all(|server| is_server(server))
                && (cfg!(feature = "kafka") || events.kafka.is_empty())
        },
    ),
    Rule::new("kafka_prefix", "at most 100 letters, digits, dots, underscores and hyphens", |events| {
        let taken = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
        events.kafka_prefix.len() <= 100 && events.kafka_prefix.bytes().all(taken)
    }),
    Rule::new("kafka_replicas", "1 to 100", |events| (1..=100).contains(&events.kafka_replicas)),
    Rule::new("kafka_min_in_sync", "at least 1 and at most events.kafka_replicas", |events: &Events| {
        (1..=events.kafka_replicas).contains(&events.kafka_min_in_sync)
    })
    .with(&["kafka_replicas"]),
];

/// A host's name or address, and a port.
fn is_server(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let host_is = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || matches!(c, ',' | '/'));
    host_is && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// A rule as it stands in a list of all of them.
pub(super) struct Stated {
    pub(super) path: String,
    pub(super) must: &'static str,
    pub(super) holds: bool,
    /// Paths that it is weighed against.
    pub(super) with: Vec<String>,
}

/// Every rule of every section, and whether it holds in a configuration.
pub(super) fn all(config: &Config) -> Vec<Stated> {
    fn of<T>(section: &'static str, rules: &'static [Rule<T>], value: &T) -> Vec<Stated> {
        let path = |key: &&str| format!("{section}.{key}");
        let stated = |rule: &Rule<T>| Stated {
            path: path(&rule.key),
            must: rule.must,
            holds: (rule.holds)(value),
            with: rule.with.iter().map(path).collect(),
        };
        rules.iter().map(stated).collect()
    }
    let mut out = of::<Node>("node", NODE, &config.node);
    out.extend(of::<Events>("events", EVENTS, &config.events));
    // Each shard's journal has two segments from its start.
    let least = config.events.segment.0.saturating_mul(2 * u64::from(config.sip.shards));
    out.push(Stated {
        path: "events.limit".to_owned(),
        must: "at least two events.segment for each of sip.shards",
        holds: config.events.limit.0 >= least,
        with: vec!["events.segment".to_owned(), "sip.shards".to_owned()],
    });
    out.extend(of::<Api>("api", super::api::RULES, &config.api));
    out.extend(of::<Login>("login", super::login::RULES, &config.login));
    out.extend(of::<Mail>("mail", super::mail::RULES, &config.mail));
    out.extend(of::<Sip>("sip", super::sip::RULES, &config.sip));
    out.extend(of::<Capture>("capture", super::capture::RULES, &config.capture));
    out.extend(of::<Smsc>("smsc", super::smsc::RULES, &config.smsc));
    out.extend(warp_media_relay::config::RULES.iter().map(|rule| Stated {
        path: format!("media.{}", rule.key),
        must: rule.must,
        holds: (rule.holds)(&config.media),
        with: rule.with.iter().map(|key| format!("media.{key}")).collect(),
    }));
    // RTP and RTCP of both sides.
    out.push(Stated {
        path: "media.ports".to_owned(),
        must: "at least 4, which one call needs",
        holds: config.media.ports.clone().count() >= 4,
        with: Vec::new(),
    });
    out
}

impl Loaded {
    /// What no reader of a single value sees. The rest is checked also where `errors` has mistakes already; only what is weighed
    /// against a value that could not be read is left out, because it may be no mistake.
    pub(super) fn check(&self, errors: &mut Vec<ConfigError>) {
        // A variable with one underscore names no key and hides none.
        if errors.iter().any(|e| e.key.is_empty() && !matches!(e.origin, Origin::Env(_))) {
            return;
        }
        let section = |path: &str| path.split('.').next().unwrap_or_default().to_owned();
        let unread: Vec<String> =
            errors.iter().map(|e| e.key.clone()).filter(|key| !key.is_empty()).collect();
        // An unknown key may be one of its section that was misspelt, and an unknown section any of them.
        let clouded =
            |path: &str| unread.iter().any(|key| !key.contains('.') || section(key) == section(path));
        let mut found: Vec<ConfigError> = Vec::new();
        let mut say_at = |origin: Origin, path: &str, why: &str| {
            // One word for each key: what else is wrong with it may follow from that.
            if !found.iter().any(|e| e.key == path) {
                found.push(ConfigError { origin, key: path.to_owned(), message: why.to_owned() });
            }
        };
        let origin = |path: &str| self.origins.get(path).cloned().unwrap_or(Origin::Default);
        if let Err(why) = warp_telemetry::logging::Levels::parse(&self.config.log.levels) {
            say_at(origin("log.levels"), "log.levels", &why.to_string());
        }
        for rule in all(&self.config).iter().filter(|rule| !rule.holds) {
            if rule.with.is_empty() || !rule.with.iter().any(|path| clouded(path)) {
                let at = std::iter::once(&rule.path).chain(&rule.with);
                let set = at.into_iter().find_map(|path| self.origins.get(path));
                let origin = set.cloned().unwrap_or(Origin::Default);
                say_at(origin, &rule.path, rule.must);
            }
        }
        for (key, other) in self.taken_twice() {
            say_at(origin(key), key, &format!("another address than {other}"));
        }
        if self.config.login.demo
            && (!self.config.api.listen.ip().is_loopback() || self.config.api.tls_key.is_some())
            && !clouded("api.listen")
        {
            say_at(
                origin("login.demo"),
                "login.demo",
                "only with api.listen on this machine and without TLS: nobody proves who he is to the built-in issuer",
            );
        }
        for idle in self.without_effect() {
            if !clouded(idle.because) {
                say_at(origin(idle.key), idle.key, idle.why);
            }
        }
        errors.append(&mut found);
    }

    /// Keys that somebody set and that other keys make meaningless: what is read and ignored is a mistake of whoever wrote it.
    fn without_effect(&self) -> Vec<Idle> {
        let c = &self.config;
        let outside = c.api.database_url.is_some();
        let idle = |key, because, is_idle, why| Idle { key, because, is_idle, why };
        let no_hep = "has no effect without capture.hep";
        let nothing = c.capture.calls == super::CaptureCalls::Off;
        let off = "has no effect with capture.calls = \"off\"";
        let no_relay = "has no effect with sip.anchor_media = false";
        let no_ng = "has no effect without media.ng";
        let (no_record, nothing_recorded) = (c.media.record.is_none(), "has no effect without media.record");
        let no_kafka = "has no effect without events.kafka";
        let on_disk = c.events.kafka.is_empty();
        let m = &c.media;
        let no_door = m.ng.is_none() && m.ng_tcp.is_none() && m.http.is_none();
        let all = [
            idle(
                "api.migrate_url",
                "api.database_url",
                !outside,
                "has no effect without api.database_url (or DATABASE_URL)",
            ),
            idle(
                "api.database_dir",
                "api.database_url",
                outside,
                "has no effect with api.database_url: there is no private cluster",
            ),
            idle("events.kafka_prefix", "events.kafka", on_disk, no_kafka),
            idle("events.kafka_replicas", "events.kafka", on_disk, no_kafka),
            idle("events.kafka_min_in_sync", "events.kafka", on_disk, no_kafka),
            idle("events.kafka_client", "events.kafka", on_disk, no_kafka),
            idle("capture.hep_id", "capture.hep", c.capture.hep.is_none(), no_hep),
            idle("capture.hep_mask", "capture.hep", c.capture.hep.is_none(), no_hep),
            idle("capture.hep", "capture.calls", nothing, off),
            idle("sip.media_ng", "sip.anchor_media", !c.sip.anchor_media, no_relay),
            idle("sip.media_deadline", "sip.anchor_media", !c.sip.anchor_media, no_relay),
            idle("media.ng_allow", "media.ng", no_door, no_ng),
            idle("media.b2b_url", "media.ng", no_door, no_ng),
            idle("media.sounds", "media.ng", no_door, no_ng),
            idle("media.record_files", "media.record", no_record, nothing_recorded),
            idle("media.record_keep_days", "media.record", no_record, nothing_recorded),
            idle("media.record_limit_mib", "media.record", no_record, nothing_recorded),
            idle(
                "media.xmlrpc_format",
                "media.b2b_url",
                c.media.b2b_url.is_none(),
                "has no effect without media.b2b_url",
            ),
            idle("media.ng_allow_public", "media.ng", no_door, no_ng),
        ];
        all.into_iter().filter(|idle| idle.is_idle && self.origins.contains_key(idle.key)).collect()
    }

    /// Files that keys name and that cannot be read. Only asked where this machine is the one that will run: a file is checked
    /// on others too.
    pub fn unread_files(&self) -> Vec<ConfigError> {
        let c = &self.config;
        // The first start makes the key, where there is a folder for it.
        let seal = c.api.seal_key.as_ref().filter(|key| !key.0.exists());
        let seal = seal.and_then(|key| key.0.parent()).filter(|dir| !dir.as_os_str().is_empty());
        let all = [
            ("api.tls_certificate", c.api.tls_certificate.clone()),
            ("api.tls_key", c.api.tls_key.clone()),
            ("api.seal_key", seal.map(Path::to_owned)),
            ("api.webhook_ca", c.api.webhook_ca.clone()),
            ("sip.tls_certificate", c.sip.tls_certificate.clone()),
            ("sip.tls_key", c.sip.tls_key.clone()),
            ("sip.tls_roots", c.sip.tls_roots.clone()),
            ("mail.ca", c.mail.ca.clone()),
            ("mail.password", c.mail.password.as_ref().map(|key| key.0.clone())),
            ("events.kafka_client", c.events.kafka_client.clone()),
            (
                "login.customer_client_secret",
                c.login.customer_client_secret.as_ref().map(|key| key.0.clone()),
            ),
            (
                "login.operator_client_secret",
                c.login.operator_client_secret.as_ref().map(|key| key.0.clone()),
            ),
        ];
        let unread = |path: &Path| std::fs::File::open(path).err();
        let wrong = |(key, path): (&str, Option<std::path::PathBuf>)| {
            let path = path?;
            let why = unread(&path)?;
            Some(ConfigError {
                origin: self.origins.get(key).cloned().unwrap_or(Origin::Default),
                key: key.to_owned(),
                message: format!("{} cannot be read: {why}", path.display()),
            })
        };
        all.into_iter().filter_map(wrong).collect()
    }
}

/// A key that another one may make meaningless.
struct Idle {
    key: &'static str,
    because: &'static str,
    is_idle: bool,
    why: &'static str,
}
