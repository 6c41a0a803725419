//! The HTTP door on real sockets: a message by HTTP, its calls, and clients that are slow, large or wrong.

#[path = "../../tests/stack/smpp.rs"]
#[allow(dead_code, reason = "the whole-stack tests use the rest")]
mod smpp;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use smpp::Carrier;
use warp_events::EventsMetrics;
use warp_smsc::{Account, Callbacks, Config, Destination, HttpClient, Metrics, Smsc, SmscLimits, Vendor};
use warp_telemetry::Registry;

/// Calls `check` until it gives a value or the time is over.
fn poll_until<T>(within: Duration, mut check: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + within;
    loop {
        if let Some(value) = check() {
            return Some(value);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5)); // poll interval of the one waiting helper
    }
}

struct Stack {
    at: SocketAddr,
    carrier: Carrier,
    _smsc: Smsc,
    _dir: tempfile::TempDir,
}

fn stack(change: impl FnOnce(&mut Config)) -> Stack {
    let dir = tempfile::tempdir().expect("tempdir");
    let carrier = Carrier::start(Duration::ZERO);
    let mut config = Config {
        http: Some("127.0.0.1:0".parse().expect("address")),
        accounts: vec![Account::new("foo", "bar")],
        vendors: vec![Vendor::new("SIM", "SIM", "sim", vec![carrier.at])],
        mt_default: Some(0),
        callbacks: Callbacks {
            networks: vec!["127.0.0.0/8".parse().expect("a network")],
            rest: Duration::from_millis(20),
            ..Callbacks::default()
        },
        limits: SmscLimits {
            http_patience: Duration::from_millis(300),
            http_connections: 4,
            ..SmscLimits::default()
        },
        ..Config::new("WARP")
    };
    change(&mut config);
    let options = warp_smsc::queue_options(EventsMetrics::detached());
    let metrics = Metrics::register(&Registry::new());
    let smsc = warp_smsc::start(config, dir.path(), options, metrics, 1).expect("starts");
    Stack { at: smsc.http().expect("the door"), carrier, _smsc: smsc, _dir: dir }
}

/// Sends bytes, and gives all that comes until the other end closes.
fn exchange(at: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(at).expect("connected");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("time-out");
    let _ = stream.write_all(bytes);
    let mut got = Vec::new();
    let _ = stream.read_to_end(&mut got);
    String::from_utf8_lossy(&got).into_owned()
}

/// Status and body.
fn get(at: SocketAddr, target: &str) -> (u16, String) {
    let head = format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    parsed(&exchange(at, head.as_bytes()))
}

fn post(at: SocketAddr, target: &str, more: &str, body: &str) -> (u16, String) {
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{more}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    parsed(&exchange(at, head.as_bytes()))
}

fn parsed(text: &str) -> (u16, String) {
    let status = text.get(9..12).and_then(|s| s.parse().ok());
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    (status.unwrap_or_else(|| panic!("no answer: {text:?}")), body)
}

/// A customer's end: keeps what it is called with, and answers as it is told to.
struct End {
    at: SocketAddr,
    calls: Arc<Mutex<Vec<String>>>,
}

impl End {
    /// `answers`: of each call in turn, the last for all further ones.
    fn start(answers: &'static [&'static str]) -> End {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = listener.local_addr().expect("address");
        let calls: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&calls);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                stream.set_read_timeout(Some(Duration::from_secs(30))).expect("time-out");
                let mut text = String::new();
                let mut buffer = [0u8; 4_096];
                // Until the body is as long as it was promised.
                while let Ok(n @ 1..) = stream.read(&mut buffer) {
                    text.push_str(&String::from_utf8_lossy(&buffer[..n]));
                    let length = text
                        .lines()
                        .find_map(|l| l.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
                    let body = text.split_once("\r\n\r\n").map(|(_, body)| body.len());
                    if body.is_some_and(|n| n >= length.unwrap_or(0usize)) {
                        break;
                    }
                }
                let mut calls = kept.lock().expect("lock");
                let body = answers.get(calls.len()).or(answers.last()).expect("an answer");
                calls.push(text);
                let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            }
        });
        End { at, calls }
    }

    fn wait_for(&self, count: usize) -> Vec<String> {
        let all = poll_until(Duration::from_secs(20), || {
            let calls = self.calls.lock().expect("lock");
            (calls.len() >= count).then(|| calls.clone())
        });
        all.unwrap_or_else(|| panic!("{:?}", self.calls.lock().expect("lock")))
    }
}

const WHO: &str = "username=foo&password=bar&to=491701234567";

#[test]
fn a_message_by_get_post_and_json_reaches_the_vendor() {
    let s = stack(|_| {});
    assert_eq!(get(s.at, "/ping"), (200, "Jasmin/PONG".to_owned()));
    let (status, body) = get(s.at, &format!("/send?{WHO}&content=one"));
    assert!(status == 200 && body.starts_with("Success \"") && body.len() == 46, "{status} {body}");
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    assert_eq!(post(s.at, "/send", form, &format!("{WHO}&content=two")).0, 200);
    let json = r#"{"username":"foo","password":"bar","to":"491701234567","content":"three"}"#;
    assert_eq!(post(s.at, "/send", "Content-Type: application/json\r\n", json).0, 200);
    let basic = "Content-Type: application/json\r\nAuthorization: Basic Zm9vOmJhcg==\r\n";
    let (status, body) = post(s.at, "/secure/send", basic, r#"{"to":"491701234567","content":"four"}"#);
    assert!(status == 200 && body.starts_with(r#"{"data": "Success \""#), "{status} {body}");
    let all =
        poll_until(Duration::from_secs(20), || (s.carrier.texts().len() == 4).then(|| s.carrier.texts()));
    let all = all.unwrap_or_else(|| panic!("{:?}", s.carrier.texts()));
    assert!(["one", "two", "three", "four"].iter().all(|text| all.get(*text) == Some(&1)), "{all:?}");
    assert_eq!(
        get(s.at, "/balance?username=foo&password=bar"),
        (200, r#"{"balance": "ND", "sms_count": "ND"}"#.into())
    );
    let rate = get(s.at, &format!("/rate?{WHO}&content={}", "a".repeat(161)));
    assert_eq!(rate, (200, r#"{"unit_rate": 0.0, "submit_sm_count": 2}"#.to_owned()));
    let wrong = get(s.at, &format!("/send?{WHO}x&content=x"));
    assert_eq!(wrong, (400, "Error \"Argument [to] has an invalid value: [491701234567x].\"".to_owned()));
    let who = get(s.at, "/send?username=foo&password=wrong&to=1&content=x");
    assert_eq!(who, (403, "Error \"Authentication failure for username:foo\"".to_owned()));
    assert_eq!(get(s.at, "/nowhere").0, 404);
}

#[test]
fn news_are_told_until_they_are_acknowledged() {
    let s = stack(|_| {});
    let end = End::start(&["thank you", "ACK/Jasmin"]);
    let url = format!("http://127.0.0.1:{}/dlr?x=1", end.at.port());
    let (status, body) =
        get(s.at, &format!("/send?{WHO}&content=hi&dlr-level=3&dlr-method=GET&dlr-url={url}"));
    assert_eq!(status, 200, "{body}");
    let id = body.trim_start_matches("Success \"").trim_end_matches('"').to_owned();
    let calls = end.wait_for(3);
    let first = format!("GET /dlr?x=1&id={id}&message_status=ESME_ROK&level=1&connector=SIM HTTP/1.1\r\n");
    assert!(
        calls[0].starts_with(&first) && calls[1].starts_with(&first),
        "not acknowledged: again: {calls:?}"
    );
    let second = format!("GET /dlr?x=1&id={id}&message_status=DELIVRD&level=2&connector=SIM&id_smsc=");
    assert!(calls[2].starts_with(&second), "{}", calls[2]);
}

#[test]
fn a_message_of_a_handset_is_posted_to_the_http_client() {
    let end = End::start(&["ACK/Jasmin"]);
    let url = format!("http://127.0.0.1:{}/mo", end.at.port());
    let s = stack(|config| {
        config.http_clients = vec![HttpClient { name: "mo".to_owned(), url, post: true }];
        config.mo_default = Some(Destination::Http(0));
    });
    // Bound, as a message of ours shows.
    assert_eq!(get(s.at, &format!("/send?{WHO}&content=first")).0, 200);
    poll_until(Duration::from_secs(20), || s.carrier.texts().contains_key("first").then_some(()))
        .expect("sent");
    s.carrier.originate("hi there");
    let calls = end.wait_for(1);
    assert!(calls[0].starts_with("POST /mo HTTP/1.1\r\n"), "{}", calls[0]);
    assert!(
        calls[0].contains("&from=491701234567&to=12345&origin-connector=SIM&content=hi+there&"),
        "{}",
        calls[0]
    );
}

/// T-HOOK-01: a URL of a customer leads into the internet only.
#[test]
fn t_hook_01_a_private_address_is_not_called() {
    let s = stack(|config| config.callbacks.networks = Vec::new());
    let end = End::start(&["ACK/Jasmin"]);
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"] {
        let url = format!("http://{host}:{}/", end.at.port());
        assert_eq!(get(s.at, &format!("/send?{WHO}&content=x&dlr-url={url}")).0, 200);
    }
    poll_until(Duration::from_secs(20), || (s.carrier.texts().get("x") == Some(&3)).then_some(()))
        .expect("sent");
    let (status, _) = get(s.at, "/ping");
    assert_eq!((status, end.calls.lock().expect("lock").len()), (200, 0));
}

#[test]
fn t_api_slow_large_and_broken_requests_cost_little() {
    let s = stack(|_| {});
    // Slow heads: more than there are places. They are closed after the patience, and others get their turn.
    let slow: Vec<TcpStream> = (0..8)
        .map(|_| {
            let mut stream = TcpStream::connect(s.at).expect("connected");
            stream.write_all(b"GET /ping HTT").expect("sent");
            stream
        })
        .collect();
    assert_eq!(get(s.at, "/ping").0, 200, "after those had their time");
    drop(slow);
    // A body that never comes, and one that is too large.
    let head = "POST /send HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    let never = exchange(s.at, format!("{head}Content-Length: 10\r\n\r\n").as_bytes());
    assert!(never.starts_with("HTTP/1.1 408 "), "{never}");
    let large = format!("{head}Content-Length: 70000\r\n\r\n{}", "x".repeat(66_000));
    assert!(exchange(s.at, large.as_bytes()).starts_with("HTTP/1.1 413 "));
    let chunked = format!(
        "{head}Transfer-Encoding: chunked\r\n\r\n{}",
        "8000\r\n".to_owned() + &"x".repeat(0x8000) + "\r\n8001\r\n" + &"x".repeat(0x8001) + "\r\n"
    );
    assert!(exchange(s.at, chunked.as_bytes()).starts_with("HTTP/1.1 413 "));
    // A head that is too large, and what is no HTTP.
    let wide = format!("GET /ping?{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(40_000));
    let answer = exchange(s.at, wide.as_bytes());
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    for junk in [
        &b"\x00\x00\x00\x10\x00\x00\x00\x09"[..],
        b"HELO\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\xff\xff\r\n\r\n",
    ] {
        let answer = exchange(s.at, junk);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    let bad = post(s.at, "/send", "Content-Type: application/json\r\n", "{\"to\": \"\\ud800\"}");
    assert_eq!(bad.0, 400);
    assert_eq!(get(s.at, "/send?%zz=%&to=%00").0, 400);
    assert_eq!(get(s.at, "/ping").0, 200, "and it goes on");
}
