//! A ladder in a terminal: a column for each party, an arrow for each message. Colours say what the words say too.

use serde_json::Value;

/// Width of a column.
const WIDTH: usize = 27;
/// Width of the number and the time before the columns.
const MARGIN: usize = 17;

/// How a ladder is written.
pub(super) struct Style {
    coloured: bool,
    raw: bool,
    /// The lanes from left to right.
    order: Vec<usize>,
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn place(value: &Value, name: &str) -> usize {
    value[name].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(0)
}

/// The lanes from left to right: who calls, the platform, who is called.
pub(super) fn order(ladder: &Value) -> Vec<usize> {
    let lanes = ladder["lanes"].as_array().map_or(&[][..], Vec::as_slice);
    let of = |side: &'static str| lanes.iter().enumerate().filter(move |(_, l)| text(l, "side") == side);
    let all = ["caller", "us", "called", "unknown"].into_iter().flat_map(of);
    all.map(|(index, _)| index).collect()
}

/// What a message is, in a few words.
pub(super) fn label(message: &Value) -> String {
    let mut said = match message["status"].as_i64() {
        Some(status) => format!("{status} {}", text(message, "reason")),
        None => text(message, "method").to_owned(),
    };
    // What a response answers is seen from its place, but for those of other requests within the call.
    if message["status"].is_i64() && !matches!(text(message, "method"), "INVITE") {
        said = format!("{said} ({})", text(message, "method"));
    }
    if message["sdp"] == true {
        said.push_str(" SDP");
    }
    said
}

impl Style {
    pub(super) fn of(ladder: &Value, coloured: bool, raw: bool) -> Style {
        Style { coloured, raw, order: order(ladder) }
    }

    /// How many parties there are.
    pub(super) fn lanes(&self) -> usize {
        self.order.len()
    }

    /// Who the columns are.
    pub(super) fn heading(&self, ladder: &Value) -> String {
        let mut out = format!("{}   Call-ID {}\n", text(ladder, "id"), text(ladder, "sip_call_id"));
        if ladder["begun"] == false {
            out.push_str("the beginning of the call is missing: there was no room for it\n");
        }
        let line = |of: &dyn Fn(&Value) -> String| {
            let cells = self.order.iter().map(|i| format!("{:^WIDTH$}", of(&ladder["lanes"][*i])));
            format!("{}{}\n", " ".repeat(MARGIN), cells.collect::<String>().trim_end())
        };
        out += &line(&|lane| match text(lane, "side") {
            "us" => "WARP".to_owned(),
            side => side.to_owned(),
        });
        out + &line(&|lane| text(lane, "address").to_owned())
    }

    /// The messages from this one on.
    pub(super) fn rows(&self, ladder: &Value, from: usize) -> String {
        let messages = ladder["messages"].as_array().map_or(&[][..], Vec::as_slice);
        let mut before = from.checked_sub(1).and_then(|i| messages.get(i)).map_or(0, after);
        let mut out = String::new();
        for (index, message) in messages.iter().enumerate().skip(from) {
            let at = after(message);
            let delta = at.saturating_sub(before);
            before = at;
            let margin = format!("{:>3} {:>9} ", index + 1, seconds(delta));
            let arrow = self.arrow(message);
            let arrow = match message["repeats"].as_u64() {
                Some(first) => self.painted("2", &format!("{arrow}  again, as {}", first + 1)),
                None => self.painted(colour(message), &arrow),
            };
            out += &format!("{margin:<MARGIN$}{arrow}\n");
            if self.raw {
                for line in text(message, "text").lines() {
                    out += &format!("{}{line}\n", " ".repeat(MARGIN));
                }
                out.push('\n');
            }
        }
        out
    }

    /// What is to be said at the end.
    pub(super) fn ending(&self, ladder: &Value) -> String {
        let missing = ladder["missing"].as_u64().unwrap_or(0);
        match missing {
            0 => String::new(),
            n => format!("{n} further messages are missing: there was no room for them\n"),
        }
    }

    fn arrow(&self, message: &Value) -> String {
        let column =
            |lane: usize| self.order.iter().position(|l| *l == lane).unwrap_or(0) * WIDTH + WIDTH / 2;
        let (from, to) = (column(place(message, "from")), column(place(message, "to")));
        let (left, right) = (from.min(to), from.max(to));
        let mut row = vec![' '; self.order.len() * WIDTH];
        for lane in 0..self.order.len() {
            if let Some(cell) = row.get_mut(lane * WIDTH + WIDTH / 2) {
                *cell = '│';
            }
        }
        row.iter_mut().take(right).skip(left + 1).for_each(|c| *c = '─');
        let (head, at) = if from < to { ('▶', right.saturating_sub(1)) } else { ('◀', left + 1) };
        if let Some(cell) = row.get_mut(at) {
            *cell = head;
        }
        let room = (right - left).saturating_sub(5);
        let said: String = format!(" {} ", label(message)).chars().take(room).collect();
        let begin = left + 1 + ((right - left).saturating_sub(said.chars().count())) / 2;
        for (cell, c) in row.iter_mut().skip(begin).zip(said.chars()) {
            *cell = c;
        }
        row.into_iter().collect::<String>().trim_end().to_owned()
    }

    fn painted(&self, code: &str, text: &str) -> String {
        if self.coloured { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Requests blue, 1xx grey, 2xx green, 3xx and 4xx amber, 5xx and 6xx red.
fn colour(message: &Value) -> &'static str {
    match message["status"].as_i64() {
        None => "34",
        Some(..200) => "90",
        Some(200..300) => "32",
        Some(300..500) => "33",
        Some(_) => "31",
    }
}

/// Microseconds since the first message.
fn after(message: &Value) -> u64 {
    message["after_us"].as_u64().unwrap_or(0)
}

fn seconds(us: u64) -> String {
    format!("+{}.{:06}", us / 1_000_000, us % 1_000_000)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::json;

    /// A call that the first vendor refuses and the second one answers.
    pub(in super::super) fn ladder() -> Value {
        let message = |after: u64,
                       from: usize,
                       to: usize,
                       method: &str,
                       status: Option<u16>,
                       reason: &str| {
            json!({"at": "2026-12-01T08:00:00.000Z", "after_us": after, "from": from, "to": to, "transport": "UDP", "method": method,
                "status": status, "reason": reason, "cseq": 1, "sdp": status.is_none(), "repeats": null, "source": "192.0.2.10:5060",
                "destination": "[2001:db8::1]:5061", "text": format!("{method}\r\nA: <1>\r\nB: {after}\r\n\r\n")})
        };
        let mut again = message(500_000, 0, 3, "INVITE", None, "");
        again["repeats"] = json!(3);
        json!({
            "id": "call_1", "sip_call_id": "c1", "over": true, "begun": true, "missing": 2, "numbers_masked": true, "node": "a",
            "lanes": [{"side": "us", "address": ""}, {"side": "caller", "address": "192.0.2.10:5060"},
                {"side": "called", "address": "203.0.113.1:5060"}, {"side": "called", "address": "203.0.113.2:5060"}],
            "messages": [
                message(0, 1, 0, "INVITE", None, ""), message(90, 0, 2, "INVITE", None, ""),
                message(1_200, 2, 0, "INVITE", Some(503), "Service Unavailable"), message(1_300, 0, 3, "INVITE", None, ""), again,
                message(600_000, 3, 0, "INVITE", Some(200), "OK"), message(600_100, 0, 1, "BYE", Some(200), "OK"),
            ],
        })
    }

    #[test]
    fn each_message_is_an_arrow_between_its_columns_and_a_repetition_says_so() {
        let ladder = ladder();
        let style = Style::of(&ladder, false, false);
        assert_eq!(order(&ladder), [1, 0, 2, 3], "who calls stands on the left");
        let heading = style.heading(&ladder);
        let rows = style.rows(&ladder, 0);
        let rows: Vec<&str> = rows.lines().collect();
        let at = |line: &str, what: char| line.chars().position(|c| c == what);
        let column = |n: usize| MARGIN + n * WIDTH + WIDTH / 2;
        assert!(rows[0].starts_with("  1 +0.000000") && rows[0].contains("INVITE SDP"), "{}", rows[0]);
        assert_eq!(at(rows[0], '▶'), Some(column(1) - 1), "from the caller to us");
        assert_eq!(at(rows[2], '◀'), Some(column(1) + 1), "from the first vendor to us");
        assert!(rows[2].contains("503 Service") && rows[1].contains("+0.000090"), "{rows:#?}");
        assert_eq!(at(rows[3], '▶'), Some(column(3) - 1), "to the second vendor");
        assert!(rows[4].ends_with("again, as 4"), "{}", rows[4]);
        assert!(rows[6].contains("200 OK (BYE)"), "{}", rows[6]);
        let address = heading.lines().last().unwrap();
        assert!(address.find("192.0.2.10:5060").unwrap() < address.find("203.0.113.2").unwrap());
        assert!(style.ending(&ladder).starts_with("2 further messages"));
        assert_eq!(style.rows(&ladder, 5).lines().count(), 2, "only what is new");
        assert!(Style::of(&ladder, true, false).rows(&ladder, 0).contains("\x1b[31m"), "a 503 is red");
        assert!(Style::of(&ladder, false, true).rows(&ladder, 0).contains("A: <1>"));
    }
}
