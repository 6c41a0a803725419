//! Overload in virtual time (F-LOAD-01): the real core and the real controller on a machine whose work takes time, a kernel queue of limited
//! length in front of it, callers that repeat what is not answered, and a callee that always answers.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::Duration;

use warp_model::Mono;

use super::overload::Overload;
use super::tests_static::{A, B, addr, at, core, line, lines, response, sent, udp};
use super::tests_world::{CUSTOMER, NUMBER, US, V1, World, inside, invite, reply};
use super::{Core, random::Rng};

/// What a message costs, µs. A whole call is 1 ms: the proxy carries 1,000 a second. A refused one is 45 µs: read, answered, its ACK.
fn cost(text: &str, refused: bool) -> u64 {
    match text {
        _ if refused => 35,
        t if t.starts_with("INVITE ") => 400,
        t if t.starts_with("SIP/2.0 200 ") && t.contains(" INVITE\r\n") => 220,
        t if t.starts_with("BYE ") => 190,
        t if t.starts_with("ACK ") && t.contains(";tag=bt") => 100,
        t if t.starts_with("ACK ") => 10,
        _ => 90,
    }
}

/// Messages that the kernel holds; more are lost.
const KERNEL: usize = 4_000;
/// Messages of one wake-up.
const WAKE_UP: usize = 128;

#[derive(Default)]
struct Tally {
    offered: usize,
    /// Answered within the caller's patience, by the second of its INVITE; and how long each took, µs.
    carried: Vec<usize>,
    waits: Vec<u64>,
    refused: usize,
    most_queued: usize,
}

struct Caller {
    text: String,
    began: u64,
    tries: u32,
}

/// `load(second)`: calls per second. Returns what came of it.
fn run(seconds: u64, seed: u8, controlled: bool, load: impl Fn(u64) -> u64) -> Tally {
    let mut core: Core = core();
    let mut control = Overload::new(at(0).mono);
    let mut rng = Rng::new([seed; 32], 0);
    let mut tally = Tally { carried: vec![0; seconds as usize], ..Tally::default() };
    let mut queue: VecDeque<(&str, String)> = VecDeque::new();
    let mut callers: HashMap<String, Caller> = HashMap::new();
    let mut repeats: BinaryHeap<Reverse<(u64, String)>> = BinaryHeap::new();
    let (mut now, mut next_call, mut n) = (0_u64, 0_u64, 0_u64);
    let end = seconds * 1_000_000;
    let us = |t: u64| {
        let base = at(0);
        warp_model::Now { mono: Mono(base.mono.0 + t * 1_000), wall: base.wall }
    };
    let mut slept = 0;
    while now < end {
        // What came while the proxy worked.
        let mut arrive = |queue: &mut VecDeque<(&'static str, String)>, from, text| {
            if queue.len() < KERNEL {
                queue.push_back((from, text));
            }
            tally.most_queued = tally.most_queued.max(queue.len());
        };
        while next_call <= now {
            let id = format!("c{n}");
            let text = format!(
                "INVITE sip:1@127.0.0.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP {A};branch=z9hG4bK{id}\r\nMax-Forwards: 70\r\n\
                 From: <sip:a@{A}>;tag=at\r\nTo: <sip:1@127.0.0.1:5060>\r\nCall-ID: {id}\r\nCSeq: 1 INVITE\r\n\
                 Contact: <sip:a@{A}>\r\nContent-Length: 0\r\n\r\n"
            );
            arrive(&mut queue, A, text.clone());
            repeats.push(Reverse((next_call + 500_000, id.clone())));
            callers.insert(id, Caller { text, began: next_call, tries: 0 });
            (n, tally.offered) = (n + 1, tally.offered + 1);
            // Exponential gaps: −ln of a uniform number, by its mean.
            let uniform = (rng.u64() >> 11) as f64 / (1_u64 << 53) as f64;
            let mean = 1e6 / load(next_call / 1_000_000).max(1) as f64;
            next_call += (-(1.0 - uniform).ln() * mean) as u64;
        }
        while let Some(Reverse((when, _))) = repeats.peek()
            && *when <= now
        {
            let Some(Reverse((when, id))) = repeats.pop() else { break };
            if let Some(c) = callers.get_mut(&id) {
                c.tries += 1;
                if c.tries < 7 {
                    arrive(&mut queue, A, c.text.clone());
                    repeats.push(Reverse((when + (500_000 << c.tries), id)));
                } else {
                    callers.remove(&id);
                }
            }
        }
        if queue.is_empty() {
            let timer = core.poll_timeout().map_or(u64::MAX, |m| (m.0 - at(0).mono.0).div_ceil(1_000));
            let repeat = repeats.peek().map_or(u64::MAX, |r| r.0.0);
            let until = timer.min(repeat).min(next_call).max(now + 1);
            (slept, now) = (slept + until - now, until);
            if next_call <= now || repeat <= now {
                continue;
            }
        }
        let woke = now;
        core.handle_timeout(us(now));
        let mut out = sent(&mut core);
        let batch: Vec<_> = (0..WAKE_UP).map_while(|_| queue.pop_front()).collect();
        for (from, text) in &batch {
            core.handle_message(udp(from), text.as_bytes(), us(woke));
            let made = sent(&mut core);
            now += cost(text, made.iter().any(|(_, t)| t.starts_with("SIP/2.0 503 ")));
            out.extend(made);
        }
        for (to, text) in out {
            if to == addr(B) && (text.starts_with("INVITE ") || text.starts_with("BYE ")) {
                queue.push_back((B, response(&text, "200 OK", B)));
            } else if to == addr(A) && text.contains(" INVITE\r\n") && !text.starts_with("SIP/2.0 100 ") {
                let id = line(&text, "Call-ID").to_owned();
                let ok = text.starts_with("SIP/2.0 200 ");
                if let Some(c) = callers.remove(&id) {
                    match ok {
                        true => {
                            tally.carried[((c.began / 1_000_000) as usize).min(seconds as usize - 1)] += 1;
                            tally.waits.push(now - c.began);
                        }
                        false => tally.refused += 1,
                    }
                }
                let route: String =
                    lines(&text, "Record-Route").iter().map(|r| format!("Route: {r}\r\n")).collect();
                let within = |method: &str, cseq: u32, branch: &str| {
                    format!(
                        "{method} sip:b@{B} SIP/2.0\r\nVia: SIP/2.0/UDP {A};branch=z9hG4bK{branch}\r\nMax-Forwards: 70\r\n{route}\
                         From: {}\r\nTo: {}\r\nCall-ID: {id}\r\nCSeq: {cseq} {method}\r\nContent-Length: 0\r\n\r\n",
                        line(&text, "From"),
                        line(&text, "To"),
                    )
                };
                let branch = if ok { format!("a{id}") } else { id.clone() };
                queue.push_back((A, within("ACK", 1, &branch)));
                if ok {
                    queue.push_back((A, within("BYE", 2, &format!("b{id}"))));
                }
            }
        }
        if controlled {
            // As the shard sees it: a read that was not full had emptied the socket.
            control.woke(us(woke).mono, Duration::from_micros(slept), batch.len() < WAKE_UP);
            core.set_overload(control.level());
        }
        slept = 0;
    }
    tally.waits.sort_unstable();
    tally
}

#[test]
fn f_load_01_twice_the_capacity_keeps_goodput_and_latency() {
    for (seed, load) in [(5, 2_000), (6, 2_000), (5, 1_200)] {
        let t = run(20, seed, true, |_| load);
        // From the third second on: the first two are what it takes to notice and to settle.
        let steady = &t.carried[2..19];
        let goodput = steady.iter().sum::<usize>() / steady.len();
        assert!(goodput >= 900, "{goodput} of 1,000: {:?}", t.carried);
        assert!(steady.iter().all(|n| *n >= 750), "{:?}", t.carried);
        let p99 = t.waits[t.waits.len() * 99 / 100];
        assert!(p99 < 500_000, "{p99} µs: no caller repeats its INVITE");
        assert!(t.most_queued < KERNEL, "nothing is lost in the kernel");
        assert!(t.refused > t.offered / 6, "{} of {}", t.refused, t.offered);
    }
}

#[test]
fn f_load_01_without_control_the_same_load_is_worse() {
    let t = run(20, 5, false, |_| 2_000);
    let p50 = t.waits.get(t.waits.len() / 2).copied().unwrap_or(u64::MAX);
    assert!(p50 > 1_000_000, "{p50} µs: the model can show congestion");
    assert_eq!(t.refused, 0);
}

#[test]
fn f_load_01_calm_load_is_never_shed_and_recovery_is_immediate() {
    // Up to 90 % of capacity, with the bursts that a Poisson stream has: nothing is refused.
    for load in [100, 500, 900] {
        let t = run(20, 5, true, |_| load);
        assert_eq!(t.refused, 0, "at {load}");
    }
    // A storm of five seconds; two seconds after its end nothing is refused any more.
    let storm = run(10, 5, true, |s| if (2..7).contains(&s) { 3_000 } else { 400 });
    let calm = run(10, 5, true, |_| 400);
    let tail = |t: &Tally| t.carried[9];
    assert!(storm.refused > 0 && tail(&storm) + 100 > tail(&calm), "{:?}", storm.carried);
}

#[test]
fn f_load_01_what_belongs_to_an_admitted_call_is_never_shed() {
    let mut w = World::new(false, |d| {
        d.emergency_route = vec![warp_model::VendorTrunkId::from_u128(1)];
    });
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
    let at_v = w.to(V1);
    w.give(CUSTOMER, &invite(NUMBER, "c2", "", ""));
    let second = w.to(V1);
    w.core.set_overload(super::overload::FULL);
    // A new call: 503 with a time to come back at, and nothing is kept of it.
    let before = (w.core.calls.all.len(), w.core.transactions());
    w.give(CUSTOMER, &invite(NUMBER, "c3", "", ""));
    let refused = w.to(CUSTOMER);
    assert!(refused.starts_with("SIP/2.0 503 Overload\r\n"), "{refused}");
    assert!((1..=4).contains(&line(&refused, "Retry-After").parse::<u32>().unwrap()));
    assert_eq!(((w.core.calls.all.len(), w.core.transactions()), w.core.stats().shed), (before, 1));
    // The call in set-up goes on to its end.
    w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "", ""));
    let ok = w.to(CUSTOMER);
    w.give(CUSTOMER, &inside("ACK", &ok, true, "ack", "", ""));
    assert!(w.to(V1).starts_with("ACK "));
    w.give(CUSTOMER, &inside("INVITE", &ok, true, "re", "", ""));
    assert!(w.to(V1).starts_with("INVITE "));
    w.give(V1, &inside("BYE", &ok, false, "bye", "", ""));
    assert!(w.to(CUSTOMER).starts_with("BYE "));
    // A repetition of an admitted INVITE is none of its own; CANCEL and OPTIONS pass.
    w.give(V1, &reply(&second, "180 Ringing", "bt", V1, "", ""));
    w.take();
    w.give(CUSTOMER, &invite(NUMBER, "c2", "", ""));
    assert!(w.to(CUSTOMER).starts_with("SIP/2.0 180 "));
    w.give(CUSTOMER, &invite(NUMBER, "c2", "", "").replace("INVITE", "CANCEL"));
    assert!(w.take().iter().any(|(to, t)| *to == addr(V1) && t.starts_with("CANCEL ")));
    w.give(CUSTOMER, &invite("x", "o1", "", "").replace("INVITE", "OPTIONS").replace("sip:x@", "sip:"));
    assert!(w.to(CUSTOMER).starts_with("SIP/2.0 200 "));
    // Emergency calls always.
    w.give(CUSTOMER, &invite("911", "e1", "", ""));
    assert!(w.to(V1).starts_with("INVITE "));
    assert_eq!(w.core.stats().shed, 1);
    w.core.set_overload(0);
    w.give(CUSTOMER, &invite(NUMBER, "c4", "", ""));
    assert!(w.to(V1).starts_with(&format!("INVITE sip:{NUMBER}@")), "{US}");
}
