//! Who pays for calls: the account that the record names, when it is one of its customer; what its lease has cost; and how many calls a
//! posting says that it took in (RFC 0014, RFC 0020).
mod common;

use common::{Api, event_log, record, with_api};
use serde_json::{Value, json};
use sqlx::Row;
use warp_control_plane::billing::consumer::{Consumer, Step};
use warp_control_plane::store::Scope;
use warp_events::{EventLog, TOPIC_CDR_VOICE};
use warp_model::CallId;

/// A customer with two accounts and a trunk on the first one.
struct Payer {
    customer: String,
    trunk: String,
    bans: [String; 2],
}

async fn payer(api: &Api, name: &str) -> Payer {
    let (customer, key) = api.customer(name).await;
    let second = json!({ "name": "second" });
    let made = api.op("POST", &format!("/customers/{customer}/bans"), Some(second)).await.data();
    let second = made["id"].as_str().unwrap().to_owned();
    let trunk = api.call(&key, "POST", "/api/v1/trunks", Some(json!({ "name": "t" }))).await.data();
    let first = trunk["ban_id"].as_str().unwrap().to_owned();
    assert_ne!(first, second);
    Payer { customer, trunk: trunk["id"].as_str().unwrap().to_owned(), bans: [first, second] }
}

struct Calls<'a> {
    api: &'a Api,
    log: EventLog,
    _dir: tempfile::TempDir,
}

impl<'a> Calls<'a> {
    fn new(api: &'a Api) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Calls { api, log: event_log(dir.path()), _dir: dir }
    }

    /// A call with this charge, changed.
    fn ends(&self, of: &Payer, n: u128, charge: &str, change: impl FnOnce(&mut Value)) {
        let id = CallId::from_u128(n).to_string();
        let mut call = record(&id, &of.customer, &of.trunk);
        call["rating"]["sell"]["charge"] = json!(charge);
        change(&mut call);
        let topic = self.log.topic(TOPIC_CDR_VOICE).unwrap();
        topic.append_durable(id.as_bytes(), call.to_string().as_bytes()).unwrap();
    }

    async fn post(&self) {
        let app = &self.api.control.app;
        let mut consumer = Consumer::new(app.store.clone(), &self.log, "t", app.metrics.clone()).unwrap();
        while consumer.step().await.unwrap() != Step::Idle {}
    }

    /// Amount and number of calls of each posting of an account, oldest first.
    async fn postings(&self, ban: &str) -> Vec<(String, i64)> {
        let list = self.api.op("GET", &format!("/ledger?ban={ban}"), None).await.data();
        let all = list.as_array().unwrap().iter().rev();
        all.map(|p| (p["amount"]["amount"].as_str().unwrap().to_owned(), p["calls"].as_i64().unwrap()))
            .collect()
    }

    async fn lease(&self, ban: &str) -> i64 {
        let mut tx = self.api.control.app.store.begin(Scope::Operator("test")).await.unwrap();
        let sql = "SELECT posted FROM credit_leases WHERE ban_id = $1";
        sqlx::query(sql).bind(ban).fetch_one(tx.db()).await.unwrap().get(0)
    }

    async fn lend(&self, ban: &str) {
        let mut tx = self.api.control.app.store.begin(Scope::Operator("test")).await.unwrap();
        let lease = "INSERT INTO credit_leases (ban_id, customer_id, epoch, node, process, log, granted, posted, expires_at)
            SELECT id, customer_id, 3, 'n', 'p', 'l', 9000000000, 0, now() + interval '1 hour' FROM bans WHERE id = $1";
        sqlx::query(lease).bind(ban).execute(tx.db()).await.unwrap();
        tx.commit().await.unwrap();
    }
}

const UNIT: i64 = 1_000_000_000;

/// A trunk may have gone to another account since the call began: who lent the money is paid. A record that names an account of somebody
/// else, whatever made it so, takes nothing from there, and nothing that is held there.
#[test]
fn the_account_of_the_record_pays_when_it_is_its_customers_and_no_other_lease_is_counted() {
    with_api(|api| async move {
        let (acme, other) = (payer(&api, "Acme").await, payer(&api, "Other").await);
        let calls = Calls::new(&api);
        for ban in [&acme.bans[0], &acme.bans[1], &other.bans[0]] {
            calls.lend(ban).await;
        }
        let paid = |ban: &str| {
            let paid = json!({ "ban_id": ban, "lease": 3 });
            move |call: &mut Value| call["paid"] = paid
        };
        calls.ends(&acme, 1, "1", paid(&acme.bans[1]));
        calls.ends(&acme, 2, "2", paid(&other.bans[0]));
        calls.ends(&acme, 3, "4", |_| {});
        calls.post().await;
        assert_eq!(calls.postings(&acme.bans[1]).await, [("-1".to_owned(), 1)]);
        assert_eq!(calls.postings(&acme.bans[0]).await, [("-6".to_owned(), 2)], "the trunk's account");
        assert_eq!(calls.postings(&other.bans[0]).await, []);
        let mut posted = Vec::new();
        for ban in [&acme.bans[0], &acme.bans[1], &other.bans[0]] {
            posted.push(calls.lease(ban).await);
        }
        assert_eq!(posted, [0, UNIT, 0], "only what was paid from a lease is counted by it");
    });
}

/// A posting says of how many calls it is: each counts once where it costs or gives back, a call that moves to another account at both.
#[test]
fn a_posting_counts_each_of_its_calls_once() {
    with_api(|api| async move {
        let acme = payer(&api, "Acme").await;
        let calls = Calls::new(&api);
        let recovered = |call: &mut Value| call["recovered"] = json!(true);
        calls.ends(&acme, 1, "5", recovered);
        calls.ends(&acme, 2, "7", recovered);
        calls.post().await;
        assert_eq!(calls.postings(&acme.bans[0]).await, [("-12".to_owned(), 2)]);
        // Their real ends: one costs less, one was paid by the other account. And two calls that are new.
        calls.ends(&acme, 1, "4", |_| {});
        let ban = acme.bans[1].clone();
        calls.ends(&acme, 2, "6", move |call| call["paid"] = json!({ "ban_id": ban }));
        calls.ends(&acme, 3, "1", |_| {});
        calls.ends(&acme, 4, "1", |_| {});
        calls.post().await;
        // Given back 5 and 7, charged 4, 1 and 1.
        let first = calls.postings(&acme.bans[0]).await;
        assert_eq!(first, [("-12".to_owned(), 2), ("6".to_owned(), 4)]);
        assert_eq!(calls.postings(&acme.bans[1]).await, [("-6".to_owned(), 1)]);
    });
}

/// Of several records of one call in a batch the first word stands, but for a real end behind a reconstructed one.
#[test]
fn of_two_records_of_a_kind_in_one_batch_the_first_stands() {
    with_api(|api| async move {
        let acme = payer(&api, "Acme").await;
        let calls = Calls::new(&api);
        for (n, both) in [(1, true), (2, false)] {
            for charge in ["3", "9"] {
                calls.ends(&acme, n, charge, |call| call["recovered"] = json!(both));
            }
        }
        calls.ends(&acme, 3, "9", |call| call["recovered"] = json!(true));
        calls.ends(&acme, 3, "1", |_| {});
        calls.post().await;
        assert_eq!(calls.postings(&acme.bans[0]).await, [("-7".to_owned(), 3)]);
    });
}
