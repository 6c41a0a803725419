//! The SMSC on real sockets and a real disk, in this process: the path of a message, a disk that fails, a restart, draining.

#[path = "../../tests/stack/smpp.rs"]
#[allow(dead_code, reason = "the whole-stack tests use the rest")]
mod smpp;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use smpp::{Carrier, Esme, id_of, text_of};
use warp_events::{Disk, EventsMetrics, LogOptions};
use warp_smpp::{Command, Status};
use warp_smsc::{Account, Config, Destination, Metrics, Smsc, StartError, Vendor};
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
        std::thread::yield_now();
    }
}

fn config(carrier: SocketAddr) -> Config {
    Config {
        listen: Some("127.0.0.1:0".parse().expect("address")),
        accounts: vec![Account::new("foo", "bar")],
        vendors: vec![Vendor::new("SIM", "SIM", "sim", vec![carrier])],
        mt_default: Some(0),
        mo_default: Some(Destination::Account(0)),
        ..Config::new("WARP")
    }
}

fn start(carrier: SocketAddr, dir: &std::path::Path, disk: Disk) -> Smsc {
    let options = LogOptions { disk, ..warp_smsc::queue_options(EventsMetrics::detached()) };
    let metrics = Metrics::register(&Registry::new());
    // Another start makes other ids.
    let seed =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_nanos()
            as u64;
    warp_smsc::start(config(carrier), dir, options, metrics, seed).expect("starts")
}

/// The statuses of the answers to `sequences`, in their order.
fn answers(esme: &mut Esme, sequences: &[u32]) -> Vec<Status> {
    let mut got = std::collections::BTreeMap::new();
    poll_until(Duration::from_secs(30), || {
        for (header, _) in esme.receive() {
            if header.command == Command::SUBMIT_SM.response() {
                got.insert(header.sequence, header.status);
            }
        }
        sequences.iter().all(|s| got.contains_key(s)).then_some(())
    });
    sequences.iter().map(|s| *got.get(s).expect("an answer")).collect()
}

#[test]
fn a_message_and_its_receipt_over_sockets_and_disk() {
    let dir = tempfile::tempdir().expect("tempdir");
    let carrier = Carrier::start(Duration::ZERO);
    let smsc = start(carrier.at, dir.path(), Disk::default());
    let mut foo = Esme::bind(smsc.address().expect("listens"), "foo", "bar");
    let sequence = foo.submit("hello").expect("sent");
    let mut got = Vec::new();
    let receipt = poll_until(Duration::from_secs(30), || {
        got.extend(foo.receive());
        got.iter().find(|(h, _)| h.command == Command::DELIVER_SM).cloned()
    });
    let (header, body) = receipt.expect("a receipt");
    let answer =
        got.iter().find(|(h, _)| h.sequence == sequence && h.command.is_response()).expect("an answer");
    assert!(text_of(&header, &body).contains(&id_of(&answer.0, &answer.1)));
    drop(foo);
    smsc.stop();
    // All of it is done, and the disk says so.
    let smsc = start(carrier.at, dir.path(), Disk::default());
    assert_eq!(smsc.waiting(), 0);
}

#[test]
fn f_disk_02_a_disk_that_fails_refuses_and_comes_back_without_a_restart() {
    let dir = tempfile::tempdir().expect("tempdir");
    let carrier = Carrier::start(Duration::ZERO);
    let broken = Arc::new(AtomicBool::new(false));
    let smsc = start(carrier.at, dir.path(), Disk::breaking(&broken));
    let mut foo = Esme::bind(smsc.address().expect("listens"), "foo", "bar");
    let before = foo.submit("before").expect("sent");
    assert_eq!(answers(&mut foo, &[before]), [Status::ROK]);
    broken.store(true, Ordering::Release);
    let refused: Vec<u32> = (0..20).map(|n| foo.submit(&format!("refused {n}")).expect("sent")).collect();
    assert_eq!(answers(&mut foo, &refused), [Status::RSYSERR; 20]);
    broken.store(false, Ordering::Release);
    let after = foo.submit("after").expect("sent");
    assert_eq!(answers(&mut foo, &[after]), [Status::ROK]);
    let arrived = poll_until(Duration::from_secs(30), || carrier.texts().contains_key("after").then_some(()));
    assert!(arrived.is_some());
    assert!(carrier.texts().keys().all(|text| !text.starts_with("refused")), "what was refused is not sent");
}

#[test]
fn what_waits_for_a_vendor_that_is_away_is_there_after_a_restart() {
    let dir = tempfile::tempdir().expect("tempdir");
    // A port that nobody listens on any more.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port");
    let smsc = start(nobody, dir.path(), Disk::default());
    let mut foo = Esme::bind(smsc.address().expect("listens"), "foo", "bar");
    let sent: Vec<u32> = (0..50).map(|n| foo.submit(&format!("{n}")).expect("sent")).collect();
    assert_eq!(answers(&mut foo, &sent), [Status::ROK; 50]);
    smsc.drain(Duration::from_secs(5));
    let carrier = Carrier::start(Duration::ZERO);
    let smsc = start(carrier.at, dir.path(), Disk::default());
    assert_eq!(smsc.waiting(), 50);
    let all = poll_until(Duration::from_secs(30), || (carrier.texts().len() == 50).then_some(()));
    assert!(all.is_some(), "{}", carrier.texts().len());
    assert!(carrier.texts().values().all(|n| *n == 1), "once each");
}

/// A customer, an SMSC, a second one as its vendor by TLS, and the carrier of that: a message goes through, its receipt comes back.
#[test]
fn t_sms_11_both_sides_speak_tls_and_who_does_not_gets_nowhere() {
    use std::io::{Read, Write};
    let dir = tempfile::tempdir().expect("tempdir");
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
    let (certificate, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).expect("written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    let carrier = Carrier::start(Duration::ZERO);
    let begin = |config: Config, name: &str| {
        let options = warp_smsc::queue_options(EventsMetrics::detached());
        warp_smsc::start(config, &dir.path().join(name), options, Metrics::register(&Registry::new()), 7)
            .expect("starts")
    };
    let mut far = config(carrier.at);
    far.accounts = vec![Account::new("SIM", "sim")];
    far.listen_tls = far.listen;
    far.certificate = Some(warp_net::tls::TlsFiles { certificate: certificate.clone(), key, roots: None });
    let far = begin(far, "far");
    let at = far.address_tls().expect("listens");
    let near = |tls: Option<&str>, name: &str| {
        let mut near = config(at);
        near.vendors[0].tls = tls.map(str::to_owned);
        near.vendors[0].reconnect_max = Duration::from_millis(100);
        near.roots = Some(certificate.clone());
        begin(near, name)
    };
    let secured = near(Some("127.0.0.1"), "near");
    let mut foo = Esme::bind(secured.address().expect("listens"), "foo", "bar");
    // More than one record of TLS, each way.
    let sent: Vec<u32> =
        (0..200).map(|n| foo.submit(&format!("{n} {}", "x".repeat(150))).expect("sent")).collect();
    let (mut answered, mut receipts) = (0, 0);
    let all = poll_until(Duration::from_secs(60), || {
        for (header, _) in foo.receive() {
            answered += usize::from(header.command == Command::SUBMIT_SM.response() && header.status.is_ok());
            receipts += usize::from(header.command == Command::DELIVER_SM);
        }
        (answered == sent.len() && receipts == sent.len()).then_some(())
    });
    assert!(all.is_some(), "{answered} answers, {receipts} receipts");
    assert_eq!(carrier.texts().len(), sent.len());

    // A bind in clear, and vendors that are not who they should be: nothing of theirs goes on.
    let mut plain = std::net::TcpStream::connect(at).expect("connects");
    plain.set_read_timeout(Some(Duration::from_secs(10))).expect("time-out");
    plain.write_all(b"\0\0\0\x1d\0\0\0\x09\0\0\0\0\0\0\0\x01SIM\0sim\0\0\x34\0\0\0").expect("sent");
    let mut said = Vec::new();
    plain.read_to_end(&mut said).expect("it is closed");
    assert_eq!(said.first().copied().unwrap_or(0x15), 0x15, "at most an alert of TLS: {said:?}");
    for tls in [None, Some("smpp.example")] {
        let other = near(tls, tls.unwrap_or("plain"));
        let mut foo = Esme::bind(other.address().expect("listens"), "foo", "bar");
        let sequence = foo.submit("never").expect("sent");
        assert_eq!(answers(&mut foo, &[sequence]), [Status::ROK]);
        // It waits, through several tries to bind.
        let refused =
            poll_until(Duration::from_secs(1), || carrier.texts().contains_key("never").then_some(()));
        assert!(refused.is_none());
    }
}

/// A hash by argon2id of a password, with little work.
fn hashed(password: &str) -> String {
    use argon2::password_hash::{PasswordHasher, SaltString};
    let salt = SaltString::encode_b64(b"salt of a test").expect("a salt");
    let params = argon2::Params::new(64, 1, 1, None).expect("parameters");
    let argon2 = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    argon2.hash_password(password.as_bytes(), &salt).expect("a hash").to_string()
}

#[test]
fn t_sms_05_a_secret_by_argon2id_lets_its_password_in_and_no_other() {
    use std::io::{Read, Write};
    let dir = tempfile::tempdir().expect("tempdir");
    let carrier = Carrier::start(Duration::ZERO);
    let mut config = config(carrier.at);
    config.accounts[0].password = warp_model::Secret::new("not this".to_owned());
    config.accounts[0].secret = Some(warp_model::Secret::new(hashed("bar")));
    let options = warp_smsc::queue_options(EventsMetrics::detached());
    let smsc = warp_smsc::start(config, dir.path(), options, Metrics::register(&Registry::new()), 7)
        .expect("starts");
    let at = smsc.address().expect("listens");
    let mut foo = Esme::bind(at, "foo", "bar");
    let sequence = foo.submit("hello").expect("sent");
    assert_eq!(answers(&mut foo, &[sequence]), [Status::ROK]);
    let mut wrong = std::net::TcpStream::connect(at).expect("connects");
    wrong.set_read_timeout(Some(Duration::from_secs(10))).expect("time-out");
    wrong.write_all(b"\0\0\0\x1d\0\0\0\x09\0\0\0\0\0\0\0\x01foo\0baz\0\0\x34\0\0\0").expect("sent");
    let mut answer = [0u8; 16];
    wrong.read_exact(&mut answer).expect("an answer");
    assert_eq!(answer[4..12], [0x80, 0, 0, 9, 0, 0, 0, 0x0E], "bind_transceiver_resp, ESME_RINVPASWD");
}

#[test]
fn settings_that_cannot_be_are_named() {
    let dir = tempfile::tempdir().expect("tempdir");
    let carrier = Carrier::start(Duration::ZERO);
    let fine = config(carrier.at);
    let mut twice = fine.clone();
    twice.accounts.push(Account::new("foo", "x"));
    let mut long = fine.clone();
    long.vendors[0].system_id = "sixteen letters!".to_owned();
    let mut bare = fine.clone();
    bare.listen_tls = bare.listen;
    let mut unnamed = fine.clone();
    unnamed.vendors[0].tls = Some("no name".to_owned());
    let mut lost = fine.clone();
    lost.mt =
        vec![warp_policy::messaging::Route::to(7, 3, vec![warp_policy::messaging::Filter::Transparent])];
    let secret = |text: &str| {
        let mut config = fine.clone();
        config.accounts[0].secret = Some(warp_model::Secret::new(text.to_owned()));
        config
    };
    let (plain, other) = (secret("bar"), secret(&hashed("bar").replace("argon2id", "argon2i")));
    let greedy = secret(&hashed("bar").replace("m=64,", "m=300000,"));
    let mut nobody = fine;
    nobody.mt_default = Some(1);
    for (config, word) in [
        (twice, "twice"),
        (long, "sixteen letters!"),
        (nobody, "default route"),
        (bare, "a certificate and its key"),
        (unnamed, "no name"),
        (lost, "route 7 leads to nobody"),
        (plain, "PHC"),
        (other, "argon2id"),
        (greedy, "262144 KiB"),
    ] {
        let options = warp_smsc::queue_options(EventsMetrics::detached());
        let started = warp_smsc::start(config, dir.path(), options, Metrics::register(&Registry::new()), 1);
        match started {
            Err(StartError::Config(what)) => assert!(what.contains(word), "{what}"),
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("started"),
        }
    }
}
