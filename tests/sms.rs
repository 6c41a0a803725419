//! Messages in the whole platform: accounts, binds, routes and prices by the API, a customer's bind and REST, a carrier, rows with
//! timelines, money, kill −9.

mod stack;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use stack::api::Api;
use stack::smpp::{Carrier, Esme};
use stack::{free_port, poll_until, signal_pid, tail};
use warp_smpp::{Command as Smpp, Status};

const WITHIN: Duration = Duration::from_secs(60);

struct Node {
    dir: PathBuf,
    api: SocketAddr,
    smpp: SocketAddr,
    child: Option<Child>,
}

fn local(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

impl Node {
    fn new(dir: &Path) -> Node {
        let (api, smpp, ops) = (local(free_port()), local(free_port()), local(free_port()));
        let text = format!(
            "[node]\ndata_dir = \"{}\"\ndrain_timeout = \"0s\"\n[ops]\nlisten = \"{ops}\"\n[api]\nlisten = \"{api}\"\n\
             credit_lease = \"10s\"\n[smsc]\nlisten = \"{smpp}\"\n[events]\nsegment = \"64KiB\"\n",
            dir.join("data").display()
        );
        std::fs::write(dir.join("warp.toml"), text).expect("warp.toml");
        let mut node = Node { dir: dir.to_owned(), api, smpp, child: None };
        node.start();
        node
    }

    /// Starts it and waits until the API answers.
    fn start(&mut self) {
        let log = |name: &str| {
            let path = self.dir.join(name);
            std::fs::OpenOptions::new().create(true).append(true).open(path).expect("log")
        };
        let child = Command::new(env!("CARGO_BIN_EXE_warp"))
            .args(["serve", "--roles", "smsc,api,jobs", "--config"])
            .arg(self.dir.join("warp.toml"))
            .env_remove("DATABASE_URL")
            .stdin(Stdio::null())
            .stdout(log("stdout.log"))
            .stderr(log("stderr.log"))
            .spawn()
            .expect("warp serve starts");
        self.child = Some(child);
        let bound = poll_until(WITHIN, || std::net::TcpStream::connect(self.smpp).ok());
        assert!(bound.is_some(), "{}", tail(&self.dir.join("stderr.log")));
    }

    /// The first operator's key, which is shown once.
    fn operator(&self) -> Api {
        let key = poll_until(WITHIN, || {
            let said = std::fs::read_to_string(self.dir.join("stdout.log")).ok()?;
            said.split("(shown once): ").nth(1).map(|key| key.trim().to_owned())
        });
        Api::new(self.api, &key.expect("a key"))
    }

    fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        signal_pid(child.id(), "KILL");
        let _ = child.wait();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        signal_pid(child.id(), "TERM");
        signal_pid(child.id(), "TERM");
        if poll_until(Duration::from_secs(20), || child.try_wait().ok().flatten()).is_none() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What the tests begin with: a customer with an account and a key, a carrier with a bind, prices and a default route.
struct World {
    operator: Api,
    customer: Api,
    customer_id: String,
    account: String,
    bind: String,
}

fn id(value: &Value) -> String {
    value["id"].as_str().expect("an id").to_owned()
}

fn world(node: &Node, carrier: &Carrier) -> World {
    let operator = node.operator();
    let post = |path: &str, body: Value| operator.ok("POST", path, Some(&body));
    let customer_id = id(&post("/admin/customers", json!({ "name": "Acme" })));
    let key = post(&format!("/admin/customers/{customer_id}/keys"), json!({ "name": "k", "scopes": ["*"] }));
    let customer = Api::new(node.api, key["secret"].as_str().expect("a key"));
    let vendor = id(&post("/admin/vendors", json!({ "slug": "sim", "name": "Sim" })));
    let bind =
        json!({ "name": "b", "addresses": [carrier.at.to_string()], "system_id": "SIM", "password": "sim" });
    let bind = id(&post(&format!("/admin/vendors/{vendor}/binds"), bind));
    for (whose, amount) in [(json!({ "vendor_id": vendor }), "0.002"), (json!({}), "0.01")] {
        let mut price = json!({ "code": "49", "price": { "amount": amount, "currency": "USD" } });
        price.as_object_mut().expect("an object").extend(whose.as_object().expect("an object").clone());
        post("/admin/message-prices", price);
    }
    let route = json!({ "direction": "from_customer", "place": 0, "targets": [bind], "reason": "test" });
    post("/admin/message-routes", route);
    let account = json!({ "name": "a", "system_id": "acme", "password": "secret-1" });
    let account = id(&post(&format!("/admin/customers/{customer_id}/smpp-accounts"), account));
    World { operator, customer, customer_id, account, bind }
}

/// A bind of the account, once the SMSC knows it.
fn esme(node: &Node) -> Esme {
    let bound =
        poll_until(WITHIN, || std::panic::catch_unwind(|| Esme::bind(node.smpp, "acme", "secret-1")).ok());
    bound.expect("it binds")
}

/// The only message, once it stands so.
fn message(api: &Api, query: &str, status: &str) -> Value {
    let found = poll_until(WITHIN, || {
        let all = api.get(&format!("/messages?{query}"));
        let one = all.as_array().expect("a list").first()?.clone();
        (one["status"] == status).then_some(one)
    });
    found.unwrap_or_else(|| panic!("{query} is not {status}: {}", api.get("/messages")))
}

fn balance(operator: &Api, customer: &str) -> String {
    let bans = operator.get(&format!("/admin/customers/{customer}/bans"));
    let ban = bans[0]["id"].as_str().expect("a ban");
    let balance = operator.get(&format!("/admin/bans/{ban}/balance"));
    balance["balance"]["amount"].as_str().expect("an amount").to_owned()
}

#[test]
fn a_message_by_smpp_and_one_by_rest_are_carried_paid_and_shown_with_their_timelines() {
    if warp_control_plane::store::cluster::Cluster::binaries().is_none() {
        return;
    }
    let dir = tempfile::tempdir().expect("tempdir");
    let carrier = Carrier::start(Duration::ZERO);
    let mut node = Node::new(dir.path());
    let w = world(&node, &carrier);
    let mut bind = esme(&node);
    bind.submit("hello by smpp").expect("sent");
    // The answer, and the receipt of the carrier.
    let got = poll_until(WITHIN, || {
        let got = bind.receive();
        got.iter().any(|(h, _)| h.command == Smpp::DELIVER_SM).then_some(got)
    });
    assert!(got.is_some(), "a receipt comes");
    let by_smpp = message(&w.customer, "to=491701234567", "delivered");
    assert_eq!(by_smpp["account_id"], w.account.as_str());
    assert_eq!(by_smpp["price"], json!({ "amount": "0.01", "currency": "USD" }));
    let steps: Vec<&str> = by_smpp["timeline"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|e| e["step"].as_str().expect("a step"))
        .collect();
    assert_eq!(steps, ["accepted", "sent", "carried", "delivered"]);
    assert!(by_smpp.get("bind_id").is_none() && by_smpp.get("cost").is_none());
    let whole = w.operator.get(&format!("/admin/messages/{}", id(&by_smpp)));
    assert_eq!((&whole["bind_id"], &whole["cost"]["amount"]), (&json!(w.bind), &json!("0.002")));

    let long = "REST ".repeat(40);
    let sent = json!({ "to": ["+49 170 7654321"], "from": "ACME", "text": long });
    let sent = w.customer.ok("POST", "/messages", Some(&sent));
    let sent = &sent["messages"][0];
    assert_eq!((&sent["to"], &sent["segments"]), (&json!("+491707654321"), &json!(2)));
    let by_rest = w.customer.get(&format!("/messages/{}", sent["id"].as_str().expect("an id")));
    assert_eq!((&by_rest["segments"], &by_rest["parts"]), (&json!(2), &json!(2)));
    let by_rest = message(&w.customer, "to=491707654321", "delivered");
    assert_eq!(by_rest["price"]["amount"], "0.02");
    let content = w.customer.get(&format!("/messages/{}/content", id(&by_rest)));
    assert_eq!(content["text"], long.as_str());
    assert_eq!(balance(&w.operator, &w.customer_id), "-0.03");

    // Nobody carries messages there: said at the sender, and nothing is kept.
    let nowhere = json!({ "to": ["+33612345678"], "from": "ACME", "text": "x" });
    let (status, said) = w.customer.send("POST", "/messages", Some(&nowhere));
    assert_eq!((status, &said["error"]["details"][0]["field"]), (422, &json!("to")), "{said}");
    // Paused, it waits; over kill −9 it still does, and goes out once.
    w.operator.ok("PATCH", &format!("/admin/vendor-binds/{}", w.bind), Some(&json!({ "status": "paused" })));
    let waits = json!({ "to": ["+491700000001"], "from": "ACME", "text": "over a kill" });
    // Those that were sent before the SMSC heard of it go out; the first that stays is the one that is meant.
    let mut went = 0;
    let kept = poll_until(WITHIN, || {
        let sent = w.customer.ok("POST", "/messages", Some(&waits));
        let path = format!("/messages/{}", sent["messages"][0]["id"].as_str().expect("an id"));
        let stands = poll_until(Duration::from_secs(2), || {
            (w.customer.get(&path)["status"] == "delivered").then_some(())
        });
        went += u32::from(stands.is_some());
        stands.is_none().then_some(path)
    });
    let kept = kept.expect("it is paused within a second");
    assert_eq!(w.customer.get(&kept)["status"], "queued");
    node.kill();
    node.start();
    let queued = poll_until(WITHIN, || {
        let (status, found) = w.customer.send("GET", &kept, None);
        (status == 200).then(|| found["data"]["status"].clone())
    });
    assert_eq!(queued, Some(json!("queued")), "what was answered is there");
    w.operator.ok("PATCH", &format!("/admin/vendor-binds/{}", w.bind), Some(&json!({ "status": "active" })));
    let out = poll_until(WITHIN, || (w.customer.get(&kept)["status"] == "delivered").then_some(()));
    assert!(out.is_some(), "{}", w.customer.get(&kept));
    assert_eq!(carrier.texts().get("over a kill"), Some(&(went + 1)), "once");
}

#[test]
fn an_account_without_money_sends_nothing_and_what_it_has_it_may_spend() {
    if warp_control_plane::store::cluster::Cluster::binaries().is_none() {
        return;
    }
    let dir = tempfile::tempdir().expect("tempdir");
    let carrier = Carrier::start(Duration::ZERO);
    let node = Node::new(dir.path());
    let w = world(&node, &carrier);
    let bans = w.operator.get(&format!("/admin/customers/{}/bans", w.customer_id));
    let ban = id(&bans[0]);
    let credit = |amount: &str| {
        let body = json!({ "credit_limit": { "amount": amount, "currency": "USD" } });
        w.operator.ok("PATCH", &format!("/admin/bans/{ban}"), Some(&body));
    };
    credit("0");
    let mut bind = esme(&node);
    let mut submit = |text: &str| {
        let sequence = bind.submit(text).expect("sent");
        let is_answer =
            |h: &warp_smpp::Header| h.sequence == sequence && h.command == Smpp::SUBMIT_SM.response();
        let answer = poll_until(WITHIN, || bind.receive().into_iter().find(|(h, _)| is_answer(h)));
        answer.expect("an answer").0.status
    };
    // It may owe anything until the SMSC has heard of it.
    let refused = poll_until(WITHIN, || (submit("without money") == Status::RSUBMITFAIL).then_some(()));
    assert!(refused.is_some());
    let message = json!({ "to": ["+491701111111"], "from": "ACME", "text": "x" });
    let (status, said) = w.customer.send("POST", "/messages", Some(&message));
    assert_eq!((status, &said["error"]["code"]), (402, &json!("no_credit")), "{said}");
    credit("5");
    let taken = poll_until(WITHIN, || (submit("with money") == Status::ROK).then_some(()));
    assert!(taken.is_some(), "money is borrowed for it");
    let spent = poll_until(WITHIN, || {
        let owes = balance(&w.operator, &w.customer_id);
        owes.starts_with("-0.0").then_some(owes)
    });
    assert!(spent.is_some(), "it is in the ledger: {}", balance(&w.operator, &w.customer_id));
}

#[test]
fn a_stop_of_a_handset_is_obeyed_over_kill_9_shown_and_lifted_with_a_reason() {
    if warp_control_plane::store::cluster::Cluster::binaries().is_none() {
        return;
    }
    let dir = tempfile::tempdir().expect("tempdir");
    let carrier = Carrier::start(Duration::ZERO);
    let mut node = Node::new(dir.path());
    let w = world(&node, &carrier);
    let route = json!({ "direction": "from_handset", "place": 0, "targets": [w.account], "reason": "test" });
    w.operator.ok("POST", "/admin/message-routes", Some(&route));
    let mut bind = esme(&node);
    let message = json!({ "to": ["+491701234567"], "from": "12345", "text": "news" });
    let taken =
        poll_until(WITHIN, || (w.customer.send("POST", "/messages", Some(&message)).0 == 200).then_some(()));
    assert!(taken.is_some(), "nobody has said anything yet");
    // Until the route of handsets is known the carrier is refused; it says so again.
    let heard = poll_until(WITHIN, || {
        carrier.originate("STOP");
        bind.receive()
            .iter()
            .any(|(h, b)| h.command == Smpp::DELIVER_SM && stack::smpp::text_of(h, b) == "STOP")
            .then_some(())
    });
    assert!(heard.is_some(), "the customer gets it as well");
    let refused = || {
        let (status, said) = w.customer.send("POST", "/messages", Some(&message));
        (status, said["error"]["details"][0]["code"].as_str().unwrap_or_default().to_owned())
    };
    let opted_out = (422, "opted_out".to_owned());
    assert_eq!(refused(), opted_out);
    let answers = || -> u32 {
        let all = carrier.texts();
        all.iter()
            .filter(|(text, _)| text.starts_with("Acme: You are opted out"))
            .map(|(_, count)| *count)
            .sum()
    };
    assert!(poll_until(WITHIN, || (answers() == 1).then_some(())).is_some(), "{:?}", carrier.texts());
    node.kill();
    node.start();
    let settled = poll_until(WITHIN, || Some(refused()).filter(|(status, _)| matches!(status, 200 | 422)));
    assert_eq!(settled, Some(opted_out), "it is obeyed from the first message on");
    let row = poll_until(WITHIN, || {
        let all = w.customer.get("/opt-outs?status=out");
        all.as_array().expect("a list").first().cloned()
    });
    let row = row.expect("a row");
    assert_eq!((&row["sender"], &row["recipient"]), (&json!("12345"), &json!("491701234567")), "{row}");
    let lift = json!({ "status": "lifted", "reason": "test" });
    w.customer.ok("PATCH", &format!("/opt-outs/{}", id(&row)), Some(&lift));
    let again = poll_until(WITHIN, || (refused().0 == 200).then_some(()));
    assert!(again.is_some(), "live within a second");
    assert_eq!(answers(), 1, "it was answered once");
}
