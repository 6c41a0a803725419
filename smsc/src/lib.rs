//! The SMSC: protocol meets the queue in [`core`], sockets and the disk live in `server` (RFC 0017).
//!
//! [`start`] reads the queue, binds the listener, starts the thread of the core and the one that syncs, and gives an [`Smsc`].
#![forbid(unsafe_code)]

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;
use warp_events::{EventLog, EventsError, EventsMetrics, LogOptions};
use warp_net::mailbox::{SendError, Sender};

pub mod config;
pub mod core;
pub mod metrics;
mod server;

pub use crate::core::QueueFigures;
pub use crate::core::jasmin::{JasminReply, Refusal, Submission};
pub use config::{
    Account, Callbacks, Config, Destination, HttpClient, InDoubt, OnStatus, SmscLimits, Vendor,
};
pub use metrics::Metrics;

use server::Note;

/// The topic of the queue, and the consumer that keeps its records.
pub const TOPIC: &str = "sms.queue.v1";
const CONSUMER: &str = "smsc";

/// Why an SMSC does not start.
#[derive(Debug)]
pub enum StartError {
    /// A setting cannot be carried out; this is what is wrong.
    Config(String),
    /// The queue cannot be opened or read.
    Queue(EventsError),
    /// The listener, or a thread.
    Io(io::Error),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StartError::Config(what) => f.write_str(what),
            StartError::Queue(error) => write!(f, "the queue: {error}"),
            StartError::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StartError {}

/// How the queue is kept on disk: segments of 64 MiB, at most 50 GiB, gone as soon as nothing in them is needed.
pub fn queue_options(metrics: EventsMetrics) -> LogOptions {
    LogOptions { keep: Duration::ZERO, ..LogOptions::new(metrics) }
}

/// A running SMSC. Dropping it stops it at once; what was answered is on disk.
pub struct Smsc {
    address: Option<SocketAddr>,
    address_tls: Option<SocketAddr>,
    http: Option<SocketAddr>,
    waiting: usize,
    sender: Sender<Note>,
    threads: Vec<JoinHandle<()>>,
}

/// Reads the queue in `dir` and starts. Traffic is taken when this returns. `seed` is 64 random bits of the operating system.
/// Errors: a setting that cannot be, the queue cannot be read, the address cannot be bound.
pub fn start(
    config: Config,
    dir: &Path,
    options: LogOptions,
    metrics: Metrics,
    seed: u64,
) -> Result<Smsc, StartError> {
    let log = EventLog::open(dir, options).map_err(StartError::Queue)?;
    start_on(config, &log, metrics, seed)
}

/// The same with the queue in a log that is open already, so that others can read its topic [`TOPIC`].
pub fn start_on(config: Config, log: &EventLog, metrics: Metrics, seed: u64) -> Result<Smsc, StartError> {
    check(&config).map_err(StartError::Config)?;
    let topic = log.topic(TOPIC).map_err(StartError::Queue)?;
    let running = server::start(Arc::new(config), topic, metrics, seed)?;
    Ok(Smsc {
        address: running.address,
        address_tls: running.address_tls,
        http: running.http,
        waiting: running.waiting,
        sender: running.sender,
        threads: running.threads,
    })
}

/// What settings must agree on.
fn check(config: &Config) -> Result<(), String> {
    let mut names: Vec<&str> = config.accounts.iter().map(|a| a.system_id.as_str()).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair.first() == pair.last()) {
        return Err(format!("the account {:?} stands there twice", pair.first().unwrap_or(&"")));
    }
    let own = std::iter::once(("the SMSC's own", config.system_id.as_str()));
    let accounts = config.accounts.iter().map(|a| ("an account's", a.system_id.as_str()));
    let vendors = config.vendors.iter().map(|v| ("a vendor's", v.system_id.as_str()));
    for (whose, id) in own.chain(accounts).chain(vendors) {
        if id.is_empty() || id.len() > 15 || id.contains('\0') {
            return Err(format!("{whose} system_id {id:?} has not 1 to 15 characters"));
        }
    }
    for account in config.accounts.iter() {
        if let Some(secret) = &account.secret {
            server::readable(secret.reveal())
                .map_err(|why| format!("the secret of {:?}: {why}", account.system_id))?;
        }
    }
    let mut clients: Vec<&str> = config.http_clients.iter().map(|c| c.name.as_str()).collect();
    clients.sort_unstable();
    if let Some(pair) = clients.windows(2).find(|pair| pair.first() == pair.last()) {
        return Err(format!("the HTTP client {:?} stands there twice", pair.first().unwrap_or(&"")));
    }
    let (mt, mo) = config.tables().map_err(|e| e.to_string())?;
    let nobody = |order: u16| Err(format!("route {order} leads to nobody"));
    if let Some(route) =
        mt.routes().iter().find(|r| r.order != 0 && r.targets.iter().any(|t| *t >= config.vendors.len()))
    {
        return nobody(route.order);
    }
    let strange = |target: &Destination| match target {
        Destination::Account(account) => *account >= config.accounts.len(),
        Destination::Http(client) => *client >= config.http_clients.len(),
    };
    if let Some(route) = mo.routes().iter().find(|r| r.order != 0 && r.targets.iter().any(strange)) {
        return nobody(route.order);
    }
    let places = [
        (config.mt_default, config.vendors.len()),
        match config.mo_default {
            Some(Destination::Account(account)) => (Some(account), config.accounts.len()),
            Some(Destination::Http(client)) => (Some(client), config.http_clients.len()),
            None => (None, 0),
        },
    ];
    if places.iter().any(|(place, count)| place.is_some_and(|p| p >= *count)) {
        return Err("a default route leads to nobody".to_owned());
    }
    Ok(())
}

impl Smsc {
    /// Where customers bind, with the real port.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Where customers bind by TLS, with the real port.
    pub fn address_tls(&self) -> Option<SocketAddr> {
        self.address_tls
    }

    /// Where the HTTP door is, with the real port.
    pub fn http(&self) -> Option<SocketAddr> {
        self.http
    }

    /// How many messages the queue held at the start.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// A door for messages and settings from within the process.
    pub fn door(&self) -> Door {
        Door { sender: self.sender.clone() }
    }

    /// Unbinds every session when what is in flight is answered, and waits for that as long as it is told; then it stops.
    pub fn drain(mut self, at_most: Duration) {
        self.tell(|| Note::Drain(at_most));
        self.join();
    }

    /// Stops at once; what was answered is on disk.
    pub fn stop(self) {}

    fn tell(&self, note: impl Fn() -> Note) {
        // A full mailbox is drained by its owner: try until it takes it or is gone.
        while let Err(SendError::Full(_)) = self.sender.send(note()) {
            std::thread::yield_now();
        }
    }

    fn join(&mut self) {
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Messages and settings for a running SMSC, from within its process. Clones lead to the same one.
#[derive(Clone)]
pub struct Door {
    sender: Sender<Note>,
}

/// Why a door takes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DoorError {
    /// More waits than the SMSC has read; try again.
    Full,
    /// The SMSC has ended.
    Gone,
}

impl Door {
    /// Gives a message of the account of this name to the SMSC. The answer comes when it is durable, or refused; when the SMSC ends
    /// before, nobody knows, and the channel is closed. Errors: nothing was given.
    pub fn send(
        &self,
        account: &str,
        message: Submission,
    ) -> Result<oneshot::Receiver<JasminReply>, DoorError> {
        let (reply, answered) = oneshot::channel();
        self.put(Note::Send { account: account.to_owned(), message: Box::new(message), reply })?;
        Ok(answered)
    }

    /// Other accounts, vendors and routes from now on. Errors: nothing changes.
    pub fn configure(&self, config: Config) -> Result<(), DoorError> {
        self.put(Note::Configure(Box::new(config)))
    }

    /// What waits for each vendor. Errors: it was not asked.
    pub fn queues(&self) -> Result<oneshot::Receiver<Vec<QueueFigures>>, DoorError> {
        let (reply, answered) = oneshot::channel();
        self.put(Note::Queues(reply))?;
        Ok(answered)
    }

    fn put(&self, note: Note) -> Result<(), DoorError> {
        self.sender.send(note).map_err(|error| match error {
            SendError::Full(_) => DoorError::Full,
            _ => DoorError::Gone,
        })
    }
}

impl Drop for Smsc {
    fn drop(&mut self) {
        self.tell(|| Note::Stop);
        self.join();
    }
}
