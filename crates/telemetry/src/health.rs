//! Health and readiness: liveness says that the process turns, readiness that it takes new work.
//!
//! Each part of the process holds a [`Part`] and says how it is. Readiness = every required part is up and nobody drains.
//! A dependency that may be away (PostgreSQL, Redis) is an optional part: shown, but it never takes readiness.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use warp_model::sync::lock;

use crate::label_enum;
use crate::metrics::{Gauge, Histograms, Keyed, Kind, REQUEST_SECONDS, Registry, Sample};

label_enum! {
    /// What came of a request to a dependency.
    pub enum RequestResult = "result" { Ok = "ok", Error = "error" }
}

/// Times of requests to one dependency.
pub type RequestSeconds = Histograms<(RequestResult,)>;

/// `warp_dependency_request_seconds` of the dependency of this name. Each asker registers its own.
pub fn request_seconds(registry: &Registry, name: &'static str) -> RequestSeconds {
    let all: Keyed<RequestSeconds> = registry.keyed(
        "warp_dependency_request_seconds",
        "Time of a request to a service that we depend on, in seconds: a transaction begun at PostgreSQL, a command to the media relay.",
        "name",
        16,
        REQUEST_SECONDS,
    );
    all.of(name)
}

/// How a part is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Not yet ready for work.
    Starting,
    /// The part works as it should.
    Up,
    /// Does not work, and why (our words, no peer's bytes).
    Down(String),
}

impl State {
    /// The state as a word: `starting`, `up`, `down`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Up => "up",
            Self::Down(_) => "down",
        }
    }
}

/// All parts of a process. Clones share it.
#[derive(Clone)]
pub struct Health {
    inner: Arc<Inner>,
}

struct Inner {
    parts: Mutex<BTreeMap<&'static str, (bool, State)>>,
    draining: Gauge,
}

/// The end of the board that one part holds: it says how it is.
#[derive(Clone)]
pub struct Part {
    health: Health,
    name: &'static str,
}

/// What the path `/readyz` answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// True when new work is taken.
    pub ready: bool,
    /// True after the first SIGTERM.
    pub draining: bool,
    /// Of each part its name, whether it is required, and its state.
    pub parts: Vec<(&'static str, bool, State)>,
}

impl Health {
    /// Without parts: ready. Registers `warp_draining` and `warp_dependency_up`.
    pub fn new(registry: &Registry) -> Self {
        let health = Self {
            inner: Arc::new(Inner {
                parts: Mutex::new(BTreeMap::new()),
                draining: registry.gauge(
                    "warp_draining",
                    "1 after the first SIGTERM: calls go on, new ones are not taken.",
                ),
            }),
        };
        let seen = health.clone();
        registry.observe(
            Kind::Gauge,
            "warp_dependency_up",
            "1 when the part or the service of this name works.",
            &["name"],
            move || {
                seen.parts()
                    .iter()
                    .map(|(name, (_, state))| {
                        let up = f64::from(u8::from(*state == State::Up));
                        Sample::number(vec![("name", (*name).to_owned())], up)
                    })
                    .collect()
            },
        );
        health
    }

    fn parts(&self) -> MutexGuard<'_, BTreeMap<&'static str, (bool, State)>> {
        lock(&self.inner.parts)
    }

    /// A part without which no new work is taken. It starts as [`State::Starting`].
    pub fn required(&self, name: &'static str) -> Part {
        self.part(name, true)
    }

    /// A part that is only shown.
    pub fn optional(&self, name: &'static str) -> Part {
        self.part(name, false)
    }

    fn part(&self, name: &'static str, required: bool) -> Part {
        self.parts().insert(name, (required, State::Starting));
        Part { health: self.clone(), name }
    }

    /// From now on not ready.
    pub fn drain(&self) {
        self.inner.draining.set((), 1);
    }

    /// How ready the process is now.
    pub fn readiness(&self) -> Readiness {
        let parts: Vec<_> =
            self.parts().iter().map(|(name, (required, state))| (*name, *required, state.clone())).collect();
        let draining = self.inner.draining.value(()) != 0;
        let ready = !draining && parts.iter().all(|(_, required, state)| !required || *state == State::Up);
        Readiness { ready, draining, parts }
    }
}

impl Part {
    fn set(&self, state: State) {
        let mut parts = self.health.parts();
        if let Some((_, old)) = parts.get_mut(self.name) {
            *old = state;
        }
    }

    /// The part works from now on.
    pub fn up(&self) {
        self.set(State::Up);
    }

    /// Says that the part does not work, and why.
    pub fn down(&self, why: impl Into<String>) {
        self.set(State::Down(why.into()));
    }
}

impl Readiness {
    /// The body of `/readyz`.
    pub fn to_json(&self) -> serde_json::Value {
        let parts: serde_json::Map<_, _> = self
            .parts
            .iter()
            .map(|(name, required, state)| {
                let mut part = serde_json::json!({"state": state.as_str(), "required": required});
                if let State::Down(why) = state {
                    part["reason"] = why.as_str().into();
                }
                ((*name).to_owned(), part)
            })
            .collect();
        serde_json::json!({"ready": self.ready, "draining": self.draining, "parts": parts})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_needs_every_required_part_and_no_drain() {
        let registry = Registry::new();
        let health = Health::new(&registry);
        assert!(health.readiness().ready);
        let sip = health.required("sip");
        let postgres = health.optional("postgres");
        assert!(!health.readiness().ready);
        sip.up();
        postgres.down("connection refused");
        assert!(health.readiness().ready);
        let text = registry.render();
        assert!(text.contains("warp_dependency_up{name=\"sip\"} 1"));
        assert!(text.contains("warp_dependency_up{name=\"postgres\"} 0"));
        health.drain();
        let now = health.readiness();
        assert!(!now.ready && now.draining);
        assert_eq!(now.to_json()["parts"]["postgres"]["reason"], "connection refused");
        assert!(registry.render().contains("warp_draining 1"));
    }
}
