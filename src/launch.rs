//! The launch contract (`loadtests/README.md`): a profile in the foreground with a ready-made configuration, one
//! `ready …` line on stdout, logs on stderr, exit 0 at once on SIGINT or SIGTERM.

mod rtpengine;
mod settings;
mod sip;
pub(crate) mod smsc;

use std::io::Write;
use std::net::SocketAddr;

use warp_telemetry::Registry;
use warp_telemetry::logging::{self, Format, Levels};

use crate::cli::Failure;
use crate::signals;
use settings::Settings;

/// Runs a profile until it is told to stop.
pub fn run(profile: &str, settings: &[String]) -> Result<u8, Failure> {
    if profile == "rtpengine" {
        return rtpengine::run(settings);
    }
    let mut settings = Settings::parse(settings)?;
    match profile {
        "proxy" => sip::proxy(&mut settings),
        "registrar" => sip::registrar(&mut settings),
        "media" => media(&mut settings),
        "smsc" => smsc::run(&mut settings),
        #[cfg(feature = "dev")]
        "all" => all(&mut settings),
        other => Err(Failure::new(format!("no profile {other}"))
            .with_code(2)
            .hint("profiles: proxy, registrar, media, smsc, all, rtpengine")),
    }
}

/// Prints the one line of stdout.
pub(crate) fn ready(profile: &str, pairs: &[(&str, String)]) -> Result<(), Failure> {
    let mut line = format!("ready profile={profile} pid={}", std::process::id());
    for (key, value) in pairs {
        line.push_str(&format!(" {key}={value}"));
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(|e| Failure::new(format!("stdout: {e}")))
}

/// Logs on stderr for a profile: warnings only, unless `log=` says more.
fn logs(settings: &mut Settings, registry: &Registry) -> Result<(), Failure> {
    let levels =
        settings.take::<Levels>("log")?.map_or_else(|| Levels::parse("warn").map_err(Failure::new), Ok)?;
    logging::init(Format::Auto, levels, "", registry);
    Ok(())
}

pub(crate) fn seed() -> Result<[u8; 32], Failure> {
    let mut seed = [0u8; 32];
    getrandom::fill(&mut seed).map_err(|e| Failure::new(format!("no randomness: {e}")))?;
    Ok(seed)
}

/// `media`: the relay alone, driven by ng over UDP. See `loadtests/README.md` for its settings.
fn media(settings: &mut Settings) -> Result<u8, Failure> {
    let registry = Registry::new();
    logs(settings, &registry)?;
    let mut config = warp_media_relay::Config {
        ng: Some(([127, 0, 0, 1], 2223).into()),
        ..warp_media_relay::Config::default()
    };
    if let Some(ng) = settings.take_at("ng")? {
        config.ng = Some(ng);
    }
    settings::set_interfaces(&mut config, &settings.take_interfaces()?);
    if let Some(ports) = settings.take::<settings::Ports>("ports")? {
        config.ports = ports.0;
    }
    if let Some(threads) = settings.take("threads")? {
        config.threads = threads;
    }
    config.b2b_url = settings.take("b2b-url")?;
    if let Some(format) = settings.take("xmlrpc-format")? {
        config.xmlrpc_format = format;
    }
    config.ng_tcp = settings.take_at("ng-tcp")?;
    config.http = settings.take_at("http")?;
    if let Some(rendering) = settings.take("sdp")? {
        config.sdp = rendering;
    }
    config.sounds = settings.take("sounds")?;
    config.record = settings.take("record")?;
    let ops = settings.take_at("ops")?;
    settings.finish()?;
    relay("media", config, ops, &registry)
}

/// Runs a relay alone until it is told to stop.
fn relay(
    profile: &str,
    mut config: warp_media_relay::Config,
    ops: Option<SocketAddr>,
    registry: &Registry,
) -> Result<u8, Failure> {
    if std::env::var_os("LD_PRELOAD").is_some_and(|libraries| !libraries.is_empty()) {
        // A suite that stands between us and the network sees what it wraps: libc's recvmsg and sendto, on sockets that
        // are not connected.
        warp_net::wrapped::turn_on();
        config.connect_sockets = false;
    }
    let (_, asks) = signals::listen().map_err(|e| Failure::new(format!("signals: {e}")))?;
    let at = config.ng.map(|ng| ng.to_string()).unwrap_or_default();
    let relay = warp_media_relay::start(config, seed()?, registry, Box::new(|_, _| ())).map_err(|e| {
        // A wrong value is named by its own key.
        match e {
            warp_media_relay::StartError::Config(e) if e.key == "ng" => {
                Failure::new(format!("ng={at}: {}", e.reason)).with_code(2)
            }
            warp_media_relay::StartError::Config(e) => Failure::new(e.to_string()).with_code(2),
            e => Failure::new(format!("ng={at}: {e}")),
        }
    })?;
    let _ops = crate::run::OpsThread::start(ops, registry, &warp_telemetry::Health::new(registry))?;
    let ng = relay.ng_addr().map(|at| at.to_string()).unwrap_or_default();
    ready(profile, &[("ng", ng)])?;
    wait_for_stop(&asks);
    relay.stop();
    Ok(0)
}

/// `all`: `warp dev` without the demo traffic. See `loadtests/README.md` for its settings.
#[cfg(feature = "dev")]
fn all(settings: &mut Settings) -> Result<u8, Failure> {
    use crate::config::Sources;
    let dir: std::path::PathBuf = settings.take("dir")?.unwrap_or_else(|| ".warp/launch".into());
    let mut base = crate::dev::base(&dir);
    if let Some(at) = settings.take_at("sip")? {
        base.sip.listen = crate::dev::both(at);
    }
    if let Some(at) = settings.take_at("api")? {
        base.api.listen = at;
    }
    if let Some(at) = settings.take_at("ops")? {
        base.ops.listen = at;
    }
    base.media.ng = settings.take_at("ng")?;
    settings::set_interfaces(&mut base.media, &settings.take_interfaces()?);
    if let Some(ports) = settings.take::<settings::Ports>("ports")? {
        base.media.ports = ports.0;
    }
    if let Some(threads) = settings.take("threads")? {
        base.media.threads = threads;
    }
    if let Some(settings::Shards(shards)) = settings.take("shards")? {
        base.sip.shards = shards;
    }
    if let Some(levels) = settings.take("log")? {
        base.log.levels = levels;
    }
    let demo = match settings.take::<String>("world")?.as_deref() {
        None | Some("demo") => true,
        Some("none") => false,
        Some(other) => return Err(Failure::new(format!("world={other}: demo or none")).with_code(2)),
    };
    // The ready-made configuration, a file that the caller names, and nothing of this machine's: runs must be alike.
    let file = settings.take("config")?;
    let flags = settings.take_dotted().into_iter();
    let flags = flags.map(|(key, text)| (key, crate::config::from_text(&text))).collect();
    settings.finish()?;
    let sources = Sources { flags, file, ..Sources::default() };
    let loaded = crate::run::load(&base, &sources)?;
    let (_, asks) = signals::listen().map_err(|e| Failure::new(format!("signals: {e}")))?;
    let world = crate::dev::World::start(&loaded, demo)?;
    let at = &world.stack.addresses;
    let addr = |a: Option<SocketAddr>| a.map(|a| a.to_string()).unwrap_or_default();
    let secret = |name: &str| world.secrets.get("api", name).unwrap_or_default();
    let mut pairs = vec![("sip", addr(at.sip_udp)), ("api", addr(at.api)), ("ops", addr(at.ops))];
    pairs.extend(at.ng.map(|ng| ("ng", ng.to_string())));
    pairs.push(("customer", world.customer.clone()));
    pairs.push(("customer_key", secret("customer_key")));
    pairs.push(("operator_key", secret("operator_key")));
    ready("all", &pairs)?;
    crate::run::attend_with(&world.stack, &base, &sources, &asks, || ());
    world.stop();
    Ok(0)
}

fn wait_for_stop(asks: &std::sync::mpsc::Receiver<signals::ProcessRequest>) {
    while asks.recv().is_ok_and(|ask| ask != signals::ProcessRequest::Stop) {}
}
