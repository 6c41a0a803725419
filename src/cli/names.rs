//! Names in the place of ids, for every command alike: fields, filters, targets, and what a command is about.
//!
//! Which kinds of things may stand somewhere is read from the form of the id that the API publishes there (`^(vbd|sac)_…`): a new
//! field that holds an id takes names by being published. A text that has the form of an id stays as it is.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use serde_json::Value;
use warp_control_plane::app::caller::Audience;
use warp_control_plane::noun::{self, Noun};

use super::Failure;
use super::client::{Client, MOST, encoded};
use super::nouns::{for_whom, word};

/// The prefix of the ids of a noun.
pub(super) fn prefix(noun: &Noun) -> String {
    let seen = (noun.examples.seen)(Audience::Operator);
    seen["id"].as_str().and_then(|id| id.split('_').next()).unwrap_or_default().to_owned()
}

/// By what, besides its id, an object is found: filters that one object answers to.
pub(super) fn filters(noun: &Noun) -> Vec<&'static str> {
    let by = ["slug", "name", "system_id", "subject"];
    noun.filters.iter().map(|f| f.name).filter(|name| by.contains(name)).collect()
}

/// The prefixes of the ids that a published form takes; none when it is no form of an id.
pub(super) fn prefixes(form: &Value) -> Vec<&str> {
    let all = form["pattern"].as_str().and_then(|p| Some(p.strip_prefix('^')?.split_once("_[0-7]")?.0));
    let all = all.map(|all| all.trim_matches(['(', ')'])).unwrap_or_default();
    let plain = |one: &&str| !one.is_empty() && one.bytes().all(|b| b.is_ascii_lowercase());
    all.split('|').filter(plain).collect()
}

/// The id of an object of this noun that is named by its id, or by what it is called.
pub(super) fn id_of(client: &Client, noun: &Noun, what: &str) -> Result<String, Failure> {
    id(client, &[prefix(noun).as_str()], what)
}

/// The id of what a filter or a flag names. Something that is not there is a word that cannot be (exit code 2).
pub(super) fn named(client: &Client, prefix: &str, what: &str) -> Result<String, Failure> {
    meant(client, &[prefix], what)
}

/// The same of things with ids of any of these prefixes.
pub(super) fn meant(client: &Client, prefixes: &[&str], what: &str) -> Result<String, Failure> {
    id(client, prefixes, what).map_err(|why| if why.code == 3 { why.with_code(2) } else { why })
}

/// The id of an object that is named by its id, or by what it is called, among things with ids of these prefixes. A text where
/// nothing of them has names stays as it is. Errors: nothing is called so (3), or several are (2).
pub(super) fn id(client: &Client, prefixes: &[&str], what: &str) -> Result<String, Failure> {
    if prefixes.iter().any(|p| what.strip_prefix(p).is_some_and(|rest| rest.starts_with('_'))) {
        return Ok(what.to_owned());
    }
    let mut kinds = Vec::new();
    let mut found = Vec::new();
    let mut lists = Vec::new();
    for of in prefixes {
        if let Some(noun) = noun::ALL.iter().find(|noun| prefix(noun) == *of) {
            kinds.push(noun.called);
            lists.push(format!("warp {} list", word(noun)));
            found.extend(of_noun(client, noun, what)?);
        } else if *of == "deck" {
            kinds.push("deck");
            lists.push("warp decks list".to_owned());
            client.walk("/admin/rate-decks", MOST, |deck| {
                found.extend(if deck["name"] == what {
                    deck["id"].as_str().map(str::to_owned)
                } else {
                    None
                });
                ControlFlow::Continue(())
            })?;
        } else if *of == "num" {
            kinds.push("number");
            lists.push("warp numbers list".to_owned());
            let path = |of: &str| format!("{of}/numbers?limit=1&number={}", encoded(what));
            found.extend(ids(client.either(|of| client.page(&path(of)))?.items));
        }
    }
    match (found.as_slice(), kinds.is_empty()) {
        ([], true) => Ok(what.to_owned()),
        ([one], _) => Ok(one.clone()),
        ([], false) => Err(Failure::new(format!("there is no {} {what:?}", kinds.join(" or ")))
            .with_code(3)
            .hint(lists.join(", or "))),
        (several, _) => {
            let message = format!("several are called {what:?}: {}", several.join(", "));
            Err(Failure::new(message).with_code(2).hint("say which by its id, or by whose it is: OWNER/NAME"))
        }
    }
}

/// Ids of what is called so: by the first of its names that anything has, then as `OWNER/NAME`.
fn of_noun(client: &Client, noun: &Noun, what: &str) -> Result<Vec<String>, Failure> {
    let found = called(client, noun, what, "")?;
    let (Some((owner, name)), Some((flag, parent))) = (what.split_once('/'), owner_of(noun)) else {
        return Ok(found);
    };
    if !found.is_empty() {
        return Ok(found);
    }
    match id_of(client, parent, owner) {
        Ok(owner) => called(client, noun, name, &format!("&{flag}={}", encoded(&owner))),
        Err(why) if why.code == 3 => Ok(found),
        Err(why) => Err(why),
    }
}

/// The filter by what a noun belongs to, and that noun.
fn owner_of(noun: &Noun) -> Option<(&'static str, &'static Noun)> {
    let parent = noun.parent.as_ref()?;
    let flag =
        noun.filters.iter().map(|f| f.name).find(|name| parent.id.strip_suffix("_id") == Some(name))?;
    Some((flag, noun::ALL.iter().copied().find(|other| other.many == parent.many)?))
}

fn called(client: &Client, noun: &Noun, what: &str, more: &str) -> Result<Vec<String>, Failure> {
    for filter in filters(noun) {
        let path = |of: &str| format!("{of}/{}?limit=5&{filter}={}{more}", word(noun), encoded(what));
        let found = match for_whom(client, noun, |of| client.page(&path(of))) {
            Ok(page) => ids(page.items),
            // What can be no slug may be a name.
            Err(why) if why.code == 2 => continue,
            Err(why) => return Err(why),
        };
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Ok(Vec::new())
}

fn ids(rows: Vec<Value>) -> Vec<String> {
    rows.iter().filter_map(|row| row["id"].as_str().map(str::to_owned)).collect()
}

/// Most objects whose names are asked for in one list; of those behind them it shows ids.
const LABELS: usize = 100;

/// Names of the objects that the rows of a list speak of, each asked for once.
pub(super) struct Labels<'a> {
    client: &'a Client,
    /// Which side the key is of; nothing is asked where it turns out to see nothing.
    roots: &'static [&'static str],
    known: BTreeMap<String, String>,
}

impl<'a> Labels<'a> {
    /// For the rows of this noun.
    pub(super) fn of(client: &'a Client, noun: &Noun) -> Self {
        let roots: &[&str] = if noun.who.has(Audience::Customer) { &["/admin", ""] } else { &["/admin"] };
        Self { client, roots, known: BTreeMap::new() }
    }

    /// What an object is called; its id where nobody may know.
    pub(super) fn name(&mut self, id: &str) -> String {
        if let Some(name) = self.known.get(id) {
            return name.clone();
        }
        let word = match id.split_once('_') {
            Some(("deck", _)) => Some("rate-decks"),
            Some((of, _)) => noun::ALL.iter().find(|noun| prefix(noun) == of).map(|noun| word(noun)),
            None => None,
        };
        let Some(word) = word.filter(|_| self.known.len() < LABELS) else { return id.to_owned() };
        let found =
            self.roots.iter().find_map(|of| self.client.get(&format!("{of}/{word}/{}", encoded(id))).ok());
        let name = found.and_then(|object| {
            ["slug", "name"].iter().find_map(|field| Some(object[*field].as_str()?.to_owned()))
        });
        let name = name.unwrap_or_else(|| id.to_owned());
        self.known.insert(id.to_owned(), name.clone());
        name
    }
}

/// Puts ids in the place of names wherever the form of a value has an id, at any depth.
pub(super) fn resolve(client: &Client, form: &Value, value: &mut Value) -> Result<(), Failure> {
    match value {
        Value::String(text) => {
            let of = prefixes(form);
            if !of.is_empty() {
                *text = meant(client, &of, text)?;
            }
        }
        Value::Array(items) => {
            for item in items {
                resolve(client, &form["items"], item)?;
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                resolve(client, &form["properties"][name.as_str()], field)?;
            }
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::nouns::fields::{forms, forms_of};
    use crate::cli::tests::api;

    #[test]
    fn the_published_form_of_an_id_says_what_may_be_named_there() {
        let route = forms(&noun::message_route::MESSAGE_ROUTE);
        assert_eq!(prefixes(&route["targets"]["items"]), ["vbd", "sac"]);
        assert_eq!(prefixes(&route["account_id"]), ["sac"]);
        assert!(prefixes(&route["destination"]).is_empty() && prefixes(&route["place"]).is_empty());
        assert!(prefixes(&forms_of("CallExportInput")["cursor"]).is_empty(), "a cursor is no id");
        let targets = &forms_of("NumberInput")["targets"];
        assert_eq!(prefixes(&targets["items"]["properties"]["trunk_id"]), ["trk"]);
        // Each filter by an id takes the names of what it is an id of.
        for noun in noun::ALL {
            for filter in noun.filters.iter().filter(|f| f.what.contains('…')) {
                let form = serde_json::to_value((filter.form)()).unwrap();
                assert_eq!(prefixes(&form).len(), 1, "{} --{}", noun.one, filter.name);
            }
        }
    }

    #[test]
    fn a_name_becomes_its_id_at_any_depth_and_an_id_stays() {
        let bind = r#"{"data":[{"id":"vbd_1"}],"meta":{}}"#;
        let none = r#"{"data":[],"meta":{}}"#;
        let (client, asked) = api(vec![bind, none, none]);
        let route = forms(&noun::message_route::MESSAGE_ROUTE);
        let mut targets = serde_json::json!(["b2", "sac_9"]);
        resolve(&client, &route["targets"], &mut targets).unwrap();
        assert_eq!(targets, serde_json::json!(["vbd_1", "sac_9"]));
        let asked = asked.join().unwrap();
        assert_eq!(asked[0], "/api/v1/admin/vendor-binds?limit=5&name=b2");
        assert_eq!(asked[1], "/api/v1/admin/smpp-accounts?limit=5&name=b2");

        let (client, _asked) = api(vec![none]);
        let why = resolve(
            &client,
            &forms_of("NumberInput")["targets"],
            &mut serde_json::json!([{"trunk_id": "pbx"}]),
        );
        let why = why.unwrap_err();
        assert_eq!((why.code, why.message.as_str()), (2, "there is no trunk \"pbx\""));
        assert_eq!(why.hint, "warp trunks list");

        // Every customer has a billing account of the same name.
        let customer = r#"{"data":[{"id":"cus_1"}],"meta":{}}"#;
        let ban = r#"{"data":[{"id":"ban_1"}],"meta":{}}"#;
        let (client, asked) = api(vec![none, customer, ban]);
        assert_eq!(id(&client, &["ban"], "Acme/main").unwrap(), "ban_1");
        let asked = asked.join().unwrap();
        assert_eq!(asked[2], "/api/v1/admin/bans?limit=5&name=main&customer=cus_1");

        let two = r#"{"data":[{"id":"trk_1"},{"id":"trk_2"}],"meta":{}}"#;
        let (client, _asked) = api(vec![two]);
        let why = id(&client, &["trk"], "pbx").unwrap_err();
        assert!(why.code == 2 && why.message.contains("trk_1, trk_2"), "{why:?}");
    }
}
