//! Short messages from the queue of an SMSC to PostgreSQL, exactly once: rows with timelines, texts apart, prices in the ledger.
mod common;

use common::{Api, with_api};
use serde_json::{Value, json};
use sqlx::Row;
use warp_control_plane::billing::messages::{MessageConsumer, Posted, TOPIC};
use warp_control_plane::metrics::Metrics;
use warp_control_plane::store::{Scope, Store};
use warp_events::{EventLog, EventsMetrics, LogOptions, Topic};
use warp_model::{BanId, Currency, CustomerId, MessageId, Money, Nanos, Wall};
use warp_smpp::pdu::{self, Address, Body};
use warp_smpp::receipt::MessageState;
use warp_smpp::record::{Direction, Outcome, Record, Terms};
use warp_smpp::{Command, Status};

const ACCOUNT: &str = "sac_06f7jv8bxm3e7s0q9tk4w1n2pr";
const BIND: &str = "vbd_06f7jv8bxm3e7s0q9tk4w1n2pr";

/// A queue as an SMSC writes it.
struct Queue {
    log: EventLog,
    topic: Topic,
    _dir: tempfile::TempDir,
}

impl Queue {
    fn new() -> Queue {
        let dir = tempfile::tempdir().unwrap();
        let log = EventLog::open(dir.path(), LogOptions::new(EventsMetrics::detached())).unwrap();
        let topic = log.topic(TOPIC).unwrap();
        Queue { log, topic, _dir: dir }
    }

    fn write(&self, records: &[Record<'_>]) {
        for record in records {
            let mut out = Vec::new();
            record.encode(&mut out);
            self.topic.append_durable(b"", &out).unwrap();
        }
    }

    fn consumer(&self, store: &Store) -> MessageConsumer {
        let metrics = Metrics::new(&warp_telemetry::Registry::new());
        MessageConsumer::new(store.clone(), &self.log, "t-messages", metrics).unwrap()
    }

    async fn post(&self, store: &Store) -> usize {
        let (mut consumer, mut read) = (self.consumer(store), 0);
        while let Posted::Records(n) = consumer.step().await.unwrap() {
            read += n;
        }
        read
    }
}

fn now() -> Wall {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Wall(i64::try_from(since.as_micros()).unwrap())
}

fn id(n: u128) -> u128 {
    MessageId::new(now(), n).as_u128()
}

fn body(to: &[u8], text: &[u8]) -> Vec<u8> {
    let message = pdu::Message {
        source: Address { ton: 5, npi: 0, text: b"ACME" },
        destination: Address { ton: 1, npi: 1, text: to },
        registered_delivery: 1,
        short_message: text,
        ..pdu::Message::default()
    };
    let mut out = Vec::new();
    pdu::encode(&mut out, Command::SUBMIT_SM, Status::ROK, 1, &Body::Message(message)).unwrap();
    out[16..].to_vec()
}

fn accepted<'a>(id: u128, body: &'a [u8], terms: &'a [u8]) -> Record<'a> {
    let at = now();
    Record::Accepted {
        id,
        direction: Direction::Terminated,
        account: ACCOUNT.as_bytes(),
        vendor: BIND.as_bytes(),
        at,
        not_before: at,
        expires: Wall(at.0 + 3_600_000_000),
        body,
        callback: &[],
        route: 7,
        nth: 0,
        terms,
    }
}

fn over(id: u128, state: MessageState, error: u16) -> Record<'static> {
    Record::Final { id, outcome: Outcome { state, error, at: now() } }
}

fn terms(customer: &str, price: i64, lease: i64) -> Terms {
    let usd = |n| Some(Money { amount: Nanos(n), currency: Currency::USD });
    let customer: CustomerId = customer.parse().unwrap();
    Terms {
        customer: customer.as_u128(),
        ban: BanId::from_u128(customer.as_u128()).as_u128(),
        lease,
        parts: 1,
        segments: 1,
        sell: usd(price),
        buy: usd(price / 2),
        ..Terms::default()
    }
}

async fn balance(api: &Api) -> i64 {
    let mut tx = api.control.app.store.begin(Scope::Operator("test")).await.unwrap();
    let sql = "SELECT coalesce(sum(balance), 0)::bigint FROM ban_balances";
    sqlx::query(sql).fetch_one(tx.db()).await.unwrap().get(0)
}

fn steps(message: &Value) -> Vec<&str> {
    message["timeline"].as_array().unwrap().iter().map(|e| e["step"].as_str().unwrap()).collect()
}

#[test]
fn a_message_has_one_row_with_its_timeline_and_its_price_is_in_the_ledger_once() {
    with_api(|api| async move {
        let (customer, key) = api.customer("Acme").await;
        let (_, other) = api.customer("Other").await;
        let store = api.control.app.store.clone();
        let queue = Queue::new();
        let (a, text) = (id(1), body(b"+14155550124", b"hello"));
        let agreed = terms(&customer, 7_500_000, 0).bytes();
        queue.write(&[accepted(a, &text, &agreed), Record::Sent { id: a }]);
        assert_eq!(queue.post(&store).await, 2);
        assert_eq!(balance(&api).await, -7_500_000);
        queue.write(&[
            Record::Carried { id: a, carrier_id: b"5F3A9" },
            Record::Noticed { id: a },
            over(a, MessageState::Delivered, 0),
            Record::Done { id: a },
        ]);
        assert_eq!(queue.post(&store).await, 4, "a restart goes on behind what was posted");
        let shown = MessageId::from_u128(a).to_string();
        let path = format!("/api/v1/messages/{shown}");
        let message = api.call(&key, "GET", &path, None).await.data();
        assert_eq!(message["status"], "delivered");
        assert_eq!((&message["source"], &message["destination"]), (&json!("ACME"), &json!("14155550124")));
        assert_eq!(message["price"], json!({ "amount": "0.0075", "currency": "USD" }));
        assert_eq!(steps(&message), ["accepted", "sent", "carried", "noticed", "delivered"]);
        assert!(message["explanation"].as_str().unwrap().starts_with("It was delivered "), "{message}");
        // A customer reads nothing of whom we buy from.
        for hidden in ["cost", "bind_id", "carrier_id", "place", "moves"] {
            assert!(
                message.get(hidden).is_none() && !message.to_string().contains("vbd_"),
                "{hidden}: {message}"
            );
        }
        let whole = api.op("GET", &format!("/messages/{shown}"), None).await.data();
        assert_eq!(
            (&whole["bind_id"], &whole["carrier_id"], &whole["place"]),
            (&json!(BIND), &json!("5F3A9"), &json!(7))
        );
        assert_eq!(whole["cost"], json!({ "amount": "0.00375", "currency": "USD" }));
        // Another customer: it does not exist, in lists either.
        assert_eq!(api.call(&other, "GET", &path, None).await.status, 404);
        assert_eq!(api.call(&other, "GET", "/api/v1/messages", None).await.data(), json!([]));
        let of = |query: &str| format!("/api/v1/messages?{query}");
        for (query, count) in
            [("status=delivered", 1), ("status=failed", 0), ("to=14155550124&from=ACME", 1), ("to=1", 0)]
        {
            let found = api.call(&key, "GET", &of(query), None).await.data();
            assert_eq!(found.as_array().unwrap().len(), count, "{query}");
        }
        // A lost cursor: everything comes again, nothing is doubled.
        let mut tx = store.begin(Scope::Operator("test")).await.unwrap();
        sqlx::query("DELETE FROM log_cursors").execute(tx.db()).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(queue.post(&store).await, 6);
        let again = api.call(&key, "GET", &path, None).await.data();
        assert_eq!((&again, balance(&api).await), (&message, -7_500_000));
    });
}

#[test]
fn what_no_vendor_ever_had_is_given_back_and_what_one_had_is_not() {
    with_api(|api| async move {
        let (customer, key) = api.customer("Acme").await;
        let store = api.control.app.store.clone();
        let queue = Queue::new();
        let text = body(b"14155550124", b"x");
        let agreed = terms(&customer, 10, 0).bytes();
        let [refused, lost, cancelled] = [id(1), id(2), id(3)];
        queue.write(&[
            accepted(refused, &text, &agreed),
            accepted(lost, &text, &agreed),
            Record::Sent { id: refused },
            Record::Moved { id: refused, vendor: b"vbd_other", buy: None },
            Record::Sent { id: refused },
            Record::Carried { id: lost, carrier_id: b"A" },
        ]);
        queue.post(&store).await;
        assert_eq!(balance(&api).await, -20);
        queue.write(&[
            over(refused, MessageState::Undeliverable, 69),
            over(lost, MessageState::Undeliverable, 1),
        ]);
        // Taken and taken back within one batch: it was never in the ledger.
        queue.write(&[accepted(cancelled, &text, &agreed), over(cancelled, MessageState::Deleted, 0)]);
        queue.post(&store).await;
        assert_eq!(balance(&api).await, -10);
        let get = async |id: u128| {
            let path = format!("/api/v1/messages/{}", MessageId::from_u128(id));
            api.call(&key, "GET", &path, None).await.data()
        };
        let message = get(refused).await;
        assert_eq!((&message["status"], &message["refunded"]), (&json!("failed"), &json!(true)));
        assert_eq!(steps(&message), ["accepted", "sent", "moved", "sent", "failed"]);
        let sentence = message["explanation"].as_str().unwrap();
        assert!(sentence.starts_with("No vendor took it with error 69"), "{sentence}");
        assert!(sentence.ends_with("its price was given back."), "{sentence}");
        let message = get(lost).await;
        assert_eq!((&message["status"], &message["refunded"]), (&json!("failed"), &json!(false)));
        assert!(
            message["explanation"]
                .as_str()
                .unwrap()
                .starts_with("The network could not deliver it with error 1")
        );
        assert_eq!(get(cancelled).await["refunded"], json!(true));
    });
}

/// The queue may say twice how a message ended: its price is given back once.
#[test]
fn what_ends_twice_is_given_back_once() {
    with_api(|api| async move {
        let (customer, _) = api.customer("Acme").await;
        let store = api.control.app.store.clone();
        let queue = Queue::new();
        let (a, text) = (id(1), body(b"14155550124", b"x"));
        let agreed = terms(&customer, 10, 0).bytes();
        for (records, wanted) in [
            (vec![accepted(a, &text, &agreed), Record::Sent { id: a }], -10),
            (vec![over(a, MessageState::Undeliverable, 69)], 0),
            (vec![over(a, MessageState::Undeliverable, 69)], 0),
        ] {
            queue.write(&records);
            queue.post(&store).await;
            assert_eq!(balance(&api).await, wanted);
        }
    });
}

/// A text that its customer cut himself is as many messages, each with the whole of what it says; one that was cut here is one message, whose
/// parts stand in their order.
#[test]
fn a_message_of_one_part_is_its_first_part_whatever_its_header_says() {
    with_api(|api| async move {
        let (customer, _) = api.customer("Acme").await;
        let store = api.control.app.store.clone();
        let queue = Queue::new();
        let message = pdu::Message {
            destination: Address { ton: 1, npi: 1, text: b"14155550124" },
            esm_class: 0x40,
            short_message: b"\x05\x00\x03\x07\x02\x02hello",
            ..pdu::Message::default()
        };
        let mut text = Vec::new();
        pdu::encode(&mut text, Command::SUBMIT_SM, Status::ROK, 1, &Body::Message(message)).unwrap();
        let [cut_by_customer, cut_here] = [(id(1), 1), (id(2), 2)];
        for (id, parts) in [cut_by_customer, cut_here] {
            let agreed = Terms { parts, ..terms(&customer, 10, 0) }.bytes();
            queue.write(&[accepted(id, &text[16..], &agreed)]);
        }
        queue.post(&store).await;
        let mut tx = store.begin(Scope::Operator("test")).await.unwrap();
        for ((id, _), wanted) in [(cut_by_customer, 1), (cut_here, 2)] {
            let row = sqlx::query("SELECT part, octets FROM sms.contents WHERE id = $1");
            let row = row.bind(MessageId::from_u128(id).to_string()).fetch_one(tx.db()).await.unwrap();
            assert_eq!((row.get::<i32, _>(0), row.get::<Vec<u8>, _>(1)), (wanted, b"hello".to_vec()));
        }
    });
}

/// RFC 0037: only what no vendor accepted is given back. One that had it to its end counts, though another one was asked after it; and it is
/// the same whether the records are read at once or one by one.
#[test]
fn what_one_vendor_had_is_paid_though_the_next_one_refuses_it_in_one_batch_and_in_several() {
    with_api(|api| async move {
        let (customer, key) = api.customer("Acme").await;
        let store = api.control.app.store.clone();
        let queue = Queue::new();
        let text = body(b"14155550124", b"x");
        let agreed = terms(&customer, 10, 0).bytes();
        let [at_once, one_by_one] = [id(1), id(2)];
        let story = |id: u128| {
            [
                Record::Sent { id },
                Record::Carried { id, carrier_id: b"A" },
                Record::Moved { id, vendor: b"vbd_other", buy: None },
                Record::Sent { id },
                over(id, MessageState::Rejected, 69),
            ]
        };
        queue.write(&[accepted(at_once, &text, &agreed)]);
        queue.write(&story(at_once));
        queue.post(&store).await;
        queue.write(&[accepted(one_by_one, &text, &agreed)]);
        queue.post(&store).await;
        for record in story(one_by_one) {
            queue.write(&[record]);
            queue.post(&store).await;
        }
        for id in [at_once, one_by_one] {
            let path = format!("/api/v1/messages/{}", MessageId::from_u128(id));
            let message = api.call(&key, "GET", &path, None).await.data();
            assert_eq!((&message["status"], &message["refunded"]), (&json!("rejected"), &json!(false)));
            assert_eq!(steps(&message), ["accepted", "sent", "carried", "moved", "sent", "rejected"]);
        }
        assert_eq!(balance(&api).await, -20);
    });
}

/// What was paid from a lease moves from what is held to the balance, by the message that names it.
#[test]
fn a_message_that_was_paid_ahead_is_counted_by_its_lease() {
    with_api(|api| async move {
        let (customer, _) = api.customer("Acme").await;
        let store = api.control.app.store.clone();
        let ban = BanId::from_u128(customer.parse::<CustomerId>().unwrap().as_u128()).to_string();
        let mut tx = store.begin(Scope::Operator("test")).await.unwrap();
        let lease = "INSERT INTO credit_leases (ban_id, customer_id, epoch, node, process, log, granted, posted, expires_at)
            SELECT id, customer_id, 3, 'n', 'p', 'l', 1000, 0, now() + interval '1 hour' FROM bans WHERE id = $1";
        sqlx::query(lease).bind(&ban).execute(tx.db()).await.unwrap();
        tx.commit().await.unwrap();
        let queue = Queue::new();
        let text = body(b"14155550124", b"x");
        let agreed = terms(&customer, 40, 3).bytes();
        let (kept, given_back) = (id(1), id(2));
        queue.write(&[accepted(kept, &text, &agreed), accepted(given_back, &text, &agreed)]);
        queue.write(&[over(given_back, MessageState::Expired, 0)]);
        queue.post(&store).await;
        let mut tx = store.begin(Scope::Operator("test")).await.unwrap();
        let posted: i64 = sqlx::query("SELECT posted FROM credit_leases WHERE epoch = 3")
            .fetch_one(tx.db())
            .await
            .unwrap()
            .get(0);
        assert_eq!((posted, balance(&api).await), (80, -40), "both were spent, one was given back");
    });
}

/// The queue says again what lives long; a reader that begins in the middle of that doubles nothing.
#[test]
fn what_the_queue_says_again_changes_nothing_wherever_reading_begins() {
    with_api(|api| async move {
        let (customer, key) = api.customer("Acme").await;
        let store = api.control.app.store.clone();
        let queue = Queue::new();
        let (a, text) = (id(1), body(b"14155550124", b"x"));
        let agreed = terms(&customer, 10, 0).bytes();
        let carried = Record::Carried { id: a, carrier_id: b"A" };
        queue.write(&[accepted(a, &text, &agreed), Record::Sent { id: a }, carried]);
        queue.post(&store).await;
        queue.write(&[Record::Again { id: a, records: 2 }]);
        queue.post(&store).await;
        // The process ends here; another one reads on.
        queue.write(&[accepted(a, &text, &agreed), carried]);
        queue.post(&store).await;
        queue.write(&[over(a, MessageState::Delivered, 0)]);
        queue.post(&store).await;
        let message = api
            .call(&key, "GET", &format!("/api/v1/messages/{}", MessageId::from_u128(a)), None)
            .await
            .data();
        assert_eq!(steps(&message), ["accepted", "sent", "carried", "delivered"]);
        assert_eq!(balance(&api).await, -10);
    });
}

#[test]
fn t_api_05_a_text_is_read_with_its_own_permission_and_each_look_is_audited() {
    with_api(|api| async move {
        let (customer, key) = api.customer("Acme").await;
        let store = api.control.app.store.clone();
        let queue = Queue::new();
        let whole = id(9);
        let udh = |n: u8, text: &[u8]| [&[5, 0, 3, 7, 2, n], text].concat();
        let part = |n: u8, text: &[u8]| {
            let message = pdu::Message {
                destination: Address { ton: 1, npi: 1, text: b"14155550124" },
                esm_class: 0x40,
                short_message: &udh(n, text),
                ..pdu::Message::default()
            };
            let mut out = Vec::new();
            pdu::encode(&mut out, Command::SUBMIT_SM, Status::ROK, 1, &Body::Message(message)).unwrap();
            out[16..].to_vec()
        };
        let stands = Terms { parts: 2, segments: 2, ..terms(&customer, 20, 0) };
        let of_whole = Terms { whole, segments: 0, sell: None, buy: None, ..stands };
        let (first, second) = (part(1, b"one and "), part(2, b"two\x00"));
        queue.write(&[accepted(id(8), &first, &of_whole.bytes()), accepted(whole, &second, &stands.bytes())]);
        queue.post(&store).await;
        let listed = api.call(&key, "GET", "/api/v1/messages", None).await.data();
        assert_eq!(listed.as_array().unwrap().len(), 1, "one row for the whole text: {listed}");
        assert!(!listed.to_string().contains("one and"), "no text in a list");
        let path = format!("/api/v1/messages/{}/content", MessageId::from_u128(whole));
        let content = api.call(&key, "GET", &path, None).await.data();
        assert_eq!(content["text"], "one and two@", "in the alphabet of the network");
        let audit = api.call(&key, "GET", "/api/v1/audit?action=message.content", None).await.data();
        assert_eq!(audit.as_array().unwrap().len(), 1, "{audit}");
        let reader = json!({ "name": "r", "scopes": ["messages:read"] });
        let reader = api.call(&key, "POST", "/api/v1/keys", Some(reader)).await.data();
        let reader = reader["secret"].as_str().unwrap();
        assert_eq!(api.call(reader, "GET", &path, None).await.status, 403);
        assert_eq!(api.call(reader, "GET", "/api/v1/messages", None).await.status, 200);
    });
}

/// A record that nobody can read is put aside, and stops nothing.
#[test]
fn f_disk_03_a_record_that_cannot_be_read_is_put_aside() {
    with_api(|api| async move {
        let (customer, _) = api.customer("Acme").await;
        let store = api.control.app.store.clone();
        let queue = Queue::new();
        queue.topic.append_durable(b"", b"\xFFnonsense").unwrap();
        let (text, agreed) = (body(b"14155550124", b"x"), terms(&customer, 10, 0).bytes());
        queue.write(&[accepted(id(1), &text, &agreed)]);
        assert_eq!(queue.post(&store).await, 2);
        let mut tx = store.begin(Scope::Operator("test")).await.unwrap();
        let count = |sql: &'static str| sqlx::query(sql);
        let rejects: i64 =
            count("SELECT count(*) FROM message_rejects").fetch_one(tx.db()).await.unwrap().get(0);
        let messages: i64 =
            count("SELECT count(*) FROM sms.messages").fetch_one(tx.db()).await.unwrap().get(0);
        assert_eq!((rejects, messages), (1, 1));
    });
}

/// What is no number for a call is none for a message: 422, with the place of it, before any SMSC is asked.
#[test]
fn a_message_to_what_is_no_number_is_refused() {
    with_api(|api| async move {
        let (_, key) = api.customer("Acme").await;
        for (to, why) in [
            ("+1415", "it has too few digits"),
            ("22395", "it has too few digits"),
            ("911", "there is no such number"),
            ("+12005550123", "nobody has been assigned its area code"),
        ] {
            let message = json!({ "to": ["+14155550124", to], "from": "ACME", "text": "hello" });
            let r = api.call(&key, "POST", "/api/v1/messages", Some(message)).await;
            let details = r.json()["error"]["details"].as_array().unwrap().clone();
            assert_eq!(
                (r.status, details.len(), &details[0]["field"]),
                (422, 1, &json!("to[1]")),
                "{}",
                r.body
            );
            assert!(details[0]["message"].as_str().unwrap().ends_with(why), "{}", r.body);
        }
    });
}

/// Without an SMSC in the process nothing is taken, and that is said.
#[test]
fn a_message_is_not_taken_where_there_is_no_smsc() {
    with_api(|api| async move {
        let (_, key) = api.customer("Acme").await;
        let message = json!({ "to": ["+14155550124"], "from": "ACME", "text": "hello" });
        let r = api.call(&key, "POST", "/api/v1/messages", Some(message)).await;
        assert_eq!((r.status, r.code().as_str()), (409, "conflict"), "{}", r.body);
        let wrong = json!({ "to": [], "text": "", "priority": 9 });
        let r = api.call(&key, "POST", "/api/v1/messages", Some(wrong)).await;
        assert_eq!(
            (r.status, r.json()["error"]["details"].as_array().unwrap().len()),
            (422, 4),
            "{}",
            r.body
        );
    });
}

/// What handsets have said becomes rows, once, however often it is read; it is published, and lifted by the API with a reason that is
/// audited. Another customer sees nothing of it.
#[test]
fn a_stop_becomes_a_row_once_and_is_lifted_by_a_start_or_with_a_reason() {
    with_api(|api| async move {
        let (customer, key) = api.customer("Acme").await;
        let (_, other) = api.customer("Other").await;
        let store = api.control.app.store.clone();
        let queue = Queue::new();
        let whose = customer.parse::<CustomerId>().unwrap().as_u128();
        let said = |n: u128, out: bool, at: Wall| Record::Consent {
            id: id(n),
            customer: whose,
            sender: 12_025_550_100,
            recipient: 14_155_550_124,
            out,
            at,
        };
        let t0 = now();
        let at = |s: i64| Wall(t0.0 - 3_600_000_000 + s * 1_000_000);
        let stop = said(1, true, at(0));
        queue.write(&[stop, said(2, true, at(1))]);
        queue.post(&store).await;
        let list = async |query: &str| {
            let all = api.call(&key, "GET", &format!("/api/v1/opt-outs{query}"), None).await.data();
            all.as_array().unwrap().clone()
        };
        let all = list("?recipient=14155550124").await;
        assert_eq!(all.len(), 1, "{all:?}");
        let (one, sentence) = (&all[0], all[0]["explanation"].as_str().unwrap());
        assert_eq!((&one["status"], &one["sender"]), (&json!("out"), &json!("12025550100")));
        assert!(sentence.starts_with("14155550124 has said STOP to 12025550100"), "{sentence}");
        let published = async || {
            use warp_control_plane::store::messaging;
            use warp_policy::messaging::Messaging;
            let mut tx = store.begin(Scope::Operator("test")).await.unwrap();
            let (mut faults, known) = (Vec::new(), Messaging::default());
            let seal = api.control.app.store.seal();
            let all = messaging::read(&mut tx, seal, &known, &mut faults).await.unwrap();
            assert!(faults.is_empty(), "{faults:?}");
            // Behind what is known there is nothing more.
            let again = messaging::read(&mut tx, seal, &all, &mut faults).await.unwrap();
            assert_eq!(again.opt_outs.len(), all.opt_outs.len());
            let entries = all.opt_outs.iter().flat_map(|piece| piece.entries.clone());
            entries.map(|e| (e.recipient, e.out)).collect::<Vec<_>>()
        };
        assert_eq!(published().await, [(14_155_550_124, true)]);
        queue.write(&[said(3, false, at(2)), said(4, true, at(3))]);
        queue.post(&store).await;
        let stands = |all: &[Value]| all.iter().filter(|o| o["status"] == "out").count();
        assert_eq!((list("").await.len(), stands(&list("").await)), (2, 1));
        // A lost cursor: all of it comes again, and changes nothing.
        let before = list("").await;
        let mut tx = store.begin(Scope::Operator("test")).await.unwrap();
        sqlx::query("DELETE FROM log_cursors").execute(tx.db()).await.unwrap();
        tx.commit().await.unwrap();
        queue.post(&store).await;
        assert_eq!(list("").await, before);

        // Once for a pair, and not for the key of another customer.
        let pair = json!({ "sender": "+12025550100", "recipient": "4155550124", "reason": "by letter" });
        let r = api.call(&key, "POST", "/api/v1/opt-outs", Some(pair.clone())).await;
        assert_eq!(r.status, 409, "{}", r.body);
        let open = before.iter().find(|o| o["status"] == "out").unwrap();
        let path = format!("/api/v1/opt-outs/{}", open["id"].as_str().unwrap());
        assert_eq!(api.call(&other, "GET", &path, None).await.status, 404);
        let r = api.call(&key, "PATCH", &path, Some(json!({ "recipient": "14155550199" }))).await;
        assert_eq!(r.status, 422, "{}", r.body);
        let lift_why = json!({ "status": "lifted", "reason": "asked for it, ticket 7" });
        let lifted = api.call(&key, "PATCH", &path, Some(lift_why)).await.data();
        assert!(
            lifted["lifted_at"].is_string() && lifted["explanation"].to_string().contains("ticket 7"),
            "{lifted}"
        );
        assert_eq!(api.call(&key, "PATCH", &path, Some(json!({ "status": "out" }))).await.status, 422);
        let audit = api.call(&key, "GET", "/api/v1/audit?action=opt_out.update", None).await.data();
        assert_eq!(audit.as_array().unwrap().len(), 1, "{audit}");
        let last = published().await;
        assert!(last.iter().all(|(_, out)| !out), "{last:?}");
        let mut tx = store.begin(Scope::Operator("test")).await.unwrap();
        sqlx::query("DELETE FROM log_cursors").execute(tx.db()).await.unwrap();
        tx.commit().await.unwrap();
        queue.post(&store).await;
        assert_eq!(
            (list("").await.len(), stands(&list("").await)),
            (2, 0),
            "what is lifted stays so when all comes again"
        );
        // Written down anew, it is a row of its own.
        let made = api.call(&key, "POST", "/api/v1/opt-outs", Some(pair)).await;
        assert_eq!((made.status, &made.data()["recipient"]), (201, &json!("14155550124")), "{}", made.body);
    });
}

/// Words come from several nodes in any order: of a pair the latest counts, and who may not be in the list holds up nobody.
#[test]
fn of_the_words_of_a_pair_the_latest_counts_in_whatever_order_they_come() {
    with_api(|api| async move {
        let (customer, key) = api.customer("Acme").await;
        let store = api.control.app.store.clone();
        let whose = customer.parse::<CustomerId>().unwrap().as_u128();
        let t0 = now();
        let said = |n: u128, recipient: u64, out: bool, s: i64| {
            let at = Wall(t0.0 - 3_600_000_000 + s * 1_000_000);
            Record::Consent { id: id(n), customer: whose, sender: 12_025_550_100, recipient, out, at }
        };
        let queue = Queue::new();
        // A START without a row, then the STOP from before it; one of nobody who may be in the list between them.
        queue.write(&[said(1, 14_155_550_124, false, 5), said(2, 1_234, true, 5)]);
        queue.write(&[said(3, 14_155_550_124, true, 4)]);
        // STOP at 1 and at 5, then the START of 3 of another node.
        queue.write(&[said(4, 14_155_550_125, true, 1), said(5, 14_155_550_125, true, 5)]);
        queue.write(&[said(6, 14_155_550_125, false, 3)]);
        queue.post(&store).await;
        let all = api.call(&key, "GET", "/api/v1/opt-outs", None).await.data();
        let stands = |recipient: &str| {
            let rows = all.as_array().unwrap().iter().filter(|row| row["recipient"] == recipient);
            rows.map(|row| row["status"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(stands("14155550124"), ["lifted", "lifted"], "{all}");
        assert_eq!(stands("14155550125"), ["out"], "{all}");
        assert_eq!(all.as_array().unwrap().len(), 3, "{all}");
    });
}

/// What the SMSC itself ended is explained by its own words.
#[test]
fn marketing_that_is_held_and_what_a_recipient_ended_say_so_in_a_sentence() {
    with_api(|api| async move {
        let (customer, key) = api.customer("Acme").await;
        let store = api.control.app.store.clone();
        let queue = Queue::new();
        let (text, agreed) = (body(b"14155550124", b"x"), terms(&customer, 10, 0).bytes());
        let [held, out, quiet] = [id(1), id(2), id(3)];
        let until = Wall(now().0 + 3_600_000_000);
        queue.write(&[accepted(held, &text, &agreed), Record::Retry { id: held, until, attempts: 0 }]);
        queue.write(&[accepted(out, &text, &agreed), over(out, MessageState::Rejected, 901)]);
        queue.write(&[accepted(quiet, &text, &agreed), over(quiet, MessageState::Rejected, 902)]);
        queue.post(&store).await;
        for (id, status, sentence) in [
            (held, "scheduled", "It is marketing, and waits for the end of its recipient's quiet hours, "),
            (out, "rejected", "It was not sent: its recipient opted out"),
            (quiet, "rejected", "It was not sent: it is marketing, and its validity ends"),
        ] {
            let path = format!("/api/v1/messages/{}", MessageId::from_u128(id));
            let message = api.call(&key, "GET", &path, None).await.data();
            let said = message["explanation"].as_str().unwrap();
            assert!(message["status"] == status && said.starts_with(sentence), "{message}");
            assert_eq!(message["refunded"], json!(status == "rejected"));
        }
        assert_eq!(balance(&api).await, -10, "what was not sent costs nothing");
    });
}
