//! ng commands through our relay and an installed rtpengine, alternating A B A B: offer, answer and delete of one call after
//! another, a window of commands in the air from one client, over a range of media ports. Medians as JSON and as a table.
//!
//! `ngload [rounds=5] [seconds=5] [window=8] [ports=8000] [out=FILE] [warp="COMMAND …"] [rtpengine="COMMAND …"]`
//!
//! Every `delete` says `delete-delay=0`, so that a relay which lets ports rest without need runs out of them. "Refused" is every
//! answer that is no `ok`; "lost" is a command without an answer for half a second. Our own CPU is not counted: the relay's is, of
//! all its threads.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use warp_loadtests::process::Cpu;
use warp_loadtests::relays::{RTPENGINE, Relay, WARP, facts, is_there, without_folder};

/// Before the measured time.
const WARM_UP: Duration = Duration::from_secs(1);

fn main() -> Result<()> {
    let mut args = BTreeMap::new();
    for arg in std::env::args().skip(1) {
        let (key, value) = arg.split_once('=').with_context(|| format!("not key=value: {arg}"))?;
        args.insert(key.to_owned(), value.to_owned());
    }
    let mut take = |key: &str, default: &str| args.remove(key).unwrap_or_else(|| default.to_owned());
    let rounds: usize = take("rounds", "5").parse().context("rounds")?;
    let seconds = Duration::from_secs_f64(take("seconds", "5").parse().context("seconds")?);
    let window: usize = take("window", "8").parse().context("window")?;
    let ports: u16 = take("ports", "8000").parse().context("ports")?;
    let out = take("out", "");
    let sides = [("warp", take("warp", WARP)), ("rtpengine", take("rtpengine", RTPENGINE))];
    if let Some(key) = args.keys().next() {
        bail!("unknown argument {key}");
    }
    ensure!(
        (1..=1_000).contains(&window) && (4..=20_000).contains(&ports),
        "window: 1 to 1000; ports: 4 to 20000"
    );
    let sides: Vec<_> = sides.into_iter().filter(|(name, command)| is_there(name, command)).collect();
    ensure!(!sides.is_empty() && rounds > 0, "nothing to run");

    let facts = facts();
    let mut runs: Vec<Value> = Vec::new();
    for round in 0..rounds {
        for (name, command) in &sides {
            let relay = Relay::start(command, 10_000, 10_000 + ports - 1)?;
            let mut client = Client::new(relay.ng, window)?;
            client.run(WARM_UP)?;
            client.begin();
            let (before, begun) = (Cpu::of(relay.pid())?, Instant::now());
            client.run(seconds)?;
            let (after, took) = (Cpu::of(relay.pid())?, begun.elapsed());
            let cpu = (after.user_s - before.user_s) + (after.system_s - before.system_s);
            let done = client.done as f64;
            let run = json!({
                "label": name,
                "commands": client.done,
                "refused": client.refused,
                "lost": client.lost,
                "commands_per_s": (done / took.as_secs_f64()).round(),
                "commands_per_cpu_s": (done / cpu).round(),
                "cpu_us_per_command": (cpu * 1e8 / done).round() / 100.0,
                "user_s": after.user_s - before.user_s,
                "system_s": after.system_s - before.system_s,
                "rss_kb": after.rss_kb,
                "first_refusal": client.first_refusal,
            });
            eprintln!(
                "round {round} {name:10} {} commands/s, {} refused",
                run["commands_per_s"], run["refused"]
            );
            runs.push(run);
        }
    }
    let middle = |name: &str, key: &str| {
        let mut all: Vec<f64> =
            runs.iter().filter(|r| r["label"] == name).filter_map(|r| r[key].as_f64()).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied()
    };
    let keys = ["commands_per_s", "commands_per_cpu_s", "cpu_us_per_command", "refused", "lost", "rss_kb"];
    let medians: BTreeMap<&str, BTreeMap<&str, Option<f64>>> = sides
        .iter()
        .map(|(name, _)| (*name, keys.into_iter().map(|key| (key, middle(name, key))).collect()))
        .collect();
    println!("{:12} {:>12} {:>14} {:>9} {:>6}", "relay", "commands/s", "per CPU second", "refused", "lost");
    for (name, m) in &medians {
        let show = |key| m.get(key).copied().flatten().map_or("-".into(), |v: f64| format!("{v}"));
        println!(
            "{name:12} {:>12} {:>14} {:>9} {:>6}",
            show("commands_per_s"),
            show("commands_per_cpu_s"),
            show("refused"),
            show("lost")
        );
    }
    let result = json!({
        "what": "ng offer, answer and delete from one client, loopback, delete-delay=0",
        "facts": facts,
        "load": { "seconds": seconds.as_secs_f64(), "window": window, "ports": ports },
        "rounds": rounds,
        "commands": sides.iter().map(|(n, c)| (*n, without_folder(c))).collect::<BTreeMap<_, _>>(),
        "medians": medians,
        "runs": runs,
    });
    if !out.is_empty() {
        std::fs::write(&out, serde_json::to_string_pretty(&result)? + "\n")?;
    }
    Ok(())
}

/// One call, of which one command is in the air.
struct Slot {
    call: u64,
    step: usize,
    sent: Instant,
    cookie: u64,
}

struct Client {
    socket: UdpSocket,
    slots: Vec<Slot>,
    next_call: u64,
    next_cookie: u64,
    /// Which slot waits for which cookie.
    waits: BTreeMap<u64, usize>,
    out: Vec<u8>,
    done: u64,
    refused: u64,
    lost: u64,
    first_refusal: Option<String>,
}

const OFFERED: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\na=ptime:20\r\n";
const ANSWERED: &str = "v=0\r\no=- 2 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40002 RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\na=ptime:20\r\n";

impl Client {
    fn new(ng: SocketAddr, window: usize) -> Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(ng)?;
        socket.set_read_timeout(Some(Duration::from_millis(500)))?;
        let mut client = Self {
            socket,
            slots: Vec::new(),
            next_call: 0,
            next_cookie: 0,
            waits: BTreeMap::new(),
            out: Vec::new(),
            done: 0,
            refused: 0,
            lost: 0,
            first_refusal: None,
        };
        for at in 0..window {
            client.slots.push(Slot { call: 0, step: 2, sent: Instant::now(), cookie: 0 });
            client.go_on(at)?;
        }
        Ok(client)
    }

    /// Counts from here.
    fn begin(&mut self) {
        (self.done, self.refused, self.lost, self.first_refusal) = (0, 0, 0, None);
    }

    /// The next command of a slot's call, or the first of a new one.
    fn go_on(&mut self, at: usize) -> Result<()> {
        let slot = self.slots.get_mut(at).context("slot")?;
        slot.step = (slot.step + 1) % 3;
        if slot.step == 0 {
            self.next_call += 1;
            slot.call = self.next_call;
        }
        self.next_cookie += 1;
        (slot.cookie, slot.sent) = (self.next_cookie, Instant::now());
        self.waits.insert(slot.cookie, at);
        let (call, pid) = (format!("ngload-{}@127.0.0.1", slot.call), std::process::id());
        self.out.clear();
        self.out.extend_from_slice(format!("{pid}_{} d", slot.cookie).as_bytes());
        let mut put = |key: &str, value: &str| {
            self.out.extend_from_slice(format!("{}:{key}{}:{value}", key.len(), value.len()).as_bytes());
        };
        put("call-id", &call);
        put("from-tag", "from-tag");
        match slot.step {
            0 => put("sdp", OFFERED),
            1 => {
                put("to-tag", "to-tag");
                put("sdp", ANSWERED);
            }
            _ => put("delete-delay", "0"),
        }
        put("command", ["offer", "answer", "delete"].get(slot.step).copied().unwrap_or_default());
        self.out.push(b'e');
        self.socket.send(&self.out)?;
        Ok(())
    }

    fn run(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        let mut buffer = vec![0; 65_536];
        while Instant::now() < end {
            match self.socket.recv(&mut buffer) {
                Ok(len) => self.take(buffer.get(..len).unwrap_or_default())?,
                Err(_) => self.overdue()?,
            }
        }
        Ok(())
    }

    fn take(&mut self, reply: &[u8]) -> Result<()> {
        let cookie = reply.split(|b| *b == b' ').next().unwrap_or_default();
        let number = std::str::from_utf8(cookie).ok().and_then(|c| c.split_once('_')?.1.parse().ok());
        let Some(at) = number.and_then(|n| self.waits.remove(&n)) else { return Ok(()) };
        self.done += 1;
        let is_ok = reply.windows(11).any(|w| w == b"6:result2:o");
        if !is_ok || reply.windows(9).any(|w| w == b"7:warning") {
            self.refused += 1;
            self.first_refusal.get_or_insert_with(|| String::from_utf8_lossy(reply).into_owned());
        }
        self.go_on(at)
    }

    /// Commands without an answer are given up, their calls too.
    fn overdue(&mut self) -> Result<()> {
        for at in 0..self.slots.len() {
            let slot = self.slots.get_mut(at).context("slot")?;
            if slot.sent.elapsed() < Duration::from_millis(400) {
                continue;
            }
            self.waits.remove(&slot.cookie);
            slot.step = 2;
            self.lost += 1;
            self.go_on(at)?;
        }
        Ok(())
    }
}
