//! The launch contract (`loadtests/README.md`): a profile in the foreground with a ready-made configuration, one
//! `ready …` line on stdout, logs on stderr, exit 0 at once on SIGINT or SIGTERM.

mod settings;

use std::io::Write;

use warp_telemetry::Registry;
use warp_telemetry::logging::{self, Format, Levels};

use crate::cli::Failure;
use crate::signals;
use settings::Settings;

/// Runs a profile until it is told to stop.
pub fn run(profile: &str, settings: &[String]) -> Result<u8, Failure> {
    let mut settings = Settings::parse(settings)?;
    match profile {
        "media" => media(&mut settings),
        other => {
            Err(Failure::new(format!("no profile {other}")).with_code(2).hint("profiles: proxy, media, all"))
        }
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

/// `media`: the relay alone, driven by ng over UDP. `ng=IP:PORT` `ip=IP` (may repeat) `ports=A-B` `threads=N`.
fn media(settings: &mut Settings) -> Result<u8, Failure> {
    let registry = Registry::new();
    logs(settings, &registry)?;
    let mut config = warp_media_relay::Config {
        ng: Some(([127, 0, 0, 1], 2223).into()),
        ..warp_media_relay::Config::default()
    };
    if let Some(ng) = settings.take("ng")? {
        config.ng = Some(ng);
    }
    let ips = settings.take_all("ip")?;
    if !ips.is_empty() {
        config.ips = ips;
    }
    if let Some(ports) = settings.take::<settings::Ports>("ports")? {
        config.ports = ports.0;
    }
    if let Some(threads) = settings.take("threads")? {
        config.threads = threads;
    }
    let ops = settings.take("ops")?;
    settings.finish()?;
    let (_, asks) = signals::listen().map_err(|e| Failure::new(format!("signals: {e}")))?;
    let relay = warp_media_relay::start(config, seed()?, &registry, Box::new(|_| ()))
        .map_err(|e| Failure::new(e.to_string()))?;
    let _ops = crate::run::OpsThread::start(ops, &registry, &warp_telemetry::Health::new(&registry))?;
    let ng = relay.ng_addr().map(|at| at.to_string()).unwrap_or_default();
    ready("media", &[("ng", ng)])?;
    wait_for_stop(&asks);
    relay.stop();
    Ok(0)
}

fn wait_for_stop(asks: &std::sync::mpsc::Receiver<signals::Ask>) {
    while asks.recv().is_ok_and(|ask| ask != signals::Ask::Stop) {}
}
