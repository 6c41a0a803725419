//! Calls in the air with real calls: SIPp → warp → SIPp, over two processes on one PostgreSQL; one is hung up, one process is killed.

mod stack;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use stack::api::Api;
use stack::carrier::{CALLED, CALLER, CUSTOMER_IP, Carrier, VENDOR_IP, VendorSpec};
use stack::sipp::{Calls, Sipp, Transport};
use stack::{Launched, free_port, have, poll_until};
use warp_control_plane::store::Store;
use warp_control_plane::store::cluster::Cluster;

/// A PostgreSQL of the test's own, which outlives the processes that use it.
struct Database {
    cluster: Arc<Cluster>,
    dir: std::path::PathBuf,
    url: String,
}

impl Database {
    fn start() -> Option<Database> {
        Cluster::binaries()?;
        let dir = std::env::temp_dir().join(format!("warp-test-live-{}", std::process::id()));
        let cluster = Arc::new(Cluster::start(&dir).expect("private cluster"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        let store = runtime.block_on(Store::on_cluster(cluster.clone(), "live")).expect("database");
        runtime.block_on(store.disconnect());
        let options = cluster.options("warp_app", "live");
        let socket = options.get_socket().expect("a socket").display().to_string().replace('/', "%2F");
        let url = format!("postgres://warp_app@{socket}/live?sslmode=disable");
        Some(Database { cluster, dir, url })
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let data = self.cluster.data_dir().to_owned();
        let _ = self.cluster.stop();
        for dir in [data, self.dir.clone()] {
            let _ = std::fs::remove_dir_all(dir);
        }
    }
}

fn settings(db: &Database, node: &str) -> Vec<String> {
    vec![format!("api.database_url=\"{}\"", db.url), format!("node.name=\"{node}\"")]
}

fn second(dir: &Path, db: &Database) -> Launched {
    let mut args = vec![
        format!("dir={}", dir.join("data").display()),
        format!("sip=127.0.0.1:{}", free_port()),
        format!("api=127.0.0.1:{}", free_port()),
        format!("ops=127.0.0.1:{}", free_port()),
        "ip=127.0.0.1".into(),
        "ports=20000-21999".into(),
        "world=none".into(),
    ];
    args.extend(settings(db, "b"));
    Launched::start("all", &args, &dir.join("warp.log"))
}

fn call(to: SocketAddr) -> Calls<'static> {
    Calls {
        scenario: "customer_call.xml",
        to,
        local: (CUSTOMER_IP, free_port()).into(),
        transport: Transport::Udp,
        caller: CALLER,
        called: CALLED,
        talk: Duration::from_secs(300),
        count: 1,
        per_second: 1,
        auth: None,
    }
}

/// The answered calls that this API sees, once there are so many.
fn answered(api: &Api, at: &str, count: usize) -> Option<Vec<Value>> {
    poll_until(Duration::from_secs(20), || {
        let seen = api.get(at);
        let calls = seen["calls"].as_array()?.clone();
        (calls.iter().filter(|c| c["state"] == "answered").count() == count).then_some(calls)
    })
}

#[test]
fn calls_in_the_air_of_two_nodes_are_seen_and_hung_up_from_either_and_a_killed_node_is_named() {
    const NAME: &str = "calls_in_the_air_of_two_nodes";
    if !have("sipp", NAME) {
        return;
    }
    let Some(db) = Database::start() else {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "CI=true and no PostgreSQL programs");
        println!("skipped: {NAME}: no PostgreSQL server programs");
        return;
    };
    let (dir_a, dir_b) = (tempfile::tempdir().expect("tempdir"), tempfile::tempdir().expect("tempdir"));
    let answers: SocketAddr = (VENDOR_IP, free_port()).into();
    let _vendor = Sipp::vendor(dir_a.path(), "vendor_answer.xml", answers, Transport::Udp, free_port(), 100);
    let spec = VendorSpec { slug: "answers", rate: "0.004", addr: answers, transport: Transport::Udp };
    let a = Carrier::start_with(dir_a.path(), &[spec], true, &settings(&db, "a"));
    let b = second(dir_b.path(), &db);
    let api_b = Api::new(b.addr("api"), &a.launched.ready["operator_key"]);

    let mut on_a = Sipp::calls(dir_a.path(), &call(a.sip));
    let mut on_b = Sipp::calls(dir_b.path(), &call(b.addr("sip")));
    let calls = answered(&api_b, "/admin/calls/live", 2)
        .unwrap_or_else(|| panic!("{:#}\n{}", api_b.get("/admin/calls/live"), a.launched.log_tail()));
    let of = |node: &str| {
        let one = calls.iter().find(|c| c["node"] == node).unwrap_or_else(|| panic!("{node}: {calls:#?}"));
        one["id"].as_str().expect("id").to_owned()
    };
    // The first increment has been begun: six seconds at 0.012 and 0.004 a minute, and more as time goes on.
    let costs = |call: &Value| {
        let of = |name: &str| {
            call[name]["amount"].as_str().and_then(|t| t.parse::<warp_model::Nanos>().ok()).map_or(0, |n| n.0)
        };
        (of("price"), of("cost"))
    };
    for call in &calls {
        let (price, cost) = costs(call);
        assert!(price >= 1_200_000 && price % 1_200_000 == 0 && cost * 3 == price, "{call:#}");
        assert_eq!(call["vendor_id"], a.vendors[0].as_str());
    }
    let first = costs(&calls[0]).0;
    let later = poll_until(Duration::from_secs(20), || {
        let id = calls[0]["id"].as_str()?;
        let now = api_b.get(&format!("/admin/calls/live?call={id}"));
        (costs(&now["calls"][0]).0 > first).then_some(())
    });
    assert!(later.is_some(), "the cost runs");
    // The customer sees both, and of neither who carries it.
    let own = answered(&a.customer, "/calls/live", 2).expect("the customer's calls").to_vec();
    assert!(!json!(own).to_string().contains("vnd_") && own.iter().all(|c| c["cost"].is_null()), "{own:#?}");

    // From node b the call on node a is ended, from the command line; SIPp gets its BYE, and the record says by whom.
    let out = std::process::Command::new(env!("CARGO_BIN_EXE_warp"))
        .args(["calls", "hang-up", &of("a"), "--reason", "a test", "--json"])
        .args(["--api-url", &format!("http://{}", b.addr("api"))])
        .args(["--api-key", &a.launched.ready["operator_key"]])
        .output()
        .expect("warp runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert!(poll_until(Duration::from_secs(20), || (!on_a.running()).then_some(())).is_some(), "no BYE came");
    let record = a.calls(1).remove(0);
    assert_eq!((&record["id"], &record["internal_code"]), (&json!(of("a")), &json!("operator")));
    assert_eq!((&record["outcome"], &record["release_side"]), (&json!("answered"), &json!("system")));
    assert!(on_b.running(), "the other call goes on");

    // Node b is killed: the list says so, and names it.
    b.kill_9();
    let named = poll_until(Duration::from_secs(20), || {
        let seen = a.admin.get("/admin/calls/live");
        let silent = seen["nodes"].as_array()?.iter().any(|n| n["node"] == "b" && n["answered"] == false);
        (silent && seen["complete"] == false).then_some(())
    });
    assert!(named.is_some(), "{:#}", a.admin.get("/admin/calls/live"));
    drop(on_b);
}

/// A packet of HEP3, read by the specification: vendor, kind and bytes of each chunk.
fn chunks(packet: &[u8]) -> Vec<(u16, u16, Vec<u8>)> {
    let word = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    assert_eq!(
        (&packet[..4], usize::from(word(4))),
        (&b"HEP3"[..], packet.len()),
        "the length is the packet's"
    );
    let (mut at, mut found) = (6, Vec::new());
    while at < packet.len() {
        let length = usize::from(word(at + 4));
        assert!(length >= 6 && at + length <= packet.len(), "a chunk within the packet");
        found.push((word(at), word(at + 2), packet[at + 6..at + length].to_vec()));
        at += length;
    }
    found
}

/// What a collector wants of a packet; the message.
fn is_whole(packet: &[u8]) -> String {
    let all = chunks(packet);
    assert!(all.iter().all(|(vendor, ..)| *vendor == 0), "generic chunks only");
    let of = |kind: u16| all.iter().find(|(_, k, _)| *k == kind).map(|(.., bytes)| bytes.clone());
    assert_eq!((of(1), of(11)), (Some(vec![2]), Some(vec![1])), "IPv4 and SIP");
    for (kind, size) in [(3, 4), (4, 4), (7, 2), (8, 2), (9, 4), (10, 4), (12, 4)] {
        assert_eq!(of(kind).map(|b| b.len()), Some(size), "chunk {kind}");
    }
    assert_eq!(of(19), Some(b"edge-1".to_vec()));
    let text = String::from_utf8(of(15).expect("a payload")).expect("text");
    let correlation = String::from_utf8(of(17).expect("a correlation id")).expect("text");
    assert!(text.contains(&format!("Call-ID: {correlation}\r\n")), "{correlation}\n{text}");
    text
}

/// The packets of a stream, one after the other.
fn next_of(stream: &mut std::net::TcpStream) -> Vec<u8> {
    use std::io::Read;
    let mut packet = vec![0; 6];
    stream.read_exact(&mut packet).expect("a packet");
    let length = usize::from(u16::from_be_bytes([packet[4], packet[5]]));
    packet.resize(length, 0);
    stream.read_exact(&mut packet[6..]).expect("its rest");
    packet
}

fn warp(api: SocketAddr, key: &str, words: &[&str]) -> (Option<i32>, String) {
    let out = std::process::Command::new(env!("CARGO_BIN_EXE_warp"))
        .args(words)
        .args(["--api-url", &format!("http://{api}"), "--api-key", key])
        .output()
        .expect("warp runs");
    let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    (out.status.code(), said)
}

/// A call that fails has its picture, masked, for the customer his own side only; it outlives kill −9; a collector by UDP has every message.
#[test]
fn a_failed_call_is_drawn_and_explained_and_its_messages_reach_a_collector() {
    if !have("sipp", "a_failed_call_is_drawn") {
        return;
    }
    let dir = tempfile::tempdir().expect("tempdir");
    let collector = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    collector.set_read_timeout(Some(Duration::from_secs(20))).expect("a time");
    let refuses: SocketAddr = (VENDOR_IP, free_port()).into();
    let _vendor = Sipp::vendor(dir.path(), "vendor_503.xml", refuses, Transport::Udp, free_port(), 100);
    let spec = VendorSpec { slug: "refuses", rate: "0.004", addr: refuses, transport: Transport::Udp };
    let more = [
        format!("capture.hep=\"udp:{}\"", collector.local_addr().expect("bound")),
        "node.name=\"edge-1\"".into(),
        // The profile is the demo world's, which keeps and shows all.
        "capture.calls=\"failed\"".into(),
        "capture.mask=\"numbers\"".into(),
    ];
    let carrier = Carrier::start_with(dir.path(), &[spec], true, &more);
    let customer = call(carrier.sip);
    let caller_at = customer.local.to_string();
    let mut sipp = Sipp::calls(dir.path(), &customer);
    poll_until(Duration::from_secs(30), || (!sipp.running()).then_some(())).expect("SIPp ends");
    let record = carrier.calls(1).remove(0);
    let id = record["id"].as_str().expect("id").to_owned();

    let path = format!("/admin/calls/{id}/ladder");
    let drawn = poll_until(Duration::from_secs(20), || {
        let (status, ladder) = carrier.admin.send("GET", &path, None);
        let messages = ladder["data"]["messages"].as_array()?.len();
        // INVITE, 100, INVITE, 503, ACK, 503, ACK; a vendor's own 100 may be among them.
        (status == 200 && messages >= 7 && ladder["data"]["over"] == true).then(|| ladder["data"].clone())
    });
    let ladder = drawn.unwrap_or_else(|| {
        panic!("{:?}\n{}", carrier.admin.send("GET", &path, None), carrier.launched.log_tail())
    });
    let lanes: Vec<(&str, &str)> = ladder["lanes"]
        .as_array()
        .expect("lanes")
        .iter()
        .map(|l| (l["side"].as_str().expect("side"), l["address"].as_str().expect("address")))
        .collect();
    assert_eq!(lanes, [("us", ""), ("caller", caller_at.as_str()), ("called", refuses.to_string().as_str())]);
    let said = |m: &Value| match m["status"].as_i64() {
        Some(status) => format!("{}→{} {status}", m["from"], m["to"]),
        None => format!("{}→{} {}", m["from"], m["to"], m["method"].as_str().unwrap_or_default()),
    };
    let messages: Vec<String> = ladder["messages"].as_array().expect("messages").iter().map(said).collect();
    for wanted in ["1→0 INVITE", "0→1 100", "0→2 INVITE", "2→0 503", "0→2 ACK", "0→1 503", "1→0 ACK"]
    {
        assert!(messages.iter().any(|m| m == wanted), "{wanted}: {messages:?}");
    }
    let text = ladder.to_string();
    assert!(!text.contains(CALLED) && text.contains("1415*****23"), "numbers are masked: {text}");
    assert_eq!(
        (&ladder["node"], &ladder["begun"], &ladder["missing"]),
        (&json!("edge-1"), &json!(true), &json!(0))
    );

    // The customer: its own side.
    let own = carrier.customer.get(&format!("/calls/{id}/ladder"));
    let text = own.to_string();
    assert!(!text.contains(&refuses.to_string()) && !text.contains("0→2") && own["node"].is_null(), "{text}");
    assert_eq!(own["lanes"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        own["messages"].as_array().map(Vec::len),
        Some(messages.iter().filter(|m| !m.contains('2')).count())
    );
    // Another customer: there is no such call.
    let other = carrier.admin.post("/admin/customers", json!({"name": "other"}));
    let keys = format!("/admin/customers/{}/keys", other["id"].as_str().expect("id"));
    let key = carrier.admin.post(&keys, json!({"name": "k", "scopes": ["calls:read"]}));
    let other = Api::new(carrier.launched.addr("api"), key["secret"].as_str().expect("secret"));
    assert_eq!(other.send("GET", &format!("/calls/{id}/ladder"), None).0, 404);

    // In words, and on a terminal.
    let (api, operator) = (carrier.launched.addr("api"), carrier.launched.ready["operator_key"].clone());
    let (code, drawn) = warp(api, &operator, &["ladder", &id]);
    assert!(
        code == Some(0) && drawn.contains("503") && drawn.contains('▶') && drawn.contains(&caller_at),
        "{drawn}"
    );
    let file = dir.path().join("call.pcap");
    assert_eq!(warp(api, &operator, &["ladder", &id, "--pcap", &file.display().to_string()]).0, Some(0));
    assert!(std::fs::read(&file).expect("a file").windows(11).any(|w| w == b"SIP/2.0 503"));
    let (code, why) = warp(api, &operator, &["why", &id]);
    assert!(code == Some(0) && why.contains("got 503") && why.contains("warp "), "{why}");
    // A stranger makes no call, and is told apart all the same.
    let stranger = std::net::UdpSocket::bind("127.0.0.77:0").expect("an address");
    let from = stranger.local_addr().expect("bound");
    let invite = format!(
        "INVITE sip:900@{sip} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bKx\r\nMax-Forwards: 70\r\n\
         From: <sip:evil@x>;tag=1\r\nTo: <sip:900@x>\r\nCall-ID: strange\r\nCSeq: 1 INVITE\r\nContact: <sip:{from}>\r\n\
         User-Agent: dialler/2\r\nContent-Length: 0\r\n\r\n",
        sip = carrier.sip
    );
    stranger.send_to(invite.as_bytes(), carrier.sip).expect("sent");
    let explained = poll_until(Duration::from_secs(20), || {
        let (code, why) = warp(api, &operator, &["why", "127.0.0.77"]);
        (code == Some(0) && why.contains("has no account here")).then_some(why)
    });
    let explained = explained.unwrap_or_else(|| panic!("{:?}", warp(api, &operator, &["why", "127.0.0.77"])));
    assert!(explained.contains("dialler/2") && explained.contains("sip:900@"), "{explained}");

    // A vendor's address is somebody's, where calls go to as where they come from.
    let vendor = carrier.admin.get("/admin/vendor-trunks?limit=1")[0].clone();
    let trunk = vendor["id"].as_str().expect("id");
    let inbound = format!("/admin/vendor-trunks/{trunk}/inbound");
    carrier.admin.ok("PUT", &inbound, Some(&json!({ "networks": ["127.9.8.0/24"] })));
    let at = vendor["addresses"][0].as_str().expect("an address");
    let at = at.parse::<std::net::SocketAddr>().expect("an address").ip().to_string();
    for address in [at.as_str(), "127.9.8.7"] {
        let (code, why) = warp(api, &operator, &["why", address]);
        assert!(code == Some(0) && why.contains("an address of the vendor trunk"), "{why}");
        assert!(
            why.contains(&format!("warp calls list --vendor {}", vendor["vendor_id"].as_str().expect("id")))
        );
    }
    let (_, why) = warp(api, &operator, &["why", "127.10.8.7"]);
    assert!(why.contains("nothing came from"), "{why}");

    // The collector: every message, whole, with numbers that it searches by.
    let mut buffer = vec![0; 65_536];
    let mut copied: Vec<String> = Vec::new();
    while copied.len() < messages.len() {
        let n = collector.recv(&mut buffer).unwrap_or_else(|e| panic!("{e}: {copied:#?}"));
        copied.push(is_whole(&buffer[..n]));
    }
    assert!(copied.iter().any(|m| m.starts_with("INVITE ") && m.contains(CALLED)), "{copied:#?}");
    assert!(copied.iter().any(|m| m.starts_with("SIP/2.0 503 ")));
    assert!(!copied.iter().any(|m| m.contains("strange")), "a stranger's is not a call's");

    // A second and a half after its end it is on the disk, and there it is after kill −9.
    let url = format!("http://{}/metrics", carrier.launched.addr("ops"));
    let kept = poll_until(Duration::from_secs(20), || {
        let text = ureq::get(&url).call().ok()?.body_mut().read_to_string().ok()?;
        text.contains("warp_capture_calls_total{result=\"kept\"} 1\n").then_some(())
    });
    assert!(kept.is_some(), "it was not kept\n{}", carrier.launched.log_tail());
    let carrier = carrier.kill_and_restart(dir.path());
    let again = poll_until(Duration::from_secs(20), || {
        let (status, ladder) = carrier.admin.send("GET", &path, None);
        (status == 200).then(|| ladder["data"].clone())
    });
    assert_eq!(again.map(|l| l["messages"].clone()), Some(ladder["messages"].clone()));
}

/// A collector by TCP; and a call that went well is drawn while it lasts, and not kept.
#[test]
fn a_call_in_the_air_is_drawn_as_it_goes_on_and_one_that_went_well_is_not_kept() {
    if !have("sipp", "a_call_in_the_air_is_drawn") {
        return;
    }
    let dir = tempfile::tempdir().expect("tempdir");
    let collector = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let answers: SocketAddr = (VENDOR_IP, free_port()).into();
    let _vendor = Sipp::vendor(dir.path(), "vendor_answer.xml", answers, Transport::Udp, free_port(), 100);
    let spec = VendorSpec { slug: "answers", rate: "0.004", addr: answers, transport: Transport::Udp };
    let more = [
        format!("capture.hep=\"tcp:{}\"", collector.local_addr().expect("bound")),
        "node.name=\"edge-1\"".into(),
        "capture.hep_mask=\"numbers\"".into(),
        "capture.calls=\"failed\"".into(),
    ];
    let carrier = Carrier::start_with(dir.path(), &[spec], true, &more);
    let mut short = call(carrier.sip);
    short.talk = Duration::from_secs(4);
    let sipp = Sipp::calls(dir.path(), &short);
    let calls = answered(&carrier.admin, "/admin/calls/live", 1).expect("a call in the air");
    let id = calls[0]["id"].as_str().expect("id").to_owned();
    for (api, path, lanes) in [
        (&carrier.admin, format!("/admin/calls/{id}/ladder"), 3),
        (&carrier.customer, format!("/calls/{id}/ladder"), 2),
    ] {
        let ladder = api.get(&path);
        let ok = |m: &Value| m["status"] == 200 && m["method"] == "INVITE";
        assert!(ladder["messages"].as_array().is_some_and(|m| m.iter().any(ok)), "{ladder:#}");
        assert_eq!((&ladder["over"], ladder["lanes"].as_array().map(Vec::len)), (&json!(false), Some(lanes)));
    }
    let (mut stream, _) = collector.accept().expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time");
    let first = is_whole(&next_of(&mut stream));
    assert!(
        first.starts_with("INVITE ") && !first.contains(CALLED) && first.contains("1415*****23"),
        "{first}"
    );
    sipp.finish(Duration::from_secs(30));
    carrier.calls(1);
    // Memory keeps it for a minute; the disk has nothing of it.
    let carrier = carrier.kill_and_restart(dir.path());
    let path = format!("/admin/calls/{id}/ladder");
    let refused = poll_until(Duration::from_secs(20), || {
        let (status, answer) = carrier.admin.send("GET", &path, None);
        (status == 404 && answer["error"]["message"].as_str()?.contains("were not kept")).then_some(())
    });
    assert!(refused.is_some(), "{:?}", carrier.admin.send("GET", &path, None));
}
