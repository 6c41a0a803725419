//! Credit of accounts over several nodes and one PostgreSQL: what is lent, posted, given back and released.
mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::{Api, event_log, eventually, record, with_configured_api};
use serde_json::{Value, json};
use warp_control_plane::api::limiter::Limit;
use warp_control_plane::billing::consumer::{Consumer, Step};
use warp_control_plane::billing::credit::{Agent, Door};
use warp_events::TOPIC_CDR_VOICE;
use warp_model::{BanId, CallId, Lent, Mono, Nanos};
use warp_policy::credit::{Held, Missed, Wallet};

const UNIT: i64 = 1_000_000_000;
const LEASE: Duration = Duration::from_secs(2);

/// A node as the agent sees it: its purses, and a clock that the test turns.
struct Node {
    agent: Agent,
    wallet: Arc<Wallet>,
    clock: Arc<AtomicU64>,
}

impl Node {
    fn new(api: &Api, name: &str, log: Option<&str>) -> Node {
        let (wallet, clock) = (Arc::new(Wallet::default()), Arc::new(AtomicU64::new(1_000_000_000)));
        let mono = clock.clone();
        let door = Door {
            wallet: wallet.clone(),
            mono: Arc::new(move || Mono(mono.load(Ordering::SeqCst))),
            node: name.to_owned(),
        };
        let agent = Agent::new(api.control.app.clone(), door, log.map(str::to_owned));
        Node { agent, wallet, clock }
    }

    fn pass(&self, time: Duration) {
        self.clock.fetch_add(u64::try_from(time.as_nanos()).unwrap(), Ordering::SeqCst);
    }

    fn now(&self) -> Mono {
        Mono(self.clock.load(Ordering::SeqCst))
    }

    /// A call that wants so much: it holds it, or it was refused and is told to the agent.
    fn call(&self, ban: BanId, amount: i64) -> Option<Lent<Held>> {
        let place = self.wallet.place(ban);
        place.comes(Nanos(amount));
        let held = place.hold(Nanos(amount), self.now());
        if held.is_none() {
            place.miss(Missed { want: Nanos(amount), need: Nanos(amount) });
        }
        held
    }
}

fn short(config: &mut warp_control_plane::Config) {
    config.credit_lease = LEASE;
}

fn usd(amount: &str) -> Value {
    json!({ "amount": amount, "currency": "USD" })
}

/// A prepaid account with so much on it, its customer and trunk.
async fn prepaid(api: &Api, amount: &str) -> (BanId, String, String) {
    let (customer, key) = api.customer("Acme").await;
    let body = json!({ "name": "prepaid", "mode": "prepaid" });
    let ban = api.op("POST", &format!("/customers/{customer}/bans"), Some(body)).await.data();
    let id = ban["id"].as_str().unwrap();
    let trunk = json!({ "name": "t", "ban_id": id });
    let trunk = api.call(&key, "POST", "/api/v1/trunks", Some(trunk)).await.data();
    let ban = id.parse().unwrap();
    top_up(api, ban, amount, "a").await;
    (ban, customer, trunk["id"].as_str().unwrap().to_owned())
}

async fn top_up(api: &Api, ban: BanId, amount: &str, key: &str) {
    let bearer = format!("Bearer {}", api.operator);
    let headers =
        [("Authorization", bearer.as_str()), ("Content-Type", "application/json"), ("Idempotency-Key", key)];
    let body = json!({ "amount": usd(amount), "reason": "r" }).to_string();
    let path = format!("/api/v1/admin/bans/{ban}/top-ups");
    assert_eq!(api.send("POST", &path, &headers, body.as_bytes()).await.status, 201);
}

async fn balance(api: &Api, ban: BanId) -> (String, String, String) {
    let b = api.op("GET", &format!("/bans/{ban}/balance"), None).await.data();
    let of = |name: &str| b[name]["amount"].as_str().unwrap_or("none").to_owned();
    (of("balance"), of("held"), of("free"))
}

async fn leases(api: &Api, ban: BanId) -> Vec<Value> {
    let list = api.op("GET", &format!("/leases?ban={ban}"), None).await.data();
    list.as_array().unwrap().clone()
}

#[test]
fn money_is_lent_ahead_and_two_nodes_never_have_more_than_there_is() {
    with_configured_api(short, |api| async move {
        let (ban, _, _) = prepaid(&api, "10").await;
        let (mut a, mut b) = (Node::new(&api, "a", None), Node::new(&api, "b", None));
        assert!(a.call(ban, UNIT / 2).is_none(), "nothing is here yet, and it does not wait");
        a.agent.look(false).await;
        let one = a.call(ban, UNIT / 2).expect("borrowed behind the back of the first");
        assert!(b.call(ban, UNIT / 2).is_none());
        b.agent.look(false).await;
        let two = b.call(ban, UNIT / 2).expect("for the other node too");
        let (has, held, free) = balance(&api, ban).await;
        assert_eq!(has, "10");
        let total = |n: &Node| n.wallet.place(ban).purse().map_or(0, |p| p.free().0 + p.held().0);
        let sum = Nanos(total(&a) + total(&b)).text().as_str().to_owned();
        assert_eq!(held, sum, "what the nodes have is what is held");
        assert_eq!(free, Nanos(10 * UNIT - total(&a) - total(&b)).text().as_str());
        // Both take whatever they get: it is never more than ten.
        let mut calls = vec![one, two];
        for _ in 0..60 {
            for n in [&mut a, &mut b] {
                calls.extend(n.call(ban, UNIT / 2));
                n.pass(Duration::from_millis(1));
                n.agent.look(false).await;
            }
        }
        let taken: i64 = calls.iter().map(|c| c.amount().0).sum();
        assert!((9 * UNIT..=10 * UNIT).contains(&taken), "{taken}");
    });
}

#[test]
fn what_calls_have_cost_is_held_until_it_is_posted_and_the_rest_comes_back() {
    with_configured_api(short, |api| async move {
        let (ban, customer, trunk) = prepaid(&api, "10").await;
        let mut a = Node::new(&api, "a", None);
        a.call(ban, UNIT / 100);
        a.agent.look(false).await;
        let held = a.call(ban, UNIT / 100).unwrap();
        let epoch = held.purse().epoch();
        Held::settle(held, Nanos(UNIT / 100));
        // The lease ends on the node; a little later it says what its calls have cost.
        a.pass(LEASE + Duration::from_secs(3));
        a.agent.look(false).await;
        let (has, held, _) = balance(&api, ban).await;
        assert_eq!(
            (has.as_str(), held.as_str()),
            ("10", "0.21"),
            "not posted yet; a new lease has 20 increments"
        );
        let dir = tempfile::tempdir().unwrap();
        let log = event_log(dir.path());
        let id = CallId::from_u128(1).to_string();
        let mut call = record(&id, &customer, &trunk);
        call["paid"] = json!({ "ban_id": ban.to_string(), "lease": epoch });
        let topic = log.topic(TOPIC_CDR_VOICE).unwrap();
        for _ in 0..2 {
            topic.append_durable(id.as_bytes(), call.to_string().as_bytes()).unwrap();
        }
        let app = &api.control.app;
        let mut consumer = Consumer::new(app.store.clone(), &log, "t", app.metrics.clone()).unwrap();
        while consumer.step().await.unwrap() != Step::Idle {}
        assert_eq!(balance(&api, ban).await, ("9.99".into(), "0.2".into(), "9.79".into()));
        assert_eq!(leases(&api, ban).await.len(), 1, "the old one is over");
    });
}

#[test]
fn a_running_node_extends_its_lease_and_gives_back_what_lies_idle() {
    with_configured_api(short, |api| async move {
        let (ban, _, _) = prepaid(&api, "100").await;
        let mut a = Node::new(&api, "a", None);
        a.call(ban, 20 * UNIT);
        a.agent.look(false).await;
        let purse = a.wallet.place(ban).purse().unwrap();
        assert!(purse.free().0 > 5 * UNIT);
        let ends = purse.ends();
        a.pass(LEASE / 2);
        a.agent.look(false).await;
        assert_eq!(a.wallet.place(ban).purse().unwrap().epoch(), purse.epoch(), "the same lease goes on");
        assert!(purse.ends() > ends);
        // Nobody calls for a while; the lease is extended all the time.
        for _ in 0..40 {
            a.pass(Duration::from_secs(1));
            a.agent.look(false).await;
        }
        let (_, held, _) = balance(&api, ban).await;
        assert_eq!(held, "1", "a unit stays for the next call");
        assert_eq!(a.wallet.place(ban).purse().unwrap().free(), Nanos(UNIT));
    });
}

/// The money of a busy account is there, so no call of it is refused: what its calls took is lent again at each look.
#[test]
fn the_purse_of_a_busy_account_is_filled_at_each_look() {
    with_configured_api(short, |api| async move {
        let (ban, _, _) = prepaid(&api, "10000").await;
        let mut a = Node::new(&api, "a", None);
        let mut refused = Vec::new();
        for look in 0..40 {
            // 150 calls a second that are over at once, each of a tenth of a unit.
            for _ in 0..30 {
                match a.call(ban, UNIT / 10) {
                    Some(held) => Held::settle(held, Nanos(UNIT / 10)),
                    None => refused.push(look),
                }
            }
            a.agent.look(false).await;
            a.pass(Duration::from_millis(200));
        }
        assert!(refused.iter().all(|look| *look < 3), "refused at looks {refused:?}");
    });
}

/// Nobody has called yet, so that no node knows an increment: the first call on each still finds money, also of a small account.
#[test]
fn the_first_call_of_each_node_finds_money_of_a_small_account() {
    with_configured_api(short, |api| async move {
        // Ten increments.
        let (ban, _, _) = prepaid(&api, "0.012").await;
        let mut nodes = ["a", "b"].map(|name| Node::new(&api, name, None));
        for node in &mut nodes {
            node.wallet.place(ban);
            for _ in 0..4 {
                node.agent.look(false).await;
                node.pass(Duration::from_millis(600));
            }
        }
        for node in &nodes {
            assert!(node.call(ban, 1_200_000).is_some(), "the money is there");
        }
    });
}

/// A node that had no call yet holds little ahead. It knows what the bank could lend, so that a dearer call waits for that instead of
/// being refused.
#[test]
fn a_node_knows_what_the_bank_could_lend_for_a_dear_first_call() {
    with_configured_api(short, |api| async move {
        let (ban, _, _) = prepaid(&api, "4").await;
        let mut node = Node::new(&api, "a", None);
        let place = node.wallet.place(ban);
        assert!(
            !place.may_get(warp_model::Nanos(1), warp_model::Mono(u64::MAX)),
            "nobody waits for what is not known"
        );
        for _ in 0..2 {
            node.agent.look(false).await;
            node.pass(Duration::from_millis(600));
        }
        assert!(node.call(ban, UNIT / 2).is_none(), "more than it holds before a first call");
        let began = warp_model::Mono(1);
        assert!(
            place.may_get(warp_model::Nanos(UNIT / 2), began)
                && !place.may_get(warp_model::Nanos(5 * UNIT), began)
        );
        node.agent.look(false).await;
        assert!(node.call(ban, UNIT / 2).is_some(), "the next look brings it");
    });
}

/// What the node knows of an account that nobody called from is old: money was paid in meanwhile. The first call waits for an answer.
#[test]
fn a_call_after_a_payment_is_not_refused_for_what_was_known_before_it() {
    with_configured_api(short, |api| async move {
        let (ban, _, _) = prepaid(&api, "0.05").await;
        let mut node = Node::new(&api, "a", None);
        let place = node.wallet.place(ban);
        assert!(node.call(ban, UNIT / 2).is_none());
        node.agent.look(false).await;
        let before = node.now();
        assert!(!place.may_get(warp_model::Nanos(UNIT / 2), before), "it was asked, and has not so much");
        node.pass(Duration::from_secs(1));
        top_up(&api, ban, "1", "b").await;
        let began = node.now();
        assert!(node.call(ban, UNIT / 2).is_none());
        assert!(place.may_get(warp_model::Nanos(UNIT / 2), began), "it was not asked since");
        node.agent.look(false).await;
        assert!(node.call(ban, UNIT / 2).is_some(), "the next look brings it");
    });
}

/// Money of a small account that a node has borrowed and nobody calls with is back within half a minute, and stays there: the last of it can be
/// spent where the calls are. (A node that was started anew kept a fifth of it for ever.)
#[test]
fn what_an_idle_node_has_of_a_small_account_is_back_within_half_a_minute() {
    with_configured_api(
        |config| {
            config.credit_lease = Duration::from_secs(120);
            // The balance is asked for after each look, as fast as the machine is.
            config.edge.key_limit = Limit { per_second: 100_000, burst: 100_000 };
        },
        |api| async move {
            let (ban, _, _) = prepaid(&api, "0.00005").await;
            let mut idle = Node::new(&api, "a", None);
            idle.wallet.place(ban);
            idle.agent.look(false).await;
            assert_ne!(balance(&api, ban).await.1, "0", "a first call would find it");
            // Four minutes: leases end meanwhile, and others begin.
            let mut held = Vec::new();
            for look in 1..=1_200 {
                idle.pass(Duration::from_millis(200));
                idle.agent.look(false).await;
                if look >= 152 && balance(&api, ban).await.1 != "0" {
                    held.push(look);
                }
            }
            assert!(held.len() <= 4, "held again at looks {held:?}");
            assert!(held.windows(2).all(|w| w[1] - w[0] > 100), "at no two looks in a row: {held:?}");
            // The whole of it can be spent elsewhere, and here too: the first call waits for one look.
            let mut busy = Node::new(&api, "b", None);
            for node in [&mut busy, &mut idle] {
                assert!(node.call(ban, 50_000).is_none());
                node.pass(Duration::from_millis(200));
                node.agent.look(false).await;
                drop(node.call(ban, 50_000).expect("all of it"));
                for _ in 0..200 {
                    node.pass(Duration::from_millis(200));
                    node.agent.look(false).await;
                }
            }
        },
    );
}

/// A small account is not held by the nodes that nobody calls from: each keeps some 20 increments, and near the end nothing.
#[test]
fn idle_nodes_keep_little_of_a_small_account_and_nothing_of_an_empty_one() {
    const CENT: i64 = UNIT / 100;
    with_configured_api(
        |config| config.credit_lease = Duration::from_secs(120),
        |api| async move {
            let (ban, _, _) = prepaid(&api, "4").await;
            let mut idle: Vec<Node> = (0..4).map(|n| Node::new(&api, &format!("n{n}"), None)).collect();
            let mut busy = Node::new(&api, "busy", None);
            let has = |n: &Node| n.wallet.place(ban).purse().map_or(0, |p| p.free().0);
            // On two of them there was a call once; the others were never called at.
            for (n, node) in idle.iter_mut().enumerate() {
                node.wallet.place(ban);
                if n < 2 {
                    node.call(ban, CENT / 10);
                    node.agent.look(false).await;
                    drop(node.call(ban, CENT / 10).expect("a call"));
                    node.pass(Duration::from_secs(31));
                }
                for _ in 0..4 {
                    node.agent.look(false).await;
                    node.pass(Duration::from_millis(600));
                }
                // 20 increments are 0.02, a fiftieth of what there is 0.08.
                assert!((CENT * 6..=CENT * 8).contains(&has(node)), "{n}: {}", has(node));
            }
            // The busy one spends nearly everything; the idle ones hear of that when they extend their leases, and give the rest back.
            let mut calls = Vec::new();
            for _ in 0..140 {
                for node in idle.iter_mut().chain([&mut busy]) {
                    node.pass(Duration::from_secs(10));
                    node.agent.look(false).await;
                }
                calls.extend(busy.call(ban, CENT * 5));
            }
            let taken: i64 = calls.iter().map(|c| c.amount().0).sum();
            assert!(taken > UNIT * 4 - CENT * 20, "{} of 4 could be spent where the calls are", Nanos(taken));
            assert!(taken <= UNIT * 4);
        },
    );
}

#[test]
fn f_proc_04_the_lease_of_a_lost_process_stays_held_until_its_records_are_posted_or_an_operator_releases_it()
{
    with_configured_api(short, |api| async move {
        let (ban, _, _) = prepaid(&api, "10").await;
        for by_operator in [false, true] {
            let mut a = Node::new(&api, "a", Some("cdr:one"));
            a.call(ban, UNIT);
            a.agent.look(false).await;
            let call = a.call(ban, UNIT).unwrap();
            // Killed: nobody says what its calls have cost.
            std::mem::forget(call);
            drop(a);
            let (_, held, _) = balance(&api, ban).await;
            let (mut again, mut stranger) =
                (Node::new(&api, "a", Some("cdr:one")), Node::new(&api, "a", Some("cdr:two")));
            let lost = leases(&api, ban).await.remove(0);
            let path = format!("/leases/{}/release", lost["number"]);
            let reason = json!({ "reason": "the disk is gone" });
            let early = api.op("POST", &path, Some(reason.clone())).await;
            assert_eq!((early.status, early.code().as_str()), (409, "conflict"), "{}", early.body);
            // It ends by the bank's clock; still its money is held.
            let ended = async || {
                let r = api.op("POST", "/leases/0/release", Some(reason.clone())).await;
                assert_eq!(r.status, 404);
                again_looks(&mut again, &mut stranger).await;
                let expired = lost["expires_at"].as_str().unwrap() < now(&api).as_str();
                expired.then_some(())
            };
            wait_until(ended).await;
            assert_eq!(balance(&api, ban).await.1, held, "nobody knows what was spent");
            if by_operator {
                let released = api.op("POST", &path, Some(reason.clone())).await;
                assert_eq!(released.data()["held"]["amount"], "0");
                assert!(api.op("GET", "/audit?limit=5", None).await.body.contains("lease.release"));
            } else {
                stranger.pass(Duration::from_secs(6));
                stranger.agent.look(true).await;
                assert_eq!(balance(&api, ban).await.1, held, "another node's records say nothing of it");
                again.pass(Duration::from_secs(6));
                again.agent.look(true).await;
            }
            assert_eq!(balance(&api, ban).await, ("10".into(), "0".into(), "10".into()));
        }
    });
}

/// An operator takes money out of an account while it is lent: the call goes on with what its node holds, and nothing more is lent to anybody.
/// (Elsewhere it talked on for nothing: ASTPP 145.)
#[test]
fn money_that_is_taken_out_while_a_call_runs_is_not_lent_again() {
    with_configured_api(short, |api| async move {
        let (ban, _, _) = prepaid(&api, "10").await;
        let (mut a, mut b) = (Node::new(&api, "a", None), Node::new(&api, "b", None));
        a.call(ban, UNIT);
        a.agent.look(false).await;
        let lent = a.wallet.place(ban).purse().unwrap().free().0;
        let bearer = format!("Bearer {}", api.operator);
        let headers = [
            ("Authorization", bearer.as_str()),
            ("Content-Type", "application/json"),
            ("Idempotency-Key", "b"),
        ];
        let body = json!({ "amount": usd("10"), "direction": "debit", "reason": "moved" }).to_string();
        let path = format!("/api/v1/admin/bans/{ban}/adjustments");
        assert_eq!(api.send("POST", &path, &headers, body.as_bytes()).await.status, 201);
        let mut calls = Vec::new();
        for _ in 0..20 {
            for node in [&mut a, &mut b] {
                calls.extend(node.call(ban, UNIT / 4));
                node.pass(Duration::from_millis(200));
                node.agent.look(false).await;
            }
        }
        let taken: i64 = calls.iter().map(|c: &Lent<Held>| c.amount().0).sum();
        assert!(taken <= lent && taken > lent - UNIT / 4, "{taken} of {lent}");
        assert_eq!(
            balance(&api, ban).await.2,
            Nanos(-lent).text().as_str(),
            "what is lent may still be spent"
        );
    });
}

/// A process said what the calls of a lease had cost, and died before their records were written: nobody will ever post that.
#[test]
fn f_proc_04_what_a_lost_process_said_of_its_cost_comes_back_when_no_record_says_so() {
    with_configured_api(short, |api| async move {
        let (ban, _, _) = prepaid(&api, "10").await;
        let mut a = Node::new(&api, "a", Some("cdr:one"));
        a.call(ban, UNIT);
        a.agent.look(false).await;
        Held::settle(a.call(ban, UNIT).unwrap(), Nanos(UNIT));
        a.pass(LEASE + Duration::from_secs(3));
        a.agent.look(false).await;
        let lost: Vec<Value> = leases(&api, ban).await;
        assert!(lost.iter().any(|l| l["closed"] == true && l["held"]["amount"] == "1"), "{lost:?}");
        drop(a);
        let mut again = Node::new(&api, "a", Some("cdr:one"));
        let back = async || {
            again.pass(Duration::from_secs(6));
            again.agent.look(true).await;
            (balance(&api, ban).await.1 == "0").then_some(())
        };
        wait_until(back).await;
        assert_eq!(balance(&api, ban).await.2, "10");
    });
}

async fn again_looks(again: &mut Node, stranger: &mut Node) {
    for n in [again, stranger] {
        n.pass(Duration::from_secs(6));
        n.agent.look(false).await;
    }
}

fn now(api: &Api) -> String {
    api.control.app.wall().to_string()
}

async fn wait_until(mut probe: impl AsyncFnMut() -> Option<()>) {
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    let mut look = tokio::time::interval(Duration::from_millis(50));
    while probe().await.is_none() {
        look.tick().await;
        assert!(std::time::Instant::now() < deadline, "not within 30 s");
    }
}

#[test]
fn who_pays_ahead_stands_in_the_snapshot_and_changes_with_the_account() {
    with_configured_api(short, |api| async move {
        let (ban, customer, trunk) = prepaid(&api, "1").await;
        let payer = async |ahead: bool| {
            let app = &api.control.app;
            eventually("the payer of the trunk", || async {
                let snapshot = app.publication.latest();
                let ix = snapshot.directory.trunk_ix(trunk.parse().unwrap())?;
                let payer = snapshot.directory.trunk(ix)?.payer?;
                (payer.ban == ban && payer.ahead == ahead).then_some(())
            })
            .await;
        };
        payer(true).await;
        let at = format!("/bans/{ban}");
        api.op("PATCH", &at, Some(json!({ "mode": "postpaid" }))).await.data();
        payer(false).await;
        api.op("PATCH", &at, Some(json!({ "credit_limit": usd("5") }))).await.data();
        payer(true).await;
        assert_eq!(balance(&api, ban).await.2, "6");
        assert!(customer.starts_with("cus_"));
    });
}
