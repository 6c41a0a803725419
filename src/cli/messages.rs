//! `warp messages list|show|tail|send`: short messages, and what became of each in one sentence.

use std::ops::ControlFlow;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::client::{Client, MOST, encoded};
use super::names;
use super::output::Output;
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
    /// Messages as they are taken; Ctrl-C stops.
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
    /// As the API takes it, each with & before it.
    fn query(&self, client: &Client) -> Result<String, Failure> {
        let id = |what: &Option<String>, prefix: &str| {
            what.as_ref().map(|named| names::named(client, prefix, named)).transpose()
        };
        let digits = |text: &String| text.strip_prefix('+').unwrap_or(text).to_owned();
        let all = [
            ("to", self.to.as_ref().map(digits)),
            ("from", self.from.as_ref().map(digits)),
            ("status", self.status.clone()),
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
            let out = Output::new(common, COLUMNS);
            let wanted = if *limit == 0 { usize::MAX } else { *limit };
            let query = filter.query(&client)?;
            client.either(|of| {
                let mut left = wanted;
                client.walk(&format!("{of}/messages?sort=-created_at{query}"), wanted.min(MOST), |m| {
                    print(&out, m);
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

fn tail(client: &Client, filter: &Filter, count: Option<u64>, common: &Common) -> Result<u8, Failure> {
    let out = Output::new(common, COLUMNS);
    let query = filter.query(client)?;
    // Behind the newest one that is there.
    let newest =
        client.either(|of| client.page(&format!("{of}/messages?sort=-created_at&limit=1{query}")))?;
    let mut after = newest.items.first().map(|m| text_of(m, "id"));
    let mut shown = 0u64;
    loop {
        let cursor = after.as_deref().map_or_else(String::new, |id| format!("&cursor={}", encoded(id)));
        let path = |of: &str| format!("{of}/messages?sort=created_at&limit={MOST}{query}{cursor}");
        let page = client.either(|of| client.page(&path(of)))?;
        if let Some(last) = page.items.last() {
            after = Some(text_of(last, "id"));
        }
        for message in page.items {
            print(&out, message);
            shown += 1;
            if count.is_some_and(|count| shown >= count) {
                return Ok(0);
            }
        }
        if page.next.is_none() {
            std::thread::sleep(Duration::from_millis(300));
        }
    }
}

fn text_of(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

fn print(out: &Output<'_>, message: Value) {
    out.item(|| message.clone(), || fields(&message), || line(&message));
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
