//! `warp vendor-trunks health|reset`: where the vendors' trunks stand, and back into rotation by hand.

use clap::Subcommand;
use serde_json::Value;
use std::ops::ControlFlow;

use super::client::{Client, MOST, encoded};
use super::names;
use super::output::Output;
use super::{Common, Failure};

#[derive(Subcommand, Debug)]
pub(super) enum Verb {
    /// Every vendor trunk: whether it gets calls, and why not.
    Health,
    /// A trunk that is down gets its calls again, from the next one on.
    Reset {
        /// vtk_…, or a vendor (vnd_… or its slug): all its trunks.
        what: String,
    },
}

pub(super) fn run(verb: &Verb, common: &Common) -> Result<u8, Failure> {
    let client = Client::of(common)?;
    let out = Output::new(common, COLUMNS);
    match verb {
        Verb::Health => {
            for trunk in trunks(&client, "")? {
                let health = client.get(&format!("/admin/vendor-trunks/{}/health", text(&trunk, "id")));
                // A trunk that calls do not know (disabled) has no health, and says so.
                let health =
                    health.or_else(|why| if why.code == 5 { Ok(unknown(&why)) } else { Err(why) })?;
                print(&out, &client, &trunk, health);
            }
        }
        Verb::Reset { what } => {
            let found = if what.starts_with("vtk_") {
                vec![client.get(&format!("/admin/vendor-trunks/{}", encoded(what)))?]
            } else {
                let vendor = names::named(&client, "vnd", what)?;
                trunks(&client, &format!("?vendor={}", encoded(&vendor)))?
            };
            for trunk in found {
                let path = format!("/admin/vendor-trunks/{}/reset", text(&trunk, "id"));
                let health = client.json("POST", &path, &serde_json::json!({}))?;
                print(&out, &client, &trunk, health);
            }
        }
    }
    Ok(0)
}

const COLUMNS: &[&str] = &[
    "id",
    "vendor",
    "name",
    "addresses",
    "state",
    "share_percent",
    "reason",
    "back_in_s",
    "signalling_ips",
    "follow_redirects",
];

fn trunks(client: &Client, query: &str) -> Result<Vec<Value>, Failure> {
    let mut all = Vec::new();
    client.walk(&format!("/admin/vendor-trunks{query}"), MOST, |trunk| {
        all.push(trunk);
        ControlFlow::Continue(())
    })?;
    Ok(all)
}

fn unknown(why: &Failure) -> Value {
    serde_json::json!({"state": "unknown", "share_percent": null, "reason": why.message, "back_in_s": null})
}

fn print(out: &Output<'_>, client: &Client, trunk: &Value, health: Value) {
    let vendor = client.get(&format!("/admin/vendors/{}", text(trunk, "vendor_id"))).unwrap_or_default();
    let vendor = text(&vendor, "slug").to_owned();
    let list = |name: &str| {
        let items = trunk[name].as_array().into_iter().flatten().filter_map(Value::as_str);
        items.collect::<Vec<_>>().join(" ")
    };
    let (addresses, nodes) = (list("addresses"), list("signalling_ips"));
    let follows = trunk["follow_redirects"] == true;
    let of = |name: &str| match &health[name] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let (state, share, reason, back) = (of("state"), of("share_percent"), of("reason"), of("back_in_s"));
    out.item(
        || {
            let mut all = trunk.clone();
            all["health"] = health.clone();
            all
        },
        || {
            let id = text(trunk, "id").to_owned();
            let name = text(trunk, "name").to_owned();
            vec![
                id,
                vendor.clone(),
                name,
                addresses.clone(),
                state.clone(),
                share.clone(),
                reason.clone(),
                back.clone(),
                nodes.clone(),
                follows.to_string(),
            ]
        },
        || {
            let why = match (reason.as_str(), back.as_str()) {
                ("", _) => String::new(),
                (why, "") => format!(": {why}"),
                (why, back) => format!(": {why}, tried again in {back} s"),
            };
            let (id, name) = (text(trunk, "id"), text(trunk, "name"));
            let more = match nodes.as_str() {
                "" => String::new(),
                nodes => format!(", further nodes {nodes}"),
            };
            let more = if follows { more + ", follows redirections" } else { more };
            format!("{id:<30}  {vendor:<12} {name:<12} {addresses:<22} {state}{why}{more}")
        },
    );
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or("")
}
