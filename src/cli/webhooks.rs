//! `warp webhooks deliveries|replay|secret|test|listen`: what became of events at a webhook, and the same events on this terminal.

use std::time::Duration;

use clap::Subcommand;
use serde_json::{Value, json};
use warp_control_plane::noun::webhook::WEBHOOK;
use warp_control_plane::webhooks::signature;
use warp_model::{Secret, Wall};

use super::client::{Client, MOST, Page, encoded};
use super::names::id_of;
use super::nouns::fields::{row, whole};
use super::nouns::print_list;
use super::output::Output;
use super::when::When;
use super::{Common, Failure};
use crate::config::Span;

#[derive(Subcommand, Debug)]
pub(super) enum Verb {
    /// What became of events at a webhook, the newest first.
    Deliveries {
        /// whk_…, or its name.
        webhook: String,
        /// Only deliveries that stand so: waiting, delivered or dead.
        #[arg(long)]
        status: Option<String>,
        /// Rows at most; all there are when 0.
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// Send one event again, or those of a time.
    Replay {
        /// whk_…, or its name.
        webhook: String,
        /// evt_…; absent: those of --since to --until.
        #[arg(required_unless_present = "since", conflicts_with_all = ["since", "until", "status"])]
        event: Option<String>,
        /// Those of events that happened at or after this time: RFC 3339, or how long ago.
        #[arg(long, value_name = "WHEN")]
        since: Option<When>,
        /// And before this time; now when absent.
        #[arg(long, value_name = "WHEN", requires = "since")]
        until: Option<When>,
        /// Only those that stand so; dead when absent.
        #[arg(long, requires = "since")]
        status: Option<String>,
    },
    /// Make a new secret, which is shown once; the old one signs as well for a while.
    Secret {
        /// whk_…, or its name.
        webhook: String,
        /// How long the old secret signs as well: 0s to 7d; one day when absent.
        #[arg(long)]
        overlap: Option<Span>,
    },
    /// Say that whoever reads mail at the address of a webhook agrees: by the code that was sent there.
    Confirm {
        /// whk_…, or its name.
        webhook: String,
        /// The code of the mail.
        code: String,
    },
    /// Send the event webhook.test, and say whether it arrived.
    Test {
        /// whk_…, or its name.
        webhook: String,
    },
    /// Print events as they happen, and post them to a URL of this machine or network as a webhook would. Calls are in `warp calls tail`.
    Listen {
        /// Only events of this name.
        #[arg(long = "type", value_name = "NAME")]
        kind: Option<String>,
        /// Where they are posted to, for example http://127.0.0.1:3000/hook.
        #[arg(long, value_name = "URL")]
        forward: Option<String>,
        /// The secret that they are signed with there (WARP_WEBHOOK_SECRET); absent: one for this run, which is printed.
        #[arg(long, requires = "forward")]
        secret: Option<String>,
        /// End after so many events.
        #[arg(long)]
        count: Option<u64>,
    },
}

const DELIVERY: &[&str] =
    &["event_id", "type", "status", "attempts", "last_status", "last_ms", "last_error", "created_at"];
const CONFIRMED: &[&str] = &["id", "name", "url", "status"];
const EVENT: &[&str] = &["id", "type", "created_at", "customer_id", "data"];
/// How often it is looked for events.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long a test is waited for.
const TEST_TIME: Duration = Duration::from_secs(10);

pub(super) fn run(verb: &Verb, common: &Common) -> Result<u8, Failure> {
    let client = Client::of(common)?;
    let at = |of: &str, id: &str, rest: &str| format!("{of}/webhooks/{}{rest}", encoded(id));
    match verb {
        Verb::Deliveries { webhook, status, limit } => {
            let id = id_of(&client, &WEBHOOK, webhook)?;
            let filter = status.as_deref().map(|s| format!("?status={}", encoded(s))).unwrap_or_default();
            let word = format!("webhooks/{}/deliveries{filter}", encoded(&id));
            print_list(&client, (DELIVERY, HEAD), None, &word, *limit, common, line)?;
        }
        Verb::Replay { webhook, event: Some(event), .. } => {
            let id = id_of(&client, &WEBHOOK, webhook)?;
            let rest = format!("/deliveries/{}/replay", encoded(event));
            let delivery = client.either(|of| client.json("POST", &at(of, &id, &rest), &json!({})))?;
            print(&delivery, common);
        }
        Verb::Replay { webhook, event: None, since, until, status } => {
            When::in_order(since.as_ref(), until.as_ref())?;
            let id = id_of(&client, &WEBHOOK, webhook)?;
            let from = since.as_ref().map(When::text);
            let until = until.as_ref().map_or_else(|| now().to_string(), When::text);
            let body = json!({ "from": from, "until": until, "status": status });
            let replayed = client.either(|of| client.json("POST", &at(of, &id, "/replay"), &body))?;
            let count = replayed["deliveries"].to_string();
            Output::new(common, &["deliveries"]).item(
                || replayed.clone(),
                || vec![count.clone()],
                || format!("{count} deliveries are sent again"),
            );
        }
        Verb::Confirm { webhook, code } => {
            let id = id_of(&client, &WEBHOOK, webhook)?;
            let body = json!({ "code": code });
            let now = client.either(|of| client.json("POST", &at(of, &id, "/confirm"), &body))?;
            Output::new(common, CONFIRMED).item(
                || now.clone(),
                || row(CONFIRMED, &now),
                || whole(&now, CONFIRMED),
            );
        }
        Verb::Secret { webhook, overlap } => {
            let id = id_of(&client, &WEBHOOK, webhook)?;
            let body = overlap.map_or_else(|| json!({}), |time| json!({ "overlap_s": time.0.as_secs() }));
            let made = client.either(|of| client.json("POST", &at(of, &id, "/secret"), &body))?;
            let columns = &["webhook_id", "secret", "before_until"];
            Output::new(common, columns).item(
                || made.clone(),
                || row(columns, &made),
                || whole(&made, columns),
            );
        }
        Verb::Test { webhook } => return test(&client, &id_of(&client, &WEBHOOK, webhook)?, common),
        Verb::Listen { kind, forward, secret, count } => {
            let forward = forward.as_deref().map(|url| Forward::to(url, secret.as_deref(), common));
            listen(&client, kind.as_deref(), forward.as_ref(), *count, common)?;
        }
    }
    Ok(0)
}

fn test(client: &Client, id: &str, common: &Common) -> Result<u8, Failure> {
    let at = |of: &str, rest: &str| format!("{of}/webhooks/{}{rest}", encoded(id));
    let mut delivery = client.either(|of| client.json("POST", &at(of, "/test"), &json!({})))?;
    let rest = format!("/deliveries/{}", encoded(delivery["event_id"].as_str().unwrap_or_default()));
    let begun = std::time::Instant::now();
    // The first attempt says whether it works; further ones come by themselves.
    let tried = |d: &Value| d["status"] != "waiting" || !d["last_ms"].is_null();
    while !tried(&delivery) && begun.elapsed() < TEST_TIME {
        std::thread::sleep(Duration::from_millis(100));
        delivery = client.either(|of| client.get(&at(of, &rest)))?;
    }
    print(&delivery, common);
    Ok(u8::from(delivery["status"] != "delivered"))
}

/// Where events are posted to from here.
struct Forward {
    url: String,
    secret: Secret<String>,
    agent: ureq::Agent,
}

impl Forward {
    fn to(url: &str, secret: Option<&str>, common: &Common) -> Self {
        let given = || std::env::var("WARP_WEBHOOK_SECRET").ok().filter(|s| !s.is_empty());
        let secret = secret.map(str::to_owned).or_else(given).unwrap_or_else(|| {
            let mut random = [0u8; 16];
            // Without randomness the text is known: it protects nothing but this run.
            let _ = getrandom::fill(&mut random);
            let made = format!("whsec_{}", warp_model::hex::encode(&random));
            if !common.quiet {
                eprintln!("warp: signed with {made}");
            }
            made
        });
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .timeout_global(Some(Duration::from_secs(5)))
            .build();
        Self { url: url.to_owned(), secret: Secret::new(secret), agent: config.into() }
    }

    /// What the other side said.
    fn post(&self, event: &Value) -> String {
        let (id, body) = (event["id"].as_str().unwrap_or_default(), event.to_string());
        let signature = signature::header(id, now(), body.as_bytes(), std::slice::from_ref(&self.secret));
        let request = self.agent.post(&self.url).header("Content-Type", "application/json");
        let sent = request.header("Warp-Webhook-Id", id).header("Warp-Signature", signature).send(&body);
        sent.map_or_else(|e| e.to_string(), |answer| answer.status().as_u16().to_string())
    }
}

/// Prints and forwards what happens from now on; what happens while the API is away comes afterwards.
fn listen(
    client: &Client,
    kind: Option<&str>,
    forward: Option<&Forward>,
    count: Option<u64>,
    common: &Common,
) -> Result<(), Failure> {
    let filter = kind.map(|k| format!("&type={}", encoded(k))).unwrap_or_default();
    let page = |query: &str| client.either(|of| client.page(&format!("{of}/events?{query}{filter}")));
    let mut place = page("sort=-created_at&limit=1")?.last;
    let out = Output::new(common, EVENT);
    let mut shown = 0;
    while count.is_none_or(|most| shown < most) {
        let after = place.as_deref().map(|c| format!("&cursor={}", encoded(c))).unwrap_or_default();
        let Page { items, next, last } = match page(&format!("sort=created_at&limit={MOST}{after}")) {
            // It restarts: the cursor says where to go on.
            Err(why) if why.code == 6 => {
                std::thread::sleep(Duration::from_secs(1));
                continue;
            }
            other => other?,
        };
        for event in items {
            let answer = forward.map(|to| to.post(&event));
            let said = answer.map(|a| format!("  → {a}")).unwrap_or_default();
            out.item(|| event.clone(), || row(EVENT, &event), || told(&event) + &said);
            shown += 1;
            if count.is_some_and(|most| shown >= most) {
                return Ok(());
            }
        }
        place = last.or(place);
        if next.is_none() {
            std::thread::sleep(LOOK_EVERY);
        }
    }
    Ok(())
}

fn told(event: &Value) -> String {
    let text = |name: &str| event[name].as_str().unwrap_or("-");
    format!("{}  {}  {:<18} {}", text("created_at"), text("id"), text("type"), event["data"])
}

const HEAD: &[&str] = &["event", "type", "status", "tries", "answer", "ms", "error"];

fn line(delivery: &Value) -> Vec<String> {
    let text = |name: &str| delivery[name].as_str().unwrap_or("").to_owned();
    let number = |name: &str| delivery[name].as_i64().map_or_else(|| "-".to_owned(), |n| n.to_string());
    vec![
        text("event_id"),
        text("type"),
        text("status"),
        number("attempts"),
        number("last_status"),
        number("last_ms"),
        text("last_error"),
    ]
}

fn print(delivery: &Value, common: &Common) {
    Output::new(common, DELIVERY).item(
        || delivery.clone(),
        || row(DELIVERY, delivery),
        || whole(delivery, DELIVERY),
    );
}

fn now() -> Wall {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Wall::from_unix_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
