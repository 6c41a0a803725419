//! Registrations that are shared through Redis (RFC 0036): a real Redis, a real Kamailio beside us on it, phones on sockets.
//! Peers that are not installed are skipped with a line; under `CI=true` that is a failure.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use warp_sip::digest::{self, Algorithm, Challenge, Ha1};
use warp_sip::header::Header;
use warp_sip::message::Message;
use warp_sip_proxy::core::{
    Accounts, Bounds, CoreConfig, Listener, Mode, Realm, RegistrarConfig, SharedRegistrations, Transport,
};
use warp_sip_proxy::{Config, Handles, MediaControl, Metrics, Proxy, State, start};
use warp_telemetry::{Health, Registry};

const DEADLINE: Duration = Duration::from_secs(30);
const KAMAILIO: &str = include_str!("../../loadtests/kamailio/registrar.cfg");

fn have(program: &str, argument: &str) -> bool {
    let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
    let found = Command::new(program)
        .arg(argument)
        .env("PATH", path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if found.is_ok() {
        return true;
    }
    println!("skipped: no {program} on this machine");
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{program} is missing under CI");
    false
}

fn have_modules() -> bool {
    let found = Path::new("/usr/share/kamailio/db_redis/kamailio/location").exists();
    if !found {
        println!("skipped: no kamailio-redis-modules on this machine");
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "kamailio-redis-modules are missing under CI");
    }
    found
}

fn until<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = check() {
            return value;
        }
        assert!(Instant::now() < end, "{what}");
        std::thread::yield_now();
    }
}

fn free() -> SocketAddr {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let addr = udp.local_addr().unwrap();
        if TcpListener::bind(addr).is_ok() {
            return addr;
        }
    }
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).stderr(Stdio::null()).status();
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end && self.0.try_wait().is_ok_and(|s| s.is_none()) {
            std::thread::yield_now();
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Redis {
    at: SocketAddr,
    running: Option<Running>,
}

impl Redis {
    fn start() -> Redis {
        let mut redis = Redis { at: free(), running: None };
        redis.run();
        redis
    }

    fn run(&mut self) {
        let port = self.at.port().to_string();
        let child = Command::new("redis-server")
            .args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .current_dir(std::env::temp_dir())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        self.running = Some(Running(child));
        until("redis-server", || (self.say(&["PING"])? == "+PONG\r\n").then_some(()));
    }

    fn kill(&mut self) {
        let running = self.running.as_mut().unwrap();
        running.0.kill().unwrap();
        running.0.wait().unwrap();
    }

    /// One command; what comes back, raw.
    fn say(&self, words: &[&str]) -> Option<String> {
        let mut tcp = TcpStream::connect(self.at).ok()?;
        tcp.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut text = format!("*{}\r\n", words.len());
        for word in words {
            text += &format!("${}\r\n{word}\r\n", word.len());
        }
        text += "*1\r\n$4\r\nQUIT\r\n";
        tcp.write_all(text.as_bytes()).ok()?;
        let mut out = String::new();
        tcp.read_to_string(&mut out).ok()?;
        out.strip_suffix("+OK\r\n").map(str::to_owned)
    }

    /// The texts of a reply.
    fn texts(&self, words: &[&str]) -> Vec<String> {
        let raw = self.say(words).unwrap();
        let mut lines = raw.split("\r\n");
        let mut all = Vec::new();
        while let Some(line) = lines.next() {
            match line.chars().next() {
                Some('$') if line != "$-1" => all.push(lines.next().unwrap().to_owned()),
                Some('$') => all.push("(nil)".into()),
                Some(':') => all.push(line[1..].to_owned()),
                _ => {}
            }
        }
        all.sort();
        all
    }

    fn field(&self, key: &str, name: &str) -> String {
        self.texts(&["HGET", key, name]).remove(0)
    }

    /// The only contact of a user: key of its hash.
    fn row_of(&self, user: &str) -> String {
        let set = format!("location:usrdom::{user}:carrier.test");
        until("a row", || self.texts(&["SMEMBERS", &set]).pop())
    }

    fn url(&self) -> String {
        format!("redis://{}/0", self.at)
    }
}

fn kamailio(redis: &Redis, at: SocketAddr, dir: &Path) -> Running {
    let text = KAMAILIO.replace("{listen}", &at.to_string()).replace("{redis}", &redis.url());
    let (config, log) = (dir.join("kamailio.cfg"), dir.join("kamailio.log"));
    std::fs::write(&config, text).unwrap();
    let out = std::fs::File::create(&log).unwrap();
    let child = Command::new("kamailio")
        .env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()))
        .args(["-DD", "-E", "-m", "32", "-f"])
        .arg(&config)
        .args(["-Y", &dir.display().to_string(), "-P"])
        .arg(dir.join("kamailio.pid"))
        .stdout(out.try_clone().unwrap())
        .stderr(out)
        .spawn()
        .unwrap();
    let mut running = Running(child);
    let asker = Phone::new("asker");
    until("kamailio answers", || {
        if let Some(status) = running.0.try_wait().unwrap() {
            panic!("kamailio ended: {status}\n{}", std::fs::read_to_string(&log).unwrap());
        }
        asker.socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        asker.send(
            at,
            &asker.request("OPTIONS", "sip:nobody@carrier.test", 1, "", "To: <sip:nobody@carrier.test>\r\n"),
        );
        asker.receive()
    });
    running
}

fn warp(url: &str, mode: warp_state::Mode, at: SocketAddr) -> (Proxy, Health) {
    let mut options = warp_state::Options::new(url).unwrap();
    options.mode = mode;
    let listener = |transport| Listener { transport, bind: at, advertise: None };
    let settings = RegistrarConfig {
        domain: "carrier.test".into(),
        accounts: Accounts::Derived { prefix: "pw-".into() },
        bounds: Bounds::default(),
        trusted: vec!["127.0.0.0/8".parse().unwrap()],
        shared: Some(SharedRegistrations {
            through: mode == warp_state::Mode::Through,
            server_id: 3,
            deadline: options.deadline,
        }),
    };
    let listeners = vec![listener(Transport::Udp), listener(Transport::Tcp)];
    let mut core = CoreConfig::new(Mode::Registrar(settings), listeners);
    core.domains = vec!["carrier.test".into()];
    core.realm = Realm { name: "carrier.test".into(), sha256: false, md5: true };
    let mut config = Config::new(core);
    config.shards = 2;
    let registry = Registry::new();
    let health = Health::new(&registry);
    let handles = Handles {
        snapshots: None,
        media: MediaControl::None,
        state: Some(State { options, seconds: None, health: Some(health.optional("redis")) }),
        journal: None,
        capture: None,
        spent: Vec::new(),
        seed: [5; 32],
        metrics: Metrics::register(&registry),
    };
    (start(config, handles).unwrap(), health)
}

fn is_up(health: &Health) -> bool {
    health.readiness().to_json()["parts"]["redis"]["state"] == "up"
}

/// A phone on UDP.
struct Phone {
    name: &'static str,
    socket: UdpSocket,
}

fn value<'a>(text: &'a str, name: &str) -> &'a str {
    values(text, name).first().copied().unwrap_or_else(|| panic!("no {name} in\n{text}"))
}

fn values<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    text.lines()
        .filter_map(|l| l.strip_prefix(name)?.strip_prefix(": "))
        .flat_map(|v| match name {
            "Record-Route" | "Route" => v.split(", ").collect::<Vec<_>>(),
            _ => vec![v],
        })
        .collect()
}

impl Phone {
    fn new(name: &'static str) -> Phone {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Phone { name, socket }
    }

    fn at(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    fn send(&self, to: SocketAddr, text: &str) {
        self.socket.send_to(text.as_bytes(), to).unwrap();
    }

    fn receive(&self) -> Option<String> {
        let mut buffer = [0; 65_536];
        let (n, _) = self.socket.recv_from(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..n].to_vec()).unwrap())
    }

    /// The next message that begins so; provisional ones and repetitions pass.
    fn next(&self, start: &str) -> String {
        until(&format!("{} waits for {start}", self.name), || {
            let text = self.receive().unwrap_or_else(|| panic!("{}: no {start} came", self.name));
            assert!(
                !text.starts_with("SIP/2.0 ")
                    || text[8..].starts_with('1')
                    || text.starts_with(start)
                    || !start.starts_with("SIP"),
                "{}: instead of {start}\n{text}",
                self.name
            );
            text.starts_with(start).then_some(text)
        })
    }

    fn request(&self, method: &str, uri: &str, n: u32, via: &str, more: &str) -> String {
        let at = if via.is_empty() { self.at().to_string() } else { via.to_owned() };
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK{}{method}{n};rport\r\nMax-Forwards: 70\r\n\
             From: <sip:{}@carrier.test>;tag=f{}\r\nCall-ID: {}-{}\r\nCSeq: {n} {method}\r\n{more}Content-Length: 0\r\n\r\n",
            self.name,
            self.name,
            self.name,
            self.name,
            self.at().port(),
        )
    }

    /// Registers, signed where that is wanted. `contact`: where it says it is; its Via says so, too.
    fn register(&self, node: SocketAddr, n: u32, contact: &str, more: &str) -> String {
        let via = contact.split('@').nth(1).filter(|_| !contact.contains(&self.at().to_string()));
        let to = format!("To: <sip:{}@carrier.test>\r\n", self.name);
        let contact = if contact == "*" { "*".to_owned() } else { format!("<{contact}>") };
        let more = format!("{to}Contact: {contact}\r\n{more}");
        self.send(node, &self.request("REGISTER", "sip:carrier.test", n, via.unwrap_or(""), &more));
        let answer = self.next("SIP/2.0 ");
        if !answer.starts_with("SIP/2.0 401 ") {
            return answer;
        }
        let message = Message::parse(answer.as_bytes()).unwrap();
        let challenge =
            message.lines_of(Header::WwwAuthenticate).next().map(|v| Challenge::parse(v).unwrap()).unwrap();
        let ha1 = Ha1::new(
            Algorithm::Md5,
            self.name.as_bytes(),
            b"carrier.test",
            format!("pw-{}", self.name).as_bytes(),
        );
        let mut signed = b"Authorization: ".to_vec();
        digest::respond(
            &challenge,
            self.name.as_bytes(),
            &ha1,
            b"REGISTER",
            b"sip:carrier.test",
            b"cn",
            1,
            &mut signed,
        );
        let more = format!("{more}{}\r\n", String::from_utf8(signed).unwrap());
        self.send(node, &self.request("REGISTER", "sip:carrier.test", n + 1, via.unwrap_or(""), &more));
        self.next("SIP/2.0 ")
    }

    fn contact(&self) -> String {
        format!("sip:{}@{}", self.name, self.at())
    }

    fn respond(&self, to: SocketAddr, request: &str, contact: &str) {
        let mut out = "SIP/2.0 200 OK\r\n".to_owned();
        for name in ["Via", "Record-Route", "From", "Call-ID", "CSeq"] {
            for v in request.lines().filter(|l| l.starts_with(&format!("{name}: "))) {
                out += &format!("{v}\r\n");
            }
        }
        let to_line = value(request, "To");
        let tag = if to_line.contains(";tag=") { "" } else { ";tag=callee" };
        out += &format!("To: {to_line}{tag}\r\nContact: <{contact}>\r\nContent-Length: 0\r\n\r\n");
        self.send(to, &out);
    }
}

/// A whole call by way of a node, to a phone that says that it is at `contact`.
fn call(caller: &Phone, node: SocketAddr, callee: &Phone, contact: &str) {
    let uri = format!("sip:{}@carrier.test", callee.name);
    static CALLS: AtomicU32 = AtomicU32::new(50);
    let n = 2 * CALLS.fetch_add(1, Ordering::Relaxed);
    let to = format!("To: <{uri}>\r\n");
    let own = format!("Contact: <{}>\r\n", caller.contact());
    caller.send(node, &caller.request("INVITE", &uri, n, "", &format!("{to}{own}")));
    let invite = callee.next("INVITE ");
    assert!(invite.starts_with(&format!("INVITE {contact} SIP/2.0\r\n")), "{invite}");
    let last_hop: SocketAddr = value(&invite, "Via").split([' ', ';']).nth(1).unwrap().parse().unwrap();
    callee.respond(last_hop, &invite, contact);
    let ok = caller.next("SIP/2.0 200 ");
    let mut routes = values(&ok, "Record-Route");
    routes.reverse();
    let hop = |route: &str| {
        let host = route.trim_start_matches("<sip:").split([';', '>']).next().unwrap();
        host.parse::<SocketAddr>().unwrap_or_else(|_| panic!("{route}"))
    };
    let first = routes.first().map(|r| hop(r)).unwrap();
    let target = value(&ok, "Contact").trim_matches(['<', '>']);
    assert!(target.starts_with(contact), "{ok}");
    let dialog = format!("To: {}\r\nRoute: {}\r\n", value(&ok, "To"), routes.join(", "));
    caller.send(first, &caller.request("ACK", target, n, "", &dialog));
    callee.next("ACK ");
    caller.send(first, &caller.request("BYE", target, n + 1, "", &dialog));
    let bye = callee.next("BYE ");
    let last_hop: SocketAddr = value(&bye, "Via").split([' ', ';']).nth(1).unwrap().parse().unwrap();
    callee.respond(last_hop, &bye, contact);
    caller.next("SIP/2.0 200 ");
}

fn refused(caller: &Phone, node: SocketAddr, user: &str, n: u32, status: &str) {
    let uri = format!("sip:{user}@carrier.test");
    caller.send(node, &caller.request("OPTIONS", &uri, n, "", &format!("To: <{uri}>\r\n")));
    caller.next(&format!("SIP/2.0 {status} "));
}

/// A phone that is registered at one is called through the other, in both directions; behind an address translation by way of its node.
#[test]
fn a_kamailio_and_we_share_registrations() {
    if !(have("redis-server", "--version") && have("kamailio", "-v") && have_modules()) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let redis = Redis::start();
    let (theirs, ours) = (free(), free());
    let _kamailio = kamailio(&redis, theirs, dir.path());
    let (_warp, health) = warp(&redis.url(), warp_state::Mode::Through, ours);
    until("Redis is reached", || is_up(&health).then_some(()));
    let alice = Phone::new("alice");
    let behind = "sip:x@10.9.9.9:5060";

    // Registered here, called there.
    let bob = Phone::new("bob");
    let answer = bob.register(
        ours,
        1,
        &bob.contact(),
        "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, MESSAGE\r\nUser-Agent: phone/1\r\n",
    );
    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    // It was answered, so it is written.
    let row = redis.texts(&["SMEMBERS", "location:usrdom::bob:carrier.test"]).remove(0);
    let expected = [
        ("username", "bob".to_owned()),
        ("domain", "carrier.test".into()),
        ("contact", bob.contact()),
        ("q", "-1.000000".into()),
        ("cseq", "2".into()),
        ("flags", "0".into()),
        ("cflags", "0".into()),
        ("user_agent", "phone/1".into()),
        ("socket", format!("udp:{ours}")),
        ("methods", "783".into()),
        ("reg_id", "0".into()),
        ("server_id", "3".into()),
        ("connection_id", "-1".into()),
        ("keepalive", "0".into()),
        ("partition", "0".into()),
        ("path", format!("<sip:{ours};lr>")),
        ("received", "(nil)".into()),
        ("instance", "(nil)".into()),
    ];
    for (name, value) in expected {
        assert_eq!(redis.field(&row, name), value, "{name}");
    }
    assert_eq!(redis.texts(&["SMEMBERS", "location::index::usrdom"]), ["location:usrdom::bob:carrier.test"]);
    assert_eq!(redis.texts(&["SMEMBERS", "location::index::timer"]), ["location:timer::0:0"]);
    assert_eq!(redis.texts(&["SMEMBERS", "location:timer::0:0"]).concat(), row);
    assert_eq!(redis.texts(&["TTL", &row]), ["-1"]);
    call(&alice, theirs, &bob, &bob.contact());

    // Registered there, called here.
    let carol = Phone::new("carol");
    let answer = carol.register(theirs, 1, &carol.contact(), "");
    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    call(&alice, ours, &carol, &carol.contact());

    // Behind an address translation there: by way of the node in the row's socket.
    let dave = Phone::new("dave");
    assert!(dave.register(theirs, 1, behind, "").starts_with("SIP/2.0 200 "));
    let row = redis.row_of("dave");
    assert_eq!(redis.field(&row, "received"), format!("sip:{}", dave.at()));
    call(&alice, ours, &dave, behind);

    // The same here: by way of us, and the way is in the Path.
    let erin = Phone::new("erin");
    assert!(erin.register(ours, 1, behind, "").starts_with("SIP/2.0 200 "));
    assert!(redis.field(&redis.row_of("erin"), "path").starts_with(&format!("<sip:{ours};lr;f=")));
    call(&alice, theirs, &erin, behind);

    // A phone that moves keeps its row; the 200 names what the other node knows.
    let row = redis.row_of("carol");
    let answer = carol.register(ours, 11, &carol.contact(), "");
    assert_eq!(values(&answer, "Contact").len(), 1, "{answer}");
    assert_eq!((redis.row_of("carol"), redis.field(&row, "server_id")), (row.clone(), "3".to_owned()));
    call(&alice, theirs, &carol, &carol.contact());
    // And back.
    assert!(carol.register(theirs, 21, &carol.contact(), "").starts_with("SIP/2.0 200 "));
    assert_eq!(redis.field(&redis.row_of("carol"), "server_id"), "7");
    call(&alice, ours, &carol, &carol.contact());

    // Who unregisters at one is not found at the other, and leaves no key behind.
    assert!(bob.register(ours, 31, "*", "Expires: 0\r\n").starts_with("SIP/2.0 200 "));
    refused(&alice, theirs, "bob", 900, "404");
    assert!(carol.register(theirs, 41, "*", "Expires: 0\r\n").starts_with("SIP/2.0 200 "));
    refused(&alice, ours, "carol", 901, "480");
    assert!(
        dave.register(ours, 51, "*", "Expires: 0\r\n").starts_with("SIP/2.0 200 "),
        "what the other node wrote goes, too"
    );
    refused(&alice, theirs, "dave", 902, "404");
    assert!(erin.register(ours, 61, "*", "Expires: 0\r\n").starts_with("SIP/2.0 200 "));
    assert_eq!(redis.texts(&["KEYS", "*"]), Vec::<String>::new());
}

/// F-REDIS-01, F-REDIS-03: Redis dies: registrations and calls go on from memory; another, empty one comes: all is there again.
#[test]
fn f_redis_01_and_03_calls_go_on_without_redis_and_a_new_one_is_filled() {
    if !have("redis-server", "--version") {
        return;
    }
    let mut redis = Redis::start();
    let ours = free();
    let (_warp, health) = warp(&redis.url(), warp_state::Mode::Through, ours);
    until("Redis is reached", || is_up(&health).then_some(()));
    let (alice, bob, carol, dave) =
        (Phone::new("alice"), Phone::new("bob"), Phone::new("carol"), Phone::new("dave"));
    assert!(bob.register(ours, 1, &bob.contact(), "").starts_with("SIP/2.0 200 "));
    assert!(dave.register(ours, 1, &dave.contact(), "").starts_with("SIP/2.0 200 "));
    redis.row_of("bob");
    redis.kill();
    assert!(carol.register(ours, 1, &carol.contact(), "").starts_with("SIP/2.0 200 "));
    assert!(dave.register(ours, 11, "*", "Expires: 0\r\n").starts_with("SIP/2.0 200 "));
    call(&alice, ours, &bob, &bob.contact());
    call(&Phone::new("alice"), ours, &carol, &carol.contact());
    redis.run();
    for user in ["bob", "carol"] {
        redis.row_of(user);
    }
    assert_eq!(redis.texts(&["EXISTS", "location:usrdom::dave:carrier.test"]), ["0"]);
    call(&Phone::new("alice"), ours, &bob, &bob.contact());
}

/// F-REDIS-04: a Redis that says nothing for a minute holds nobody.
#[test]
fn f_redis_04_a_silent_redis_holds_no_call() {
    if !have("redis-server", "--version") {
        return;
    }
    let redis = Redis::start();
    let ours = free();
    let (_warp, health) = warp(&redis.url(), warp_state::Mode::Through, ours);
    until("Redis is reached", || is_up(&health).then_some(()));
    let (alice, bob) = (Phone::new("alice"), Phone::new("bob"));
    redis.say(&["CLIENT", "PAUSE", "60000", "WRITE"]).unwrap();
    assert!(bob.register(ours, 1, &bob.contact(), "").starts_with("SIP/2.0 200 "));
    call(&alice, ours, &bob, &bob.contact());
    redis.say(&["CLIENT", "UNPAUSE"]).unwrap();
    redis.row_of("bob");
}

/// F-REDIS-02: a Redis that lies: garbage, lengths without an end, answers to nothing.
#[test]
fn f_redis_02_a_redis_that_answers_garbage_holds_no_call() {
    let lies: [&[u8]; 4] =
        [b"\x00\xff garbage\r\n", b"$999999999\r\nx", b"*3\r\n:1\r\n", b"+OK\r\n+OK\r\n+OK\r\n:7\r\n"];
    for lie in lies {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("redis://{}/0", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                std::thread::spawn(move || {
                    let mut buffer = [0; 4_096];
                    while stream.read(&mut buffer).is_ok_and(|n| n > 0) && stream.write_all(lie).is_ok() {}
                });
            }
        });
        let ours = free();
        let (_warp, _) = warp(&url, warp_state::Mode::Through, ours);
        let (alice, bob) = (Phone::new("alice"), Phone::new("bob"));
        assert!(bob.register(ours, 1, &bob.contact(), "").starts_with("SIP/2.0 200 "));
        call(&alice, ours, &bob, &bob.contact());
    }
}

/// Poisoned keys (T-RED-01): rows of the wrong type, of somebody else, without an end, with line ends. The good ones are found all the same.
#[test]
fn t_red_01_what_others_put_into_redis_is_not_believed() {
    if !have("redis-server", "--version") {
        return;
    }
    let redis = Redis::start();
    let ours = free();
    let (_warp, health) = warp(&redis.url(), warp_state::Mode::Through, ours);
    until("Redis is reached", || is_up(&health).then_some(()));
    let (alice, bob) = (Phone::new("alice"), Phone::new("bob"));
    assert!(bob.register(ours, 1, &bob.contact(), "").starts_with("SIP/2.0 200 "));
    let row = redis.row_of("bob");
    let poison = |key: &str, change: &[(&str, &str)]| {
        let mut words = vec!["HSET".to_owned(), key.to_owned()];
        for name in ["username", "domain", "contact", "expires", "q", "callid", "cseq", "flags", "cflags"] {
            let value = change.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
            words.extend([name.to_owned(), value.unwrap_or_else(|| redis.field(&row, name))]);
        }
        words.extend(["ruid".to_owned(), key.rsplit("::").next().unwrap().to_owned()]);
        redis.say(&words.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        redis.say(&["SADD", "location:usrdom::bob:carrier.test", key]).unwrap();
    };
    let elsewhere = format!("sip:bob@{}", free());
    poison("location:entry::other", &[("username", "mallory"), ("contact", &elsewhere)]);
    poison("location:entry::lines", &[("contact", "sip:bob@127.0.0.1\r\nX: y")]);
    poison("location:entry::long", &[("contact", &format!("sip:{}@127.0.0.1", "b".repeat(100_000)))]);
    poison("location:entry::over", &[("expires", "2001-01-01 00:00:00"), ("contact", &elsewhere)]);
    poison("location:entry::time", &[("expires", "1795331911"), ("contact", &elsewhere)]);
    poison("secret:entry::x", &[("contact", &elsewhere)]);
    redis.say(&["SET", "location:entry::text", "x"]).unwrap();
    for member in ["location:entry::text", "location:entry::none", ""] {
        redis.say(&["SADD", "location:usrdom::bob:carrier.test", member]).unwrap();
    }
    call(&alice, ours, &bob, &bob.contact());
    redis.say(&["SET", "location:usrdom::eve:carrier.test", "x"]).unwrap();
    refused(&alice, ours, "eve", 77, "480");
}

/// Behind: answered at once, written soon, and at the end at once.
#[test]
fn behind_writes_within_a_second_and_what_is_left_at_the_end() {
    if !have("redis-server", "--version") {
        return;
    }
    let redis = Redis::start();
    let ours = free();
    let (proxy, health) = warp(&redis.url(), warp_state::Mode::Behind, ours);
    until("Redis is reached", || is_up(&health).then_some(()));
    let (bob, carol) = (Phone::new("bob"), Phone::new("carol"));
    assert!(bob.register(ours, 1, &bob.contact(), "").starts_with("SIP/2.0 200 "));
    redis.row_of("bob");
    assert!(carol.register(ours, 1, &carol.contact(), "").starts_with("SIP/2.0 200 "));
    proxy.stop();
    assert_eq!(redis.texts(&["SMEMBERS", "location:usrdom::carol:carrier.test"]).len(), 1);
}
