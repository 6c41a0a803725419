//! Logs: one line per event on stderr, for people on a terminal, as JSON otherwise.
//!
//! Levels per target change at run time. The same event is written at most ten times a second; the rest is counted
//! (`warp_log_suppressed_total`) and the next line carries `suppressed=N`. "The same" is the place in the code for WARN
//! and ERROR, which a peer may provoke at will, and the place with all its fields below that.
//! Absent on purpose: files, rotation, network sinks: the supervisor owns stderr.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::fmt::{self, Write as _};
use std::hash::{Hash, Hasher};
use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use warp_model::Wall;
use warp_model::sync::lock;

use crate::label_enum;
use crate::metrics::{Counter, Counters, Registry};

/// Lines of one kind per second.
pub const LINES_PER_SECOND: u32 = 10;
/// Kinds of lines that are tracked at once; beyond it a line passes untracked.
const TRACKED: usize = 1_024;

label_enum! {
    /// Level of a log line.
    pub enum LogLevel = "level" { Error = "error", Warn = "warn", Info = "info", Debug = "debug", Trace = "trace" }
}

/// Form of the lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// People on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// Lines for people, always.
    Human,
    /// JSON, one object a line, always.
    Json,
}

/// A default level and levels by target: `info`, `warn,sip=debug,warp_net::udp=trace`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Levels {
    default: LevelFilter,
    /// Longest first.
    by_target: Vec<(String, LevelFilter)>,
}

impl Levels {
    /// Reads `LEVEL[,TARGET=LEVEL…]`; a target without `warp_` means the package of that name.
    /// Errors: which part is not understood.
    pub fn parse(text: &str) -> Result<Self, String> {
        let level = |t: &str| {
            t.trim()
                .parse::<LevelFilter>()
                .map_err(|_| format!("{t:?} is not one of off, error, warn, info, debug, trace"))
        };
        let mut levels = Self { default: LevelFilter::INFO, by_target: Vec::new() };
        for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            match part.split_once('=') {
                None => levels.default = level(part)?,
                Some((target, l)) => levels.by_target.push((target.trim().replace('-', "_"), level(l)?)),
            }
        }
        levels.by_target.sort_by_key(|(target, _)| std::cmp::Reverse(target.len()));
        Ok(levels)
    }

    fn of(&self, target: &str) -> LevelFilter {
        let bare = target.strip_prefix("warp_").unwrap_or(target);
        let matches = |name: &str, target: &str| {
            target.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        };
        self.by_target
            .iter()
            .find(|(name, _)| matches(name, target) || matches(name, bare))
            .map_or(self.default, |(_, level)| *level)
    }

    fn max(&self) -> LevelFilter {
        self.by_target.iter().map(|(_, level)| *level).fold(self.default, |a, b| a.max(b))
    }
}

impl std::str::FromStr for Levels {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text)
    }
}

/// Changes the levels of a running process.
#[derive(Clone)]
pub struct LogHandle {
    levels: Arc<RwLock<Levels>>,
}

impl LogHandle {
    /// Takes effect at once.
    pub fn set_levels(&self, levels: Levels) {
        if let Ok(mut now) = self.levels.write() {
            *now = levels;
        }
        tracing::callsite::rebuild_interest_cache();
    }
}

/// Starts logging to stderr for the whole process. A second call in one process leaves the first in force and gives a
/// handle without effect (tests start several stacks).
pub fn init(format: Format, levels: Levels, node: &str, registry: &Registry) -> LogHandle {
    let human = match format {
        Format::Human => true,
        Format::Json => false,
        Format::Auto => std::io::stderr().is_terminal(),
    };
    let colour = human && std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let sink = Box::new(|line: &[u8]| {
        // A closed stderr must not stop calls.
        let _ = std::io::stderr().lock().write_all(line);
    });
    let (layer, handle) = layer(human, colour, levels, node, registry, sink);
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer));
    handle
}

type Sink = Box<dyn Fn(&[u8]) + Send + Sync>;

fn layer(
    human: bool,
    colour: bool,
    levels: Levels,
    node: &str,
    registry: &Registry,
    sink: Sink,
) -> (Lines, LogHandle) {
    let levels = Arc::new(RwLock::new(levels));
    let handle = LogHandle { levels: levels.clone() };
    let lines = Lines {
        human,
        colour,
        levels,
        node: node.to_owned(),
        sink,
        limiter: Mutex::new(Limiter { started: Instant::now(), second: 0, kinds: HashMap::new() }),
        messages: registry.counters("warp_log_messages_total", "Lines written to the log, by level."),
        suppressed: registry.counter(
            "warp_log_suppressed_total",
            "Log lines not written because the same one came too often.",
        ),
    };
    (lines, handle)
}

struct Lines {
    human: bool,
    colour: bool,
    levels: Arc<RwLock<Levels>>,
    node: String,
    sink: Sink,
    limiter: Mutex<Limiter>,
    messages: Counters<LogLevel>,
    suppressed: Counter,
}

/// Fields of a span, kept with it.
struct SpanFields(Fields);

impl Lines {
    fn is_on(&self, metadata: &Metadata<'_>) -> bool {
        let levels = self.levels.read().unwrap_or_else(|p| p.into_inner());
        if metadata.is_span() {
            return *metadata.level() <= levels.max();
        }
        *metadata.level() <= levels.of(metadata.target())
    }

    fn line(&self, metadata: &Metadata<'_>, fields: &Fields, at: Wall) -> String {
        if self.human {
            human_line(metadata, fields, at, self.colour)
        } else {
            json_line(metadata, fields, at, &self.node)
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.is_on(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.is_on(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.levels.read().unwrap_or_else(|p| p.into_inner()).max())
    }

    fn on_new_span(&self, attrs: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        if let Some(span) = ctx.span(id) {
            let mut fields = Fields::default();
            attrs.record(&mut fields);
            span.extensions_mut().insert(SpanFields(fields));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, ctx: Context<'_, S>) {
        if let Some(span) = ctx.span(id)
            && let Some(SpanFields(fields)) = span.extensions_mut().get_mut()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        let metadata = event.metadata();
        let level = match *metadata.level() {
            Level::ERROR => LogLevel::Error,
            Level::WARN => LogLevel::Warn,
            Level::INFO => LogLevel::Info,
            Level::DEBUG => LogLevel::Debug,
            Level::TRACE => LogLevel::Trace,
        };
        self.messages.inc(level);
        let mut fields = Fields::default();
        event.record(&mut fields);
        if let Some(scope) = ctx.event_scope(event) {
            for span in scope {
                if let Some(SpanFields(of_span)) = span.extensions().get() {
                    fields.add_missing(of_span);
                }
            }
        }
        let mut hasher = DefaultHasher::new();
        metadata.callsite().hash(&mut hasher);
        if level >= LogLevel::Info {
            fields.hash(&mut hasher);
        }
        match lock(&self.limiter).admit(hasher.finish()) {
            Admission::Suppressed => return self.suppressed.inc(()),
            Admission::Line { missed: 0 } => {}
            Admission::Line { missed } => {
                fields.record(&"suppressed", FieldValue::Number(missed.to_string()));
            }
        }
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(Wall(0), |d| Wall(d.as_micros() as i64));
        (self.sink)(self.line(metadata, &fields, at).as_bytes());
    }
}

struct Limiter {
    started: Instant,
    second: u64,
    kinds: HashMap<u64, (u32, u64)>,
}

enum Admission {
    Line { missed: u64 },
    Suppressed,
}

impl Limiter {
    fn admit(&mut self, kind: u64) -> Admission {
        let second = self.started.elapsed().as_secs();
        if second != self.second {
            self.second = second;
            // Kinds with missed lines stay, so that the next line says how many.
            self.kinds.retain(|_, (lines, missed)| {
                *lines = 0;
                *missed > 0
            });
        }
        if self.kinds.len() >= TRACKED && !self.kinds.contains_key(&kind) {
            return Admission::Line { missed: 0 };
        }
        let (lines, missed) = self.kinds.entry(kind).or_default();
        if *lines >= LINES_PER_SECOND {
            *missed += 1;
            return Admission::Suppressed;
        }
        *lines += 1;
        Admission::Line { missed: std::mem::take(missed) }
    }
}

#[derive(Clone, Default, Hash)]
struct Fields {
    message: String,
    pairs: Vec<(String, FieldValue)>,
}

#[derive(Clone, Hash)]
enum FieldValue {
    /// A number or a boolean, as JSON writes it.
    Number(String),
    Text(String),
}

impl Fields {
    fn record(&mut self, name: &dyn AsRef<str>, value: FieldValue) {
        let name = name.as_ref();
        if name == "message" {
            self.message = match value {
                FieldValue::Number(s) | FieldValue::Text(s) => s,
            };
            return;
        }
        match self.pairs.iter_mut().find(|(n, _)| n == name) {
            Some((_, old)) => *old = value,
            None => self.pairs.push((name.to_owned(), value)),
        }
    }

    fn add_missing(&mut self, of_span: &Fields) {
        for (name, value) in &of_span.pairs {
            if !self.pairs.iter().any(|(n, _)| n == name) {
                self.pairs.push((name.clone(), value.clone()));
            }
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record(&field.name(), FieldValue::Text(format!("{value:?}")));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record(&field.name(), FieldValue::Text(value.to_owned()));
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.record(&field.name(), FieldValue::Number(value.to_string()));
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.record(&field.name(), FieldValue::Number(value.to_string()));
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.record(&field.name(), FieldValue::Number(value.to_string()));
    }
}

fn json_line(metadata: &Metadata<'_>, fields: &Fields, at: Wall, node: &str) -> String {
    let quoted = |s: &str| serde_json::Value::from(s).to_string();
    let mut line = format!(
        "{{\"ts\":\"{at}\",\"level\":\"{}\",\"target\":{},\"msg\":{}",
        metadata.level().as_str().to_ascii_lowercase(),
        quoted(metadata.target()),
        quoted(&fields.message),
    );
    for (name, value) in &fields.pairs {
        let value = match value {
            FieldValue::Number(n) => n.clone(),
            FieldValue::Text(t) => quoted(t),
        };
        let _ = write!(line, ",{}:{value}", quoted(name));
    }
    if !node.is_empty() {
        let _ = write!(line, ",\"node\":{}", quoted(node));
    }
    line.push_str("}\n");
    line
}

fn human_line(metadata: &Metadata<'_>, fields: &Fields, at: Wall, colour: bool) -> String {
    let level = metadata.level().as_str();
    let (on, dim, off) = match (colour, *metadata.level()) {
        (false, _) => ("", "", ""),
        (true, Level::ERROR) => ("\x1b[31m", "\x1b[2m", "\x1b[0m"),
        (true, Level::WARN) => ("\x1b[33m", "\x1b[2m", "\x1b[0m"),
        (true, _) => ("\x1b[32m", "\x1b[2m", "\x1b[0m"),
    };
    let time = at.to_string();
    let time = time.get(11..23).unwrap_or(&time);
    let target = metadata.target();
    let target = target.strip_prefix("warp_").unwrap_or(target);
    let target = target.split("::").next().unwrap_or(target);
    let mut line =
        format!("{dim}{time}{off} {on}{level:<5}{off} {dim}{target}{off} {}", visible(&fields.message));
    for (name, value) in &fields.pairs {
        let text = match value {
            FieldValue::Number(t) | FieldValue::Text(t) => visible(t),
        };
        let _ = write!(line, " {dim}{name}={off}{text}");
    }
    line.push('\n');
    line
}

/// Nobody forges a second line or a colour through a field.
fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(human: bool, levels: &str, f: impl FnOnce()) -> (String, Registry) {
        let registry = Registry::new();
        let out = Arc::new(Mutex::new(Vec::new()));
        let sink_out = out.clone();
        let sink = Box::new(move |line: &[u8]| lock(&sink_out).extend_from_slice(line));
        let levels = Levels::parse(levels).unwrap();
        let (layer, _) = layer(human, false, levels, "n1", &registry, sink);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), f);
        let text = String::from_utf8(lock(&out).clone()).unwrap();
        (text, registry)
    }

    #[test]
    fn json_lines_parse_and_carry_span_fields() {
        let (text, registry) = logged(false, "info", || {
            let span = tracing::info_span!("call", call_id = "call_1", trunk = "trk_1");
            let _in = span.enter();
            tracing::info!(target: "warp_sip_proxy", duration_ms = 42u64, ok = true, "call ended \"x\"\n");
            tracing::debug!("not shown");
        });
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["level"], "info");
        assert_eq!(line["msg"], "call ended \"x\"\n");
        assert_eq!(line["call_id"], "call_1");
        assert_eq!(line["trunk"], "trk_1");
        assert_eq!(line["duration_ms"], 42);
        assert_eq!(line["ok"], true);
        assert_eq!(line["node"], "n1");
        assert!(registry.render().contains("warp_log_messages_total{level=\"info\"} 1"));
    }

    #[test]
    fn levels_per_target() {
        let levels = Levels::parse("warn,sip_proxy=debug,warp_net::udp=trace").unwrap();
        assert_eq!(levels.of("warp_sip_proxy::core"), LevelFilter::DEBUG);
        assert_eq!(levels.of("warp_sip_proxyx"), LevelFilter::WARN);
        assert_eq!(levels.of("warp_net::udp"), LevelFilter::TRACE);
        assert_eq!(levels.of("warp_net"), LevelFilter::WARN);
        assert!(Levels::parse("loud").is_err());
        assert!(Levels::parse("info,sip=loud").is_err());
    }

    #[test]
    fn the_same_warning_is_written_ten_times_a_second() {
        let (text, registry) = logged(true, "info", || {
            for i in 0..500 {
                tracing::warn!(i, "flood");
                tracing::info!(i, "distinct");
            }
        });
        let floods = text.lines().filter(|l| l.contains("flood")).count();
        // A second may turn while the loop runs.
        assert!((10..=30).contains(&floods), "{floods}");
        assert_eq!(text.lines().filter(|l| l.contains("distinct")).count(), 500);
        assert!(!registry.render().contains("warp_log_suppressed_total 0\n"));
    }

    #[test]
    fn human_lines_cannot_be_forged() {
        let (text, _) = logged(true, "info", || {
            tracing::info!(peer = "a\r\n12:00 ERROR x", "hello");
        });
        assert_eq!(text.lines().count(), 1);
        assert!(text.contains("INFO  telemetry hello peer=a  12:00 ERROR x"));
    }
}
