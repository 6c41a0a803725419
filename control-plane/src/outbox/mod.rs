//! What is done with events besides reading them: their streams are woken here, and the state of vendor trunks becomes events.

pub mod standings;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use warp_model::sync::lock;

use crate::App;
use crate::app::caller::Who;
use crate::store::{Scope, StoreError, outbox as rows};

/// Streams of all readers of this process.
pub const STREAMS: usize = 256;
/// Streams of one key or user.
pub const STREAMS_EACH: usize = 8;
/// How often the last place is read while nothing is heard of it.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Where events stand, as far as this process has heard; and who follows them.
#[derive(Debug)]
pub struct Feed {
    /// The last place; `None`: the program stops.
    last: watch::Sender<Option<i64>>,
    streams: Mutex<HashMap<Who, usize>>,
}

impl Default for Feed {
    fn default() -> Self {
        Self { last: watch::channel(Some(0)).0, streams: Mutex::default() }
    }
}

impl Feed {
    /// Rings at each new event, and when the program stops.
    pub fn follow(&self) -> watch::Receiver<Option<i64>> {
        self.last.subscribe()
    }

    /// One more stream of this reader, until it is dropped; `None`: there are enough.
    pub fn stream(app: &Arc<App>, who: Who) -> Option<Stream> {
        let mut streams = lock(&app.feed.streams);
        let own = streams.get(&who).copied().unwrap_or(0);
        if own >= STREAMS_EACH || streams.values().sum::<usize>() >= STREAMS {
            return None;
        }
        streams.insert(who, own.saturating_add(1));
        Some(Stream { app: app.clone(), who })
    }
}

/// The place of a stream among those that are allowed.
pub struct Stream {
    app: Arc<App>,
    who: Who,
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut streams = lock(&self.app.feed.streams);
        let left = streams.get(&self.who).copied().unwrap_or(0).saturating_sub(1);
        match left {
            0 => drop(streams.remove(&self.who)),
            left => drop(streams.insert(self.who, left)),
        }
    }
}

/// Tells the streams where events stand, until told to stop; then ends them.
pub async fn run(app: Arc<App>, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            heard = hear(&app) => {
                if let Err(e) = heard {
                    tracing::debug!(error = %e, "not listening for events");
                }
            }
            _ = stop.wait_for(|s| *s) => break,
        }
        if tokio::time::timeout(Duration::from_secs(1), stop.wait_for(|s| *s)).await.is_ok() {
            break;
        }
    }
    app.feed.last.send_replace(None);
}

async fn hear(app: &App) -> Result<(), StoreError> {
    let mut notices = app.store.listen("warp_events").await?;
    loop {
        let mut tx = app.store.begin(Scope::Operator("events")).await?;
        let place = rows::last_place(&mut tx).await?;
        drop(tx);
        app.feed.last.send_if_modified(|last| last.replace(place) != Some(place));
        // A lost connection may have lost a notice, too: the place is read again either way.
        if let Ok(heard) = tokio::time::timeout(LOOK_EVERY, notices.next()).await {
            heard?;
        }
    }
}
