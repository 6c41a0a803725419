//! `warp top`: the last minute at a glance: calls in the air, calls a second, how they ended, vendors or trunks, nodes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::ops::ControlFlow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use serde_json::{Value, json};
use warp_model::Wall;

use super::client::{Client, MOST, encoded};
use super::output::Output;
use super::{Common, Failure};

#[derive(Args, Debug)]
pub(super) struct TopArgs {
    /// Look once and end; without a terminal, and with --json, that is so anyhow.
    #[arg(long)]
    once: bool,
    /// Seconds between two looks.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=3600))]
    every: u16,
}

/// Calls of the last minute that are read at most.
const READ: usize = 2_000;
const WINDOW: Duration = Duration::from_secs(60);

/// What is shown.
#[derive(Debug, Default)]
struct Glance {
    in_the_air: u64,
    answered_now: usize,
    begun: usize,
    ended: usize,
    answered: usize,
    /// There were more than were read.
    cut: bool,
    codes: BTreeMap<i64, usize>,
    /// Calls and answered ones of each vendor, or trunk for a customer.
    parties: BTreeMap<String, (usize, usize)>,
    nodes: Vec<(String, bool, u64)>,
}

pub(super) fn run(args: &TopArgs, common: &Common) -> Result<u8, Failure> {
    let client = Client::of(common)?;
    let mut names = BTreeMap::new();
    let _ = client.walk("/admin/vendors", MOST, |vendor| {
        names.insert(text(&vendor, "id").to_owned(), text(&vendor, "slug").to_owned());
        ControlFlow::Continue(())
    });
    let screen = std::io::stdout().is_terminal() && Output::new(common, &[]).is_for_people();
    loop {
        let glance = look(&client, &names)?;
        if args.once || !screen || common.quiet {
            Output::new(common, COLUMNS).item(|| glance.json(), || glance.fields(), || glance.text());
            return Ok(0);
        }
        let page = format!("\x1b[H\x1b[2J{}\n", glance.text());
        let _ = write!(std::io::stdout(), "{page}").and_then(|()| std::io::stdout().flush());
        std::thread::sleep(Duration::from_secs(args.every.into()));
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn look(client: &Client, names: &BTreeMap<String, String>) -> Result<Glance, Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let since = Wall(i64::try_from(now.saturating_sub(WINDOW).as_micros()).unwrap_or(0)).to_string();
    client.either(|of| {
        let live = client.get(&format!("{of}/calls/live?most=500"))?;
        let mut ended = Vec::new();
        let mut cut = false;
        let query = format!("{of}/calls?posted_at%5Bgte%5D={}", encoded(&since));
        client.walk(&query, MOST, |call| {
            ended.push(call);
            cut = ended.len() >= READ;
            if cut { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(Glance::of(&live, &ended, &since, cut, !of.is_empty(), names))
    })
}

const COLUMNS: &[&str] = &["in_the_air", "answered_now", "begun", "ended", "answered", "asr_percent"];

impl Glance {
    fn of(
        live: &Value,
        ended: &[Value],
        since: &str,
        cut: bool,
        operator: bool,
        names: &BTreeMap<String, String>,
    ) -> Glance {
        let in_air = live["calls"].as_array().map_or(&[][..], Vec::as_slice);
        // Times are RFC 3339 in UTC with as many digits: their texts stand in their order.
        let begun = |calls: &[Value]| calls.iter().filter(|c| text(c, "setup_at") >= since).count();
        let mut glance = Glance {
            in_the_air: live["found"].as_u64().unwrap_or(0),
            answered_now: in_air.iter().filter(|c| c["state"] == "answered").count(),
            begun: begun(in_air) + begun(ended),
            ended: ended.len(),
            cut,
            ..Glance::default()
        };
        for call in ended {
            let answered = call["outcome"] == "answered";
            glance.answered += usize::from(answered);
            *glance.codes.entry(call["sip_code"].as_i64().unwrap_or(0)).or_default() += 1;
            let party = text(call, if operator { "vendor_id" } else { "trunk_id" });
            let name = names.get(party).map_or(party, String::as_str);
            let (calls, good) =
                glance.parties.entry(if name.is_empty() { "-" } else { name }.to_owned()).or_default();
            *calls += 1;
            *good += usize::from(answered);
        }
        for node in live["nodes"].as_array().into_iter().flatten() {
            let calls = node["calls"].as_u64().unwrap_or(0);
            glance.nodes.push((text(node, "node").to_owned(), node["answered"] == true, calls));
        }
        glance
    }

    fn asr(&self) -> Option<usize> {
        (self.ended > 0).then(|| self.answered * 100 / self.ended)
    }

    fn fields(&self) -> Vec<String> {
        let asr = self.asr().map_or_else(String::new, |p| p.to_string());
        let numbers = [self.answered_now, self.begun, self.ended, self.answered].map(|n| n.to_string());
        [vec![self.in_the_air.to_string()], numbers.to_vec(), vec![asr]].concat()
    }

    fn json(&self) -> Value {
        let nodes =
            self.nodes.iter().map(|(n, ok, calls)| json!({"node": n, "answered": ok, "calls": calls}));
        let parties = self
            .parties
            .iter()
            .map(|(n, (calls, good))| json!({"name": n, "ended": calls, "answered": good}));
        json!({
            "in_the_air": self.in_the_air, "answered_now": self.answered_now, "window_s": WINDOW.as_secs(), "begun": self.begun,
            "ended": self.ended, "answered": self.answered, "asr_percent": self.asr(), "more": self.cut,
            "codes": self.codes.iter().map(|(c, n)| (c.to_string(), json!(n))).collect::<serde_json::Map<_, _>>(),
            "parties": parties.collect::<Vec<_>>(), "nodes": nodes.collect::<Vec<_>>(),
        })
    }

    fn text(&self) -> String {
        let mut out = String::new();
        let asr = self.asr().map_or_else(|| "-".to_owned(), |p| format!("{p} %"));
        let more = if self.cut { ", and more" } else { "" };
        let tenths = self.begun * 10 / WINDOW.as_secs() as usize;
        let _ = writeln!(out, "in the air  {:>6}   {} answered", self.in_the_air, self.answered_now);
        let _ = writeln!(
            out,
            "last minute {:>6}   calls begun, {}.{} a second",
            self.begun,
            tenths / 10,
            tenths % 10
        );
        let _ = writeln!(
            out,
            "            {:>6}   ended{more}, {} answered, ASR {asr}",
            self.ended, self.answered
        );
        let codes = self.codes.iter().map(|(code, n)| format!("{code} × {n}"));
        let _ = writeln!(out, "\nstatus      {}", codes.collect::<Vec<_>>().join("   "));
        let mut parties: Vec<_> = self.parties.iter().collect();
        parties.sort_by_key(|(name, (calls, _))| (std::cmp::Reverse(*calls), (*name).clone()));
        out.push_str("\nby vendor or trunk                  ended  answered\n");
        for (name, (calls, good)) in parties.into_iter().take(12) {
            let _ = writeln!(out, "{name:<34} {calls:>6} {good:>9}");
        }
        for (node, answered, calls) in &self.nodes {
            let state = if *answered { format!("{calls} calls") } else { "does not answer".to_owned() };
            let _ = write!(out, "\nnode {node:<29} {state}");
        }
        out.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_is_counted_by_status_and_vendor_and_a_silent_node_is_named() {
        let live = json!({"found": 7, "calls": [{"state": "answered", "setup_at": "2026-12-01T08:00:30.000Z"},
            {"state": "ringing", "setup_at": "2026-12-01T07:00:00.000Z"}],
            "nodes": [{"node": "a", "answered": true, "calls": 7}, {"node": "b", "answered": false, "calls": 0}]});
        let call = |code: u16, outcome: &str, vendor: &str, at: &str| json!({"sip_code": code, "outcome": outcome, "vendor_id": vendor, "setup_at": at});
        let ended = [
            call(200, "answered", "vnd_1", "2026-12-01T08:00:10.000Z"),
            call(200, "answered", "vnd_1", "2026-12-01T07:10:00.000Z"),
            call(486, "busy", "", "2026-12-01T08:00:11.000Z"),
        ];
        let names = [("vnd_1".to_owned(), "alpha".to_owned())].into();
        let glance = Glance::of(&live, &ended, "2026-12-01T08:00:00.000Z", false, true, &names);
        assert_eq!((glance.in_the_air, glance.begun, glance.ended, glance.asr()), (7, 3, 3, Some(66)));
        let text = glance.text();
        for said in ["200 × 2   486 × 1", "alpha", "0.0 a second", "ASR 66 %", "b", "does not answer"] {
            assert!(text.contains(said), "{said}\n{text}");
        }
        assert_eq!(glance.json()["codes"]["486"], 1);
        assert_eq!(glance.fields(), ["7", "1", "3", "3", "2", "66"]);
    }
}
