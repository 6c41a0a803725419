//! Calls in the air over the API: nodes that answer and one that does not, what a customer sees, and hanging up. The proxies are doors of
//! the test; real calls are in the root package's `live` test.

mod common;

use std::sync::{Arc, Mutex};

use common::{Api, eventually, handles, with_api};
use serde_json::{Value, json};
use warp_control_plane::app::live::{NodeCall, NodeCalls, NodeHangUp};
use warp_control_plane::app::nodes::{Door, NodeReply, OPEN_QUESTIONS, Question};
use warp_control_plane::store::types::{Amount, Time};
use warp_control_plane::store::{Scope, nodes};
use warp_control_plane::{Config, ControlPlane, Database};
use warp_model::{CallId, Currency, Nanos, Wall};

/// A node with these calls in the air.
fn door(node: &str, calls: Vec<NodeCall>) -> (Door, Arc<Mutex<Vec<NodeCall>>>) {
    let calls = Arc::new(Mutex::new(calls));
    let held = calls.clone();
    let answer = move |question: &Question| {
        let mut calls = held.lock().unwrap();
        match question {
            Question::Calls { which, most } => {
                let is = |c: &&NodeCall| {
                    which.id.as_ref().is_none_or(|id| *id == c.id)
                        && which.customer.as_ref().is_none_or(|id| c.customer_id.as_ref() == Some(id))
                        && which.number.as_ref().is_none_or(|n| c.called.contains(n.as_str()))
                };
                let mut found: Vec<NodeCall> = calls.iter().filter(is).cloned().collect();
                found.sort_by_key(|c| std::cmp::Reverse(c.setup_at.0));
                let count = found.len();
                let calls = found.into_iter().take(*most).collect();
                NodeReply::Calls(NodeCalls { calls, found: count, partly: false })
            }
            Question::HangUp { id, customer } => {
                let mine = |c: &NodeCall| c.id == *id && (customer.is_none() || c.customer_id == *customer);
                let came = match calls.iter().position(mine) {
                    None => NodeHangUp::NotHere,
                    Some(at) if calls[at].emergency => NodeHangUp::Emergency,
                    Some(at) => NodeHangUp::Ended { state: calls.remove(at).state },
                };
                NodeReply::HungUp { came }
            }
            #[allow(unreachable_patterns)] // further questions are other tests'
            _ => NodeReply::Unknown,
        }
    };
    (Door { node: node.into(), answer: Arc::new(answer) }, calls)
}

fn call(n: u128, customer: &str) -> NodeCall {
    let money = |nanos| Some(Amount(Nanos(nanos).of(Currency::USD)));
    NodeCall {
        id: CallId::from_u128(n).to_string(),
        sip_call_id: format!("c{n}@pbx"),
        customer_id: Some(customer.to_owned()),
        trunk_id: None,
        direction: "outbound".into(),
        on_net: false,
        number_id: None,
        caller: "+12025550100".into(),
        called: format!("+1415555{n:04}"),
        called_e164: None,
        state: "answered".into(),
        emergency: false,
        setup_at: Time(Wall(1_795_353_285_000_000 + n as i64 * 1_000)),
        answer_at: Some(Time(Wall(1_795_353_286_000_000))),
        duration_ms: 61_000,
        attempts: 2,
        price: money(12_000_000),
        cost: money(4_000_000),
        vendor_id: Some("vnd_00000000000000000000000001".into()),
        vendor_trunk_id: Some("vtk_00000000000000000000000001".into()),
        private: false,
        node: None,
    }
}

/// A second process on the database of the first.
async fn second(api: &Api) -> ControlPlane {
    let config = Config::new(Database::Private { dir: Default::default() }, "127.0.0.1:0".parse().unwrap());
    warp_control_plane::start_on(api.control.app.store.clone(), config, handles()).await.expect("start")
}

/// Until the other process is known to answer.
async fn known(api: &Api, nodes: usize) -> Value {
    eventually("all nodes answer", || async {
        let seen = api.op("GET", "/calls/live", None).await.data();
        let all = seen["nodes"].as_array().unwrap().iter().filter(|n| n["answered"] == true).count();
        (all == nodes && seen["complete"] == true).then_some(seen)
    })
    .await
}

fn ids(seen: &Value) -> Vec<String> {
    seen["calls"].as_array().unwrap().iter().map(|c| c["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn calls_of_all_nodes_are_one_list_and_a_customer_sees_its_own_without_vendor_and_cost() {
    with_api(|api| async move {
        let ((acme, acme_key), (other, _)) = (api.customer("Acme").await, api.customer("Other").await);
        let (a, _) = door("a", vec![call(1, &acme), call(3, &other)]);
        let mut hidden = call(2, &acme);
        (hidden.direction, hidden.private) = ("inbound".into(), true);
        let (b, _) = door("b", vec![hidden]);
        api.control.app.nodes_through(a);
        let b_control = second(&api).await;
        b_control.app.nodes_through(b);
        let seen = known(&api, 2).await;
        let id = |n| CallId::from_u128(n).to_string();
        assert_eq!(ids(&seen), [id(3), id(2), id(1)], "newest first");
        assert_eq!((&seen["found"], &seen["calls"][1]["node"]), (&json!(3), &json!("b")));
        assert_eq!(seen["calls"][1]["caller"], "+12025550100", "the carrier sees who calls");
        assert_eq!(seen["calls"][0]["cost"], json!({ "amount": "0.004", "currency": "USD" }));

        let own = api.call(&acme_key, "GET", "/api/v1/calls/live", None).await.data();
        assert_eq!((ids(&own), &own["found"]), (vec![id(2), id(1)], &json!(2)));
        assert_eq!(own["calls"][0]["caller"], "anonymous");
        assert_eq!(own["calls"][1]["price"], json!({ "amount": "0.012", "currency": "USD" }));
        for call in own["calls"].as_array().unwrap() {
            for name in ["cost", "vendor_id", "vendor_trunk_id", "node"] {
                assert_eq!(call[name], Value::Null, "{name}");
            }
        }
        assert_eq!(own["nodes"], json!([]));
        // Filters, and what a list has at most.
        let seen = api.op("GET", &format!("/calls/live?customer={other}"), None).await.data();
        assert_eq!(ids(&seen), [id(3)]);
        let seen = api.op("GET", "/calls/live?most=1&number=1415", None).await.data();
        assert_eq!((ids(&seen), &seen["found"]), (vec![id(3)], &json!(3)));
        let refused = api.call(&acme_key, "GET", &format!("/api/v1/calls/live?customer={other}"), None).await;
        assert_eq!(refused.status, 400, "to a customer there is no such parameter: {}", refused.body);
        assert_eq!(api.op("GET", "/calls/live?call=nonsense", None).await.status, 422);
        b_control.stop_tasks().await;
        // It has said that it is gone: nobody waits for it.
        assert_eq!(ids(&known(&api, 1).await), [id(3), id(1)]);
    });
}

#[test]
fn a_node_that_does_not_answer_is_named_and_its_calls_are_said_to_be_missing() {
    with_api(|api| async move {
        let (acme, acme_key) = api.customer("Acme").await;
        api.control.app.nodes_through(door("a", vec![call(1, &acme)]).0);
        // A process that said it is there, and was killed.
        let mut tx = api.control.app.store.begin(Scope::Operator("test")).await.unwrap();
        nodes::here(&mut tx, "dead", "b").await.unwrap();
        tx.commit().await.unwrap();
        let seen = api.op("GET", "/calls/live", None).await.data();
        assert_eq!((&seen["complete"], seen["calls"].as_array().unwrap().len()), (&json!(false), 1));
        let silent = json!({ "node": "b", "answered": false, "calls": 0 });
        assert!(seen["nodes"].as_array().unwrap().contains(&silent), "{seen:#}");
        let own = api.call(&acme_key, "GET", "/api/v1/calls/live", None).await.data();
        assert_eq!((&own["complete"], &own["nodes"]), (&json!(false), &json!([])));
        // A call that nobody else has may be there: that is not the same as none.
        let path = format!("/calls/{}/hang-up", CallId::from_u128(9));
        let refused = api.op("POST", &path, Some(json!({ "reason": "fraud" }))).await;
        assert_eq!((refused.status, refused.code().as_str()), (503, "unavailable"), "{}", refused.body);
        assert!(refused.body.contains("b did not answer"), "{}", refused.body);
    });
}

#[test]
fn a_call_is_hung_up_once_on_the_node_that_has_it_and_the_audit_log_says_by_whom() {
    with_api(|api| async move {
        let ((acme, acme_key), (other, other_key)) =
            (api.customer("Acme").await, api.customer("Other").await);
        let mut help = call(4, &acme);
        help.emergency = true;
        api.control.app.nodes_through(door("a", vec![call(1, &acme)]).0);
        let (b, on_b) = door("b", vec![call(2, &acme), call(3, &other), help]);
        let b_control = second(&api).await;
        b_control.app.nodes_through(b);
        known(&api, 2).await;
        let path = |n| format!("/calls/{}/hang-up", CallId::from_u128(n));
        let why = json!({ "reason": "fraud" });

        // Not another one's, and nobody learns that there is such a call.
        let strange = api.call(&other_key, "POST", &format!("/api/v1{}", path(2)), Some(why.clone())).await;
        let never = api.call(&other_key, "POST", &format!("/api/v1{}", path(77)), Some(why.clone())).await;
        assert_eq!((strange.status, strange.json()["error"].clone()), (404, never.json()["error"].clone()));
        assert_eq!(on_b.lock().unwrap().len(), 3);

        // The same request again ends nothing else and gives the same answer.
        let bearer = format!("Bearer {acme_key}");
        let headers = [
            ("Authorization", bearer.as_str()),
            ("Content-Type", "application/json"),
            ("Idempotency-Key", "once"),
        ];
        let (own, body) = (format!("/api/v1{}", path(2)), why.to_string());
        let first = api.send("POST", &own, &headers, body.as_bytes()).await;
        let wanted = json!({ "id": CallId::from_u128(2).to_string(), "state": "answered",
            "internal_code": "customer", "node": null });
        assert_eq!(first.data(), wanted);
        assert_eq!(api.send("POST", &own, &headers, body.as_bytes()).await.data(), wanted);
        let gone = api.call(&acme_key, "POST", &own, Some(why.clone())).await;
        assert_eq!(gone.status, 404, "{}", gone.body);

        let ended = api.op("POST", &path(3), Some(why.clone())).await.data();
        assert_eq!((&ended["internal_code"], &ended["node"]), (&json!("operator"), &json!("b")));
        let refused = api.op("POST", &path(4), Some(why.clone())).await;
        assert_eq!((refused.status, refused.code().as_str()), (409, "conflict"), "{}", refused.body);
        assert_eq!(api.op("POST", &path(1), Some(json!({}))).await.status, 422, "why?");
        assert_eq!(on_b.lock().unwrap().len(), 1);

        let lines = api.op("GET", "/audit?action=call.hang_up", None).await.data();
        let of = |n| {
            let id = CallId::from_u128(n).to_string();
            lines.as_array().unwrap().iter().filter(|l| l["object"] == json!(id)).count()
        };
        assert_eq!((of(2), of(3), of(77)), (1, 1, 0), "{lines:#}");
        let own = api.call(&acme_key, "GET", "/api/v1/audit?action=call.hang_up", None).await.data();
        let reasons: Vec<&Value> = own.as_array().unwrap().iter().map(|l| &l["detail"]["reason"]).collect();
        assert_eq!(reasons, [&Value::Null, &json!("fraud")], "its own reason, not the carrier's: {own:#}");
        b_control.stop_tasks().await;
    });
}

/// However many look, only so many questions are open at once.
#[test]
fn questions_to_nodes_are_bounded() {
    with_api(|api| async move {
        api.control.app.nodes_through(door("a", Vec::new()).0);
        let app = &api.control.app;
        let mut tx = app.store.begin(Scope::Operator("test")).await.unwrap();
        nodes::here(&mut tx, "dead", "b").await.unwrap();
        for n in 0..OPEN_QUESTIONS {
            assert!(nodes::ask(&mut tx, &n.to_string(), "c", &json!({}), OPEN_QUESTIONS).await.unwrap());
        }
        tx.commit().await.unwrap();
        let refused = api.op("GET", "/calls/live", None).await;
        assert_eq!((refused.status, refused.code().as_str()), (503, "unavailable"), "{}", refused.body);
        assert!(refused.header("retry-after").is_some());
    });
}
