//! The log of a test's program, caught: for tests that read what is told. A program has one log, so such a test stands alone in its
//! program. Included by path (`#[path]`) from the tests of several rooms.

use std::fmt::Write;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Lines as they are logged, one text each: the level, then each field as `name=value`.
#[derive(Clone)]
pub struct CaughtLog {
    lines: Arc<Mutex<Vec<String>>>,
    most: Level,
}

impl CaughtLog {
    /// Catches what this program logs from now on at `most` and whatever is worse. Once in a program.
    pub fn of_program(most: Level) -> CaughtLog {
        let log = CaughtLog { lines: Arc::default(), most };
        tracing::subscriber::set_global_default(log.clone()).expect("the first log of this program");
        log
    }

    /// The lines since the last look.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.lines.lock().expect("no panic while a line is written"))
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = write!(self.0, "{}={value:?} ", field.name());
    }
}

impl Subscriber for CaughtLog {
    fn enabled(&self, of: &Metadata<'_>) -> bool {
        *of.level() <= self.most
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut line = Line(format!("{} ", event.metadata().level()));
        event.record(&mut line);
        self.lines.lock().expect("no panic while a line is written").push(line.0);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}
