//! `smsc`: the SMSC alone, with two accounts and one vendor. See `loadtests/README.md` for its settings.

pub(crate) mod file;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use warp_net::tls::TlsFiles;
use warp_policy::Cidr;
use warp_smsc::{Account, Callbacks, Config, Destination, HttpClient, Metrics, Vendor};
use warp_telemetry::Registry;

use super::settings::{NO_ADDRESS, Settings};
use super::{logs, ready, seed, wait_for_stop};
use crate::cli::Failure;
use crate::run::RunFolder;
use crate::signals;

/// Runs it until it is told to stop.
pub(super) fn run(settings: &mut Settings) -> Result<u8, Failure> {
    let registry = Registry::new();
    logs(settings, &registry)?;
    let smpp: SocketAddr = settings.take_at("smpp")?.unwrap_or(([127, 0, 0, 1], 2775).into());
    let upstream = upstreams(settings)?;
    let dir: PathBuf = settings.take("dir")?.unwrap_or_else(|| ".warp/smsc".into());
    let http: Option<SocketAddr> = settings.take_at("http")?;
    let mo_http: Option<String> = settings.take("mo_http")?;
    let window = settings.take("window")?;
    let smpps: Option<SocketAddr> = settings.take("smpps")?;
    let (cert, key): (Option<PathBuf>, Option<PathBuf>) = (settings.take("cert")?, settings.take("key")?);
    let roots: Option<PathBuf> = settings.take("roots")?;
    let routes: Option<PathBuf> = settings.take("routes")?;
    match settings.take::<String>("queue")?.as_deref() {
        None | Some("embedded") => {}
        Some(other) => return Err(wrong(format!("queue={other}: the only engine is embedded"))),
    }
    let ops = settings.take_at("ops")?;
    settings.finish()?;

    let mut config = configuration(upstream.clone());
    (config.http, config.listen) = (http, Some(smpp));
    (config.listen_tls, config.roots) = (smpps, roots);
    config.certificate = match (cert, key) {
        (Some(certificate), Some(key)) => Some(TlsFiles { certificate, key, roots: None }),
        (None, None) if smpps.is_none() => None,
        _ => return Err(wrong("smpps=IP:PORT, cert=FILE and key=FILE belong together".to_owned())),
    };
    if let Some(vendor) = config.vendors.first_mut() {
        vendor.window = window.unwrap_or(vendor.window);
    }
    if let Some(url) = mo_http {
        config.http_clients = vec![HttpClient { name: "mo".to_owned(), url, post: true }];
        config.mo_default = Some(Destination::Http(0));
    }
    if let Some(path) = routes {
        file::read(&path, &mut config).map_err(|e| wrong(format!("routes={e}")))?;
    }
    let (_, asks) = signals::listen().map_err(|e| Failure::new(format!("signals: {e}")))?;
    // Two processes with one queue would both send what waits in it.
    let _lock =
        RunFolder::within(&dir).take().map_err(|e| Failure::new(format!("dir={}: {e}", dir.display())))?;
    let events = warp_events::EventsMetrics::new(&registry);
    let metrics = Metrics::register(&registry);
    let [a, b, c, d, e, f, g, h, ..] = seed()?;
    let seed = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
    let smsc = warp_smsc::start(config, &dir, warp_smsc::queue_options(events), metrics, seed)
        .map_err(|e| Failure::new(format!("smpp={smpp} dir={}: {e}", dir.display())))?;
    let _ops = crate::run::OpsThread::start(ops, &registry, &warp_telemetry::Health::new(&registry))?;
    let addresses: Vec<String> = upstream.iter().map(SocketAddr::to_string).collect();
    let at = smsc.address().unwrap_or(smpp);
    let mut pairs = vec![
        ("smpp", at.to_string()),
        ("upstream", addresses.join(",")),
        ("queue", "embedded".to_owned()),
        ("waiting", smsc.waiting().to_string()),
    ];
    if let Some(at) = smsc.http() {
        pairs.push(("http", at.to_string()));
    }
    if let Some(at) = smsc.address_tls() {
        pairs.push(("smpps", at.to_string()));
    }
    ready("smsc", &pairs)?;
    wait_for_stop(&asks);
    smsc.stop();
    Ok(0)
}

/// What the profile has without a file: two accounts, one vendor, and the default routes between them.
pub(crate) fn configuration(upstream: Vec<SocketAddr>) -> Config {
    let mut slow = Account::new("slow", "bar");
    slow.rate = Some(2);
    let mut vendor = Vendor::new("SIM", "SIM", "sim", upstream);
    vendor.reconnect_max = Duration::from_secs(1);
    Config {
        // The ends of a test are on this machine.
        callbacks: Callbacks { networks: loopback(), ..Callbacks::default() },
        accounts: vec![Account::new("foo", "bar"), slow],
        vendors: vec![vendor],
        mt_default: Some(0),
        mo_default: Some(Destination::Account(0)),
        ..Config::new("WARP")
    }
}

/// `upstream=IP:PORT[,IP:PORT]`, and it may repeat: one bind to each.
fn upstreams(settings: &mut Settings) -> Result<Vec<SocketAddr>, Failure> {
    let mut all = Vec::new();
    for list in settings.take_all::<String>("upstream")? {
        for part in list.split(',').filter(|p| !p.is_empty()) {
            all.push(part.parse().map_err(|_| wrong(format!("upstream={part}: {NO_ADDRESS}")))?);
        }
    }
    if all.is_empty() {
        return Err(wrong("upstream=IP:PORT is needed".to_owned()));
    }
    Ok(all)
}

fn loopback() -> Vec<Cidr> {
    ["127.0.0.0/8", "::1"].iter().filter_map(|text| text.parse().ok()).collect()
}

fn wrong(what: String) -> Failure {
    Failure::new(what).with_code(2).hint("see loadtests/README.md")
}
