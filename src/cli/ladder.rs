//! `warp ladder`: the messages of a call as a picture, of one that is over or of one in the air; also as Mermaid, SVG or pcap, with the raw
//! messages, and what differs between two of them.

mod forms;
mod text;

use std::collections::HashSet;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::client::{Client, encoded};
use super::{Common, Failure};

#[derive(Args, Debug)]
pub(super) struct LadderArgs {
    /// call_…, or the SIP Call-ID; without it, with --live, the next call that begins.
    id: Option<String>,
    /// Goes on until the call is over.
    #[arg(long)]
    live: bool,
    /// With --live and without an id: a call whose caller or called number has these digits in it.
    #[arg(long, requires = "live", conflicts_with = "id")]
    number: Option<String>,
    /// Each message whole, below its arrow.
    #[arg(long)]
    raw: bool,
    /// What differs between two messages, by their numbers.
    #[arg(long, num_args = 2, value_names = ["A", "B"], conflicts_with_all = ["live", "raw"])]
    diff: Option<Vec<usize>>,
    /// As a sequence diagram of Mermaid.
    #[arg(long, conflicts_with_all = ["live", "raw", "diff"])]
    mermaid: bool,
    /// As a picture (SVG).
    #[arg(long, conflicts_with_all = ["live", "raw", "diff", "mermaid"])]
    svg: bool,
    /// Into a file that Wireshark reads. Each message is a datagram there, whatever it travelled by.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["live", "raw", "diff", "mermaid", "svg"])]
    pcap: Option<PathBuf>,
}

/// Pause between two looks at a call in the air.
const LOOK: Duration = Duration::from_millis(500);

pub(super) fn run(args: &LadderArgs, common: &Common) -> Result<u8, Failure> {
    let client = Client::of(common)?;
    let id = match &args.id {
        Some(id) => found(&client, id)?,
        None if args.live => next_call(&client, args.number.as_deref(), common)?,
        None => {
            return Err(Failure::new("which call?")
                .with_code(2)
                .hint("warp ladder call_…, or warp ladder --live for the next one that begins"));
        }
    };
    let ask = || client.either(|of| client.get(&format!("{of}/calls/{}/ladder", encoded(&id))));
    if args.live {
        return follow(args, ask, common);
    }
    let ladder = ask()?;
    if let Some(file) = &args.pcap {
        let bytes = forms::pcap(&ladder);
        std::fs::write(file, bytes).map_err(|e| Failure::new(format!("{}: {e}", file.display())))?;
        return Ok(0);
    }
    let out = match (&args.diff, args.mermaid, args.svg) {
        (Some(two), ..) => forms::diff(&ladder, two)?,
        (_, true, _) => forms::mermaid(&ladder),
        (_, _, true) => forms::svg(&ladder),
        _ if common.json => format!("{ladder}\n"),
        _ => {
            let style = text::Style::of(&ladder, coloured(common), args.raw);
            style.heading(&ladder) + &style.rows(&ladder, 0) + &style.ending(&ladder)
        }
    };
    print(common, &out);
    Ok(0)
}

/// Says each message as it comes.
fn follow(
    args: &LadderArgs,
    ask: impl Fn() -> Result<Value, Failure>,
    common: &Common,
) -> Result<u8, Failure> {
    let mut told = 0;
    let mut style: Option<text::Style> = None;
    loop {
        let ladder = ask()?;
        let messages = ladder["messages"].as_array().map_or(0, Vec::len);
        if common.json {
            for message in ladder["messages"].as_array().into_iter().flatten().skip(told) {
                print(common, &format!("{message}\n"));
            }
        } else {
            // A further party (the next vendor) has a lane of its own: the heading is said again.
            let now = text::Style::of(&ladder, coloured(common), args.raw);
            if style.as_ref().is_none_or(|s| s.lanes() != now.lanes()) {
                print(common, &now.heading(&ladder));
            }
            print(common, &now.rows(&ladder, told));
            style = Some(now);
        }
        told = messages;
        if ladder["over"] == true {
            if let Some(style) = style {
                print(common, &style.ending(&ladder));
            }
            return Ok(0);
        }
        std::thread::sleep(LOOK);
    }
}

/// The id of a call: itself, or the newest call with this Call-ID, in the air or over.
fn found(client: &Client, id: &str) -> Result<String, Failure> {
    if id.starts_with("call_") {
        return Ok(id.to_owned());
    }
    client.either(|of| {
        let live = client.get(&format!("{of}/calls/live?most=500"))?;
        let mut calls = live["calls"].as_array().into_iter().flatten();
        if let Some(call) = calls.find(|c| c["sip_call_id"] == id) {
            return Ok(call["id"].as_str().unwrap_or_default().to_owned());
        }
        let over = client.page(&format!("{of}/calls?limit=1&call_id={}", encoded(id)))?.items;
        match over.first().and_then(|call| call["id"].as_str()) {
            Some(id) => Ok(id.to_owned()),
            None => Err(Failure::new(format!("there is no call with the Call-ID {id:?}")).with_code(3)),
        }
    })
}

/// Waits for a call that is not in the air yet.
fn next_call(client: &Client, number: Option<&str>, common: &Common) -> Result<String, Failure> {
    let filter = number.map_or_else(String::new, |n| format!("&number={}", encoded(n)));
    let look = || {
        let seen = client.either(|of| client.get(&format!("{of}/calls/live?most=500{filter}")))?;
        let calls = seen["calls"].as_array().into_iter().flatten();
        Ok::<Vec<String>, Failure>(calls.filter_map(|c| c["id"].as_str().map(str::to_owned)).collect())
    };
    let before: HashSet<String> = look()?.into_iter().collect();
    if !common.quiet && std::io::stderr().is_terminal() {
        let _ = writeln!(std::io::stderr(), "waiting for a call …");
    }
    loop {
        // Oldest first: of several that have begun meanwhile the first.
        if let Some(id) = look()?.into_iter().rev().find(|id| !before.contains(id)) {
            return Ok(id);
        }
        std::thread::sleep(LOOK);
    }
}

fn coloured(common: &Common) -> bool {
    let no_color = std::env::var("NO_COLOR").is_ok_and(|v| !v.is_empty());
    std::io::stdout().is_terminal() && !common.no_color && !no_color
}

fn print(common: &Common, text: &str) {
    if !common.quiet {
        let _ = write!(std::io::stdout(), "{text}").and_then(|()| std::io::stdout().flush());
    }
}
