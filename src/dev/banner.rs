//! What the first run prints, and nothing else at the default level (`ref/user-experience` §2; the lines that exist).

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use warp_control_plane::store::cluster::Cluster;
use warp_ua::CallResult;

use super::traffic::{FIRST_CALLED, MORE_CPS};
use super::world::TRUNKS;
use super::{DevArgs, World};
use crate::cli::Common;
use crate::cli::route::amount;
use crate::wire::database_dir;

pub(super) fn print(
    world: &World,
    first: Option<&CallResult>,
    args: &DevArgs,
    took: Duration,
    common: &Common,
) {
    let at = &world.stack.addresses;
    let addr = |a: Option<std::net::SocketAddr>| a.map(|a| a.to_string()).unwrap_or_default();
    let (api, sip, ops) = (addr(at.api), addr(at.sip_udp), addr(at.ops));
    let key = world.secrets.get("api", "customer_key").unwrap_or_default();
    let password = world.secrets.get("sip", "demo1001").unwrap_or_default();
    if common.quiet {
        return;
    }
    if common.json {
        let call = first.map(|call| call.status);
        let all = serde_json::json!({
            "version": crate::VERSION, "dir": args.dir, "api": format!("http://{api}/api/v1/"), "customer_key": key, "sip": sip, "smpp": addr(at.smpp),
            "digest": {"user": "demo1001", "password": password}, "metrics": format!("http://{ops}/metrics"), "demo_call": call,
        });
        println!("{all}");
        return;
    }
    println!(
        "WARP {}  dev mode: private PostgreSQL and event log in {}, everything on 127.0.0.1",
        crate::VERSION,
        shown(&args.dir)
    );
    if let Some(home) = database_elsewhere(world) {
        println!("  PostgreSQL lies in {}: its user cannot enter that folder", home.display());
    }
    println!();
    println!("  API        http://{api}/api/v1/      docs at /api/docs     key  {key}");
    if crate::consoles::are_built_in() {
        println!("  Console    http://{api}/console/     customer view; sign in as customer-owner");
        println!("  Admin      http://{api}/admin/       operator view; sign in as operator-admin");
    } else {
        println!("  Console    not in this program: scripts/ui build, then build it again");
    }
    println!("  SIP        {sip} udp/tcp             digest demo1001 / {password}");
    if let Some(smpp) = at.smpp {
        let password = world.secrets.get("smpp", "demo1").unwrap_or_default();
        println!("  SMPP       {smpp}                     bind demo1 / {password}");
    }
    println!("  Metrics    http://{ops}/metrics\n");
    println!("{}\n", call_line(world, first));
    if let Some(line) = recovered_line(world.stack.recovered_calls()) {
        println!("{line}\n");
    }
    if args.no_traffic {
        println!("  Demo traffic: off (start: warp demo --cps 5)");
    } else {
        println!(
            "  Demo traffic: {} calls/s, {} messages/s (change: warp demo --cps {MORE_CPS}, stop: warp demo off)",
            args.cps,
            super::texter::PER_S
        );
    }
    println!(
        "  Next: warp calls tail · warp messages tail · warp route +442071234567 · docs/quickstart.md          Ctrl-C stops, twice kills"
    );
    if took > Duration::from_secs(3) {
        eprintln!("ready after {:.1} s", took.as_secs_f64());
    }
}

/// What the start found of a run that ended in the middle of calls.
fn recovered_line(calls: usize) -> Option<String> {
    let (calls, records) = match calls {
        0 => return None,
        1 => ("1 call of the last run was".to_owned(), "its record goes"),
        many => (format!("{many} calls of the last run were"), "their records go"),
    };
    Some(format!("  {calls} cut off; {records} up to the last heartbeat: warp calls list"))
}

/// Where the private database lies when it is not in the folder of the world.
fn database_elsewhere(world: &World) -> Option<PathBuf> {
    let config = world.stack.config();
    let wanted = database_dir(&config);
    let private = config.api.database_url.is_none();
    Cluster::home(&wanted).filter(|home| private && wanted.canonicalize().is_ok_and(|at| at != *home))
}

fn shown(dir: &Path) -> String {
    if dir.is_relative() { format!("./{}", dir.display()) } else { dir.display().to_string() }
}

/// The banner's line of a call: `✓ demo call 1   +12025550100 → +14155550123   200 OK in 41 ms   vendor alpha   $0.0042/min`
fn call_line(world: &World, first: Option<&CallResult>) -> String {
    let head = format!("demo call 1   {} → {FIRST_CALLED}", TRUNKS[0].caller);
    let Some(call) = first else {
        return format!("  ✗ {head}   not routable yet: see the log");
    };
    let Some(setup) = call.setup.filter(|_| call.status == 200) else {
        return format!("  ✗ {head}   {} {:?}", call.status, call.statuses);
    };
    let head = format!("  ✓ {head}   200 OK in {} ms", setup.as_millis());
    let Some(record) = record(world, &call.call_id) else {
        return format!("{head}   (its record is on its way)");
    };
    let vendor = record["vendor_id"].as_str().unwrap_or_default();
    let slug = world.client.get(&format!("/admin/vendors/{vendor}"));
    let slug = slug.ok().and_then(|v| v["slug"].as_str().map(str::to_owned)).unwrap_or_default();
    format!("{head}   vendor {slug}   {}/min", amount(&record["rating"]["buy"]))
}

/// The call's record, from the ledger: it has gone journal → event log → PostgreSQL → API by then.
fn record(world: &World, sip_call_id: &str) -> Option<Value> {
    let path = format!("/admin/calls?limit=1&call_id={}", crate::cli::client::encoded(sip_call_id));
    let until = Instant::now() + Duration::from_secs(3);
    loop {
        let found = world.client.page(&path).ok().and_then(|page| page.items.into_iter().next());
        if let Some(id) = found.as_ref().and_then(|c| c["id"].as_str()) {
            let mut detail = world.client.get(&format!("/admin/calls/{id}")).ok()?;
            return Some(detail["record"].take());
        }
        if Instant::now() >= until {
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
