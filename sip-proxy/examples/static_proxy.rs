//! The smallest program around the runtime: `static_proxy LISTEN NEXT [SHARDS]`, a record-routing proxy on UDP and TCP.
//! Ends when its standard input does, and then tells the CPU time that it used. For quick measurements of the runtime alone.

use std::io::Read;

use warp_net::clock::process_cpu_time;
use warp_sip::flow::Transport;
use warp_sip_proxy::core::{CoreConfig, Listener, Mode};
use warp_sip_proxy::{Config, Handles, MediaControl, Metrics, start};
use warp_telemetry::Registry;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(listen), Some(next)) = (args.next(), args.next()) else {
        return Err("static_proxy LISTEN NEXT [SHARDS]".into());
    };
    let bind = listen.parse()?;
    let listener = |transport| Listener { transport, bind, advertise: None };
    let mode = Mode::Static { next: next.parse()?, trusted: vec!["127.0.0.1/32".parse()?] };
    let core = CoreConfig::new(mode, vec![listener(Transport::Udp), listener(Transport::Tcp)]);
    let mut config = Config::new(core);
    config.shards = args.next().map_or(Ok(1), |n| n.parse())?;
    let registry = Registry::new();
    let metrics = Metrics::register(&registry);
    let handles = Handles {
        snapshots: None,
        media: MediaControl::None,
        state: None,
        journal: None,
        capture: None,
        spent: Vec::new(),
        seed: [1; 32],
        metrics,
    };
    let proxy = start(config, handles)?;
    println!("ready {:?}", proxy.addresses());
    let mut rest = Vec::new();
    std::io::stdin().read_to_end(&mut rest)?;
    proxy.stop();
    println!("cpu_seconds {:.3}", process_cpu_time().as_secs_f64());
    for line in registry.render().lines().filter(|l| !l.starts_with('#') && !l.ends_with(" 0")) {
        println!("{line}");
    }
    Ok(())
}
