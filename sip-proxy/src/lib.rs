//! The SIP proxy: protocol meets policy in [`core`], sockets live in [`server`].
//!
//! [`start`] binds the listeners, starts one thread per shard and gives a [`Proxy`] that takes commands.
#![forbid(unsafe_code)]

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use warp_events::journal::{Journal, JournalOptions};
use warp_feed::{Listening, Subscriber};
use warp_model::sync::lock;
use warp_net::mailbox::{Sender, mailbox};
use warp_net::tls::Tls;
use warp_policy::Snapshot;
use warp_sip::flow::Transport;

pub mod config;
pub mod core;
mod looks;
pub mod metrics;
mod server;

pub use config::{Config, Dns, State, StreamLimits, TlsFiles};
pub use looks::CallsSeen;
pub use metrics::Metrics;
pub use server::media_control::{MediaControl, Submit};

use crate::core::{Command, LiveCall, Shared};
use server::resolver::{DnsLink, DnsThread};
use server::shard::{Parts, Shard};
use server::{Note, Quota, sockets};

/// What a proxy is given besides its configuration.
pub struct Handles {
    /// Policy snapshots; `None` only in [`core::Mode::Static`].
    pub snapshots: Option<Subscriber<Snapshot>>,
    /// Where media questions go.
    pub media: MediaControl,
    /// Where registrations are shared with other nodes; only for a registrar that is told so ([`core::RegistrarConfig::shared`]).
    pub state: Option<State>,
    /// Where copies of messages go, for pictures of calls; `None`: nothing is captured.
    pub capture: Option<warp_capture::Capture>,
    /// Folder and options of the call journals, one journal per shard; `None`: calls leave no record.
    pub journal: Option<(PathBuf, JournalOptions)>,
    /// What customers' calls of today cost before this process began.
    pub spent: Vec<warp_policy::Spent>,
    /// Secret of this process, from the operating system (or of a test).
    pub seed: [u8; 32],
    /// The counters that the proxy adds to.
    pub metrics: Metrics,
}

/// A running proxy. Dropping it stops it at once.
pub struct Proxy {
    addresses: Vec<(Transport, SocketAddr)>,
    senders: Vec<Sender<Note>>,
    threads: Vec<JoinHandle<()>>,
    shared: Arc<Shared>,
    _listening: Option<Listening>,
    _certificate: Option<mpsc::Sender<()>>,
    state: Option<warp_state::Store>,
}

/// Binds the listeners and starts the shards. Traffic is accepted when this returns.
/// Errors: an address cannot be bound, no descriptors, a journal cannot be opened.
pub fn start(mut config: Config, handles: Handles) -> io::Result<Proxy> {
    config.shards = config.shards.clamp(1, SHARDS_MAX);
    let tls = config.core.listeners.iter().any(|l| l.transport.is_secure());
    if tls && config.tls.is_none() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "TLS needs a certificate and its key"));
    }
    let certificate = match config.tls.clone() {
        Some(files) => Some(Arc::new(Tls::open(files).map_err(io::Error::other)?)),
        None => None,
    };
    let sockets = sockets::bind(&mut config)?;
    if config.core.listeners.iter().any(|l| l.bind.ip().is_unspecified())
        && config.core.own_addresses.is_empty()
    {
        config.core.own_addresses = warp_net::interfaces::own_addresses()?;
    }
    let config = Arc::new(config);
    let shared = Arc::new(Shared::new(handles.seed));
    shared.usage().restore(handles.spent);
    let quota = Arc::new(Quota::new(config.streams));
    let mut senders = Vec::new();
    let mut mailboxes = Vec::new();
    for _ in 0..config.shards {
        let (sender, mailbox) = mailbox(config.mailbox)?;
        senders.push(sender);
        mailboxes.push(mailbox);
    }
    // Before the shards read the first snapshot: none is missed.
    let listening = handles.snapshots.as_ref().map(|snapshots| {
        let senders = senders.clone();
        let reader = snapshots.clone();
        let (to_janitor, incoming) = mpsc::channel();
        let janitor = std::thread::Builder::new().name("sip-janitor".into());
        if let Err(error) = janitor.spawn(move || server::janitor::run(incoming, JANITOR_LOOKS)) {
            tracing::warn!(%error, "no janitor: shards free old snapshots themselves");
        }
        let _ = to_janitor.send(reader.latest());
        snapshots.listen(move || {
            let _ = to_janitor.send(reader.latest());
            for sender in &senders {
                let _ = sender.send(Note::Snapshot);
            }
        })
    });
    let (state, asker) = match handles.state {
        None => (None, None),
        Some(state) => {
            let opened = server::state_mirror::open(state, &config.core, &shared, senders.clone());
            let (store, asker) = opened.map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
            (Some(store), Some(asker))
        }
    };
    // Only the policy has peers by name.
    let names = handles.snapshots.is_some();
    let dns = names.then(|| DnsThread::start(config.dns.clone(), transports(&config), senders.clone()));
    let dns = dns.transpose()?;
    let mut shards = Vec::new();
    for (index, (sockets, mailbox)) in sockets.into_iter().zip(mailboxes).enumerate() {
        let index = index as u16; // at most SHARDS_MAX
        let journal = match &handles.journal {
            None => None,
            Some((dir, options)) => {
                Some(Journal::open(dir, index, options.clone()).map_err(io::Error::other)?)
            }
        };
        shards.push(Shard::new(Parts {
            index,
            config: Arc::clone(&config),
            seed: handles.seed,
            shared: Arc::clone(&shared),
            sockets,
            mailbox,
            senders: senders.clone(),
            quota: Arc::clone(&quota),
            certificate: certificate.clone(),
            media: handles.media.clone(),
            state: asker.clone(),
            dns: dns.as_ref().map_or_else(|| DnsLink::none(index), |dns| dns.link(index)),
            snapshots: handles.snapshots.clone(),
            journal,
            tap: handles.capture.as_ref().map(warp_capture::Capture::tap),
            metrics: handles.metrics.clone(),
        })?);
    }
    let mut proxy = Proxy {
        addresses: sockets::addresses(&config.core.listeners),
        senders,
        threads: Vec::new(),
        shared,
        _listening: listening,
        _certificate: certificate.map(server::certificates::watch).transpose()?,
        state,
    };
    for (index, shard) in shards.into_iter().enumerate() {
        let name = format!("sip-{index}");
        proxy.threads.push(std::thread::Builder::new().name(name).spawn(move || shard.run())?);
    }
    Ok(proxy)
}

impl Proxy {
    /// What is listened on, in the order of the configuration, with real ports.
    pub fn addresses(&self) -> &[(Transport, SocketAddr)] {
        &self.addresses
    }

    /// The first UDP address.
    pub fn udp_addr(&self) -> Option<SocketAddr> {
        self.first(Transport::Udp)
    }

    /// The first TCP address.
    pub fn tcp_addr(&self) -> Option<SocketAddr> {
        self.first(Transport::Tcp)
    }

    fn first(&self, transport: Transport) -> Option<SocketAddr> {
        self.addresses.iter().find(|(t, _)| *t == transport).map(|(_, a)| *a)
    }

    /// Passes a command to the shards that it concerns; returns at once. A list's reply comes from a shard's thread.
    pub fn command(&self, command: Command) {
        dispatch(&self.senders, command);
    }

    /// A handle for other parts of the process.
    pub fn commander(&self) -> Commander {
        Commander { senders: self.senders.clone(), shared: Arc::clone(&self.shared) }
    }

    /// Takes no new calls from now on; with `end_calls` it ends those in the air as well.
    pub fn drain(&self, end_calls: bool) {
        self.command(Command::Drain { end_calls });
    }

    /// Another configuration for every shard, each between two messages (F-CFG-02). What a running proxy cannot change
    /// stays ([`core::CoreConfig::keeping_fixed_parts_of`]). Waits for room in the mailboxes.
    pub fn configure(&self, core: core::CoreConfig) {
        self.command(Command::Configure(Arc::new(core)));
    }

    /// Transactions of all shards: 0 when a drained proxy has nothing left to say.
    pub fn transactions(&self) -> usize {
        self.shared.transactions()
    }

    /// Ends the threads and waits for them. Calls in the air are cut off; their journals say so at the next start.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        for sender in &self.senders {
            // A full mailbox is drained by its owner: try until it takes it or is gone.
            while let Err(warp_net::mailbox::SendError::Full(_)) = sender.send(Note::Stop) {
                std::thread::yield_now();
            }
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        // After the shards: their last changes are written, too.
        self.state = None;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.end();
    }
}

/// Sends commands to a running proxy; after its end they go nowhere.
#[derive(Clone)]
pub struct Commander {
    senders: Vec<Sender<Note>>,
    shared: Arc<Shared>,
}

impl Commander {
    /// Live figures of the vendor trunks of a snapshot, as the next call would be decided with.
    pub fn vendor_trunks(&self, snapshot: &Snapshot) -> Vec<warp_policy::VendorTrunkLive> {
        self.shared.vendor_trunks(&snapshot.directory, warp_net::clock::Clock::now())
    }

    /// Where a vendor trunk stands, and why; `None`: the snapshot in force does not have it.
    pub fn vendor_trunk(&self, id: warp_model::VendorTrunkId) -> Option<core::TrunkState> {
        self.shared.vendor_trunk(id, warp_net::clock::Clock::mono())
    }

    /// An operator says that a vendor trunk is well: all its calls from now on. False: the snapshot in force does not have it.
    pub fn reset_vendor_trunk(&self, id: warp_model::VendorTrunkId) -> bool {
        self.shared.reset_vendor_trunk(id)
    }

    /// The phones that a user has registered in a domain.
    pub fn registrations(&self, user: &str, domain: &str) -> Vec<core::Registered> {
        self.shared.registered(user, domain, warp_net::clock::Clock::mono())
    }

    /// What calls that are paid ahead are paid from.
    pub fn wallet(&self) -> Arc<warp_policy::credit::Wallet> {
        Arc::clone(self.shared.usage().wallet())
    }

    /// The clock that the calls of the proxy are held to.
    pub fn mono(&self) -> warp_model::Mono {
        warp_net::clock::Clock::mono()
    }

    /// Passes a command to the shards that it concerns, as [`Proxy::command`] does.
    pub fn command(&self, command: Command) {
        dispatch(&self.senders, command);
    }
}

fn dispatch(senders: &[Sender<Note>], command: Command) {
    let each = |make: &dyn Fn() -> Command| {
        for sender in senders {
            let _ = sender.send(Note::Command(make()));
        }
    };
    match command {
        Command::Drain { end_calls } => each(&|| Command::Drain { end_calls }),
        Command::EndCall { cdr_id, reason } => each(&|| Command::EndCall { cdr_id, reason }),
        Command::MediaTimeout { media_id, due } => {
            each(&|| Command::MediaTimeout { media_id: media_id.clone(), due });
        }
        Command::Configure(config) => {
            for sender in senders {
                let mut note = Note::Command(Command::Configure(Arc::clone(&config)));
                // A shard that missed it would run on old values for ever: wait for its owner to drain a full mailbox.
                while let Err(warp_net::mailbox::SendError::Full(again)) = sender.send(note) {
                    note = again;
                    std::thread::yield_now();
                }
            }
        }
        Command::EndRecovered(resume) => {
            let shard =
                core::shard_of_call_id(resume.call_id(), senders.len().try_into().unwrap_or(u16::MAX));
            if let Some(sender) = senders.get(usize::from(shard)) {
                let _ = sender.send(Note::Command(Command::EndRecovered(resume)));
            }
        }
        // They are for one shard at a time: `looks`.
        Command::LookAtCalls { .. } | Command::HangUp { .. } => {}
        Command::ListCalls { reply } => {
            let gather = Arc::new(Gather { calls: Mutex::new(Vec::new()), reply: Mutex::new(Some(reply)) });
            for sender in senders {
                let gather = Arc::clone(&gather);
                let reply = Box::new(move |calls| gather.add(calls));
                let _ = sender.send(Note::Command(Command::ListCalls { reply }));
            }
        }
    }
}

type ListReply = Box<dyn FnOnce(Vec<LiveCall>) + Send>;

/// Collects the lists of all shards; the last part to go (or to be lost) sends the whole.
struct Gather {
    calls: Mutex<Vec<LiveCall>>,
    reply: Mutex<Option<ListReply>>,
}

impl Gather {
    fn add(&self, mut part: Vec<LiveCall>) {
        lock(&self.calls).append(&mut part);
    }
}

impl Drop for Gather {
    fn drop(&mut self) {
        let mut calls = std::mem::take(&mut *lock(&self.calls));
        calls.sort_by_key(|c| c.setup_at);
        if let Some(reply) = lock(&self.reply).take() {
            reply(calls);
        }
    }
}

/// What requests can be sent by, each once, in the order in which DNS is asked when it may choose.
fn transports(config: &Config) -> Vec<Transport> {
    let has = |t: &Transport| config.core.listeners.iter().any(|l| l.transport == *t);
    [Transport::Udp, Transport::Tcp, Transport::Tls].into_iter().filter(has).collect()
}

/// How often the janitor looks whether an old snapshot can go.
const JANITOR_LOOKS: Duration = Duration::from_secs(1);

/// Connection numbers keep eight bits for the shard.
const SHARDS_MAX: u16 = 255;
