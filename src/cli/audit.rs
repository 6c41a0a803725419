//! `warp audit list`: who did what to which object.

use clap::{Args, Subcommand};
use serde_json::Value;
use warp_control_plane::noun::customer::CUSTOMER;

use super::client::{Client, encoded};
use super::names::id_of;
use super::nouns::print_list;
use super::when::When;
use super::{Common, Failure};

#[derive(Args, Debug)]
pub(super) struct AuditArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Lines of the audit log, newest first; with a customer's key those of its own objects.
    List {
        /// Only lines of this object, by its id (trk_…).
        #[arg(long)]
        object: Option<String>,
        /// Only what this key (key_…) or user (usr_…) did.
        #[arg(long)]
        actor: Option<String>,
        /// Only this action, for example trunk.update.
        #[arg(long)]
        action: Option<String>,
        /// Only what concerns this customer, by id or name (operators only).
        #[arg(long, value_name = "WHOSE")]
        customer: Option<String>,
        /// Done at or after this time: RFC 3339, or so long ago (30m, 2h, 7d).
        #[arg(long)]
        since: Option<When>,
        /// Done before this time: the same.
        #[arg(long)]
        until: Option<When>,
        /// Rows at most. 0: all there are.
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
}

const COLUMNS: &[&str] =
    &["id", "at", "actor", "action", "object", "customer_id", "request_id", "before", "detail"];

/// The API's parameters, and what they are called here.
const FLAGS: &[(&str, &str)] = &[("at[gte]", "--since"), ("at[lt]", "--until")];

pub(super) fn run(args: &AuditArgs, common: &Common) -> Result<u8, Failure> {
    ask(args, common).map_err(|why| why.renamed(FLAGS))
}

fn ask(args: &AuditArgs, common: &Common) -> Result<u8, Failure> {
    let client = Client::of(common)?;
    let Verb::List { object, actor, action, customer, since, until, limit } = &args.verb;
    When::in_order(since.as_ref(), until.as_ref())?;
    let customer = customer.as_ref().map(|named| id_of(&client, &CUSTOMER, named)).transpose()?;
    let all = [
        ("object", object.clone()),
        ("actor", actor.clone()),
        ("action", action.clone()),
        ("customer", customer),
        ("at%5Bgte%5D", since.as_ref().map(When::text)),
        ("at%5Blt%5D", until.as_ref().map(When::text)),
    ];
    let given = all.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
    let query: Vec<String> = given.map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    let glue = if query.is_empty() { "" } else { "?" };
    let list = format!("audit{glue}{}", query.join("&"));
    print_list(&client, (COLUMNS, HEAD), None, &list, *limit, common, line)?;
    Ok(0)
}

const HEAD: &[&str] = &["at (UTC)", "who", "action", "object", "what is other than before"];

/// A line for people: when, who, what, and of an object that was changed the fields that are other than before.
fn line(entry: &Value) -> Vec<String> {
    let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    vec![text("at"), text("actor"), text("action"), text("object"), changes(entry)]
}

fn changes(entry: &Value) -> String {
    let (Some(before), Some(now)) = (entry["before"].as_object(), entry["detail"].as_object()) else {
        return String::new();
    };
    // These two change with every change.
    let counts = |name: &str| name != "version" && name != "updated_at";
    let other = now.iter().filter(|(name, value)| counts(name) && before.get(*name) != Some(value));
    let old = |name: &str| before.get(name).unwrap_or(&Value::Null);
    other.map(|(name, value)| format!("{name}: {} -> {value}", old(name))).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_change_says_what_is_other_than_before() {
        let entry = json!({ "at": "t", "actor": "key_1", "action": "trunk.update", "object": "trk_1",
            "before": { "name": "a", "cps": 1, "version": 1 }, "detail": { "name": "a", "cps": 2, "cnam": "x", "version": 2 } });
        assert_eq!(changes(&entry), "cnam: null -> \"x\", cps: 1 -> 2");
        assert_eq!(changes(&json!({ "before": null, "detail": { "name": "a" } })), "");
    }
}
