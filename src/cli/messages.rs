//! `warp messages list|show|tail|send`: short messages, and what became of each in one sentence.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::client::{Client, MOST, encoded};
use super::names;
use super::output::{Output, Table};
use super::{Common, Failure};

#[derive(Args, Debug)]
pub(super) struct MessagesArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Newest first.
    List {
        #[command(flatten)]
        filter: Filter,
        /// Rows; more than one page of the API is fetched as needed. 0: all there are.
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// One message: what became of it in a sentence, its timeline, its price.
    Show {
        /// msg_…, or the id that SMPP gave: the same as a UUID.
        id: String,
        /// Also what is written in it; the audit log says that you looked.
        #[arg(long)]
        text: bool,
    },
    /// Messages as they are taken, and again whenever one of them stands otherwise; Ctrl-C stops.
    Tail {
        #[command(flatten)]
        filter: Filter,
        /// Ends after so many; 0: goes on.
        #[arg(long)]
        count: Option<u64>,
    },
    /// Sends a message with a customer's key. It is on disk when this returns.
    Send {
        /// Who it is for; several with commas.
        #[arg(long, value_delimiter = ',', required = true)]
        to: Vec<String>,
        /// Who it is from.
        #[arg(long)]
        from: String,
        /// What is written in it.
        text: String,
        /// The SMPP account that it goes by, by id, name or system_id; needed when there are several.
        #[arg(long)]
        account: Option<String>,
        /// It is not sent before: a time by RFC 3339.
        #[arg(long)]
        at: Option<String>,
        /// Minutes for which it is worth being sent.
        #[arg(long)]
        validity_min: Option<u32>,
        /// 0 to 3: a higher one goes before the others of the account.
        #[arg(long)]
        priority: Option<u8>,
    },
}

/// Which messages are listed.
#[derive(Args, Debug)]
struct Filter {
    /// Only messages to this number.
    #[arg(long)]
    to: Option<String>,
    /// Only messages from this address.
    #[arg(long)]
    from: Option<String>,
    /// Only messages that stand so: queued, carried, delivered, failed, …
    #[arg(long)]
    status: Option<String>,
    /// Only this way: from_customer or from_handset.
    #[arg(long)]
    direction: Option<String>,
    /// Only messages of this SMPP account, by id, name or system_id.
    #[arg(long)]
    account: Option<String>,
    /// Only messages of this customer, by id or name; operators only.
    #[arg(long)]
    customer: Option<String>,
}

impl Filter {
    /// As the API takes it, each with & before it; `status` apart, where a message that stands otherwise is waited for.
    fn query(&self, client: &Client, status: Option<&String>) -> Result<String, Failure> {
        let id = |what: &Option<String>, prefix: &str| {
            what.as_ref().map(|named| names::named(client, prefix, named)).transpose()
        };
        let digits = |text: &String| text.strip_prefix('+').unwrap_or(text).to_owned();
        let all = [
            ("to", self.to.as_ref().map(digits)),
            ("from", self.from.as_ref().map(digits)),
            ("status", status.cloned()),
            ("direction", self.direction.clone()),
            ("account", id(&self.account, "sac")?),
            ("customer", id(&self.customer, "cus")?),
        ];
        let given = all.into_iter().filter_map(|(name, value)| Some((name, value?)));
        Ok(given.map(|(name, value)| format!("&{name}={}", encoded(&value))).collect())
    }
}

const COLUMNS: &[&str] = &[
    "id",
    "created_at",
    "direction",
    "source",
    "destination",
    "status",
    "segments",
    "price",
    "currency",
    "error",
    "explanation",
];

pub(super) fn run(args: &MessagesArgs, common: &Common) -> Result<u8, Failure> {
    let client = Client::of(common)?;
    match &args.verb {
        Verb::List { filter, limit } => {
            let mut out = Table::new(common, COLUMNS, HEAD);
            let wanted = if *limit == 0 { usize::MAX } else { *limit };
            let query = filter.query(&client, filter.status.as_ref())?;
            client.either(|of| {
                let mut left = wanted;
                client.walk(&format!("{of}/messages?sort=-created_at{query}"), wanted.min(MOST), |m| {
                    out.item(|| m.clone(), || fields(&m), || cells(&m));
                    left -= 1;
                    if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                })
            })?;
            Ok(0)
        }
        Verb::Show { id, text } => show(&client, id, *text, common),
        Verb::Tail { filter, count } => tail(&client, filter, count.filter(|c| *c > 0), common),
        Verb::Send { to, from, text, account, at, validity_min, priority } => {
            let mut body = Map::new();
            body.insert("to".into(), json!(to));
            body.insert("from".into(), json!(from));
            body.insert("text".into(), json!(text));
            let account = account.as_ref().map(|named| names::named(&client, "sac", named)).transpose()?;
            let more = [
                ("account_id", account.as_ref().map(|a| json!(a))),
                ("send_at", at.as_ref().map(|a| json!(a))),
                ("validity_min", validity_min.map(|v| json!(v))),
                ("priority", priority.map(|p| json!(p))),
            ];
            body.extend(more.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
            let sent = client.json("POST", "/messages", &Value::Object(body))?;
            let out = Output::new(common, &["id", "to", "segments", "refused"]);
            let mut refused = false;
            for one in sent["messages"].as_array().into_iter().flatten() {
                refused |= one["id"].is_null();
                let fields = || {
                    vec![
                        text_of(one, "id"),
                        text_of(one, "to"),
                        one["segments"].to_string(),
                        text_of(one, "refused"),
                    ]
                };
                out.item(
                    || one.clone(),
                    fields,
                    || match one["id"].as_str() {
                        Some(id) => format!("{id}  {}  {} segment(s)", text_of(one, "to"), one["segments"]),
                        None => format!("not taken: {}  {}", text_of(one, "to"), text_of(one, "refused")),
                    },
                );
            }
            Ok(if refused { 1 } else { 0 })
        }
    }
}

fn show(client: &Client, id: &str, with_text: bool, common: &Common) -> Result<u8, Failure> {
    let id = public_id(id);
    let (mut message, content) = client.either(|of| {
        let path = format!("{of}/messages/{}", encoded(&id));
        let message = client.get(&path)?;
        let content = with_text.then(|| client.get(&format!("{path}/content"))).transpose()?;
        Ok((message, content))
    })?;
    if let (Some(content), Value::Object(fields)) = (content, &mut message) {
        fields.insert("content".into(), content);
    }
    Output::new(common, COLUMNS).item(|| message.clone(), || fields(&message), || whole(&message));
    Ok(0)
}

/// An id as SMPP writes it, with hyphens, in the form of the API; any other text stays as it is.
fn public_id(id: &str) -> String {
    let hex: String = id.chars().filter(|c| *c != '-').collect();
    match u128::from_str_radix(&hex, 16) {
        Ok(number) if id.len() == 36 && hex.len() == 32 => {
            warp_model::MessageId::from_u128(number).to_string()
        }
        _ => id.to_owned(),
    }
}

/// The newest so many messages are watched for further states: what a look reads has an end, also beside a message that waits for
/// days.
const WATCHED: usize = 1_000;

/// States after which nothing comes but by a receipt that is late.
const OVER: &[&str] = &["delivered", "failed", "expired", "rejected", "cancelled", "taken", "skipped"];

/// What a tail has seen: where it stands, and the messages that are not over, as they stood.
#[derive(Default)]
struct Watch {
    after: Option<String>,
    open: BTreeMap<String, String>,
    /// The messages that it looks at, oldest first.
    window: VecDeque<String>,
}

impl Watch {
    /// Reads on from before the oldest message that is not over; gives those that are new or stand otherwise.
    fn further(&mut self, client: &Client, query: &str) -> Result<Vec<Value>, Failure> {
        // Ids are in the order of time; one smaller than the oldest open one, and than all that are new.
        let from = self.open.keys().next().map(|id| before(id)).or_else(|| self.after.clone());
        let cursor =
            from.map_or_else(String::new, |id| format!("?sort=created_at{query}&cursor={}", encoded(&id)));
        let list = if cursor.is_empty() { format!("?sort=created_at{query}") } else { cursor };
        let mut rows = Vec::new();
        client.either(|of| {
            rows.clear();
            client.walk(&format!("{of}/messages{list}"), MOST, |message| {
                rows.push(message);
                ControlFlow::Continue(())
            })
        })?;
        let mut news = Vec::new();
        for message in rows {
            let (id, status) = (text_of(&message, "id"), text_of(&message, "status"));
            let is_new = self.after.as_ref().is_none_or(|after| id > *after);
            let before = self.open.remove(&id);
            if !OVER.contains(&status.as_str()) && (is_new || before.is_some()) {
                self.open.insert(id.clone(), status.clone());
            }
            if is_new {
                self.window.push_back(id.clone());
                self.after = Some(id);
            }
            if is_new || before.is_some_and(|before| before != status) {
                news.push(message);
            }
        }
        while self.window.len() > WATCHED {
            if let Some(old) = self.window.pop_front() {
                self.open.remove(&old);
            }
        }
        Ok(news)
    }
}

/// The id just before this one: a list that goes on from it begins with it.
fn before(id: &str) -> String {
    const DIGITS: &[u8] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let Some((prefix, digits)) = id.split_once('_') else { return id.to_owned() };
    let mut digits = digits.as_bytes().to_vec();
    for digit in digits.iter_mut().rev() {
        match DIGITS.iter().position(|d| d == digit) {
            Some(0) => *digit = b'z',
            Some(at) => {
                *digit = DIGITS[at - 1];
                break;
            }
            None => break,
        }
    }
    format!("{prefix}_{}", String::from_utf8_lossy(&digits))
}

fn tail(client: &Client, filter: &Filter, count: Option<u64>, common: &Common) -> Result<u8, Failure> {
    let out = Output::new(common, COLUMNS);
    out.heading(&tail_line(
        ["changed (UTC)", "id", "from", "to", "status", "parts", "price"].map(str::to_owned),
    ));
    let query = filter.query(client, None)?;
    // Behind the newest one that is there.
    let newest =
        client.either(|of| client.page(&format!("{of}/messages?sort=-created_at&limit=1{query}")))?;
    let mut watch = Watch { after: newest.items.first().map(|m| text_of(m, "id")), ..Watch::default() };
    let mut shown = 0u64;
    loop {
        for message in watch.further(client, &query)? {
            if filter.status.as_ref().is_some_and(|wanted| message["status"] != wanted.as_str()) {
                continue;
            }
            out.item(|| message.clone(), || fields(&message), || changed(&message));
            shown += 1;
            if count.is_some_and(|count| shown >= count) {
                return Ok(0);
            }
        }
        std::thread::sleep(Duration::from_millis(300));
    }
}

/// A line of a tail.
fn changed(message: &Value) -> String {
    let of = |name: &str| text_of(message, name);
    let price = text_of(&message["price"], "amount");
    tail_line([
        of("updated_at"),
        of("id"),
        of("source"),
        of("destination"),
        of("status"),
        message["segments"].to_string(),
        price,
    ])
}

fn tail_line([at, id, from, to, status, parts, price]: [String; 7]) -> String {
    format!("{at:<24}  {id:<30}  {from:<15}  {to:<15}  {status:<9}  {parts:>5}  {price}")
}

fn text_of(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

/// Names over the lines of a list.
const HEAD: [&str; 8] = ["taken (UTC)", "id", "from", "to", "status", "parts", "price", "what became of it"];

/// A line of a list.
fn cells(message: &Value) -> Vec<String> {
    let of = |name: &str| text_of(message, name);
    let price = match message["price"].is_object() {
        true => {
            format!("{} {}", text_of(&message["price"], "amount"), text_of(&message["price"], "currency"))
        }
        false => String::new(),
    };
    vec![
        of("created_at"),
        of("id"),
        of("source"),
        of("destination"),
        of("status"),
        message["segments"].to_string(),
        price,
        of("explanation"),
    ]
}

fn fields(message: &Value) -> Vec<String> {
    let value = |name: &str| match &message[name] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let of_price = |name: &str| text_of(&message["price"], name);
    let price = [of_price("amount"), of_price("currency")];
    let [before, after] = [&COLUMNS[..7], &COLUMNS[9..]];
    before.iter().map(|c| value(c)).chain(price).chain(after.iter().map(|c| value(c))).collect()
}

fn line(message: &Value) -> String {
    let way = if message["direction"] == "from_handset" { "←" } else { "→" };
    format!(
        "{}  {}  {:<15} {way} {:<15}  {:<10} {:>2} seg  {}",
        text_of(message, "id"),
        text_of(message, "created_at"),
        text_of(message, "source"),
        text_of(message, "destination"),
        text_of(message, "status"),
        message["segments"],
        text_of(&message["price"], "amount"),
    )
}

fn whole(message: &Value) -> String {
    let mut out = format!("{}\n\n{}\n", line(message), text_of(message, "explanation"));
    for entry in message["timeline"].as_array().into_iter().flatten() {
        let more =
            entry.as_object().into_iter().flatten().filter(|(name, _)| *name != "at" && *name != "step");
        let more: String =
            more.map(|(name, value)| format!("  {name} {}", value.to_string().trim_matches('"'))).collect();
        out.push_str(&format!("\n  {}  {:<10}{more}", text_of(entry, "at"), text_of(entry, "step")));
    }
    if let Some(text) = message["content"]["text"].as_str() {
        out.push_str(&format!("\n\n  text: {}", text.escape_debug()));
    }
    for (name, label) in [("price", "price"), ("cost", "cost")] {
        if message[name].is_object() {
            let money = &message[name];
            out.push_str(&format!(
                "\n  {label}: {} {}",
                text_of(money, "amount"),
                text_of(money, "currency")
            ));
        }
    }
    for name in ["bind_id", "carrier_id"] {
        if let Some(text) = message[name].as_str() {
            out.push_str(&format!("\n  {name}: {text}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::api;

    #[test]
    fn an_id_of_smpp_is_the_same_number_and_other_texts_stay() {
        let id = warp_model::MessageId::from_u128(0x0190_c8f4_1234_7abc_8def_0123_4567_89ab);
        assert_eq!(public_id("0190c8f4-1234-7abc-8def-0123456789AB"), id.to_string());
        assert_eq!(public_id(&id.to_string()), id.to_string());
        for other in ["0190c8f412347abc8def0123456789ab", "", "x-y"] {
            assert_eq!(public_id(other), other);
        }
    }

    #[test]
    fn the_id_before_another_is_smaller_by_one() {
        assert_eq!(before("msg_06f7jv8c1gdyzv3n1v8d5h2k4m"), "msg_06f7jv8c1gdyzv3n1v8d5h2k4k");
        assert_eq!(before("msg_0600"), "msg_05zz");
    }

    /// A message that stands otherwise is shown again, one that is over is let go, and nothing is shown twice.
    #[test]
    fn a_tail_shows_each_change_of_state() {
        let (client, asked) = api(vec![
            r#"{"data":[{"id":"msg_02","status":"queued"},{"id":"msg_03","status":"delivered"}],"meta":{}}"#,
            r#"{"data":[{"id":"msg_02","status":"queued"},{"id":"msg_03","status":"delivered"}],"meta":{}}"#,
            r#"{"data":[{"id":"msg_02","status":"delivered"},{"id":"msg_03","status":"delivered"},{"id":"msg_04","status":"sent"}],"meta":{}}"#,
            r#"{"data":[{"id":"msg_04","status":"failed"}],"meta":{}}"#,
            r#"{"data":[],"meta":{}}"#,
        ]);
        let mut watch = Watch { after: Some("msg_01".to_owned()), ..Watch::default() };
        let mut news = || -> Vec<String> {
            let news = watch.further(&client, "&to=1").unwrap();
            news.iter().map(|m| format!("{} {}", text_of(m, "id"), text_of(m, "status"))).collect()
        };
        assert_eq!(news(), ["msg_02 queued", "msg_03 delivered"]);
        assert!(news().is_empty());
        assert_eq!(news(), ["msg_02 delivered", "msg_04 sent"]);
        assert_eq!(news(), ["msg_04 failed"]);
        assert!(news().is_empty());
        let from = |id: &str| format!("/api/v1/admin/messages?sort=created_at&to=1&cursor={id}&limit=200");
        let wanted = ["msg_01", "msg_01", "msg_01", "msg_03", "msg_04"].map(from);
        assert_eq!(asked.join().unwrap(), wanted);
    }

    /// One that waits for days does not make each look read all that came since.
    #[test]
    fn what_a_look_of_a_tail_reads_has_an_end() {
        let row = |n: usize, status: &str| format!(r#"{{"id":"msg_{n:05}","status":"{status}"}}"#);
        let page = |rows: &[String]| -> &'static str {
            Box::leak(format!(r#"{{"data":[{}],"meta":{{}}}}"#, rows.join(",")).into_boxed_str())
        };
        let many: Vec<String> = (2..=WATCHED + 1).map(|n| row(n, "delivered")).collect();
        let (client, asked) = api(vec![page(&[row(1, "scheduled")]), page(&many), page(&[])]);
        let mut watch = Watch { after: Some("msg_00000".to_owned()), ..Watch::default() };
        for _ in 0..3 {
            watch.further(&client, "").unwrap();
        }
        let last = format!("/api/v1/admin/messages?sort=created_at&cursor=msg_{:05}&limit=200", WATCHED + 1);
        assert_eq!(asked.join().unwrap()[2], last);
    }

    #[test]
    fn a_message_has_a_field_for_each_column_and_its_sentence_stands_on_top() {
        let message = json!({
            "id": "msg_1", "created_at": "2026-11-30T12:00:00.000Z", "direction": "from_customer", "source": "ACME",
            "destination": "14155550124", "status": "failed", "segments": 2,
            "price": { "amount": "0.015", "currency": "USD" }, "error": 69,
            "explanation": "No vendor took it with error 69 3 ms after it was taken; its price was given back.",
            "timeline": [{ "at": "2026-11-30T12:00:00.000Z", "step": "accepted" }],
        });
        let all = fields(&message);
        assert_eq!(all.len(), COLUMNS.len());
        assert_eq!((all[7].as_str(), all[8].as_str(), all[9].as_str()), ("0.015", "USD", "69"));
        let shown = whole(&message);
        assert!(shown.lines().nth(2).is_some_and(|l| l.starts_with("No vendor took it")), "{shown}");
        assert!(shown.contains("accepted") && shown.contains("price: 0.015 USD"), "{shown}");
    }
}
