//! `warp why`: one sentence of what happened to a call, a number or an address, strangers included, and the command that mends it.

use std::net::{IpAddr, SocketAddr};

use clap::Args;
use serde_json::{Value, json};
use warp_policy::{Cidr, Refusal};

use super::client::{Client, encoded};
use super::output::Output;
use super::{Common, Failure};

#[derive(Args, Debug)]
pub(super) struct WhyArgs {
    /// call_…, msg_…, a SIP Call-ID, a phone number (its newest call), or an IP address.
    what: String,
}

/// What is known, and what to do.
struct Told {
    /// What it is about: an id, a number, an address.
    about: String,
    sentence: String,
    /// A command; empty: there is nothing to mend.
    fix: String,
}

pub(super) fn run(args: &WhyArgs, common: &Common) -> Result<u8, Failure> {
    let client = Client::of(common)?;
    let what = args.what.trim();
    let told = match what.parse::<IpAddr>() {
        Ok(ip) => of_address(&client, ip)?,
        Err(_) if what.starts_with("msg_") => of_message(&client, what)?,
        Err(_) => of_call(&client, what)?,
    };
    let columns = ["about", "why", "fix"];
    Output::new(common, &columns).item(
        || json!({"about": told.about, "why": told.sentence, "fix": told.fix}),
        || vec![told.about.clone(), told.sentence.clone(), told.fix.clone()],
        || match told.fix.as_str() {
            "" => told.sentence.clone(),
            fix => format!("{}\n  {fix}", told.sentence),
        },
    );
    Ok(0)
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// A number in one of the usual writings; else a text is a Call-ID.
fn is_number(what: &str) -> bool {
    let digits = what.chars().filter(char::is_ascii_digit).count();
    digits >= 3 && what.chars().all(|c| c.is_ascii_digit() || "+-(). ".contains(c))
}

/// What became of a message, as its row says it.
fn of_message(client: &Client, id: &str) -> Result<Told, Failure> {
    let message = client.either(|of| client.get(&format!("{of}/messages/{}", encoded(id))))?;
    let (from, to) = (text(&message, "source"), text(&message, "destination"));
    let fix = match (text(&message, "status"), text(&message, "bind_id")) {
        ("delivered" | "cancelled" | "taken", _) => String::new(),
        ("queued" | "waiting", bind) if !bind.is_empty() => format!("warp vendor-binds show {bind}"),
        _ => format!("warp messages show {id}    # its timeline"),
    };
    let sentence = format!("{from} → {to}, {}: {}", text(&message, "status"), text(&message, "explanation"));
    Ok(Told { about: id.to_owned(), sentence, fix })
}

fn of_call(client: &Client, what: &str) -> Result<Told, Failure> {
    let live = |of: &str, query: &str| -> Result<Option<Value>, Failure> {
        let seen = client.get(&format!("{of}/calls/live?most=500{query}"))?;
        Ok(seen["calls"].as_array().and_then(|calls| {
            let mut calls = calls.iter();
            match query {
                "" => calls.find(|c| c["sip_call_id"] == what).cloned(),
                _ => calls.next().cloned(),
            }
        }))
    };
    client.either(|of| {
        if what.starts_with("call_") {
            return match client.get(&format!("{of}/calls/{}", encoded(what))) {
                Ok(call) => Ok(ended(&call, of)),
                Err(why) if why.code == 3 => match live(of, &format!("&call={}", encoded(what)))? {
                    Some(call) => Ok(in_the_air(&call)),
                    None => Err(why),
                },
                Err(why) => Err(why),
            };
        }
        let number = is_number(what);
        let in_air = if number { live(of, &format!("&number={}", encoded(what)))? } else { live(of, "")? };
        if let Some(call) = in_air {
            return Ok(in_the_air(&call));
        }
        // A number may have been called, or have called; the newest of both counts.
        let queries = match number {
            true => vec![format!("called={}", encoded(what)), format!("caller={}", encoded(what))],
            false => vec![format!("call_id={}", encoded(what))],
        };
        let mut newest: Option<Value> = None;
        for query in queries {
            let found = client.page(&format!("{of}/calls?limit=1&{query}"))?.items.into_iter().next();
            let later = |c: &Value| newest.as_ref().is_none_or(|n| text(c, "setup_at") > text(n, "setup_at"));
            newest = found.filter(later).or(newest);
        }
        let Some(call) = newest else {
            let what = if number {
                format!("no call from or to {what}")
            } else {
                format!("no call with the Call-ID {what:?}")
            };
            return Err(Failure::new(format!("there is {what}"))
                .with_code(3)
                .hint("a request of an address without an account makes no call: warp why IP-ADDRESS"));
        };
        let call = client.get(&format!("{of}/calls/{}", encoded(text(&call, "id"))))?;
        Ok(ended(&call, of))
    })
}

fn in_the_air(call: &Value) -> Told {
    let id = text(call, "id").to_owned();
    let (from, to) = (text(call, "caller"), text(call, "called"));
    let sentence = match text(call, "state") {
        "answered" => format!("{from} → {to} is in the air, answered."),
        "ringing" => format!("{from} → {to} rings."),
        _ => format!("{from} → {to} is being set up, at its attempt {}.", call["attempts"]),
    };
    Told { fix: format!("warp ladder --live {id}"), about: id, sentence }
}

/// A call that is over. `of` says whose eyes look: an operator's commands name what customers have not.
fn ended(call: &Value, of: &str) -> Told {
    let (id, code) = (text(call, "id"), text(call, "internal_code"));
    let (from, to) = (text(call, "caller"), text(call, "called"));
    let status = call["sip_code"].as_i64().unwrap_or(0);
    let operator = !of.is_empty();
    let known = Refusal::ALL.into_iter().find(|r| r.code() == code);
    let ours = known.map(|r| super::route::because(r, &call["record"]["decision"])).or_else(|| meaning(code));
    let end = match (text(call, "outcome"), ours) {
        ("answered", None) if code.is_empty() => {
            let who = match text(call, "release_side") {
                "caller" => "the caller",
                "callee" => "the called side",
                _ => "the platform",
            };
            format!("was answered, and {who} ended it")
        }
        ("answered", Some(why)) => format!("was answered, and the platform ended it: {why}"),
        ("answered", None) => format!("was answered, and the platform ended it ({code})"),
        ("busy", _) => format!("was busy ({status})"),
        ("no_answer", _) => format!("was answered by nobody ({status})"),
        ("cancelled", None) => "was given up by its caller".to_owned(),
        (_, Some(why)) => format!("got {status}: {why}"),
        (_, None) if code.is_empty() => format!("got {status} from the other side"),
        (_, None) => format!("got {status} ({code})"),
    };
    let tries = call["record"]["legs"].as_array().map_or(&[][..], Vec::as_slice);
    let before: Vec<String> = tries.iter().filter_map(tried).collect();
    let before = if before.is_empty() { String::new() } else { format!(" Before, {}.", before.join(", ")) };
    let off = tries.last().filter(|leg| SILENT.iter().any(|(ended_by, _)| leg["ended_by"] == *ended_by));
    let fix = match known {
        // Its address is to be looked at, not the number's order of targets.
        Some(Refusal::TargetsExhausted) if off.is_some_and(|leg| leg["trunk_id"].is_string()) => {
            format!(
                "warp trunks show {}    # inbound: its address",
                text(&tries[tries.len() - 1], "trunk_id")
            )
        }
        Some(refusal) => mended_by(refusal, call, operator),
        None if ["operator", "customer"].contains(&code) => format!("warp audit list --object {id}"),
        None if matches!(text(call, "outcome"), "answered" | "busy" | "no_answer" | "cancelled")
            && code.is_empty() =>
        {
            String::new()
        }
        None => format!("warp ladder {id}"),
    };
    Told { about: id.to_owned(), sentence: format!("{from} → {to} {end}.{before}"), fix }
}

/// Attempts that reached nobody, by how they ended.
const SILENT: [(&str, &str); 3] = [
    ("transport_error", "nothing listens there"),
    ("no_response", "not a word came back"),
    ("no_progress", "it was taken, and it never rang"),
];

/// What an attempt came to that did not take the call. Where it went is the carrier's and its own customer's to know.
fn tried(leg: &Value) -> Option<String> {
    let n = &leg["attempt_no"];
    if leg["ended_by"] == "failover" {
        return Some(format!("attempt {n} got {}", leg["sip_code"]));
    }
    let (_, what) = SILENT.iter().find(|(ended_by, _)| leg["ended_by"] == *ended_by)?;
    let whose =
        ["trunk_id", "vendor_trunk_id"].into_iter().map(|name| text(leg, name)).find(|id| !id.is_empty());
    let whose = whose.map_or(String::new(), |id| format!(" by trunk {id}"));
    let at = match text(leg, "egress_ip") {
        "" => String::new(),
        ip => format!(" to {ip}"),
    };
    Some(format!("attempt {n}{whose}{at}: {what}"))
}

/// Ends that are no refusals of the policy.
fn meaning(code: &str) -> Option<&'static str> {
    Some(match code {
        "operator" => "the carrier's staff hung up",
        "customer" => "the customer hung up by API or console",
        "media_timeout" => "no media came for too long",
        "media_unavailable" => "no media relay answered",
        "session_expired" => "neither side refreshed the session in time",
        "max_duration" => "it had lasted as long as a call may",
        "lease_ended" => "its node could not extend the money that it was paid from",
        "no_ack" => "nobody acknowledged the answer",
        "no_tag" => "the vendor's answer named no dialog",
        "journal" => "its answer could not be written to the disk of the node",
        "drain" => "the node was taken out of service",
        "recovered" => "the node had crashed",
        "internal_error" => "the node failed within it",
        "vendors_exhausted" => "nobody that was asked took it",
        "setup_timeout" => "it was set up for longer than a call may",
        _ => return None,
    })
}

/// The command that changes what refused it.
fn mended_by(refusal: Refusal, call: &Value, operator: bool) -> String {
    let or = |name: &str, other: &str| match text(call, name) {
        "" => other.to_owned(),
        id => id.to_owned(),
    };
    let (trunk, customer) = (or("trunk_id", "TRUNK"), or("customer_id", "CUSTOMER"));
    let called = or("called_e164", text(call, "called"));
    // A call to a number of ours has no trunk to ask the route tester about: its decision says whose price is missing.
    let route = match text(call, "direction") {
        "inbound" => {
            format!("warp calls show {}    # the decision: whose price is missing", text(call, "id"))
        }
        _ => format!("warp route {called} --from {} --trunk {trunk}", text(call, "caller")),
    };
    match refusal {
        Refusal::TrunkDisabled => format!("warp trunks change {trunk} status=active"),
        Refusal::DestinationBlocked => {
            format!("warp trunks show {trunk}    # destinations, own_destinations")
        }
        Refusal::CallBlocked if operator => "warp blocks list".to_owned(),
        Refusal::MaxRate => format!("warp trunks change {trunk} max_rate_per_min='PRICE USD'"),
        Refusal::InvalidCaller => format!("warp trunks change {trunk} require_valid_caller=false"),
        Refusal::NoRouteAvailable if operator => "warp vendor-trunks health".to_owned(),
        Refusal::RatingFailed | Refusal::NoRoute | Refusal::NoRouteAtMargin | Refusal::NoRouteAvailable => {
            route
        }
        Refusal::TrunkChannels => format!("warp trunks change {trunk} channels=N"),
        Refusal::TrunkCps => format!("warp trunks change {trunk} cps=N"),
        Refusal::CustomerChannels if operator => format!("warp customers change {customer} channels=N"),
        Refusal::CustomerCps if operator => format!("warp customers change {customer} cps=N"),
        Refusal::DailySpend => {
            format!("warp trunks show {trunk}    # daily_spend; warp customers show {customer}")
        }
        Refusal::NoCredit if operator => {
            "warp balances    # then: warp ledger top-up BAN AMOUNT --reason WHY --key KEY".to_owned()
        }
        Refusal::NoCredit => "warp balances".to_owned(),
        Refusal::NumberNotHere | Refusal::NoDestination | Refusal::TargetsExhausted => {
            format!("warp numbers show {called}")
        }
        Refusal::NoEmergencyRoute if operator => {
            "see docs/how-to/emergency-calls.md: PUT /api/v1/admin/emergency-route".to_owned()
        }
        Refusal::InvalidNumber
        | Refusal::IncompleteNumber
        | Refusal::UnassignedNumber
        | Refusal::ServiceCode => route,
        Refusal::CallBlocked
        | Refusal::CustomerChannels
        | Refusal::CustomerCps
        | Refusal::NoEmergencyRoute => "ask your carrier: this is theirs to change".to_owned(),
    }
}

fn of_address(client: &Client, ip: IpAddr) -> Result<Told, Failure> {
    let about = ip.to_string();
    let seen = client.get(&format!("/admin/refused-sources?address={}", encoded(&about)))?;
    let newest = seen["sources"].as_array().and_then(|all| all.first());
    if let Some(source) = newest {
        return Ok(stranger(&about, source));
    }
    // Nobody who was refused lately: whose is it?
    let owner = client.find("/admin/trunks", |trunk| {
        let path = format!("/admin/trunks/{}/ips?limit=1&address={}", text(trunk, "id"), encoded(&about));
        client.page(&path).is_ok_and(|page| !page.items.is_empty())
    })?;
    let vendors = match owner {
        Some(_) => None,
        None => client.find("/admin/vendor-trunks", |trunk| is_of_vendor(client, trunk, ip))?,
    };
    let (sentence, fix) = match (owner, vendors) {
        (Some(trunk), _) => (
            format!(
                "{about} is an address of the trunk {:?} ({}): what came from it was not refused as a stranger's. Its calls have their own reasons.",
                text(&trunk, "name"),
                text(&trunk, "id")
            ),
            format!("warp calls list --trunk {} --limit 5", text(&trunk, "id")),
        ),
        (None, Some(trunk)) => (
            format!(
                "{about} is an address of the vendor trunk {:?} ({}): what came from it was not refused as a stranger's. Its calls have their own reasons.",
                text(&trunk, "name"),
                text(&trunk, "id")
            ),
            format!("warp calls list --vendor {} --limit 5", text(&trunk, "vendor_id")),
        ),
        (None, None) => {
            let silent: Vec<&str> =
                seen["silent"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let silent = if silent.is_empty() {
                String::new()
            } else {
                format!(" {} did not answer.", silent.join(", "))
            };
            (
                format!("nothing came from {about} lately, and no trunk has this address by itself.{silent}"),
                "warp doctor    # does anything reach this node: addresses, ports, firewall".to_owned(),
            )
        }
    };
    Ok(Told { about, sentence, fix })
}

/// Whether calls go to this address of a vendor, or come from it.
fn is_of_vendor(client: &Client, trunk: &Value, ip: IpAddr) -> bool {
    let any = |all: &Value, is: &dyn Fn(&str) -> bool| {
        all.as_array().is_some_and(|all| all.iter().filter_map(Value::as_str).any(is))
    };
    let called = |at: &str| at.parse::<SocketAddr>().is_ok_and(|at| at.ip() == ip);
    let calling = |network: &str| network.parse::<Cidr>().is_ok_and(|network| network.contains(ip));
    let inbound = || client.get(&format!("/admin/vendor-trunks/{}/inbound", text(trunk, "id")));
    any(&trunk["addresses"], &called) || inbound().is_ok_and(|of| any(&of["networks"], &calling))
}

fn stranger(about: &str, source: &Value) -> Told {
    let answered = match source["status"].as_i64() {
        None => "was not answered: it sends too much, or looks like a scanner".to_owned(),
        Some(401 | 407) => "was asked for a password and gave no right one".to_owned(),
        Some(status) => format!("was answered {status}, because nobody here has this address"),
    };
    let agent = match text(source, "agent") {
        "" => String::new(),
        agent => format!(" ({agent})"),
    };
    let sentence = format!(
        "{about}{agent} has no account here: its {} of {} to {} {answered}; {} requests, the last at {}.",
        text(source, "method"),
        text(source, "from"),
        text(source, "uri"),
        source["requests"],
        text(source, "at"),
    );
    let fix = format!(
        "curl -H \"Authorization: Bearer $WARP_API_KEY\" -H 'Content-Type: application/json' -d '{{\"address\":\"{about}\"}}' \
         $WARP_API_URL/api/v1/admin/trunks/TRUNK/ips    # when it is a customer's"
    );
    Told { about: about.to_owned(), sentence, fix }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(outcome: &str, status: u16, code: &str) -> Value {
        json!({"id": "call_1", "caller": "+12025550100", "called": "+14155550123", "called_e164": "+14155550123", "outcome": outcome,
            "sip_code": status, "internal_code": code, "release_side": "caller", "trunk_id": "trk_1", "customer_id": "cus_1",
            "record": {"legs": [{"attempt_no": 1, "sip_code": 503, "ended_by": "failover"}, {"attempt_no": 2, "sip_code": 200, "ended_by": "answered"}]}})
    }

    /// Each refusal that there is has its sentence and a command, for operators and for customers.
    #[test]
    fn each_refusal_has_one_sentence_and_a_command() {
        for refusal in Refusal::ALL {
            for of in ["/admin", ""] {
                let told = ended(&call("rejected", refusal.sip_status(), refusal.code()), of);
                assert!(told.sentence.contains(refusal.meaning()), "{}", told.sentence);
                assert!(!told.fix.is_empty(), "{}", refusal.code());
                let operators = ["vendor", "blocks", "customers change", "ledger"];
                assert!(!of.is_empty() || !operators.iter().any(|w| told.fix.contains(w)), "{}", told.fix);
            }
        }
        // Of a price that is missing: whose, and for customers no word of a vendor.
        let unpriced = |decision: Value, of| {
            let mut call = call("rejected", 503, "rating_failed");
            call["record"]["decision"] = decision;
            ended(&call, of).sentence
        };
        for (decision, of, whose) in [
            (json!({"summary": "s", "sell": null}), "/admin", "the customer's decks have no price"),
            (json!({"sell": null}), "", "the customer's decks have no price"),
            (
                json!({"summary": "s", "direction": "inbound", "sell": {}, "buy": null, "inputs": {}}),
                "/admin",
                "the vendor's inbound decks have no price",
            ),
            (
                json!({"direction": "inbound", "sell": {}, "inputs": {}}),
                "",
                "the carrier has no price for its own side",
            ),
            (json!({"direction": "inbound", "sell": null}), "", "the customer's inbound decks have no price"),
            (
                json!({"summary": "s", "sell": {}, "inputs": {"trunk": "trk_1"}}),
                "/admin",
                "the sum of its prices",
            ),
        ] {
            let told = unpriced(decision, of);
            assert!(told.contains(whose), "{told}");
            assert!(!of.is_empty() || !told.contains("vendor"), "{told}");
        }
        let told = ended(&call("rejected", 503, "trunk_channels"), "/admin");
        assert_eq!(told.fix, "warp trunks change trk_1 channels=N");
        assert!(
            told.sentence
                .starts_with("+12025550100 → +14155550123 got 503: all channels of the trunk are in use.")
        );
        assert!(told.sentence.ends_with("Before, attempt 1 got 503."), "{}", told.sentence);
    }

    #[test]
    fn a_message_is_told_by_its_own_sentence() {
        let answer = r#"{"data":{"id":"msg_1","source":"ACME","destination":"14155550124","status":"failed","explanation":"No vendor took it."},"meta":{}}"#;
        let (client, asked) = crate::cli::tests::api(vec![answer]);
        let told = of_message(&client, "msg_1").unwrap();
        assert_eq!(told.sentence, "ACME → 14155550124, failed: No vendor took it.");
        assert!(told.fix.starts_with("warp messages show msg_1"), "{}", told.fix);
        assert_eq!(asked.join().unwrap(), ["/api/v1/admin/messages/msg_1"]);
    }

    #[test]
    fn other_ends_are_said_in_words_and_a_good_call_needs_no_command() {
        for (outcome, status, code, said, fix) in [
            ("answered", 200, "", "was answered, and the caller ended it", ""),
            ("busy", 486, "", "was busy (486)", ""),
            ("cancelled", 487, "", "was given up by its caller", ""),
            (
                "answered",
                200,
                "operator",
                "the platform ended it: the carrier's staff hung up",
                "warp audit list --object call_1",
            ),
            (
                "answered",
                200,
                "session_expired",
                "neither side refreshed the session in time",
                "warp ladder call_1",
            ),
            ("answered", 200, "media_timeout", "no media came for too long", "warp ladder call_1"),
            ("failed", 500, "", "got 500 from the other side", "warp ladder call_1"),
            ("failed", 503, "unheard_of", "got 503 (unheard_of)", "warp ladder call_1"),
        ] {
            let told = ended(&call(outcome, status, code), "/admin");
            assert!(told.sentence.contains(said), "{}", told.sentence);
            assert_eq!(told.fix, fix);
        }
    }

    /// A PBX that is switched off is not somebody who does not answer, and the command leads to its address.
    #[test]
    fn a_target_that_is_off_is_named_with_what_is_wrong_there() {
        let mut call = call("failed", 480, "targets_exhausted");
        call["record"]["legs"] = json!([{"attempt_no": 1, "sip_code": 503, "ended_by": "transport_error",
            "trunk_id": "trk_9", "egress_ip": "127.0.0.79"}]);
        let told = ended(&call, "/admin");
        assert!(
            told.sentence.ends_with(
                "got 480: no target of the number took the call. Before, attempt 1 by trunk trk_9 to 127.0.0.79: nothing listens there."
            ),
            "{}",
            told.sentence
        );
        assert_eq!(told.fix, "warp trunks show trk_9    # inbound: its address");
        call["internal_code"] = json!("vendors_exhausted");
        call["record"]["legs"] = json!([{"attempt_no": 1, "sip_code": 408, "ended_by": "no_response"}]);
        let told = ended(&call, "");
        assert!(
            told.sentence
                .ends_with("nobody that was asked took it. Before, attempt 1: not a word came back."),
            "{}",
            told.sentence
        );
    }

    #[test]
    fn a_stranger_is_told_what_it_was_answered_and_how_it_gets_in() {
        let source = |status: Value| {
            json!({"address": "203.0.113.5:5060", "method": "INVITE", "uri": "sip:900@x", "from": "sip:a@b", "agent": "friendly",
                "requests": 7, "at": "2026-12-01T08:00:00.000Z", "status": status})
        };
        let told = stranger("203.0.113.5", &source(json!(403)));
        assert!(
            told.sentence.contains("INVITE of sip:a@b to sip:900@x was answered 403"),
            "{}",
            told.sentence
        );
        assert!(told.fix.contains("{\"address\":\"203.0.113.5\"}"), "{}", told.fix);
        assert!(stranger("203.0.113.5", &source(Value::Null)).sentence.contains("was not answered"));
        assert!(is_number("+1 (415) 555-0123") && !is_number("a84b4c76e66710@pc33") && !is_number("12"));
    }
}
