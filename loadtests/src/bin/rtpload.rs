//! RTP load through any relay that speaks ng: sets up calls by offer/answer, sends paced PCMU both ways on loopback, counts
//! what arrives, reads the relay's CPU time from `/proc`, and prints one line of JSON.
//!
//! `rtpload ng=127.0.0.1:2223 pid=PID calls=500 seconds=10 [warmup=2] [spread=tick] [tick_us=1000] [fifo=0] [cpu=N]
//! [label=warp] [ip=127.0.0.1]`
//!
//! Each call is two sockets here; each sends one packet of 172 bytes every 20 ms. `spread=tick` sends what is due in ticks:
//! 50 packets each millisecond at 500 calls, as a system timer would make them. `spread=even` gives each packet its own due
//! time, 20 ms divided by the number of sockets apart, and spends the last microseconds before it awake. `fifo=N` runs this
//! program under SCHED_FIFO at priority N (needs CAP_SYS_NICE), `cpu=N` keeps it on one CPU. What arrives is read once a tick
//! without sleeping in a wait, so that the relay's sends do not pay for waking this program.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use warp_loadtests::process::Cpu;
use warp_net::epoll::{Epoll, Events, Interest};

/// RTP header and 160 bytes of PCMU: 20 ms.
const PACKET_BYTES: usize = 172;
const PTIME: Duration = Duration::from_millis(20);
/// Waking from a sleep takes up to this long, roughly: the rest of a wait is spent awake.
const WAKE: Duration = Duration::from_micros(10);

fn main() -> Result<()> {
    let args = Args::read()?;
    warp_net::sched::raise_open_files()?;
    if let Some(cpu) = args.cpu {
        warp_net::sched::pin_to_cpu(cpu).context("cpu")?;
    }
    if args.fifo > 0 {
        warp_net::sched::real_time(args.fifo).context("fifo: CAP_SYS_NICE is needed")?;
    }
    let ng = Ng::new(args.ng)?;
    let mut phones = set_up(&ng, &args)?;
    let epoll = Epoll::new()?;
    for (i, phone) in phones.iter().enumerate() {
        epoll.add(&phone.socket, i as u64, Interest::READ)?;
    }
    let send = match args.even {
        true => send_evenly,
        false => send_for,
    };
    send(&mut phones, &epoll, args.warmup, args.tick)?;
    for phone in &mut phones {
        (phone.sent, phone.received, phone.foreign) = (0, 0, 0);
    }
    let before = args.pid.map(Cpu::of).transpose()?;
    let started = Instant::now();
    let late = send(&mut phones, &epoll, args.run, args.tick)?;
    let took = started.elapsed();
    let after = args.pid.map(Cpu::of).transpose()?;
    // Packets still on their way when the clock stopped: until a quiet quarter of a second, five seconds at most.
    let (mut quiet, mut seen) = (0, 0);
    for _ in 0..1_000 {
        receive(&mut phones, &epoll)?;
        let all = phones.iter().map(|p| p.received).sum::<u64>();
        quiet = if all == seen { quiet + 1 } else { 0 };
        seen = all;
        if quiet == 50 {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    tear_down(&ng, &args)?;

    let sum = |f: fn(&Phone) -> u64| phones.iter().map(f).sum::<u64>();
    let (sent, received, foreign) = (sum(|p| p.sent), sum(|p| p.received), sum(|p| p.foreign));
    let mut out = BTreeMap::from([
        ("label", serde_json::json!(args.label)),
        ("calls", serde_json::json!(args.calls)),
        ("seconds", serde_json::json!(round3(took.as_secs_f64()))),
        ("tick_us", serde_json::json!(args.tick.as_micros() as u64)),
        ("spread", serde_json::json!(if args.even { "even" } else { "tick" })),
        ("fifo", serde_json::json!(args.fifo)),
        (if args.even { "late_packets" } else { "late_ticks" }, serde_json::json!(late)),
        ("packets_sent", serde_json::json!(sent)),
        ("packets_delivered", serde_json::json!(received)),
        ("packets_foreign", serde_json::json!(foreign)),
        ("packets_lost", serde_json::json!(sent.saturating_sub(received))),
        ("packets_per_s", serde_json::json!((sent as f64 / took.as_secs_f64()).round())),
    ]);
    if let (Some(before), Some(after)) = (before, after) {
        let (user, system) = (after.user_s - before.user_s, after.system_s - before.system_s);
        let millions = received as f64 / 1e6;
        out.extend([
            ("cpu_user_s", serde_json::json!(round3(user))),
            ("cpu_system_s", serde_json::json!(round3(system))),
            ("cpu_s_per_million_packets", serde_json::json!(round3((user + system) / millions))),
            ("run_s_per_million_packets", serde_json::json!(round3((after.run_s - before.run_s) / millions))),
            (
                "packets_per_sleep",
                serde_json::json!(round3(received as f64 / (after.sleeps - before.sleeps).max(1) as f64)),
            ),
            ("rss_kb", serde_json::json!(after.rss_kb)),
        ]);
    }
    let mut stdout = std::io::stdout().lock();
    serde_json::to_writer(&mut stdout, &out)?;
    writeln!(stdout)?;
    Ok(())
}

fn round3(x: f64) -> f64 {
    (x * 1e3).round() / 1e3
}

struct Args {
    ng: SocketAddr,
    ip: IpAddr,
    pid: Option<u32>,
    calls: usize,
    warmup: Duration,
    run: Duration,
    tick: Duration,
    even: bool,
    fifo: u8,
    cpu: Option<usize>,
    label: String,
}

impl Args {
    fn read() -> Result<Self> {
        let mut map = BTreeMap::new();
        for arg in std::env::args().skip(1) {
            let (key, value) = arg.split_once('=').with_context(|| format!("not key=value: {arg}"))?;
            map.insert(key.to_owned(), value.to_owned());
        }
        let mut take = |key: &str, default: &str| map.remove(key).unwrap_or_else(|| default.to_owned());
        let (pid, cpu) = (take("pid", ""), take("cpu", ""));
        let args = Self {
            ng: take("ng", "127.0.0.1:2223").parse().context("ng")?,
            ip: take("ip", "127.0.0.1").parse().context("ip")?,
            pid: if pid.is_empty() { None } else { Some(pid.parse().context("pid")?) },
            calls: take("calls", "500").parse().context("calls")?,
            warmup: Duration::from_secs_f64(take("warmup", "2").parse().context("warmup")?),
            run: Duration::from_secs_f64(take("seconds", "10").parse().context("seconds")?),
            tick: Duration::from_micros(take("tick_us", "1000").parse().context("tick_us")?),
            even: match take("spread", "tick").as_str() {
                "even" => true,
                "tick" => false,
                other => bail!("spread: tick or even, not {other}"),
            },
            fifo: take("fifo", "0").parse().context("fifo")?,
            cpu: if cpu.is_empty() { None } else { Some(cpu.parse().context("cpu")?) },
            label: take("label", "relay"),
        };
        if let Some(key) = map.keys().next() {
            bail!("unknown argument {key}");
        }
        ensure!((1..=9_000).contains(&args.calls), "calls: 1 to 9000");
        ensure!(!args.tick.is_zero() && args.tick <= PTIME, "tick_us: 1 to 20000");
        Ok(args)
    }
}

/// One end of a call.
struct Phone {
    socket: UdpSocket,
    ssrc: u32,
    far_ssrc: u32,
    sequence: u16,
    packet: [u8; PACKET_BYTES],
    sent: u64,
    received: u64,
    foreign: u64,
}

impl Phone {
    fn new(ip: IpAddr, ssrc: u32, far_ssrc: u32) -> Result<Self> {
        let socket = UdpSocket::bind((ip, 0))?;
        socket.set_nonblocking(true)?;
        let mut packet = [0xD5; PACKET_BYTES];
        packet[..2].copy_from_slice(&[0x80, 0]);
        packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
        Ok(Self { socket, ssrc, far_ssrc, sequence: 0, packet, sent: 0, received: 0, foreign: 0 })
    }

    fn sdp(&self) -> Result<String> {
        let at = self.socket.local_addr()?;
        let family = if at.is_ipv4() { "IP4" } else { "IP6" };
        let (ip, port) = (at.ip(), at.port());
        Ok(format!(
            "v=0\r\no=- {} 1 IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=sendrecv\r\na=ptime:20\r\n",
            self.ssrc
        ))
    }

    fn send(&mut self) {
        self.sequence = self.sequence.wrapping_add(1);
        self.packet[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        let timestamp = u32::from(self.sequence).wrapping_mul(160);
        self.packet[4..8].copy_from_slice(&timestamp.to_be_bytes());
        if self.socket.send(&self.packet).is_ok() {
            self.sent += 1;
        }
    }
}

fn call_id(i: usize) -> String {
    format!("rtpload-{}-{i}", std::process::id())
}

fn set_up(ng: &Ng, args: &Args) -> Result<Vec<Phone>> {
    let mut phones = Vec::with_capacity(args.calls * 2);
    for i in 0..args.calls {
        let ssrc = 1_000_000 + 2 * i as u32;
        let a = Phone::new(args.ip, ssrc, ssrc + 1)?;
        let b = Phone::new(args.ip, ssrc + 1, ssrc)?;
        let (id, from, to) = (call_id(i), format!("a{i}"), format!("b{i}"));
        let common = |sdp: String| {
            vec![
                ("ICE", "remove".to_owned()),
                ("sdp", sdp),
                ("call-id", id.clone()),
                ("from-tag", from.clone()),
            ]
        };
        let offered = ng.command("offer", &common(a.sdp()?))?;
        let mut answer = common(b.sdp()?);
        answer.push(("to-tag", to));
        let answered = ng.command("answer", &answer)?;
        b.socket.connect(media_address(&offered)?)?;
        a.socket.connect(media_address(&answered)?)?;
        phones.extend([a, b]);
    }
    Ok(phones)
}

fn tear_down(ng: &Ng, args: &Args) -> Result<()> {
    for i in 0..args.calls {
        let fields =
            [("call-id", call_id(i)), ("from-tag", format!("a{i}")), ("delete-delay", "0".to_owned())];
        ng.command("delete", &fields)?;
    }
    Ok(())
}

/// Sends for `time`; returns how many ticks began more than a tick late.
fn send_for(phones: &mut [Phone], epoll: &Epoll, time: Duration, tick: Duration) -> Result<u64> {
    let ticks_per_round = (PTIME.as_nanos() / tick.as_nanos()).max(1) as usize;
    let begin = Instant::now();
    let total = (time.as_nanos() / tick.as_nanos()) as u64;
    let mut late = 0;
    for n in 0..total {
        let due = begin + tick * n as u32;
        let now = Instant::now();
        if now < due {
            std::thread::sleep(due - now);
        } else if now > due + tick {
            late += 1;
        }
        let slot = n as usize % ticks_per_round;
        for phone in phones.iter_mut().skip(slot).step_by(ticks_per_round) {
            phone.send();
        }
        receive(phones, epoll)?;
    }
    Ok(late)
}

/// Sends for `time`, each packet at its own due time; returns how many left more than a millisecond late.
fn send_evenly(phones: &mut [Phone], epoll: &Epoll, time: Duration, tick: Duration) -> Result<u64> {
    let count = phones.len().max(1);
    let gap_ns = PTIME.as_nanos() as u64 / count as u64;
    let total = time.as_nanos() as u64 / gap_ns.max(1);
    let begin = Instant::now();
    let mut read_at = begin + tick;
    let mut late = 0;
    for n in 0..total {
        let due = begin + Duration::from_nanos(gap_ns * n);
        loop {
            let now = Instant::now();
            if now >= due {
                late += u64::from(now - due > Duration::from_millis(1));
                break;
            }
            if now >= read_at {
                // Reading takes some microseconds; what is due meanwhile leaves directly behind it.
                receive(phones, epoll)?;
                read_at = now + tick;
            } else if due - now > WAKE {
                // The kernel stops a real-time thread that never sleeps for 50 ms of each second (sched_rt_runtime_us).
                std::thread::sleep(due - now - WAKE);
            } else {
                std::hint::spin_loop();
            }
        }
        if let Some(phone) = phones.get_mut(n as usize % count) {
            phone.send();
        }
    }
    Ok(late)
}

fn receive(phones: &mut [Phone], epoll: &Epoll) -> Result<()> {
    let mut events = Events::with_capacity(1_024);
    let mut buffer = [0u8; 2_048];
    loop {
        epoll.wait(&mut events, Some(Duration::ZERO))?;
        if events.is_empty() {
            return Ok(());
        }
        for event in events.iter() {
            let Some(phone) = phones.get_mut(event.token as usize) else { continue };
            let Ok(len) = phone.socket.recv(&mut buffer) else { continue };
            if len == PACKET_BYTES && buffer[8..12] == phone.far_ssrc.to_be_bytes() {
                phone.received += 1;
            } else {
                phone.foreign += 1;
            }
        }
    }
}

/// An ng client over UDP, bencode.
struct Ng {
    socket: UdpSocket,
    cookies: std::cell::Cell<u64>,
}

impl Ng {
    fn new(to: SocketAddr) -> Result<Self> {
        let any: SocketAddr = if to.is_ipv4() { "127.0.0.1:0".parse()? } else { "[::1]:0".parse()? };
        let socket = UdpSocket::bind(any)?;
        socket.connect(to)?;
        socket.set_read_timeout(Some(Duration::from_millis(500)))?;
        let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_nanos() as u64;
        Ok(Self { socket, cookies: std::cell::Cell::new(seed) })
    }

    /// Sends a command and returns the reply document; every command has a cookie of its own (relays answer a known one
    /// from their cache).
    fn command(&self, name: &str, fields: &[(&str, String)]) -> Result<Vec<u8>> {
        self.cookies.set(self.cookies.get().wrapping_add(1));
        let cookie = format!("{}_{}", std::process::id(), self.cookies.get());
        let mut out = format!("{cookie} d");
        for (key, value) in fields {
            out.push_str(&format!("{}:{key}{}:{value}", key.len(), value.len()));
        }
        out.push_str(&format!("7:command{}:{name}e", name.len()));
        let mut buffer = vec![0; 65_536];
        for _ in 0..10 {
            self.socket.send(out.as_bytes())?;
            while let Ok(len) = self.socket.recv(&mut buffer) {
                let Some(document) = buffer[..len].strip_prefix(format!("{cookie} ").as_bytes()) else {
                    continue;
                };
                if find(document, b"6:result5:error").is_some() {
                    bail!("{name}: {}", String::from_utf8_lossy(document));
                }
                return Ok(document.to_vec());
            }
        }
        bail!("{name}: no answer")
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|w| w == needle)
}

/// Address and port of the first audio line of the SDP in a reply.
fn media_address(reply: &[u8]) -> Result<SocketAddr> {
    let text = String::from_utf8_lossy(reply);
    let ip = text
        .lines()
        .filter_map(|l| l.split_once("c=IN IP").map(|(_, rest)| rest))
        .find_map(|l| l.split_whitespace().nth(1)?.parse::<IpAddr>().ok());
    let port =
        text.lines().find_map(|l| l.strip_prefix("m=audio ")?.split_whitespace().next()?.parse::<u16>().ok());
    match (ip, port) {
        (Some(ip), Some(port)) if port != 0 => Ok(SocketAddr::new(ip, port)),
        _ => bail!("no audio address in {text}"),
    }
}
