//! Mail as a destination of events: whom it goes to, that its reader agreed, what a server that refuses, waits or cannot speak TLS comes to,
//! and that nothing gets into its head. The server is a sink of the test's own, which speaks SMTP (RFC 5321) as it is told.
mod common;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use common::{Api, eventually, with_configured_api};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use warp_control_plane::Config;
use warp_control_plane::jobs::Spool;
use warp_control_plane::store::Scope;
use warp_control_plane::webhooks::mail::{MailTls, Settings};

/// A mail that arrived.
#[derive(Clone, Debug)]
struct Arrived {
    from: String,
    to: Vec<String>,
    /// Head and body, as they came.
    text: String,
    /// It came over TLS.
    tls: bool,
    /// Who the sender said it was, when it did.
    login: Option<String>,
}

impl Arrived {
    fn header(&self, name: &str) -> String {
        let head = self.text.split("\r\n\r\n").next().unwrap_or_default();
        let found = head.split("\r\n").find_map(|l| l.strip_prefix(name)?.strip_prefix(": "));
        found.unwrap_or_else(|| panic!("no {name}: {head}")).to_owned()
    }

    /// The text, decoded where it was encoded for the way.
    fn body(&self) -> String {
        let (head, body) = self.text.split_once("\r\n\r\n").unwrap();
        if head.contains("Content-Transfer-Encoding: quoted-printable") {
            return body.replace("=\r\n", "").replace("=3D", "=");
        }
        assert!(!head.contains("base64"), "{head}");
        body.to_owned()
    }
}

/// How the sink behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Ways {
    /// It offers STARTTLS.
    #[default]
    StartTls,
    /// It speaks TLS from the first byte.
    Tls,
    /// It knows no TLS.
    Clear,
}

/// The sink.
struct Sink {
    at: SocketAddr,
    ca: PathBuf,
    arrived: Arc<Mutex<Vec<Arrived>>>,
    /// What it answers to the next mails in place of 250; empty: nothing, and the connection stays open.
    answers: Arc<Mutex<VecDeque<String>>>,
    /// Every line that a client said, before and after TLS.
    said: Arc<Mutex<Vec<String>>>,
    _folder: tempfile::TempDir,
}

impl Sink {
    async fn start(ways: Ways) -> Sink {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca.pem");
        std::fs::write(&ca, made.cert.pem()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(made.signing_key.serialize_pem().as_bytes()).unwrap();
        let chain = vec![CertificateDer::from_pem_slice(made.cert.pem().as_bytes()).unwrap()];
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sink = Sink {
            at: listener.local_addr().unwrap(),
            ca,
            arrived: Arc::default(),
            answers: Arc::default(),
            said: Arc::default(),
            _folder: folder,
        };
        let (arrived, answers, said) = (sink.arrived.clone(), sink.answers.clone(), sink.said.clone());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (acceptor, arrived) = (acceptor.clone(), arrived.clone());
                let session = Session { tls: false, arrived, answers: answers.clone(), said: said.clone() };
                tokio::spawn(async move {
                    match ways {
                        Ways::Tls => {
                            let Ok(stream) = acceptor.accept(socket).await else { return };
                            Session { tls: true, ..session }.speak(stream, false, true).await;
                        }
                        Ways::Clear => drop(session.speak(socket, false, true).await),
                        Ways::StartTls => {
                            let again = session.clone();
                            let Some(socket) = session.speak(socket, true, true).await else { return };
                            let Ok(stream) = acceptor.accept(socket).await else { return };
                            Session { tls: true, ..again }.speak(stream, false, false).await;
                        }
                    }
                });
            }
        });
        sink
    }

    fn settings(&self, tls: MailTls) -> Settings {
        Settings {
            host: "localhost".into(),
            port: self.at.port(),
            tls,
            ca: Some(self.ca.clone()),
            login: None,
            from: "Ringer <no-reply@ringer.example>".into(),
        }
    }

    fn will(&self, answers: &[&str]) {
        self.answers.lock().unwrap().extend(answers.iter().map(|a| (*a).to_owned()));
    }

    fn all(&self) -> Vec<Arrived> {
        self.arrived.lock().unwrap().clone()
    }

    fn said(&self, word: &str) -> usize {
        self.said.lock().unwrap().iter().filter(|l| l.starts_with(word)).count()
    }

    async fn wait_for(&self, count: usize) -> Vec<Arrived> {
        eventually("mails", async || Some(self.all()).filter(|a| a.len() >= count)).await
    }
}

#[derive(Clone)]
struct Session {
    tls: bool,
    arrived: Arc<Mutex<Vec<Arrived>>>,
    answers: Arc<Mutex<VecDeque<String>>>,
    said: Arc<Mutex<Vec<String>>>,
}

impl Session {
    /// Speaks until the client leaves, or gives the stream back for TLS.
    async fn speak<S>(self, stream: S, offers: bool, greets: bool) -> Option<S>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut stream = BufReader::new(stream);
        if greets {
            stream.write_all(b"220 sink ESMTP\r\n").await.ok()?;
        }
        let (mut from, mut to, mut login) = (String::new(), Vec::new(), None);
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await.ok().filter(|n| *n > 0)?;
            let line = line.trim_end().to_owned();
            self.said.lock().unwrap().push(line.clone());
            let word = line.split(' ').next().unwrap_or_default().to_ascii_uppercase();
            let answer = match word.as_str() {
                "EHLO" if offers => "250-sink\r\n250 STARTTLS".to_owned(),
                "EHLO" => "250-sink\r\n250 AUTH PLAIN".to_owned(),
                "STARTTLS" => {
                    stream.write_all(b"220 go on\r\n").await.ok()?;
                    return Some(stream.into_inner());
                }
                "AUTH" => {
                    use base64::Engine as _;
                    let given = line.rsplit(' ').next().unwrap_or_default();
                    let given = base64::engine::general_purpose::STANDARD.decode(given).unwrap_or_default();
                    login = Some(String::from_utf8_lossy(&given).replace('\0', " ").trim().to_owned());
                    "235 welcome".to_owned()
                }
                "MAIL" => {
                    from = line["MAIL FROM:".len()..].to_owned();
                    "250 ok".to_owned()
                }
                "RCPT" => {
                    to.push(line["RCPT TO:".len()..].to_owned());
                    "250 ok".to_owned()
                }
                "DATA" => {
                    stream.write_all(b"354 go on\r\n").await.ok()?;
                    let mut text = String::new();
                    while !text.ends_with("\r\n.\r\n") {
                        stream.read_line(&mut text).await.ok().filter(|n| *n > 0)?;
                    }
                    text.truncate(text.len() - 5);
                    let (from, to) = (std::mem::take(&mut from), std::mem::take(&mut to));
                    let text = text.replace("\r\n..", "\r\n.");
                    self.arrived.lock().unwrap().push(Arrived {
                        from,
                        to,
                        text,
                        tls: self.tls,
                        login: login.clone(),
                    });
                    let told = self.answers.lock().unwrap().pop_front();
                    match told {
                        Some(told) if told.is_empty() => {
                            // Until the other side leaves.
                            let _ = stream.read_line(&mut String::new()).await;
                            return None;
                        }
                        Some(told) => told,
                        None => "250 2.0.0 taken".to_owned(),
                    }
                }
                "QUIT" => {
                    let _ = stream.write_all(b"221 bye\r\n").await;
                    return None;
                }
                _ => "250 ok".to_owned(),
            };
            stream.write_all(format!("{answer}\r\n").as_bytes()).await.ok()?;
        }
    }
}

/// Runs a test with a sink that the platform mails by.
fn with_mail<F, Fut>(ways: Ways, tls: MailTls, change: impl FnOnce(&mut Config), test: F)
where
    F: FnOnce(Arc<Api>, Arc<Sink>) -> Fut,
    Fut: Future<Output = ()>,
{
    // The sink lives on a runtime of its own: that of the API does not exist yet.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let sink = Arc::new(runtime.block_on(Sink::start(ways)));
    let settings = sink.settings(tls);
    with_configured_api(
        |config| {
            config.mail = Some(settings);
            change(config);
        },
        |api| test(api, sink),
    );
}

async fn webhook(api: &Api, key: &str, url: &str, events: Value) -> Value {
    let body = json!({ "name": "mail", "url": url, "events": events });
    api.call(key, "POST", "/api/v1/webhooks", Some(body)).await.data()
}

/// Something that happens to a customer.
async fn happens(api: &Api, customer: &str, name: &str) {
    let user = json!({ "name": name, "role": "engineer", "subject": name });
    assert_eq!(api.op("POST", &format!("/customers/{customer}/users"), Some(user)).await.status, 201);
}

async fn sql(api: &Api, text: &'static str) {
    let mut tx = api.control.app.store.begin(Scope::Operator("test")).await.unwrap();
    sqlx::query(text).execute(tx.db()).await.unwrap();
    tx.commit().await.unwrap();
}

/// The code of a mail that asks for agreement.
fn code(mail: &Arrived) -> String {
    let body = mail.body();
    body.split("{\"code\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a code").to_owned()
}

fn id(webhook: &Value) -> String {
    webhook["id"].as_str().unwrap().to_owned()
}

#[test]
fn an_address_is_mailed_nothing_but_a_code_before_its_reader_agrees() {
    with_mail(
        Ways::StartTls,
        MailTls::StartTls,
        |_| {},
        |api, sink| async move {
            let (customer, key) = api.customer("Acme").await;
            let (_, foreign) = api.customer("Other").await;
            let made = webhook(&api, &key, "mailto:ops@acme.example", json!(["user.created"])).await;
            assert_eq!((&made["status"], &made["secret"]), (&json!("unconfirmed"), &Value::Null), "{made}");
            let at = format!("/api/v1/webhooks/{}", id(&made));
            let asked = sink.wait_for(1).await.remove(0);
            assert_eq!((asked.to.as_slice(), asked.tls), (&["<ops@acme.example>".to_owned()][..], true));
            assert_eq!(asked.header("Subject"), "[WARP] webhook.confirm");
            happens(&api, &customer, "early").await;
            // The code is in the mail and nowhere else; a wrong one, or one of another tenant, opens nothing.
            let code = code(&asked);
            let deliveries = api.call(&key, "GET", &format!("{at}/deliveries"), None).await;
            let event = deliveries.data()[0]["event_id"].as_str().unwrap().to_owned();
            let whole = api.call(&key, "GET", &format!("{at}/deliveries/{event}"), None).await;
            assert!(!whole.body.contains(&code) && !deliveries.body.contains(&code), "{}", whole.body);
            let confirm = format!("{at}/confirm");
            let say = async |key: &str, code: &str| {
                api.call(key, "POST", &confirm, Some(json!({ "code": code }))).await
            };
            let wrong = say(&key, "0123456789abcdef").await;
            assert_eq!(
                (wrong.status, &wrong.json()["error"]["field"]),
                (422, &json!("code")),
                "{}",
                wrong.body
            );
            assert_eq!(say(&foreign, &code).await.status, 404);
            for status in ["active", "unconfirmed"] {
                let patched = api.call(&key, "PATCH", &at, Some(json!({ "status": status }))).await.data();
                assert_eq!(patched["status"], "unconfirmed", "nobody says it by himself");
            }
            assert_eq!(say(&key, &format!(" {} ", code.to_uppercase())).await.data()["status"], "active");
            assert_eq!(say(&key, &code).await.status, 409);
            happens(&api, &customer, "Ada").await;
            let told = sink.wait_for(2).await.remove(1);
            assert_eq!(told.header("Subject"), "[WARP] user.created");
            assert!(told.body().contains("name: Ada"), "{}", told.body());
            assert_eq!(sink.all().len(), 2, "what happened before is not mailed");
            let secret = api.call(&key, "POST", &format!("{at}/secret"), Some(json!({}))).await;
            assert_eq!(secret.status, 409, "{}", secret.body);
            // Another address is asked anew, and has another code; the old one is told nothing any more.
            let moved = json!({ "url": "mailto:noc@acme.example" });
            assert_eq!(api.call(&key, "PATCH", &at, Some(moved)).await.data()["status"], "unconfirmed");
            let next = sink.wait_for(3).await.remove(2);
            assert_eq!(next.to, ["<noc@acme.example>"]);
            assert_eq!(say(&key, &code).await.status, 422, "the code of another address");
            assert_eq!(say(&key, &self::code(&next)).await.data()["status"], "active");
            // A test says that it arrives.
            let test = api.call(&key, "POST", &format!("{at}/test"), Some(json!({}))).await;
            assert_eq!(test.status, 201, "{}", test.body);
            let test = sink.wait_for(4).await.remove(3);
            assert_eq!((test.header("Subject"), test.to.len()), ("[WARP] webhook.test".to_owned(), 1));
        },
    );
}

#[test]
fn nobody_asks_more_than_twenty_addresses_within_a_day() {
    with_mail(
        Ways::Clear,
        MailTls::None,
        |_| {},
        |api, _sink| async move {
            let (_, key) = api.customer("Acme").await;
            let (_, other) = api.customer("Other").await;
            for n in 0..20 {
                let made = webhook(&api, &key, &format!("mailto:a{n}@victim.example"), json!([])).await;
                // What was asked for counts, also when it is gone.
                let gone = api.call(&key, "DELETE", &format!("/api/v1/webhooks/{}", id(&made)), None).await;
                assert_eq!(gone.status, 200);
            }
            let body = json!({ "name": "m", "url": "mailto:one-more@victim.example" });
            let refused = api.call(&key, "POST", "/api/v1/webhooks", Some(body.clone())).await;
            assert_eq!((refused.status, refused.code().as_str()), (409, "conflict"), "{}", refused.body);
            assert_eq!(api.call(&other, "POST", "/api/v1/webhooks", Some(body.clone())).await.status, 201);
            sql(&api, "UPDATE mail_confirmations SET at = at - interval '25 hours'").await;
            assert_eq!(api.call(&key, "POST", "/api/v1/webhooks", Some(body)).await.status, 201);
        },
    );
}

#[test]
fn the_carriers_people_are_mailed_without_a_question_and_an_export_tells_that_it_is_ready() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool { dir: folder.path().join("jobs"), node: "n1".into() };
    with_mail(
        Ways::StartTls,
        MailTls::StartTls,
        |c| c.spool = Some(spool),
        |api, sink| async move {
            let body = json!({ "name": "noc", "url": "mailto:noc@ringer.example", "events": ["job.done", "vendor.down"] });
            let made = api.op("POST", "/webhooks", Some(body)).await.data();
            assert_eq!((&made["status"], &made["customer_id"]), (&json!("active"), &Value::Null));
            let job = json!({ "kind": "call_export", "name": "calls of november", "call_export": {} });
            let job = api.op("POST", "/jobs", Some(job)).await.data();
            let ready = sink.wait_for(1).await.remove(0);
            assert_eq!(ready.header("Subject"), "[WARP] job.done");
            assert_eq!(ready.from, "<no-reply@ringer.example>");
            let body = ready.body();
            assert!(body.contains("name: calls of november"), "{body}");
            assert!(body.contains(job["id"].as_str().unwrap()), "{body}");
        },
    );
}

#[test]
fn t_hook_03_a_mail_that_is_not_taken_is_tried_again_as_the_same_mail_and_one_that_never_will_be_is_dead() {
    with_mail(
        Ways::Clear,
        MailTls::None,
        |_| {},
        |api, sink| async move {
            let (customer, _) = api.customer("Acme").await;
            let body =
                json!({ "name": "noc", "url": "mailto:noc@ringer.example", "events": ["user.created"] });
            let made = api.op("POST", "/webhooks", Some(body)).await.data();
            let list = format!("/webhooks/{}/deliveries", id(&made));
            sink.will(&["451 4.7.1 greylisted", "250 2.0.0 taken"]);
            happens(&api, &customer, "one").await;
            let first = eventually("the first answer", async || {
                let all = api.op("GET", &list, None).await.data();
                (all[0]["last_status"] == 451).then(|| all[0].clone())
            })
            .await;
            assert_eq!((&first["status"], &first["attempts"]), (&json!("waiting"), &json!(1)), "{first}");
            assert!(first["last_answer"].as_str().unwrap().contains("greylisted"), "{first}");
            sql(&api, "UPDATE webhook_deliveries SET next_at = now() WHERE status = 'waiting'").await;
            let both = sink.wait_for(2).await;
            assert_eq!(
                both[0].header("Message-ID"),
                both[1].header("Message-ID"),
                "it can be told that it came twice"
            );
            eventually("its end", async || {
                let all = api.op("GET", &list, None).await.data();
                (all[0]["status"] == "delivered" && all[0]["last_status"] == 250).then_some(())
            })
            .await;
            // No such mailbox: nobody tries that for a day. It is replayed when there is one.
            sink.will(&["550 5.1.1 no such user"]);
            happens(&api, &customer, "two").await;
            let dead = eventually("its death", async || {
                let all = api.op("GET", &format!("{list}?status=dead"), None).await.data();
                all[0].is_object().then(|| all[0].clone())
            })
            .await;
            assert_eq!((&dead["last_status"], &dead["attempts"]), (&json!(550), &json!(1)), "{dead}");
            let again = format!("{list}/{}/replay", dead["event_id"].as_str().unwrap());
            assert_eq!(api.op("POST", &again, Some(json!({}))).await.status, 200);
            sink.wait_for(4).await;
            // A server that says nothing is left after a while, and another webhook is served meanwhile.
            sink.will(&[""]);
            happens(&api, &customer, "three").await;
            sink.wait_for(5).await;
            let other =
                json!({ "name": "other", "url": "mailto:other@ringer.example", "events": ["user.created"] });
            api.op("POST", "/webhooks", Some(other)).await.data();
            happens(&api, &customer, "four").await;
            eventually("a mail to the other one", async || {
                sink.all().iter().any(|m| m.to == ["<other@ringer.example>"]).then_some(())
            })
            .await;
            let silent = eventually("the end of our patience", async || {
                let all = api.op("GET", &list, None).await.data();
                all.as_array().unwrap().iter().find(|d| d["last_error"].is_string()).cloned()
            })
            .await;
            assert!(silent["last_ms"].as_i64().unwrap() >= 11_000, "{silent}");
        },
    );
}

/// Nothing of a mail is said before TLS, and not to a server whose certificate is another's.
#[test]
fn a_mail_goes_over_tls_or_not_at_all() {
    for (ways, tls, trusted, arrives) in [
        (Ways::StartTls, MailTls::StartTls, true, true),
        (Ways::Tls, MailTls::Tls, true, true),
        (Ways::Clear, MailTls::StartTls, true, false),
        (Ways::StartTls, MailTls::StartTls, false, false),
        (Ways::Tls, MailTls::Tls, false, false),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let password = folder.path().join("password");
        std::fs::write(&password, "s3cret\n").unwrap();
        let change = |c: &mut Config| {
            let mail = c.mail.as_mut().unwrap();
            mail.login = Some(("warp".into(), password));
            if !trusted {
                mail.ca = None;
            }
        };
        with_mail(ways, tls, change, |api, sink| async move {
            let (customer, _) = api.customer("Acme").await;
            let body =
                json!({ "name": "noc", "url": "mailto:noc@ringer.example", "events": ["user.created"] });
            let made = api.op("POST", "/webhooks", Some(body)).await.data();
            happens(&api, &customer, "one").await;
            let list = format!("/webhooks/{}/deliveries", id(&made));
            let said = eventually("what came of it", async || {
                let all = api.op("GET", &list, None).await.data();
                (!all[0]["last_ms"].is_null()).then(|| all[0].clone())
            })
            .await;
            let case = format!("{ways:?} {tls:?} trusted={trusted}: {said}");
            if arrives {
                let mail = sink.wait_for(1).await.remove(0);
                assert_eq!((said["status"].as_str(), mail.tls), (Some("delivered"), true), "{case}");
                assert_eq!(mail.login.as_deref(), Some("warp s3cret"), "{case}");
            } else {
                assert_eq!(said["status"], "waiting", "{case}");
                assert!(said["last_error"].is_string() && said["last_status"].is_null(), "{case}");
                assert_eq!((sink.said("MAIL"), sink.said("AUTH")), (0, 0), "{case}");
            }
        });
    }
}

#[test]
fn what_is_no_single_plain_address_is_refused_and_so_are_calls_and_a_platform_without_a_server() {
    with_mail(
        Ways::Clear,
        MailTls::None,
        |_| {},
        |api, sink| async move {
            let (_, key) = api.customer("Acme").await;
            for url in [
                "mailto:a@b.example,c@d.example",
                "mailto:a@b.example?bcc=c@d.example",
                "mailto:a@b.example\r\nBcc: c@d.example",
                "mailto:a%0aBcc:c@b.example",
                "mailto:\"a b\"@b.example",
                "mailto:a@localhost",
                "mailto:a@[127.0.0.1]",
                "mailto:",
            ] {
                let r = api
                    .call(&key, "POST", "/api/v1/webhooks", Some(json!({ "name": "m", "url": url })))
                    .await;
                assert_eq!(
                    (r.status, &r.json()["error"]["field"]),
                    (422, &json!("url")),
                    "{url}: {}",
                    r.body
                );
            }
            let body = json!({ "name": "m", "url": "mailto:a@b.example", "events": ["balance.low", "call.completed"] });
            let r = api.call(&key, "POST", "/api/v1/webhooks", Some(body)).await;
            assert_eq!((r.status, &r.json()["error"]["field"]), (422, &json!("events[1]")), "{}", r.body);
            assert_eq!(sink.said("MAIL"), 0);
        },
    );
    with_configured_api(
        |_| {},
        |api| async move {
            let (_, key) = api.customer("Acme").await;
            let body = json!({ "name": "m", "url": "mailto:a@b.example" });
            let r = api.call(&key, "POST", "/api/v1/webhooks", Some(body)).await;
            let details = r.json()["error"]["details"].clone();
            assert_eq!((r.status, &details[0]["code"]), (422, &json!("not_configured")), "{}", r.body);
        },
    );
}
