//! Calls to our numbers through the whole stack: a vendor's SIPp → warp → the customer's SIPp with RTP, provisioned, recorded, explained
//! and rated through the API.

mod stack;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde_json::{Value, json};
use stack::carrier::{CALLER, CUSTOMER_IP, Carrier, VENDOR_IP, VendorSpec};
use stack::sipp::{Calls, Sipp, Transport};
use stack::{free_port, have, poll_until};

const OURS: &str = "+14155550199";

fn at(ip: [u8; 4]) -> SocketAddr {
    (ip, free_port()).into()
}

/// A call of the vendor's to a number of ours.
fn vendors_call<'a>(carrier: &Carrier, called: &'a str) -> Calls<'a> {
    Calls {
        scenario: "customer_call.xml",
        to: carrier.sip,
        local: at(VENDOR_IP),
        transport: Transport::Udp,
        caller: CALLER,
        called,
        talk: Duration::from_millis(1_500),
        count: 1,
        per_second: 1,
        auth: None,
    }
}

/// An inbound deck with one price for +1415.
fn deck(carrier: &Carrier, name: &str, rate: &str) -> Value {
    let deck = carrier.admin.post("/admin/rate-decks", json!({"name": name, "kind": "us"}));
    let id = deck["id"].as_str().expect("id").to_owned();
    let csv =
        format!("Prefix,Interstate,Intrastate,Indeterminate,Increment\n1415,{rate},{rate},{rate},6/6\n");
    let versions = format!("/admin/rate-decks/{id}/versions?activate=true");
    carrier.admin.ok("POST", &versions, Some(&Value::String(csv)));
    json!({"deck_ids": [id]})
}

/// Until the proxy decides by what the API has: a change is live within a second.
fn await_published(carrier: &Carrier, before: &str) {
    let published = poll_until(Duration::from_secs(10), || (snapshot(carrier) != before).then_some(()));
    assert!(published.is_some(), "no new snapshot\n{}", carrier.launched.log_tail());
}

fn snapshot(carrier: &Carrier) -> String {
    carrier.route().1["data"]["decision"]["snapshot_id"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_vendors_call_to_a_number_rings_at_the_customer_and_is_rated_on_both_sides() {
    if !have("sipp", "a_vendors_call_to_a_number_rings_at_the_customer") {
        return;
    }
    let dir = tempfile::tempdir().expect("tempdir");
    let spec = VendorSpec { slug: "brings", rate: "0.004", addr: at(VENDOR_IP), transport: Transport::Udp };
    let carrier = Carrier::start(dir.path(), &[spec], true);
    let (admin, customer) = (&carrier.admin, &carrier.customer);
    let (vendor, customer_id) = (&carrier.vendors[0], &carrier.customer_id);
    let trunks = admin.get(&format!("/admin/vendor-trunks?vendor={vendor}"));
    let vendor_trunk = trunks[0]["id"].as_str().expect("id").to_owned();
    let put = |path: &str, body: Value| admin.ok("PUT", path, Some(&body));

    // What it is bought and sold for, and where it comes from.
    put(&format!("/admin/vendors/{vendor}/inbound"), deck(&carrier, "inbound buy", "0.001"));
    put(&format!("/admin/customers/{customer_id}/inbound"), deck(&carrier, "inbound sell", "0.005"));
    let from = json!({"networks": [IpAddr::from(VENDOR_IP).to_string()]});
    put(&format!("/admin/vendor-trunks/{vendor_trunk}/inbound"), from);
    // The customer's side: where its trunk takes calls, and that the number goes there.
    let pbx = at(CUSTOMER_IP);
    let _pbx = Sipp::vendor(dir.path(), "vendor_answer.xml", pbx, Transport::Udp, free_port(), 100);
    let takes = json!({"addresses": [pbx.to_string()]});
    customer.ok("PUT", &format!("/trunks/{}/inbound", carrier.trunk), Some(&takes));
    let body = json!({"number": OURS, "vendor_id": vendor, "customer_id": customer_id});
    let number = admin.post("/admin/numbers", body);
    let number_id = number["id"].as_str().expect("id").to_owned();
    let seen = customer.get(&format!("/numbers/{number_id}"));
    assert_eq!((&seen["state"], &seen["vendor_id"]), (&json!("assigned"), &Value::Null), "{seen:#}");
    let before = snapshot(&carrier);
    let targets = json!({"targets": [{"trunk_id": carrier.trunk}]});
    customer.ok("PATCH", &format!("/numbers/{number_id}"), Some(&targets));
    await_published(&carrier, &before);

    Sipp::calls(dir.path(), &vendors_call(&carrier, &OURS[1..])).finish(Duration::from_secs(30));
    let calls = carrier.calls(1);
    let call = &calls[0];
    assert_eq!((&call["outcome"], &call["direction"]), (&json!("answered"), &json!("inbound")), "{call:#}");
    assert_eq!((&call["customer_id"], &call["trunk_id"]), (&json!(customer_id), &json!(carrier.trunk)));
    assert_eq!((&call["number_id"], &call["vendor_id"]), (&json!(number_id), &json!(vendor)));
    assert_eq!((&call["called_e164"], &call["jurisdiction"]), (&json!(OURS), &json!("interstate")));
    // 6/6: six seconds; 0.005 × 6 / 60 and 0.001 × 6 / 60.
    assert_eq!(call["price"], json!({"amount": "0.0005", "currency": "USD"}));
    assert_eq!(call["cost"], json!({"amount": "0.0001", "currency": "USD"}));
    assert_eq!(call["margin"], json!({"amount": "0.0004", "currency": "USD"}));
    let id = call["id"].as_str().expect("id");
    let record = carrier.call(id)["record"].clone();
    for direction in ["to_callee", "to_caller"] {
        let packets = record["media"][direction]["packets"].as_u64().unwrap_or(0);
        assert!(packets >= 30, "{direction}: {packets} packets of 1.5 s at 50/s: {record:#}");
    }
    assert_eq!(record["decision"]["targets"][0]["trunk"], json!(carrier.trunk));
    assert!(record["decision"]["summary"].as_str().is_some_and(|s| s.contains("sold for 0.005 USD/min")));
    // It was rated again when it was posted, and decides the same from its snapshot.
    let rated = poll_until(Duration::from_secs(10), || {
        (carrier.call(id)["rating_status"] == "confirmed").then_some(())
    });
    assert!(rated.is_some(), "{:#}", carrier.call(id));
    let again = admin.post(&format!("/admin/calls/{id}/replay"), json!({}));
    assert_eq!(again["same_decision"], true, "{again:#}");
    // The customer sees the call and its price, and neither who brought it nor what that cost.
    let own = customer.get(&format!("/calls/{id}")).to_string();
    assert!(own.contains("0.0005") && own.contains(&number_id), "{own}");
    for hidden in ["0.0001", "vnd_", "vtk_", "ingress_ip", "egress_ip"] {
        assert!(!own.contains(hidden), "{hidden} in {own}");
    }

    // A number that nobody has is 404; so is ours from the moment that it is released.
    let refused = |called: &str| {
        let seen = carrier.calls(1).len();
        let mut sipp = Sipp::calls(dir.path(), &vendors_call(&carrier, called));
        poll_until(Duration::from_secs(20), || (!sipp.running()).then_some(())).expect("SIPp ends");
        let call = carrier.calls(seen + 1)[0].clone();
        (call["sip_code"].clone(), call["internal_code"].clone())
    };
    let nobodys = (json!(404), json!("number_not_here"));
    assert_eq!(refused("14155550198"), nobodys);
    let before = snapshot(&carrier);
    let released = admin.post(&format!("/admin/numbers/{number_id}/release"), json!({}));
    assert_eq!((&released["state"], &released["customer_id"]), (&json!("ageing"), &Value::Null));
    await_published(&carrier, &before);
    assert_eq!(refused(&OURS[1..]), nobodys);
    assert_eq!(customer.send("GET", &format!("/numbers/{number_id}"), None).0, 404);
    // It ages: nobody gets it at once.
    let (status, answer) = admin.send(
        "POST",
        &format!("/admin/numbers/{number_id}/assign"),
        Some(&json!({"customer_id": customer_id})),
    );
    assert_eq!((status, &answer["error"]["code"]), (409, &json!("in_use")), "{answer:#}");
}
