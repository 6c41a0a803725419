//! `warp balances`, `warp ledger list|top-up|adjust|reverse`, `warp leases list|release`: what billing accounts have, what moved it, and
//! what of it is lent to nodes.

use std::ops::ControlFlow;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{Client, MOST, encoded};
use super::output::Output;
use super::{Common, Failure};

#[derive(Args, Debug)]
pub(super) struct BalancesArgs {
    /// Only this billing account (ban_…).
    ban: Option<String>,
}

#[derive(Args, Debug)]
pub(super) struct LedgerArgs {
    #[command(subcommand)]
    verb: LedgerVerb,
}

#[derive(Subcommand, Debug)]
enum LedgerVerb {
    /// Postings, newest first.
    List {
        /// Only of this billing account (ban_…).
        #[arg(long)]
        ban: Option<String>,
        /// How many at most.
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Book money that came in for a billing account.
    TopUp {
        #[command(flatten)]
        booking: Booking,
    },
    /// Correct a balance; with --debit the account pays, else it gets the amount.
    Adjust {
        #[command(flatten)]
        booking: Booking,
        /// The account pays the amount.
        #[arg(long)]
        debit: bool,
    },
    /// Take a top-up or an adjustment back, whole and once.
    Reverse {
        /// The posting (pst_…).
        posting: String,
        #[command(flatten)]
        why: Why,
    },
}

#[derive(Args, Debug)]
struct Booking {
    /// The billing account (ban_…).
    ban: String,
    /// How much, in the account's currency: 25 or 25.50.
    amount: String,
    #[command(flatten)]
    why: Why,
}

#[derive(Args, Debug)]
struct Why {
    /// The reason, which stays with the posting.
    #[arg(long)]
    reason: String,
    /// Your number for this booking. The same number again never books twice.
    #[arg(long)]
    key: String,
}

#[derive(Args, Debug)]
pub(super) struct LeasesArgs {
    #[command(subcommand)]
    verb: LeasesVerb,
}

#[derive(Subcommand, Debug)]
enum LeasesVerb {
    /// Money of accounts that is lent to nodes, newest first.
    List {
        /// Only of this billing account (ban_…).
        #[arg(long)]
        ban: Option<String>,
    },
    /// Give the money of a lost node back to its account. Its records must be posted, or lost for good.
    Release {
        /// The number of the lease.
        number: u64,
        /// The reason, which stands in the audit log.
        #[arg(long)]
        reason: String,
    },
}

pub(super) fn balances(args: &BalancesArgs, common: &Common) -> Result<u8, Failure> {
    let client = Client::of(common)?;
    let out = Output::new(common, &["ban_id", "customer_id", "mode", "balance", "held", "free", "currency"]);
    client
        .either(|base| {
            let mut bans = Vec::new();
            match &args.ban {
                Some(ban) => bans.push(ban.clone()),
                None => client.walk(&format!("{base}/bans"), MOST, |ban| {
                    bans.push(text(&ban, "id"));
                    ControlFlow::Continue(())
                })?,
            }
            bans.iter().map(|ban| client.get(&format!("{base}/bans/{}/balance", encoded(ban)))).collect()
        })
        .map(|all: Vec<Value>| {
            for b in all {
                let columns = || {
                    let currency = text(&b["balance"], "currency");
                    let of = |name: &str| amount(&b[name]);
                    vec![
                        text(&b, "ban_id"),
                        text(&b, "customer_id"),
                        text(&b, "mode"),
                        of("balance"),
                        of("held"),
                        of("free"),
                        currency,
                    ]
                };
                out.item(
                    || b.clone(),
                    columns,
                    || {
                        let free = match &b["free"] {
                            Value::Null => "no limit".to_owned(),
                            free => format!("{} free", amount(free)),
                        };
                        let (id, mode, currency) =
                            (text(&b, "ban_id"), text(&b, "mode"), text(&b["balance"], "currency"));
                        format!(
                            "{id}  {mode:<8} {:>14} {currency}  {} held, {free}",
                            amount(&b["balance"]),
                            amount(&b["held"])
                        )
                    },
                );
            }
            0
        })
}

pub(super) fn ledger(args: &LedgerArgs, common: &Common) -> Result<u8, Failure> {
    let client = Client::of(common)?;
    let out = Output::new(
        common,
        &["id", "ban_id", "kind", "amount", "currency", "calls", "reason", "reverses", "actor", "created_at"],
    );
    let show = |p: Value| {
        let columns = || {
            let currency = text(&p["amount"], "currency");
            let calls = p["calls"].as_i64().map_or(String::new(), |n| n.to_string());
            let of = |name: &str| text(&p, name);
            vec![
                of("id"),
                of("ban_id"),
                of("kind"),
                amount(&p["amount"]),
                currency,
                calls,
                of("reason"),
                of("reverses"),
                of("actor"),
                of("created_at"),
            ]
        };
        out.item(
            || p.clone(),
            columns,
            || {
                let (id, at, kind, reason) =
                    (text(&p, "id"), text(&p, "created_at"), text(&p, "kind"), text(&p, "reason"));
                let currency = text(&p["amount"], "currency");
                let calls = p["calls"].as_i64().map_or(String::new(), |n| format!(" ({n})"));
                format!("{at}  {id}  {kind:<10} {:>14} {currency}  {reason}{calls}", amount(&p["amount"]))
            },
        );
    };
    match &args.verb {
        LedgerVerb::List { ban, limit } => {
            let query = ban.as_ref().map_or(String::new(), |b| format!("?ban={}", encoded(b)));
            let all = client.either(|base| {
                let mut all = Vec::new();
                client.walk(&format!("{base}/ledger{query}"), MOST.min((*limit).max(1)), |p| {
                    if all.len() >= *limit {
                        return ControlFlow::Break(());
                    }
                    all.push(p);
                    ControlFlow::Continue(())
                })?;
                Ok(all)
            })?;
            all.into_iter().for_each(show);
        }
        LedgerVerb::TopUp { booking } => show(book(&client, booking, "top-ups", None)?),
        LedgerVerb::Adjust { booking, debit } => {
            let direction = if *debit { "debit" } else { "credit" };
            show(book(&client, booking, "adjustments", Some(direction))?);
        }
        LedgerVerb::Reverse { posting, why } => {
            let path = format!("/admin/ledger/{}/reversal", encoded(posting));
            show(client.keyed(&path, &why.key, &json!({ "reason": why.reason }))?);
        }
    }
    Ok(0)
}

fn book(client: &Client, booking: &Booking, what: &str, direction: Option<&str>) -> Result<Value, Failure> {
    let ban = format!("/admin/bans/{}", encoded(&booking.ban));
    let currency = text(&client.get(&ban)?, "currency");
    let mut body = json!({
        "amount": { "amount": booking.amount, "currency": currency },
        "reason": booking.why.reason,
    });
    if let Some(direction) = direction {
        body["direction"] = direction.into();
    }
    client.keyed(&format!("{ban}/{what}"), &booking.why.key, &body)
}

pub(super) fn leases(args: &LeasesArgs, common: &Common) -> Result<u8, Failure> {
    let client = Client::of(common)?;
    let out = Output::new(
        common,
        &["number", "ban_id", "node", "granted", "posted", "held", "currency", "expires_at", "closed"],
    );
    let show = |l: Value| {
        let number = l["number"].to_string();
        let columns = || {
            let of = |name: &str| amount(&l[name]);
            let currency = text(&l["held"], "currency");
            vec![
                number.clone(),
                text(&l, "ban_id"),
                text(&l, "node"),
                of("granted"),
                of("posted"),
                of("held"),
                currency,
                text(&l, "expires_at"),
                l["closed"].to_string(),
            ]
        };
        out.item(
            || l.clone(),
            columns,
            || {
                let state = if l["closed"] == true { "closed, waits for records" } else { "open" };
                let (ban, node, until) = (text(&l, "ban_id"), text(&l, "node"), text(&l, "expires_at"));
                let currency = text(&l["held"], "currency");
                format!(
                    "{number:>6}  {ban}  {node:<16} {:>14} {currency} held  until {until}  {state}",
                    amount(&l["held"])
                )
            },
        );
    };
    match &args.verb {
        LeasesVerb::List { ban } => {
            let query = ban.as_ref().map_or(String::new(), |b| format!("?ban={}", encoded(b)));
            client.walk(&format!("/admin/leases{query}"), MOST, |lease| {
                show(lease);
                ControlFlow::Continue(())
            })?;
        }
        LeasesVerb::Release { number, reason } => {
            let path = format!("/admin/leases/{number}/release");
            show(client.json("POST", &path, &json!({ "reason": reason }))?);
        }
    }
    Ok(0)
}

fn amount(money: &Value) -> String {
    text(money, "amount")
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or("").to_owned()
}
