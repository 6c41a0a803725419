//! What stands beside declared nouns: `warp trunks addresses|add-address|remove-address`, and `inbound` of customers, vendors, vendor
//! trunks and trunks.

use clap::{Arg, ArgMatches, Command};
use serde_json::{Map, Value, json};
use warp_control_plane::noun::{self, Noun};

use super::client::{Client, encoded};
use super::names::id_of;
use super::nouns::fields::{forms_of, row, whole};
use super::nouns::{Body, at, for_whom, print_list};
use super::output::Output;
use super::{Common, Failure};

/// What is asked for of an object.
#[derive(Debug)]
pub(super) enum Asked {
    /// The addresses that its calls come from.
    Addresses,
    /// One more of them, or several.
    AddAddress(Vec<String>),
    /// One less.
    RemoveAddress(String),
    /// What holds for calls to numbers; without fields it is shown.
    Inbound(Body),
}

/// The published type of what `inbound` sets for objects of this noun, and what it is.
pub(super) fn inbound_of(noun: &Noun) -> Option<(&'static str, &'static str)> {
    Some(match noun.one {
        "customer" => (
            "InboundTermsInput",
            "What a customer's inbound calls are sold by: deck_ids='Inbound A', priced_by=caller",
        ),
        "vendor" => {
            ("InboundTermsInput", "What a vendor charges for the calls that it brings: deck_ids='Inbound A'")
        }
        "vendor_trunk" => {
            ("InboundNetworksInput", "Where the calls of a vendor trunk come from: networks=198.51.100.0/28")
        }
        "trunk" => (
            "InboundTargetsInput",
            "Where a trunk takes calls to numbers: addresses=192.0.2.9:5060, transport=tcp",
        ),
        _ => return None,
    })
}

/// The verbs that objects of this noun have besides their own.
pub(super) fn verbs(noun: &'static Noun, what: &Arg, fields: impl Fn() -> [Arg; 2]) -> Vec<Command> {
    let mut all = Vec::new();
    if let Some((_, about)) = inbound_of(noun) {
        let about = format!("{about}; without fields it is shown.");
        all.push(Command::new("inbound").about(about).arg(what.clone()).args(fields()));
    }
    if noun == &noun::trunk::TRUNK {
        let address =
            || Arg::new("ADDRESS").required(true).help("An address or a network: 192.0.2.9, 198.51.100.0/28");
        let verb = |name, about| Command::new(name).about(about).arg(what.clone());
        all.push(verb("addresses", "The addresses that a trunk's calls come from."));
        let add = verb("add-address", "Take calls from an address for this trunk's; live within 1 s.");
        all.push(add.arg(address().num_args(1..)));
        all.push(verb("remove-address", "Take no calls from an address any more.").arg(address()));
    }
    all
}

/// What one of these verbs was given; `None`: it is none of them.
pub(super) fn asked(verb: &str, given: &ArgMatches, body: impl FnOnce() -> Body) -> Option<Asked> {
    let addresses = || given.get_many::<String>("ADDRESS").into_iter().flatten().cloned();
    Some(match verb {
        "addresses" => Asked::Addresses,
        "add-address" => Asked::AddAddress(addresses().collect()),
        "remove-address" => Asked::RemoveAddress(addresses().next()?),
        "inbound" => Asked::Inbound(body()),
        _ => return None,
    })
}

const ADDRESS: &[&str] = &["address", "created_at"];

pub(super) fn run(noun: &Noun, what: &str, asked: &Asked, common: &Common) -> Result<u8, Failure> {
    let client = Client::of(common)?;
    let id = id_of(&client, noun, what)?;
    let ips = |of: &str| format!("{}/ips", at(of, noun, &id));
    let line = |a: &Value| row(ADDRESS, a).join("  ");
    match asked {
        Asked::Addresses => {
            let path = at("", noun, &id);
            print_list(&client, (ADDRESS, ADDRESS), None, &format!("{}/ips", &path[1..]), 0, common, |a| {
                row(ADDRESS, a)
            })?;
        }
        Asked::AddAddress(addresses) => {
            let out = Output::new(common, ADDRESS);
            for address in addresses {
                let body = json!({ "address": address });
                let made = client.either(|of| client.json("POST", &ips(of), &body))?;
                out.item(|| made.clone(), || row(ADDRESS, &made), || line(&made));
            }
        }
        Asked::RemoveAddress(address) => {
            client.either(|of| client.delete(&format!("{}?address={}", ips(of), encoded(address))))?;
            Output::new(common, &["address", "deleted"]).item(
                || json!({ "address": address, "deleted": true }),
                || vec![address.clone(), true.to_string()],
                || format!("calls from {address} are no longer this trunk's"),
            );
        }
        Asked::Inbound(body) => {
            let forms = forms_of(inbound_of(noun).map_or("", |(of, _)| of));
            let path = |of: &str| format!("{}/inbound", at(of, noun, &id));
            let mut now = for_whom(&client, noun, |of| client.get(&path(of)))?;
            if !body.is_empty() {
                let change = body.read(&client, &forms, super::nouns::word(noun), Some(&now))?;
                let new = laid_over(&forms, &now, change);
                now = for_whom(&client, noun, |of| client.json("PUT", &path(of), &new))?;
            }
            let columns: Vec<&str> = forms.keys().map(String::as_str).collect();
            Output::new(common, &columns).item(
                || now.clone(),
                || row(&columns, &now),
                || whole(&now, &columns),
            );
        }
    }
    Ok(0)
}

/// What replaces an object: that of today, as far as it can be written, with the change over it.
fn laid_over(forms: &Map<String, Value>, now: &Value, change: Value) -> Value {
    let mut new: Map<String, Value> =
        forms.keys().filter_map(|name| Some((name.clone(), now.get(name)?.clone()))).collect();
    if let Value::Object(change) = change {
        new.extend(change);
    }
    new.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_replaces_keeps_what_was_not_said_and_nothing_that_cannot_be_written() {
        let forms = forms_of("InboundTargetsInput");
        let now = json!({"addresses": ["192.0.2.9:5060"], "hosts": [], "transport": "tcp", "number_format": "e164", "updated_at": "x"});
        let new = laid_over(&forms, &now, json!({"number_format": "national"}));
        assert_eq!(
            new,
            json!({"addresses": ["192.0.2.9:5060"], "hosts": [], "transport": "tcp", "number_format": "national"})
        );
    }

    #[test]
    fn each_type_of_inbound_terms_is_published() {
        for noun in noun::ALL {
            let Some((name, about)) = inbound_of(noun) else { continue };
            let forms = forms_of(name);
            assert!(
                !forms.is_empty() && forms.keys().any(|field| about.contains(field.as_str())),
                "{name}: {about}"
            );
        }
    }
}
