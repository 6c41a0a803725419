//! The RTP relay: call book and negotiation in core, packet shards in server.
//!
//! [`start`] gives a running relay: one control thread and `threads` packet threads. It is driven by ng over UDP and by the
//! same typed commands in process ([`Control::submit`]).
#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use warp_media::tap::Ring;
use warp_model::Mono;
use warp_net::clock::Clock;
use warp_net::mailbox::{SendError, Sender, mailbox};
use warp_ng::{Command, Reply};
use warp_telemetry::Seldom;
use warp_telemetry::metrics::{Counters, Registry};

pub mod config;
pub mod core;
pub mod metrics;
mod server;

pub use config::{Config, ConfigError, RecordFiles};

use crate::core::book::{Book, BookConfig, Recordings, RelayLimits};
use crate::core::ports::{PortError, PortPool, Ports};
use crate::server::doors::Doors;
use metrics::{Metrics, Pool};
use server::bound::BoundPorts;
use server::callbacks::callbacks;
use server::control::{ControlThread, PortsShown, ToControl};
use server::kept::Keep;
use server::recorder::keeper::{Keeper, Kept};
use server::recorder::{Kinds, Trouble, recorder};
use server::shard::{Shard, ToShard, Tuning};
use server::sounds::Sounds;

/// Commands of this process that may wait at the control thread. When full: `load limit`.
const COMMANDS_WAITING: usize = 16_384;
/// Messages that may wait at a shard; more wait in the control thread.
const SHARD_MESSAGES: usize = 4_096;
/// Bytes of packets to be recorded that may wait at each shard: most of a second of 500 calls. When full, packets are lost to
/// their recording, and counted.
const RECORD_RING: usize = 8 << 20;

/// Why a relay did not start.
#[derive(Debug)]
pub enum StartError {
    /// A value of the configuration is wrong.
    Config(ConfigError),
    /// The range of ports cannot be used.
    Ports(PortError),
    /// A socket or thread; with what was being done.
    Io(&'static str, io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(e) => write!(f, "media relay configuration: {e}"),
            Self::Ports(e) => write!(f, "media relay ports: {e}"),
            Self::Io(what, e) => write!(f, "media relay: {what}: {e}"),
        }
    }
}

impl std::error::Error for StartError {}

/// A running relay. Dropping it stops it.
#[derive(Debug)]
pub struct Relay {
    control: Control,
    ng: Option<SocketAddr>,
    doors: Option<Doors>,
    threads: Vec<JoinHandle<()>>,
}

/// The way to the relay for this process. Clone one per thread.
#[derive(Clone, Debug)]
pub struct Control {
    sender: Sender<ToControl>,
    full: Arc<Full>,
}

/// Commands that found the mailbox of the control thread full.
struct Full {
    line: Seldom,
    counted: Counters<Pool>,
}

impl Full {
    fn refused(&self) {
        self.counted.inc(Pool::Mailbox);
        if let Some(times) = self.line.due(Clock::mono()) {
            tracing::error!(
                times,
                limit = COMMANDS_WAITING,
                "the relay's mailbox is full: media commands are refused until it has caught up"
            );
        }
    }
}

impl fmt::Debug for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.line.fmt(f)
    }
}

impl Control {
    /// Carry out `command`; `reply` is called once, on the relay's control thread, and must not block. When the answer to
    /// an offer or answer is given, the rules are on their way to the packet thread. A full or stopped relay answers here
    /// and now, with `load limit` or an error.
    pub fn submit(&self, command: Command, reply: Box<dyn FnOnce(Reply) + Send>) {
        match self.sender.send(ToControl::Command(Box::new(command), None, reply)) {
            Ok(()) => {}
            Err(SendError::Full(ToControl::Command(_, _, reply))) => {
                self.full.refused();
                reply(Reply::LoadLimit { message: warp_ng::reply::reasons::LIMIT_LOAD.into() });
            }
            Err(SendError::Closed(ToControl::Command(_, _, reply))) => reply(Reply::error("relay stopped")),
            Err(_) => {}
        }
    }

    /// Carry out `command` and wait for the answer: for tests and tools, not for packet or signalling threads.
    pub fn ask(&self, command: Command) -> Reply {
        let (tx, rx) = std::sync::mpsc::sync_channel(1);
        self.submit(command, Box::new(move |reply| drop(tx.send(reply))));
        rx.recv().unwrap_or(Reply::error("relay stopped"))
    }
}

impl Relay {
    /// The way in for this process.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Where ng commands are taken over UDP (with the real port when 0 was configured).
    pub fn ng_addr(&self) -> Option<SocketAddr> {
        self.ng
    }

    /// Where ng commands are taken over TCP.
    pub fn ng_tcp_addr(&self) -> Option<SocketAddr> {
        self.doors.as_ref()?.tcp
    }

    /// Where ng commands are taken over HTTP and WebSocket.
    pub fn http_addr(&self) -> Option<SocketAddr> {
        self.doors.as_ref()?.http
    }

    /// Takes the limits of `config` from now on (F-CFG-02): calls at most, time-outs, delete delay. Running calls go on, under
    /// the new time-outs from their next look at the clock. Everything else needs a restart.
    pub fn configure(&self, config: &Config) {
        let mut message = ToControl::Limits(limits(config));
        // Lost, it would never come again: wait for the control thread to drain a full mailbox.
        while let Err(SendError::Full(again)) = self.control.sender.send(message) {
            message = again;
            std::thread::yield_now();
        }
    }

    /// Ends all threads and closes all ports. Calls are forgotten.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(mut doors) = self.doors.take() {
            doors.close();
        }
        while let Err(SendError::Full(_)) = self.control.sender.send(ToControl::Stop) {
            std::thread::sleep(Duration::from_millis(1));
        }
        for thread in self.threads.drain(..) {
            // A panic there was counted where it happened.
            let _ = thread.join();
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.end();
    }
}

/// Start a relay.
///
/// `seed` orders the ports. `on_timeout` is called with the SIP Call-ID of a call that ended for want of media (T-RTP-10),
/// on the control thread; it must not block. Metrics go to `registry`.
///
/// Errors: configuration (T-NG-01 among them), the ng address in use, no descriptors or threads.
pub fn start(
    config: Config,
    seed: [u8; 32],
    registry: &Registry,
    on_timeout: Box<dyn Fn(Vec<u8>, Mono) + Send>,
) -> Result<Relay, StartError> {
    config.check().map_err(StartError::Config)?;
    for (ip, name) in config.ips.iter().zip(config.interface_names()) {
        // Told and not refused: an address may come to this machine later (a floating one).
        if let Err(error) = std::net::UdpSocket::bind((*ip, 0))
            && error.kind() == io::ErrorKind::AddrNotAvailable
        {
            tracing::error!(
                interface = %name, address = %ip,
                "a media address (media.ips, interface=) is none of this machine: offers on it are refused as long as that is so"
            );
        }
    }
    // Four descriptors a call and more; what the system does not give shows up as `Ran out of ports`.
    let descriptors = warp_net::sched::raise_open_files().unwrap_or(0);
    let pool =
        PortPool::new(&config.ips, config.ports.clone(), seed_word(&seed)).map_err(StartError::Ports)?;
    let metrics = Metrics::new(registry, &config.interface_names(), &pool);
    let pairs: usize = (0..=u8::MAX).zip(&config.ips).map(|(ip, _)| pool.usage(ip).1).sum();
    let keep = Arc::new(Keep::within(pairs.saturating_mul(2), descriptors));
    let (ports, waiting) = BoundPorts::new(pool, config.tos, Arc::clone(&keep));
    let io = |what: &'static str| move |e: io::Error| StartError::Io(what, e);
    let (sender, inbox) = mailbox(COMMANDS_WAITING).map_err(io("mailbox"))?;

    let cpus = warp_net::sched::available_cpus();
    let (mut to_shards, mut shards) = (Vec::new(), Vec::new());
    for i in 0..config.threads {
        let (to_shard, shard_inbox) = mailbox::<ToShard>(SHARD_MESSAGES).map_err(io("mailbox"))?;
        let tuning = Tuning {
            connect: config.connect_sockets,
            cpu: cpus.get(usize::from(i) % cpus.len().max(1)).copied().filter(|_| config.pin_cpus),
        };
        let shard = Shard::new(shard_inbox, sender.clone(), metrics.clone(), tuning, Arc::clone(&keep));
        shards.push(shard.map_err(io("packet thread"))?);
        to_shards.push(to_shard);
    }
    let doors_metrics = metrics.clone();
    let rings = match &config.record {
        Some(_) => (0..config.threads).map(|_| Arc::new(Ring::new(RECORD_RING))).collect(),
        None => Vec::new(),
    };
    let recordings = Recordings {
        rings: rings.clone(),
        folder: config.record.as_deref().unwrap_or_default().trim_end_matches('/').to_owned(),
        ending: if config.record_files.contains(&RecordFiles::Pcap) { ".pcap" } else { ".json" },
    };
    let book_config = BookConfig { recordings, ..book_config(&config, &seed) };
    let book = Book::new(book_config, Box::new(ports));
    let trouble = Arc::new(Trouble::new(metrics.clone()));
    let shown =
        PortsShown { names: config.interface_names(), range: (*config.ports.start(), *config.ports.end()) };
    let told_in = metrics.clone();
    let full = Arc::new(Full { line: Seldom::new(), counted: metrics.exhausted.clone() });
    let mut control = ControlThread::new(book, waiting, to_shards.clone(), inbox, metrics, shown, on_timeout)
        .map_err(io("control thread"))?;
    control.play_from(Sounds::new(config.sounds.as_deref()));
    let ng = match config.ng {
        Some(at) => Some(control.listen(at, &config).map_err(io("ng address"))?),
        None => None,
    };
    // Everything that can fail for want of an address has succeeded; now the threads.
    let mut threads = Vec::new();
    if let Some(url) = config.b2b_url.as_deref().and_then(|url| url.parse().ok()) {
        let (callbacks, mut caller) = callbacks(url, config.xmlrpc_format, told_in);
        control.tell_clients(callbacks);
        threads.push(spawn("media-callback".into(), move || caller.run()));
    }
    if let Some(folder) = &config.record {
        let has = |kind| config.record_files.contains(&kind);
        let kinds = Kinds {
            legs: has(RecordFiles::Legs),
            mixed: has(RecordFiles::Mixed),
            pcap: has(RecordFiles::Pcap),
        };
        let kept = Kept {
            age: Duration::from_secs(u64::from(config.record_keep_days).saturating_mul(86_400)),
            bytes: u64::from(config.record_limit_mib).saturating_mul(1 << 20),
        };
        let mut keeper = Keeper::new(folder.into(), kept, Arc::clone(&trouble));
        let (to, mut recorder) = recorder(folder.into(), kinds, rings, trouble);
        control.record_to(to);
        // It ends with the sender, which the recorder's thread has.
        let (alive, ended) = std::sync::mpsc::channel();
        threads.push(spawn("media-recordings".into(), move || keeper.run(&ended)));
        threads.push(spawn("media-recorder".into(), move || {
            recorder.run();
            drop(alive);
        }));
    }
    for (i, mut shard) in shards.into_iter().enumerate() {
        threads.push(spawn(format!("media-{i}"), move || shard.run()));
    }
    threads.push(spawn("media-control".into(), move || control.run()));
    let (threads, failed): (Vec<_>, Vec<_>) = threads.into_iter().partition(Result::is_ok);
    let threads = threads.into_iter().flatten().collect();
    if let Some(error) = failed.into_iter().find_map(Result::err) {
        for shard in &to_shards {
            let _ = shard.send(ToShard::Stop);
        }
        drop(Relay { control: Control { sender, full }, ng, doors: None, threads });
        return Err(StartError::Io("threads", error));
    }
    let control = Control { sender: sender.clone(), full };
    let mut relay = Relay { control, ng, doors: None, threads };
    if config.ng_tcp.or(config.http).is_some() {
        let doors = Doors::open(&config, sender, doors_metrics).map_err(io("ng-tcp or http address"))?;
        relay.doors = Some(doors);
    }
    Ok(relay)
}

fn spawn(name: String, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name).spawn(run)
}

/// What a running relay takes anew of a configuration; everything else of it counts from the start on.
pub fn limits(config: &Config) -> RelayLimits {
    let seconds = |s: u32| Duration::from_secs(u64::from(s));
    RelayLimits {
        max_calls: usize::try_from(config.max_calls).unwrap_or(usize::MAX),
        media_timeout: seconds(config.media_timeout_s),
        hold_timeout: seconds(config.hold_timeout_s),
        offer_timeout: seconds(config.offer_timeout_s),
        delete_delay: seconds(config.delete_delay_s),
    }
}

fn book_config(config: &Config, seed: &[u8; 32]) -> BookConfig {
    let limits = limits(config);
    BookConfig {
        shards: config.threads,
        advertise: config.advertise.clone(),
        interfaces: config.interfaces.clone(),
        max_calls: limits.max_calls,
        media_timeout: limits.media_timeout,
        hold_timeout: limits.hold_timeout,
        offer_timeout: limits.offer_timeout,
        delete_delay: limits.delete_delay,
        keys: crate::core::book::KeySource(|bytes| getrandom::fill(bytes).is_ok()),
        // Without randomness there are no handshakes, as there are no keys.
        dtls: warp_dtls::Identity::generate(Clock::mono())
            .map(|identity| Arc::new(identity) as Arc<dyn warp_media::keying::HandshakeMaker>),
        canonical: config.sdp == config::Rendering::Canonical,
        forbidden: config.ng.into_iter().collect(),
        instance: format!("{:012x}", seed_word(seed) & 0xFFFF_FFFF_FFFF),
        ..BookConfig::default()
    }
}

fn seed_word(seed: &[u8; 32]) -> u64 {
    seed.chunks_exact(8)
        .filter_map(|c| c.first_chunk::<8>())
        .fold(0, |a, c| a.rotate_left(17) ^ u64::from_le_bytes(*c))
}
