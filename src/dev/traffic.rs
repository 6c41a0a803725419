//! The demo traffic: vendors that answer as their numbers say, customers that call at a steady rate.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use warp_model::Secret;
use warp_ua::{Agent, AgentConfig, Behaviour, CallResult, CallSpec, Credentials, Rule};

use super::decks::{NPAS, exchanges, scatter};
use super::secrets::Secrets;
use super::world::{TRUNKS, VENDORS};
use crate::cli::Failure;

/// Number of the banner's call; vendors answer it at once.
pub(super) const FIRST_CALLED: &str = "+14155550123";

/// Calls a second that the banner names for people who want to see more.
pub(super) const MORE_CPS: u32 = 50;
/// The longest that the caller of a demo call talks.
const LONGEST_TALK: Duration = Duration::from_secs(10);
/// The longest from the INVITE of a demo call to its answer or refusal, over all vendors that are tried: two that are silent for two
/// seconds each, and one that lets it ring.
#[cfg(test)]
const LONGEST_SETUP: Duration = Duration::from_secs(8);

/// How a call to this number ends, decided by its last two digits: the same for every vendor, so that a failover does not
/// change the outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Answered,
    Busy,
    NoAnswer,
    Cancelled,
}

fn fate(called: &str) -> Fate {
    match digits(called) % 100 {
        0..=73 => Fate::Answered,
        74..=83 => Fate::Busy,
        84..=91 => Fate::NoAnswer,
        _ => Fate::Cancelled,
    }
}

fn digits(called: &str) -> u32 {
    called
        .bytes()
        .filter(u8::is_ascii_digit)
        .fold(0u32, |n, d| n.wrapping_mul(10).wrapping_add(u32::from(d - b'0')))
}

/// Agents of the four vendors.
pub(super) struct VendorAgents {
    agents: Vec<Agent>,
}

impl VendorAgents {
    pub(super) fn start(seed: u64) -> Result<Self, Failure> {
        let mut agents = Vec::new();
        for (i, vendor) in VENDORS.iter().enumerate() {
            let rule: Rule = match vendor.slug {
                "gamma" => Arc::new(|_: &str| refuse(503, Duration::from_millis(5), 34)),
                "delta" => Arc::new(|called: &str| answering(called, Duration::from_millis(900))),
                _ => Arc::new(|called: &str| answering(called, Duration::from_millis(40))),
            };
            agents.push(agent(vendor.ip.into(), 5070, seed.wrapping_add(i as u64), rule)?);
        }
        Ok(Self { agents })
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.agents.iter().map(Agent::addr).collect()
    }
}

fn refuse(status: u16, after: Duration, q850: u8) -> Behaviour {
    Behaviour::Refuse { status, after, q850: Some(q850) }
}

fn answering(called: &str, delay: Duration) -> Behaviour {
    let spread = Duration::from_millis(u64::from(scatter(digits(called), 5) % 600));
    match fate(called) {
        _ if called.ends_with(&FIRST_CALLED[1..]) => Behaviour::answer_after(Duration::from_millis(10)),
        Fate::Answered => Behaviour::Answer {
            ring: delay,
            answer: delay * 2 + spread,
            early_media: digits(called).is_multiple_of(7),
            // Every fourth call is ended by the called side.
            hang_up: digits(called).is_multiple_of(4).then(|| Duration::from_secs(2) + spread * 10),
            rtp: true,
        },
        Fate::Busy => refuse(486, delay + spread, 17),
        Fate::NoAnswer => refuse(480, Duration::from_secs(3) + spread, 19),
        Fate::Cancelled => Behaviour::Ring,
    }
}

/// Port `port` of `ip` when it is free, any other one otherwise.
fn agent(ip: IpAddr, port: u16, seed: u64, rule: Rule) -> Result<Agent, Failure> {
    let start = |port| {
        Agent::start(AgentConfig { local: SocketAddr::new(ip, port), media_ip: ip, seed, rule: rule.clone() })
    };
    start(port).or_else(|_| start(0)).map_err(|e| Failure::new(format!("demo agent at {ip}: {e}")))
}

/// Callers of all trunks.
pub(super) struct Callers {
    agents: Vec<(Agent, Option<Credentials>)>,
    /// They call the customers' numbers.
    vendors: Arc<VendorAgents>,
    proxy: SocketAddr,
}

impl Callers {
    pub(super) fn start(
        proxy: SocketAddr,
        secrets: &Secrets,
        vendors: Arc<VendorAgents>,
        seed: u64,
    ) -> Result<Self, Failure> {
        let mut agents = Vec::new();
        for (i, trunk) in TRUNKS.iter().enumerate() {
            let rule: Rule = Arc::new(|called: &str| answering(called, Duration::from_millis(60)));
            let agent = agent(trunk.ip.into(), 5072, seed.wrapping_add(100 + i as u64), rule)?;
            let credentials = trunk.user.map(|user| Credentials {
                user: user.to_owned(),
                password: Secret::new(secrets.get("sip", user).unwrap_or_default()),
            });
            agents.push((agent, credentials));
        }
        Ok(Self { agents, vendors, proxy })
    }

    /// Where each trunk's agent takes calls, in the order of the trunks.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.agents.iter().map(|(agent, _)| agent.addr()).collect()
    }

    /// The banner's call, waited for.
    pub(super) fn first(&self) -> Option<CallResult> {
        let (agent, _) = self.agents.first()?;
        let mut spec = CallSpec::new(self.proxy, TRUNKS[0].caller, FIRST_CALLED);
        spec.talk = Duration::from_millis(200);
        agent.call(spec).recv_timeout(Duration::from_secs(5)).ok()
    }

    /// The `n`-th call of the traffic: trunk, number and length follow from `n` and the seed.
    fn place(&self, n: u32, salt: u32) {
        if n % 6 == 3 {
            return self.place_inbound(n, salt);
        }
        let Some((agent, credentials)) = self.agents.get(n as usize % self.agents.len().max(1)) else {
            return;
        };
        let trunk = &TRUNKS[n as usize % TRUNKS.len()];
        let pick = |what: u32, of: usize| scatter(n, salt ^ what) as usize % of.max(1);
        let called = if n % 12 == 11 {
            format!("+4420{:08}", scatter(n, salt) % 100_000_000)
        } else {
            let npa = NPAS[pick(1, NPAS.len())];
            let nxx = exchanges().nth(pick(2, 380)).unwrap_or(555);
            format!("+1{npa}{nxx}{:04}", pick(3, 10_000))
        };
        let mut spec = CallSpec::new(self.proxy, trunk.caller, &called);
        spec.credentials = credentials.clone();
        let spread = LONGEST_TALK.saturating_sub(Duration::from_secs(1));
        spec.talk =
            Duration::from_secs(1) + Duration::from_millis(pick(4, spread.as_millis() as usize) as u64);
        if fate(&called) == Fate::Cancelled {
            spec.cancel_after = Some(Duration::from_millis(1_500 + pick(5, 2_000) as u64));
        }
        agent.call_with(spec, |_| ());
    }
}

impl Callers {
    /// Every sixth call: the first vendor brings one to a number of a customer.
    fn place_inbound(&self, n: u32, salt: u32) {
        let Some(vendor) = self.vendors.agents.first() else {
            return;
        };
        let called = TRUNKS[(n / 6) as usize % TRUNKS.len()].caller;
        let npa = NPAS[scatter(n, salt ^ 6) as usize % NPAS.len()];
        let caller = format!("+1{npa}555{:04}", scatter(n, salt ^ 7) % 10_000);
        let mut spec = CallSpec::new(self.proxy, &caller, called);
        spec.talk = Duration::from_secs(1) + Duration::from_millis(u64::from(scatter(n, salt ^ 8) % 5_000));
        vendor.call_with(spec, |_| ());
    }
}

/// The running generator. Dropping it stops new calls.
pub(super) struct Generator {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// File in `run/` by which `warp demo` sets the rate: tenths of a call per second.
pub(super) const RATE_FILE: &str = "demo.cps10";

impl Generator {
    /// Places `cps` calls a second, evenly; `rate_file` changes that while it runs.
    pub(super) fn start(callers: Callers, cps10: u32, rate_file: PathBuf) -> Result<Self, Failure> {
        let stop = Arc::new(AtomicBool::new(false));
        let rate = Arc::new(AtomicU32::new(cps10));
        let stopped = stop.clone();
        let salt = std::process::id();
        let run = move || {
            let mut next = Instant::now();
            let mut looked = Instant::now();
            let mut n = 0u32;
            while !stopped.load(Ordering::Acquire) {
                let now = Instant::now();
                if now.duration_since(looked) >= Duration::from_millis(250) {
                    looked = now;
                    let told = std::fs::read_to_string(&rate_file).ok().and_then(|t| t.trim().parse().ok());
                    if let Some(told) = told {
                        rate.store(u32::min(told, 10_000), Ordering::Relaxed);
                    }
                }
                let cps10 = rate.load(Ordering::Relaxed);
                if cps10 == 0 {
                    next = now;
                } else if now >= next {
                    callers.place(n, salt);
                    n = n.wrapping_add(1);
                    next += Duration::from_secs_f64(10.0 / f64::from(cps10));
                    // After a pause of the machine: no burst.
                    next = next.max(now);
                    continue;
                }
                let wait = if cps10 == 0 { Duration::from_millis(250) } else { next.duration_since(now) };
                std::thread::park_timeout(wait.min(Duration::from_millis(250)));
            }
        };
        let thread = std::thread::Builder::new().name("demo".to_owned()).spawn(run);
        let thread = thread.map_err(|e| Failure::new(format!("demo thread: {e}")))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::capacity;

    /// The demo world has ports for what its banner recommends, every call being as long as the longest. At 30 calls/s and more
    /// it once ran out of them in silence.
    #[test]
    fn the_demo_has_ports_for_the_rate_that_its_banner_names() {
        let config = crate::dev::base(std::path::Path::new("x"));
        let longest = (LONGEST_SETUP + LONGEST_TALK).as_secs_f64();
        let wanted = capacity::pairs_for(f64::from(MORE_CPS), longest);
        let there = capacity::pairs_of(&config);
        assert!(there as f64 >= wanted, "{there} pairs, {wanted} wanted");
    }
}
