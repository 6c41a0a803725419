//! `warp dev`: the whole platform in one process with a demo world and live traffic, on loopback.
//!
//! Everything here goes through the doors that others use: rows through the REST API, calls through SIP sockets with real
//! RTP. Absent on purpose: shortcuts into the products.

mod banner;
mod carrier;
mod decks;
mod people;
mod ports;
mod secrets;
mod texter;
mod traffic;
mod world;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use warp_control_plane::store::cluster::Cluster;

use crate::cli::client::Client;
use crate::cli::output::Output;
use crate::cli::{Common, Failure, route};
use crate::config::{CaptureCalls, CaptureMask, Config, Listen, Loaded, Size, Sources, Span};
use crate::run::{self, Roles, RunFolder, Watch};
use crate::signals;
use crate::wire::{Stack, database_dir};
use secrets::Secrets;
use traffic::{Callers, Generator, RATE_FILE, VendorAgents};

/// The arguments of `warp dev`.
#[derive(Args, Clone, Debug)]
pub struct DevArgs {
    /// Folder of this world.
    #[arg(long, default_value = ".warp/dev")]
    pub dir: PathBuf,
    /// Demo calls a second, 0 to 1,000.
    #[arg(long, default_value_t = 5.0, value_parser = rate, allow_negative_numbers = true)]
    pub cps: f64,
    /// Without demo traffic: no calls but yours.
    #[arg(long)]
    pub no_traffic: bool,
    /// warp.toml over the defaults of the dev world.
    #[arg(long)]
    pub config: Option<PathBuf>,
}

/// The arguments of `warp demo`.
#[derive(Args, Clone, Debug)]
pub struct DemoArgs {
    /// `off` stops the demo traffic.
    pub state: Option<String>,
    /// Calls a second, 0 to 1,000.
    #[arg(long, value_parser = rate, allow_negative_numbers = true)]
    pub cps: Option<f64>,
    /// Folder of the world.
    #[arg(long, default_value = ".warp/dev")]
    pub dir: PathBuf,
}

/// Defaults of a world in `dir`.
pub(crate) fn base(dir: &Path) -> Config {
    let mut config = Config::default();
    config.node.name = "dev".to_owned();
    config.node.data_dir = dir.to_owned();
    config.node.drain_timeout = Span(Duration::ZERO);
    config.log.levels = "warn".to_owned();
    config.events.segment = Size(8 << 20);
    config.login.demo = true;
    // Every call of the demo world has its picture, and nobody's number is in it.
    config.capture.calls = CaptureCalls::All;
    config.capture.mask = CaptureMask::Secrets;
    config.capture.limit = Size(64 << 20);
    // What is tried out stands on this machine.
    config.api.webhook_networks = "127.0.0.0/8".parse().into_iter().collect();
    config
}

/// A started world.
pub(crate) struct World {
    pub(crate) stack: Stack,
    pub(crate) secrets: Secrets,
    pub(crate) client: Client,
    pub(crate) customer: String,
    /// A trunk of it; absent in an empty world.
    trunk: Option<String>,
    vendors: Option<Arc<VendorAgents>>,
    carrier: Option<carrier::Carrier>,
}

impl World {
    /// Starts the stack and makes the rows that are missing: the demo world, or one customer with a key only.
    pub(crate) fn start(loaded: &Loaded, demo: bool) -> anyhow::Result<World> {
        if loaded.config.api.database_url.is_none() {
            // As root the database may lie outside of the folder: deleted with it all the same.
            let dir = database_dir(&loaded.config);
            if Cluster::forget_deleted(&dir).with_context(|| format!("database of {}", dir.display()))? {
                tracing::info!(dir = %dir.display(), "the folder is new: the database of the one that was deleted is removed");
            }
        }
        // An empty world has nobody who sends messages.
        let stack = Stack::start(loaded, Roles { smsc: demo, ..Roles::ALL })?;
        let mut secrets = Secrets::open(&loaded.config.node.data_dir);
        let api = stack.addresses.api.ok_or_else(|| Failure::new("the API does not listen"))?;
        secrets.set("api", "url", &format!("http://{api}"))?;
        if let Some(sip) = stack.addresses.sip_udp {
            secrets.set("proxy", "address", &sip.to_string())?;
        }
        let client = operator(&stack, &mut secrets, api)?;
        let mut carrier = None;
        let (vendors, customer, trunk) = if demo {
            let vendors = Arc::new(VendorAgents::start(seed())?);
            let seeded = world::seed(&client, &mut secrets, &vendors.addresses())?;
            let issuer = format!("http://{api}{}", warp_control_plane::oidc::dev::PLACE);
            let twin = carrier::Carrier::start()?;
            world::messaging(&client, &mut secrets, twin.at())?;
            carrier = Some(twin);
            people::seed(&client, &seeded.customer, &loaded.config.login, &issuer)?;
            (Some(vendors), seeded.customer, Some(seeded.trunk))
        } else {
            (None, world::bare(&client, &mut secrets)?, None)
        };
        Ok(World { stack, secrets, client, customer, trunk, vendors, carrier })
    }

    /// Stops the stack, then the vendors.
    pub(crate) fn stop(self) {
        let World { stack, vendors, carrier, .. } = self;
        stack.stop();
        drop((vendors, carrier));
    }

    /// Waits until the running proxy decides with the demo decks.
    fn routable(&self, within: Duration) -> bool {
        let until = Instant::now() + within;
        loop {
            let asked = route::ask(
                &self.client,
                self.trunk.as_deref(),
                world::TRUNKS[0].caller,
                traffic::FIRST_CALLED,
                None,
            );
            if asked.is_ok_and(|d| d["candidates"].as_array().is_some_and(|c| !c.is_empty())) {
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A client with the operator's key of this world; a lost or revoked one is replaced.
fn operator(stack: &Stack, secrets: &mut Secrets, api: SocketAddr) -> anyhow::Result<Client> {
    let base = format!("http://{api}");
    if let Some(key) = secrets.get("api", "operator_key") {
        let client = Client::new(&base, &key);
        if client.page("/admin/vendors?limit=1").is_ok() {
            return Ok(client);
        }
    }
    let key = stack.operator_key()?;
    secrets.set("api", "operator_key", &key)?;
    Ok(Client::new(&base, &key))
}

fn seed() -> u64 {
    let mut bytes = [0u8; 8];
    // Without randomness two agents of one run still differ.
    let _ = getrandom::fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

/// Runs until told to stop.
pub(crate) fn run(args: &DevArgs, common: &Common) -> anyhow::Result<u8> {
    let began = Instant::now();
    let mut base = base(&args.dir);
    let wanted = base.clone();
    // After kill −9 and a start at once the ports stay the same.
    RunFolder::of(&base).wait_for_the_dying();
    let mut taken = ports::find_free(&mut base);
    // Not /etc/warp: a production node on this machine and a dev world have nothing in common.
    let sources = Sources { file: args.config.clone(), ..Sources::of_process(args.config.clone()) };
    let (ask, asks) = signals::listen()?;
    let mut tries = 0;
    let world = loop {
        match World::start(&run::load(&base, &sources)?, true) {
            Ok(world) => break world,
            // Another process took a port between the look and the start: look again.
            Err(why) if tries < 3 && is_address_in_use(&why) => {
                tries += 1;
                base = wanted.clone();
                taken = ports::find_free(&mut base);
            }
            Err(why) => return Err(why),
        }
    };
    if !common.quiet && !common.json {
        taken.iter().for_each(|line| println!("{line}"));
    }
    let sip = world.stack.addresses.sip_udp.ok_or_else(|| Failure::new("SIP over UDP does not listen"))?;
    let vendors = world.vendors.clone().ok_or_else(|| Failure::new("the demo world has no vendors"))?;
    let brings = vendors.addresses().first().copied();
    let callers = Callers::start(sip, &world.secrets, vendors, seed())?;
    if let Some(brings) = brings {
        world::numbers(&world.client, &callers.addresses(), brings)?;
    }
    let routable = world.routable(Duration::from_secs(10));
    let first = if routable { callers.first() } else { None };
    banner::print(&world, first.as_ref(), args, began.elapsed(), common);
    let rate_file = world.stack.folder.path(RATE_FILE);
    let _ = std::fs::remove_file(&rate_file);
    let cps10 = if args.no_traffic { 0 } else { tenths(args.cps) };
    let texter = match world.stack.addresses.smpp {
        Some(at) => Some(texter::Texter::start(at, &world.secrets, !args.no_traffic, rate_file.clone())?),
        None => None,
    };
    let generator = Generator::start(callers, cps10, rate_file)?;
    let watch = Watch::start(sources.clone(), ask)?;
    let on_stop = || {
        if !common.quiet && !common.json {
            println!("stopping: the calls in the air end now; Ctrl-C once more does not wait for them");
        }
        drop((generator, texter));
    };
    run::attend_with(&world.stack, &base, &sources, &asks, on_stop);
    drop(watch);
    // The demo's calls end like calls; somebody in a hurry presses Ctrl-C twice.
    std::thread::spawn(move || {
        if asks.recv().is_ok() {
            std::process::exit(130);
        }
    });
    world.stack.end_calls(Duration::from_secs(2));
    world.stop();
    Ok(0)
}

fn is_address_in_use(why: &anyhow::Error) -> bool {
    let kind =
        |e: &(dyn std::error::Error + 'static)| e.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    why.chain()
        .any(|e| kind(e) == Some(std::io::ErrorKind::AddrInUse) || e.to_string().contains("in use (os error"))
}

/// Calls a second of the demo traffic, as it is written; 0 to 1,000.
fn rate(text: &str) -> Result<f64, &'static str> {
    let cps = text.parse().ok().filter(|cps: &f64| (0.0..=1_000.0).contains(cps));
    cps.ok_or("calls a second, 0 to 1000")
}

fn tenths(cps: f64) -> u32 {
    // A float cast saturates; not-a-number becomes 0.
    (cps * 10.0).round() as u32
}

/// Sets the demo's rate or stops it: `warp demo --cps N`, `warp demo off`.
pub(crate) fn demo(args: &DemoArgs, common: &Common) -> Result<u8, Failure> {
    let folder = RunFolder::of(&base(&args.dir));
    if folder.pid().is_none() {
        return Err(Failure::new(format!("no warp dev is running in {}", args.dir.display())).with_code(6));
    }
    let cps10 = match (args.state.as_deref(), args.cps) {
        (Some("off"), None) => 0,
        (None, Some(cps)) => tenths(cps),
        _ => return Err(Failure::new("say `warp demo off` or `warp demo --cps N`").with_code(2)),
    };
    folder.write(RATE_FILE, &cps10.to_string()).map_err(|e| Failure::new(e.to_string()))?;
    let cps = f64::from(cps10) / 10.0;
    Output::new(common, &["cps"]).item(
        || serde_json::json!({"cps": cps}),
        || vec![cps.to_string()],
        || format!("demo traffic: {cps} calls/s"),
    );
    Ok(0)
}

/// SIP on UDP and TCP at one address.
pub(crate) fn both(at: SocketAddr) -> Vec<Listen> {
    use warp_sip_proxy::core::Transport;
    vec![Listen { transport: Transport::Udp, at }, Listen { transport: Transport::Tcp, at }]
}
