//! Sockets, the clock and the disk around the core: one thread for the core and all SMPP connections ([`shard`]), one that syncs
//! ([`committer`]), one for HTTP ([`web`], [`caller`]).
//!
//! Invariants: bytes go out after the batch that their round made was appended; a record is told durable when its sync has returned; one
//! reading of the clock and one write call per connection and wake-up.

mod caller;
mod committer;
mod secrets;
mod shard;
mod web;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use warp_events::Topic;
use warp_net::clock::Clock;
use warp_net::mailbox::{Sender, mailbox};
use warp_net::tcp::TcpListener;
use warp_net::tls::{Tls, TlsClient, TlsError};

use crate::config::Config;
use crate::core::jasmin::{JasminReply, JasminRequest, Submission};
use crate::core::{Core, Key, QueueFigures, StorageFault};
use crate::metrics::Metrics;
use crate::{CONSUMER, StartError};
pub(crate) use secrets::readable;
use shard::{Parts, Secured, Shard};

/// What the core's thread finds in its mailbox.
#[derive(Debug)]
pub(crate) enum Note {
    /// All records before this number are durable.
    Durable(u64),
    /// Those before this number are not, and will not be.
    Failed(u64, StorageFault),
    /// A request of the HTTP door, and where its answer goes.
    Ask {
        /// Who asks, by address.
        source: std::net::IpAddr,
        /// For what.
        ask: Box<JasminRequest>,
        /// Where the answer goes.
        reply: oneshot::Sender<JasminReply>,
    },
    /// A message of the platform's own API for the account of this name, and where its answer goes.
    Send {
        /// The account that sends.
        account: String,
        /// The message as it was given.
        message: Box<Submission>,
        /// Where the answer goes.
        reply: oneshot::Sender<JasminReply>,
    },
    /// Other accounts, vendors and routes.
    Configure(Box<Config>),
    /// What waits, and where the figures go.
    Queues(oneshot::Sender<Vec<QueueFigures>>),
    /// A secret was checked.
    Checked {
        /// As the check had it.
        token: u64,
        /// Whether it was right.
        right: bool,
    },
    /// A call to a customer was made.
    Called {
        /// Of which message.
        key: Key,
        /// As the call had it.
        lane: usize,
        /// Whether it was taken.
        taken: bool,
    },
    /// Unbind everybody, then end, within this time.
    Drain(Duration),
    /// End the thread.
    Stop,
}

pub(crate) struct Running {
    pub(crate) address: Option<SocketAddr>,
    pub(crate) address_tls: Option<SocketAddr>,
    pub(crate) http: Option<SocketAddr>,
    pub(crate) waiting: usize,
    pub(crate) sender: Sender<Note>,
    pub(crate) threads: Vec<JoinHandle<()>>,
}

pub(crate) fn start(
    config: Arc<Config>,
    topic: Topic,
    metrics: Metrics,
    seed: u64,
) -> Result<Running, StartError> {
    let mut core = Core::new(Arc::clone(&config), metrics.clone(), seed);
    topic.hold(CONSUMER);
    let (waiting, end) = restore(&mut core, &topic)?;
    let listener =
        config.listen.map(|at| TcpListener::bind(at, false)).transpose().map_err(StartError::Io)?;
    let tls = tls(&config)?;
    let listener_tls =
        config.listen_tls.map(|at| TcpListener::bind(at, false)).transpose().map_err(StartError::Io)?;
    let address_tls = listener_tls.as_ref().map(TcpListener::local_addr);
    let address = listener.as_ref().map(TcpListener::local_addr);
    // Notes are a few a millisecond at most.
    let (sender, mailbox) = mailbox(4_096).map_err(StartError::Io)?;
    let (commit, committed) = std::sync::mpsc::channel();
    let committer = {
        let (topic, sender) = (topic.clone(), sender.clone());
        thread("smsc-sync", move || committer::run(&topic, &committed, &sender))?
    };
    let door = config.http.map(http_listener).transpose().map_err(StartError::Io)?;
    let http = door.as_ref().map(std::net::TcpListener::local_addr).transpose().map_err(StartError::Io)?;
    let (calls, called) = mpsc::unbounded_channel();
    let web = web::Web {
        config: Arc::clone(&config),
        metrics,
        sender: sender.clone(),
        listener: door,
        calls: called,
    };
    let web = thread("smsc-http", move || web.run())?;
    let (checks, checked) = std::sync::mpsc::channel();
    let checked = Arc::new(Mutex::new(checked));
    let mut threads = Vec::new();
    for n in 0..secrets::AT_ONCE {
        let (checked, sender) = (Arc::clone(&checked), sender.clone());
        threads.push(thread(&format!("smsc-secret-{n}"), move || secrets::run(&checked, &sender))?);
    }
    let shard = Shard::new(Parts {
        checks,
        calls,
        core,
        topic,
        listener,
        listener_tls,
        tls,
        mailbox,
        commit,
        end,
        write_buffer: config.limits.write_buffer,
    })
    .map_err(StartError::Io)?;
    let shard = thread("smsc", move || shard.run())?;
    Ok(Running {
        address,
        address_tls,
        http,
        waiting,
        sender,
        threads: threads.into_iter().chain([shard, committer, web]).collect(),
    })
}

/// Both sides of TLS, as far as the settings want them.
fn tls(config: &Config) -> Result<Secured, StartError> {
    let wrong = |e: TlsError| StartError::Config(e.to_string());
    let server = match (config.listen_tls, &config.certificate) {
        (Some(_), Some(files)) => Some(Tls::open(files.clone()).map_err(wrong)?),
        (Some(_), None) => {
            return Err(StartError::Config("a listener for TLS needs a certificate and its key".to_owned()));
        }
        (None, _) => None,
    };
    let names: Vec<&String> = config.vendors.iter().filter_map(|v| v.tls.as_ref()).collect();
    let client =
        // Where accounts are kept a vendor with TLS may come later.
        if names.is_empty() && !config.recorded { None } else { Some(TlsClient::open(config.roots.as_deref()).map_err(wrong)?) };
    for name in names {
        // One that cannot be a name is told now, and not at each try.
        client.as_ref().map(|client| client.connect(name)).transpose().map_err(wrong)?;
    }
    Ok(Secured { server, client })
}

fn http_listener(at: SocketAddr) -> io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(at)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StartError> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run).map_err(StartError::Io)
}

/// Reads the topic through. Gives how many messages are not done, and the number of the next record.
fn restore(core: &mut Core, topic: &Topic) -> Result<(usize, u64), StartError> {
    let now = Clock::now();
    let mut reader = topic.from_floor();
    let mut end = 0;
    loop {
        let records = reader.next_batch(RECORDS).map_err(StartError::Queue)?;
        if records.is_empty() {
            break;
        }
        for record in records {
            core.restore(record.offset, &record.value, now);
            end = record.offset.saturating_add(1);
        }
    }
    Ok((core.restored_all(Clock::now()), end))
}

/// Records that are read at once.
const RECORDS: usize = 4_096;

/// The kind of fault that the log tells.
fn fault_of(error: &warp_events::EventsError) -> StorageFault {
    match error {
        warp_events::EventsError::Full => StorageFault::Full,
        warp_events::EventsError::Io { error, .. } if error.kind() == io::ErrorKind::StorageFull => {
            StorageFault::Full
        }
        _ => StorageFault::Broken,
    }
}
