//! The state tables in `tables/*.md` are the specification; these tests walk every row of them against the code.
//! A state is reached by the table's own rows (shortest way), so an unreachable state fails too.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use warp_model::Mono;
use warp_sip::proxy::{self, Verdict};
use warp_sip::transaction::*;

const T: fn() -> Timers = Timers::default;

struct Row {
    cells: Vec<String>,
    line: usize,
}

fn rows(name: &str) -> Vec<Row> {
    let path = format!("{}/tables/{name}.md", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap();
    let table: Vec<Row> = text
        .lines()
        .enumerate()
        .filter(|(_, l)| l.starts_with('|'))
        .skip(2)
        .map(|(i, l)| Row {
            cells: l.trim_matches('|').split('|').map(|c| c.trim().to_string()).collect(),
            line: i + 1,
        })
        .collect();
    assert!(table.len() > 20, "{name}: the table has rows");
    table
}

/// One machine under test, whatever its kind.
trait Machine: Copy {
    fn start(reliable: bool, now: Mono) -> (Self, Actions);
    fn feed(&mut self, input: &str, now: Mono) -> Actions;
    fn timeout(&mut self, now: Mono) -> Actions;
    fn state(&self) -> String;
    fn running(&self) -> Vec<(TimerName, Mono)>;
}

fn status(word: &str) -> u16 {
    match word {
        "1xx" => 180,
        "2xx" => 200,
        "300-699" => 486,
        other => panic!("unknown status {other}"),
    }
}

macro_rules! machine {
    (client $t:ty) => {
        machine!(@ $t, |r, now| <$t>::start(r, &T(), now), |m: &mut $t, input: &str, now| {
            let input = match input {
                "transport error" => ClientInput::TransportError,
                word => ClientInput::Response(status(word)),
            };
            m.on_input(input, &T(), now)
        });
    };
    (server $t:ty) => {
        machine!(@ $t, |r, _now| (<$t>::start(r), Actions::NONE), |m: &mut $t, input: &str, now| {
            let input = match input {
                "transport error" => ServerInput::TransportError,
                "request" => ServerInput::Request,
                "ACK" => ServerInput::Ack,
                word => ServerInput::Respond(status(word.strip_prefix("respond ").unwrap())),
            };
            m.on_input(input, &T(), now)
        });
    };
    (@ $t:ty, $start:expr, $feed:expr) => {
        impl Machine for $t {
            fn start(reliable: bool, now: Mono) -> (Self, Actions) {
                #[allow(clippy::redundant_closure_call)]
                ($start)(reliable, now)
            }
            fn feed(&mut self, input: &str, now: Mono) -> Actions {
                #[allow(clippy::redundant_closure_call)]
                ($feed)(self, input, now)
            }
            fn timeout(&mut self, now: Mono) -> Actions {
                self.on_timeout(&T(), now)
            }
            fn state(&self) -> String {
                format!("{:?}", <$t>::state(self))
            }
            fn running(&self) -> Vec<(TimerName, Mono)> {
                <$t>::running(self).into_iter().flatten().collect()
            }
        }
    };
}
machine!(client ClientInvite);
machine!(client ClientOther);
machine!(server ServerInvite);
machine!(server ServerOther);

/// Applies one input; for `timer X` moves the clock to that timer, running the others on the way.
fn apply<M: Machine>(m: &mut M, input: &str, now: &mut Mono) -> Actions {
    let Some(timer) = input.strip_prefix("timer ") else {
        return m.feed(input, *now);
    };
    for _ in 0..200 {
        let running = m.running();
        let (name, at) = *running
            .iter()
            .min_by_key(|(n, at)| (*at, format!("{n:?}") != timer))
            .unwrap_or_else(|| panic!("no timer runs, wanted {timer}"));
        *now = at;
        assert_eq!(m.timeout(Mono(at.0 - 1)), Actions::NONE, "early does nothing");
        let done = m.timeout(at);
        if format!("{name:?}") == timer {
            return done;
        }
    }
    panic!("timer {timer} never fired");
}

fn walk<M: Machine>(table: &str) {
    let mut walked = 0;
    for transport in ["udp", "tcp"] {
        let rows: Vec<Row> =
            rows(table).into_iter().filter(|r| r.cells[0] == "any" || r.cells[0] == transport).collect();
        // Shortest way to each state by the table's own rows.
        let mut way: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let start = rows.iter().find(|r| r.cells[1] == "-").unwrap();
        way.insert(start.cells[3].clone(), vec![]);
        let mut queue = VecDeque::from([start.cells[3].clone()]);
        while let Some(state) = queue.pop_front() {
            for r in rows.iter().filter(|r| r.cells[1] == state) {
                if !way.contains_key(&r.cells[3]) {
                    let mut path = way[&state].clone();
                    path.push(r.cells[2].clone());
                    way.insert(r.cells[3].clone(), path);
                    queue.push_back(r.cells[3].clone());
                }
            }
        }
        for r in &rows {
            let at = format!("{table}.md line {} ({transport})", r.line);
            let mut now = Mono(1_000_000_000);
            let (mut m, started) = M::start(transport == "tcp", now);
            let done = if r.cells[1] == "-" {
                started
            } else {
                let path = way.get(&r.cells[1]).unwrap_or_else(|| panic!("{at}: no way to {}", r.cells[1]));
                for input in path {
                    apply(&mut m, input, &mut now);
                }
                assert_eq!(m.state(), r.cells[1], "{at}: state before");
                apply(&mut m, &r.cells[2], &mut now)
            };
            assert_eq!(m.state(), r.cells[3], "{at}: next state");
            let outputs: Vec<String> = done.into_iter().map(|a| format!("{a:?}")).collect();
            assert_eq!(outputs.join(" "), r.cells[4], "{at}: outputs");
            // Each with the milliseconds that it still runs: a timer of another length is another protocol.
            let left = |at: Mono| at.since(now).as_millis();
            let timers: Vec<String> =
                m.running().iter().map(|(n, at)| format!("{n:?}={}", left(*at))).collect();
            assert_eq!(timers.join(" "), r.cells[5], "{at}: timers");
            walked += 1;
        }
    }
    assert!(walked >= 28);
}

#[test]
fn client_invite_table() {
    walk::<ClientInvite>("client_invite");
}

#[test]
fn client_other_table() {
    walk::<ClientOther>("client_other");
}

#[test]
fn server_invite_table() {
    walk::<ServerInvite>("server_invite");
}

#[test]
fn server_other_table() {
    walk::<ServerOther>("server_other");
}

#[test]
fn failover_table() {
    for r in rows("failover") {
        let causes: Vec<Option<u8>> = match r.cells[1].as_str() {
            "*" => (0..=127).map(Some).chain([None]).collect(),
            "-" => vec![None],
            n => vec![Some(n.parse().unwrap())],
        };
        let want = match r.cells[2].as_str() {
            "next" => Verdict::Next,
            "stop" => Verdict::Stop,
            other => panic!("{other}"),
        };
        for cause in causes {
            let status = r.cells[0].parse().unwrap();
            assert_eq!(
                proxy::verdict(status, cause, &proxy::FailoverRules::default()),
                want,
                "failover.md line {}",
                r.line
            );
        }
    }
}

#[test]
fn q850_table() {
    for r in rows("q850") {
        let (from, to): (u16, u16) = (r.cells[1].parse().unwrap(), r.cells[2].parse().unwrap());
        let got = match r.cells[0].as_str() {
            "cause" => u16::from(proxy::cause_of_status(from)),
            _ => proxy::status_of_cause(from as u8),
        };
        assert_eq!(got, to, "q850.md line {}", r.line);
    }
}

/// Retransmission times of RFC 3261 §17.1.1.2 and §17.1.2.2, to the millisecond.
#[test]
fn retransmission_schedules() {
    let mut times = vec![];
    let (mut m, _) = ClientInvite::start(false, &T(), Mono(0));
    while let Some(at) = m.next_timeout() {
        if m.on_timeout(&T(), at).contains(Action::Resend) {
            times.push(at.0 / 1_000_000);
        }
    }
    assert_eq!(times, [500, 1_500, 3_500, 7_500, 15_500, 31_500]);

    let mut times = vec![];
    let (mut m, _) = ClientOther::start(false, &T(), Mono(0));
    while let Some(at) = m.next_timeout() {
        if m.on_timeout(&T(), at).contains(Action::Resend) {
            times.push(at.0 / 1_000_000);
        }
    }
    assert_eq!(times, [500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]);
    assert_eq!(T().t1_64(), Duration::from_secs(32));
}
