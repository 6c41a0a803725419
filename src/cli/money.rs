//! `warp balances`, `warp ledger list|top-up|adjust|reverse`, `warp leases list|release`: what billing accounts have, what moved it, and
//! what of it is lent to nodes.

use std::ops::ControlFlow;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use warp_control_plane::noun::ban::BAN;

use super::client::{Client, MOST, encoded};
use super::names::{self, Labels};
use super::nouns::fields;
use super::output::Table;
use super::{Common, Failure};

#[derive(Args, Debug)]
pub(super) struct BalancesArgs {
    /// Only this billing account, by id or name.
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
        /// Only of this billing account, by id or name.
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
    /// The billing account, by id or name.
    ban: String,
    /// How much, in the account's currency: 25 or 25.50.
    #[arg(allow_hyphen_values = true)]
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
        /// Only of this billing account, by id or name.
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
    let only = args.ban.as_ref().map(|ban| names::named(&client, "ban", ban)).transpose()?;
    let columns =
        ["ban_id", "customer_id", "customer", "name", "mode", "balance", "held", "free", "currency"];
    let head = ["id", "customer", "name", "mode", "balance", "held", "free", "currency"];
    let mut out = Table::new(common, &columns, head);
    let mut labels = Labels::of(&client, &BAN);
    client
        .either(|base| {
            let mut bans = Vec::new();
            match &only {
                Some(ban) => bans.push(ban.clone()),
                None => client.walk(&format!("{base}/bans"), MOST, |ban| {
                    bans.push(text(&ban, "id"));
                    ControlFlow::Continue(())
                })?,
            }
            let balance = |ban: &String| client.get(&format!("{base}/bans/{}/balance", encoded(ban)));
            bans.iter().map(balance).collect()
        })
        .map(|all: Vec<Value>| {
            for b in all {
                let customer = labels.name(&text(&b, "customer_id"));
                let name = labels.name(&text(&b, "ban_id"));
                let columns = || {
                    let currency = text(&b["balance"], "currency");
                    let of = |name: &str| amount(&b[name]);
                    vec![
                        text(&b, "ban_id"),
                        text(&b, "customer_id"),
                        customer.clone(),
                        name.clone(),
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
                            free => amount(free),
                        };
                        vec![
                            text(&b, "ban_id"),
                            customer.clone(),
                            name.clone(),
                            text(&b, "mode"),
                            amount(&b["balance"]),
                            amount(&b["held"]),
                            free,
                            text(&b["balance"], "currency"),
                        ]
                    },
                );
            }
            0
        })
}

pub(super) fn ledger(args: &LedgerArgs, common: &Common) -> Result<u8, Failure> {
    let client = Client::of(common)?;
    let columns =
        ["id", "ban_id", "kind", "amount", "currency", "calls", "reason", "reverses", "actor", "created_at"];
    let head = ["at (UTC)", "id", "account", "kind", "amount", "currency", "reason", "calls"];
    let mut out = Table::new(common, &columns, head);
    let mut labels = Labels::of(&client, &BAN);
    let mut show = |p: Value| {
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
                let calls = p["calls"].as_i64().map_or(String::new(), |n| n.to_string());
                let of = |name: &str| text(&p, name);
                vec![
                    of("created_at"),
                    of("id"),
                    labels.name(&of("ban_id")),
                    of("kind"),
                    amount(&p["amount"]),
                    text(&p["amount"], "currency"),
                    of("reason"),
                    calls,
                ]
            },
        );
    };
    match &args.verb {
        LedgerVerb::List { ban, limit } => {
            let query = of_ban(&client, ban.as_deref())?;
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
    let amount = &booking.amount;
    if let Some(positive) = amount.strip_prefix('-').filter(|rest| fields::is_decimal(rest)) {
        let message =
            format!("AMOUNT: {amount} is less than 0, and amounts are what moves, never less than 0");
        let hint =
            format!("to take money from the account: warp ledger adjust {} {positive} --debit", booking.ban);
        return Err(Failure::new(message).with_code(2).hint(hint));
    }
    let id = names::id(client, &["ban"], &booking.ban)?;
    let ban = format!("/admin/bans/{}", encoded(&id));
    let currency = text(&client.get(&ban)?, "currency");
    if !fields::is_decimal(amount) {
        let message = format!("AMOUNT: {amount:?} is no number");
        let hint = format!(
            "{}, with a point before decimals and without a currency: the account's is {currency}",
            fields::example_of(amount)
        );
        return Err(Failure::new(message).with_code(2).hint(hint));
    }
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
    let columns =
        ["number", "ban_id", "node", "granted", "posted", "held", "currency", "expires_at", "closed"];
    let head = ["number", "account", "node", "held", "currency", "until (UTC)", "state"];
    let mut out = Table::new(common, &columns, head);
    let mut show = |l: Value| {
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
                vec![
                    number.clone(),
                    text(&l, "ban_id"),
                    text(&l, "node"),
                    amount(&l["held"]),
                    text(&l["held"], "currency"),
                    text(&l, "expires_at"),
                    state.to_owned(),
                ]
            },
        );
    };
    match &args.verb {
        LeasesVerb::List { ban } => {
            let query = of_ban(&client, ban.as_deref())?;
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

/// The query that leaves only one account's rows.
fn of_ban(client: &Client, ban: Option<&str>) -> Result<String, Failure> {
    let id = ban.map(|named| names::named(client, "ban", named)).transpose()?;
    Ok(id.map_or(String::new(), |id| format!("?ban={}", encoded(&id))))
}

fn amount(money: &Value) -> String {
    text(money, "amount")
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or("").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::api;

    fn booking(amount: &str) -> Booking {
        let why = Why { reason: "wire 17".to_owned(), key: "k".to_owned() };
        Booking { ban: "ban_1".to_owned(), amount: amount.to_owned(), why }
    }

    #[test]
    fn an_amount_that_cannot_be_is_told_as_it_is_written_here() {
        let nobody = Client::new("http://127.0.0.1:9", "k");
        let why = book(&nobody, &booking("-5"), "top-ups", None).unwrap_err();
        assert_eq!(why.code, 2);
        assert!(why.hint.ends_with("warp ledger adjust ban_1 5 --debit"), "{}", why.hint);
        for text in ["2,75", "2.75 EUR"] {
            let (client, asked) = api(vec![r#"{"data":{"currency":"EUR"},"meta":{}}"#]);
            let why = book(&client, &booking(text), "top-ups", None).unwrap_err();
            assert_eq!(why.code, 2);
            assert!(why.hint.starts_with("2.75, ") && why.hint.ends_with("is EUR"), "{}", why.hint);
            assert_eq!(asked.join().unwrap(), ["/api/v1/admin/bans/ban_1"]);
        }
    }
}
