//! Reads of the API at a fixed rate, evenly, over kept connections; prints how long they took.
//!
//! `cargo run --release -p warp-loadtests --bin apiload -- api=IP:PORT key=KEY[,KEY] [paths=/api/v1/…,/api/v1/…] [rate=500] [seconds=20] [warmup=3]
//! [connections=16] [out=FILE]`
//!
//! A read is due at its own moment whatever became of the ones before, and its time counts from that moment: a server that stops for a
//! second shows as a second (no coordinated omission). Times are in milliseconds.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

/// Longest answer that is read.
const MOST: usize = 16 * 1024 * 1024;

fn main() {
    let args: BTreeMap<String, String> = std::env::args()
        .skip(1)
        .filter_map(|a| a.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())))
        .collect();
    let number = |key: &str, default: u64| args.get(key).and_then(|v| v.parse().ok()).unwrap_or(default);
    let text = |key: &str, default: &str| args.get(key).cloned().unwrap_or_else(|| default.to_owned());
    let api = text("api", "127.0.0.1:8080");
    // Connections have the keys in turn: each key has a limit of its own.
    let keys: Vec<String> = text("key", "").split(',').map(str::to_owned).collect();
    let paths: Vec<String> = text("paths", "/api/v1/calls,/api/v1/trunks,/api/v1/bans,/api/v1/ledger")
        .split(',')
        .map(str::to_owned)
        .collect();
    let (rate, seconds, warmup) =
        (number("rate", 500).max(1), number("seconds", 20).max(1), number("warmup", 3));
    let connections = number("connections", 16).max(1);
    let reads = rate * (warmup + seconds);
    let begun = Instant::now() + Duration::from_millis(100);
    let workers: Vec<_> = (0..connections)
        .map(|worker| {
            let (api, keys, paths) = (api.clone(), keys.clone(), paths.clone());
            std::thread::spawn(move || {
                let key = &keys[usize::try_from(worker).unwrap_or(0) % keys.len()];
                let mut done = Vec::new();
                let mut connection = None;
                for n in (worker..reads).step_by(usize::try_from(connections).unwrap_or(1)) {
                    let due = begun + Duration::from_nanos(n.saturating_mul(1_000_000_000) / rate);
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    let path = &paths[usize::try_from(n).unwrap_or(0) % paths.len()];
                    let status = read(&mut connection, &api, path, key).unwrap_or(0);
                    done.push((n, status, due.elapsed()));
                }
                done
            })
        })
        .collect();
    let all: Vec<(u64, u16, Duration)> =
        workers.into_iter().flat_map(|w| w.join().unwrap_or_default()).collect();
    let measured: Vec<_> = all.into_iter().filter(|(n, ..)| *n >= rate * warmup).collect();
    let mut times: Vec<f64> = measured.iter().map(|(.., took)| took.as_secs_f64() * 1_000.0).collect();
    times.sort_by(f64::total_cmp);
    let at = |p: f64| times.get(((times.len().max(1) - 1) as f64 * p) as usize).copied().unwrap_or(f64::NAN);
    let mut statuses: BTreeMap<String, usize> = BTreeMap::new();
    for (_, status, _) in &measured {
        // 0: no answer could be read.
        *statuses.entry(status.to_string()).or_default() += 1;
    }
    let result = json!({
        "what": "reads of the API, evenly", "rate": rate, "seconds": seconds, "connections": connections, "paths": paths,
        "reads": measured.len(), "statuses": statuses,
        "ms": { "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "p999": at(0.999), "max": at(1.0) },
    });
    let text = serde_json::to_string_pretty(&result).unwrap_or_default();
    println!("{text}");
    if let Some(out) = args.get("out") {
        std::fs::write(out, text + "\n").expect("results file");
    }
}

/// One read over a kept connection; a new one where there is none. `None`: no answer.
fn read(kept: &mut Option<BufReader<TcpStream>>, api: &str, path: &str, key: &str) -> Option<u16> {
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => {
            let stream = TcpStream::connect(api).ok()?;
            stream.set_nodelay(true).ok()?;
            stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
            BufReader::new(stream)
        }
    };
    let request = format!("GET {path} HTTP/1.1\r\nHost: {api}\r\nAuthorization: Bearer {key}\r\n\r\n");
    connection.get_mut().write_all(request.as_bytes()).ok()?;
    let mut line = String::new();
    connection.read_line(&mut line).ok()?;
    let status = line.split(' ').nth(1)?.parse().ok()?;
    let mut length = 0usize;
    loop {
        line.clear();
        connection.read_line(&mut line).ok()?;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok().filter(|n| *n <= MOST)?;
        }
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body).ok()?;
    *kept = Some(connection);
    Some(status)
}
