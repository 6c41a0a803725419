//! The SIP edge on real sockets: phones on TLS and WebSocket, SIPp's phones on UDP, openssl as a peer, a certificate that changes.
//! Peers that are not installed are skipped with a line; under `CI=true` that is a failure.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use warp_net::tls::{Tls, TlsFiles, TlsSession};
use warp_sip::digest::{self, Ha1};
use warp_sip::flow::Transport;
use warp_sip::message::Message;
use warp_sip::stream::{Frame, Framer};
use warp_sip_proxy::core::{Accounts, Bounds, CoreConfig, Listener, Mode, Realm, RegistrarConfig};
use warp_sip_proxy::{Config, Handles, MediaControl, Metrics, Proxy, start};

const DEADLINE: Duration = Duration::from_secs(60);

fn have(program: &str, argument: &str) -> bool {
    if Command::new(program).arg(argument).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok() {
        return true;
    }
    println!("skipped: no {program} on this machine");
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{program} is missing under CI");
    false
}

/// A certificate for 127.0.0.1, its own root.
fn certificate(dir: &Path) -> TlsFiles {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let files = TlsFiles {
        certificate: dir.join("cert.pem"),
        key: dir.join("key.pem"),
        roots: Some(dir.join("cert.pem")),
    };
    std::fs::write(&files.certificate, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    files
}

/// A registrar on all transports.
fn registrar(files: &TlsFiles, configure: impl FnOnce(&mut Config)) -> Proxy {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listeners = [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss]
        .map(|transport| Listener { transport, bind: any, advertise: None });
    let mode = Mode::Registrar(RegistrarConfig {
        domain: "carrier.test".into(),
        accounts: Accounts::Derived { prefix: "pw-".into() },
        bounds: Bounds::default(),
        trusted: vec!["127.0.0.1".parse().unwrap()],
        shared: None,
    });
    let mut core = CoreConfig::new(mode, listeners.to_vec());
    core.domains = vec!["carrier.test".into()];
    core.realm = Realm { name: "carrier.test".into(), sha256: false, md5: true };
    let mut config = Config::new(core);
    config.shards = 2;
    config.tls = Some(files.clone());
    configure(&mut config);
    let handles = Handles {
        snapshots: None,
        media: MediaControl::None,
        state: None,
        journal: None,
        capture: None,
        spent: Vec::new(),
        seed: [5; 32],
        metrics: Metrics::detached(),
    };
    start(config, handles).unwrap()
}

fn at(proxy: &Proxy, transport: Transport) -> SocketAddr {
    proxy.addresses().iter().find(|(t, _)| *t == transport).unwrap().1
}

/// A phone on a connection.
struct Phone {
    tcp: TcpStream,
    tls: Option<TlsSession>,
    web: bool,
    raw: Vec<u8>,
    framer: Framer,
    transport: Transport,
    n: u32,
    name: &'static str,
}

impl Phone {
    fn connect(proxy: &Proxy, transport: Transport, tls: &Tls, name: &'static str) -> Phone {
        let tcp = TcpStream::connect(at(proxy, transport)).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let session = transport.is_secure().then(|| tls.connect(Ipv4Addr::LOCALHOST.into()).unwrap());
        let web = matches!(transport, Transport::Ws | Transport::Wss);
        let mut phone = Phone {
            tcp,
            tls: session,
            web: false,
            raw: vec![],
            framer: Framer::new(),
            transport,
            n: 0,
            name,
        };
        // The handshake is done here, for a caller may wait on another phone's connection next.
        if phone.tls.is_some() {
            phone.write(b"");
        }
        while phone.tls.as_ref().is_some_and(TlsSession::is_handshaking) {
            phone.read();
        }
        if web {
            phone.write(
                b"GET /sip HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                  Sec-WebSocket-Protocol: sip\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            );
            while !phone.raw.ends_with(b"\r\n\r\n") {
                phone.read();
            }
            let answer = String::from_utf8(std::mem::take(&mut phone.raw)).unwrap();
            assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
            phone.web = true;
        }
        phone
    }

    fn write(&mut self, bytes: &[u8]) {
        let Some(tls) = &mut self.tls else { return self.tcp.write_all(bytes).unwrap() };
        tls.send(bytes);
        let mut out = Vec::new();
        tls.take_output(&mut out);
        self.tcp.write_all(&out).unwrap();
    }

    fn read(&mut self) {
        let mut buffer = [0; 65_536];
        let n = self
            .tcp
            .read(&mut buffer)
            .unwrap_or_else(|e| panic!("{} by {}, request {}: {e}", self.name, self.transport, self.n));
        assert_ne!(n, 0, "{}: closed", self.name);
        match &mut self.tls {
            None => self.raw.extend_from_slice(&buffer[..n]),
            Some(tls) => {
                tls.receive(&buffer[..n], &mut self.raw).expect("TLS");
                let mut out = Vec::new();
                tls.take_output(&mut out);
                self.tcp.write_all(&out).unwrap();
            }
        }
    }

    fn send(&mut self, text: &str) {
        if !self.web {
            return self.write(text.as_bytes());
        }
        let mask = [7, 11, 13, 17];
        let mut frame = vec![0x81, 0x80 | 126];
        frame.extend_from_slice(&(text.len() as u16).to_be_bytes());
        frame.extend_from_slice(&mask);
        frame.extend(text.bytes().zip(mask.iter().cycle()).map(|(b, m)| b ^ m));
        self.write(&frame);
    }

    /// The next message that is no 100.
    fn next(&mut self) -> String {
        loop {
            let whole = if self.web { self.web_frame() } else { self.stream_frame() };
            match whole {
                Some(text) if text.starts_with("SIP/2.0 100 ") => {}
                Some(text) => return text,
                None => self.read(),
            }
        }
    }

    fn web_frame(&mut self) -> Option<String> {
        let (from, length) = match *self.raw.get(1)? {
            126 => (4, usize::from(u16::from_be_bytes([*self.raw.get(2)?, *self.raw.get(3)?]))),
            n => (2, usize::from(n)),
        };
        let text = String::from_utf8(self.raw.get(from..from + length)?.to_vec()).unwrap();
        assert_eq!(self.raw[0], 0x81, "a whole text message");
        self.raw.drain(..from + length);
        Some(text)
    }

    fn stream_frame(&mut self) -> Option<String> {
        self.framer.push(&std::mem::take(&mut self.raw));
        match self.framer.poll_frame()? {
            Frame::Message(bytes) => Some(String::from_utf8(bytes.to_vec()).unwrap()),
            other => panic!("{other:?}"),
        }
    }

    fn contact(&self) -> String {
        format!("<sip:{}@{}.invalid;transport={}>", self.name, self.name, self.transport.param())
    }

    fn request(&mut self, method: &str, uri: &str, more: &str) -> String {
        self.n += 1;
        let (token, name, n, contact) = (self.transport.token(), self.name, self.n, self.contact());
        // Another connection's request is another transaction.
        let port = self.tcp.local_addr().unwrap().port();
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/{token} {name}.invalid;branch=z9hG4bK{name}{port}x{n};rport\r\nMax-Forwards: 70\r\n\
             From: <sip:{name}@carrier.test>;tag={name}\r\nCSeq: {n} {method}\r\nContact: {contact}\r\n{more}\
             Content-Length: 0\r\n\r\n"
        )
    }

    fn register(&mut self) {
        let fixed = format!(
            "To: <sip:{}@carrier.test>\r\nCall-ID: r{}{}\r\n",
            self.name,
            self.name,
            self.tcp.local_addr().unwrap().port()
        );
        let text = self.request("REGISTER", "sip:carrier.test", &fixed);
        self.send(&text);
        let challenged = self.next();
        let message = Message::parse(challenged.as_bytes()).unwrap();
        let (_, challenge) = digest::best_challenge(&message).expect(&challenged);
        let (user, password) = (self.name.as_bytes(), format!("pw-{}", self.name));
        let ha1 = Ha1::new(challenge.algorithm, user, b"carrier.test", password.as_bytes());
        let mut value = b"Authorization: ".to_vec();
        digest::respond(&challenge, user, &ha1, b"REGISTER", b"sip:carrier.test", b"c", 1, &mut value);
        let signed = format!("{fixed}{}\r\n", String::from_utf8(value).unwrap());
        let text = self.request("REGISTER", "sip:carrier.test", &signed);
        self.send(&text);
        let ok = self.next();
        assert!(ok.starts_with("SIP/2.0 200 ") && ok.contains(&self.contact()), "{ok}");
    }

    /// Answers a request with 200.
    fn answer(&mut self, request: &str) {
        let mut out = "SIP/2.0 200 OK\r\n".to_owned();
        for line in request.lines().take_while(|l| !l.is_empty()) {
            let name = line.split(':').next().unwrap();
            if ["Via", "Record-Route", "From", "Call-ID", "CSeq"].contains(&name) {
                out += &format!("{line}\r\n");
            } else if name == "To" {
                let tag = if line.contains("tag=") { String::new() } else { format!(";tag={}", self.name) };
                out += &format!("{line}{tag}\r\n");
            }
        }
        out += &format!("Contact: {}\r\nContent-Length: 0\r\n\r\n", self.contact());
        self.send(&out);
    }
}

fn lines(text: &str, name: &str) -> Vec<String> {
    text.lines().filter_map(|l| l.strip_prefix(name)?.strip_prefix(": ")).map(str::to_owned).collect()
}

/// Phones on every link call phones on every link, none of which accepts connections, and each side is reached over its own connection
/// (RFC 7118, RFC 5626): host names that nobody can look up lead nowhere, the flows do.
#[test]
fn phones_on_tls_and_websocket_are_called() {
    let dir = tempfile::tempdir().unwrap();
    let files = certificate(dir.path());
    let proxy = registrar(&files, |_| ());
    let tls = Tls::open(files).unwrap();
    let links = [Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss];
    for (from, to) in links.iter().flat_map(|from| links.map(|to| (*from, to))) {
        let mut alice = Phone::connect(&proxy, to, &tls, "alice");
        let mut bob = Phone::connect(&proxy, from, &tls, "bob");
        alice.register();
        let call = format!("call-{from}-{to}");
        let fixed = format!("To: <sip:alice@carrier.test>\r\nCall-ID: {call}\r\n");
        let invite = bob.request("INVITE", "sip:alice@carrier.test", &fixed);
        bob.send(&invite);
        let there = alice.next();
        assert!(there.starts_with("INVITE sip:alice@alice.invalid"), "{there}");
        assert!(
            lines(&there, "Via")[0].starts_with(&format!("SIP/2.0/{} 127.0.0.1:", to.token())),
            "{there}"
        );
        assert_eq!(lines(&there, "Record-Route").len(), 2, "{there}");
        alice.answer(&there);
        let ok = bob.next();
        assert!(ok.starts_with("SIP/2.0 200 "), "{from} to {to}: {ok}");
        let routes: String =
            lines(&ok, "Record-Route").iter().rev().map(|r| format!("Route: {r}\r\n")).collect();
        let inside = format!("To: {}\r\nCall-ID: {call}\r\n{routes}", lines(&ok, "To")[0]);
        bob.n -= 1;
        let ack = bob.request("ACK", "sip:alice@alice.invalid", &inside).replace("z9hG4bK", "z9hG4bKack");
        bob.send(&ack);
        assert!(alice.next().starts_with("ACK "));
        // The called one hangs up.
        let back: String = lines(&there, "Record-Route").iter().map(|r| format!("Route: {r}\r\n")).collect();
        let bye = alice.request(
            "BYE",
            "sip:bob@bob.invalid",
            &format!("To: <sip:bob@carrier.test>;tag=bob\r\nCall-ID: {call}\r\n{back}"),
        );
        alice.send(&bye);
        let bye = bob.next();
        assert!(bye.starts_with("BYE sip:bob@bob.invalid"), "{from} to {to}: {bye}");
        bob.answer(&bye);
        assert!(alice.next().starts_with("SIP/2.0 200 "));
        // Takes his registration back, so that the next pair is alone.
        let fixed = "To: <sip:alice@carrier.test>\r\nCall-ID: x\r\n";
        let gone = alice.request("INVITE", "sip:nobody@carrier.test", fixed);
        alice.send(&gone);
        assert!(alice.next().starts_with("SIP/2.0 480 "));
        drop(alice);
        wait_for("a lost connection leaves the caller an answer", || {
            let mut carol = Phone::connect(&proxy, Transport::Tcp, &tls, "carol");
            let fixed =
                format!("To: <sip:alice@carrier.test>\r\nCall-ID: {call}-{:?}\r\n", carol.tcp.local_addr());
            let invite = carol.request("INVITE", "sip:alice@carrier.test", &fixed);
            carol.send(&invite);
            carol.next().starts_with("SIP/2.0 5")
        });
    }
    proxy.stop();
}

fn wait_for(what: &str, mut ready: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !ready() {
        assert!(begin.elapsed() < DEADLINE, "{what}");
        std::thread::yield_now();
    }
}

/// A certificate is changed while a connection is open: that one goes on, new ones see the new one.
#[test]
fn f_cfg_02_a_changed_certificate_costs_no_connection() {
    let dir = tempfile::tempdir().unwrap();
    let files = certificate(dir.path());
    let proxy = registrar(&files, |_| ());
    let old = Tls::open(files).unwrap();
    let mut phone = Phone::connect(&proxy, Transport::Tls, &old, "alice");
    phone.register();
    let files = certificate(dir.path());
    let stamp = std::time::SystemTime::now() + Duration::from_secs(5);
    std::fs::File::options().write(true).open(&files.certificate).unwrap().set_modified(stamp).unwrap();
    let new = Tls::open(files).unwrap();
    wait_for("new connections see the new certificate", || {
        let mut tcp = TcpStream::connect(at(&proxy, Transport::Tls)).unwrap();
        let mut session = new.connect(Ipv4Addr::LOCALHOST.into()).unwrap();
        let mut buffer = [0; 16_384];
        while session.is_handshaking() {
            let mut out = Vec::new();
            session.take_output(&mut out);
            if tcp.write_all(&out).is_err() {
                return false;
            }
            match tcp.read(&mut buffer) {
                Ok(n) if n > 0 && session.receive(&buffer[..n], &mut Vec::new()).is_ok() => {}
                _ => return false,
            }
        }
        true
    });
    phone.register();
    proxy.stop();
}

/// T-SIP-15: who begins TLS or a WebSocket and does not go on is closed.
#[test]
fn t_sip_15_half_open_tls_and_websockets_are_closed() {
    let dir = tempfile::tempdir().unwrap();
    let files = certificate(dir.path());
    let proxy = registrar(&files, |c| c.streams.first_message = Duration::from_millis(200));
    for (transport, bytes) in [
        (Transport::Tls, &b""[..]),
        (Transport::Tls, &[22, 3, 1, 2, 0]),
        (Transport::Tls, b"OPTIONS sip:x SIP/2.0\r\n\r\n"),
        (Transport::Wss, &[22, 3, 1]),
        (Transport::Ws, b"GET / HTTP/1.1\r\n"),
        (Transport::Ws, b"OPTIONS sip:x SIP/2.0\r\n\r\n"),
    ] {
        let mut tcp = TcpStream::connect(at(&proxy, transport)).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        tcp.write_all(bytes).unwrap();
        let mut rest = Vec::new();
        // A reset is a close, too; a time-out is none.
        match tcp.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(e) => assert_eq!(e.kind(), std::io::ErrorKind::ConnectionReset, "{transport} {bytes:?}"),
        }
    }
    proxy.stop();
}

/// A peer of another make: openssl, on TLS 1.2 and 1.3; the versions before are refused.
#[test]
fn openssl_is_answered_on_tls_1_2_and_1_3() {
    if !have("openssl", "version") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let proxy = registrar(&certificate(dir.path()), |_| ());
    let ask = "OPTIONS sip:carrier.test SIP/2.0\r\nVia: SIP/2.0/TLS 127.0.0.1:5061;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
               From: <sip:a@b>;tag=1\r\nTo: <sip:carrier.test>\r\nCall-ID: o\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";
    for (version, answered) in [("-tls1_2", true), ("-tls1_3", true), ("-tls1_1", false)] {
        let mut child = Command::new("openssl")
            .args([
                "s_client",
                "-quiet",
                "-verify_quiet",
                version,
                "-connect",
                &at(&proxy, Transport::Tls).to_string(),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // It may have ended already, when its version is refused.
        let _ = child.stdin.as_mut().unwrap().write_all(ask.as_bytes());
        let mut got = Vec::new();
        let mut buffer = [0; 4_096];
        let out = child.stdout.as_mut().unwrap();
        while !got.windows(4).any(|w| w == b"\r\n\r\n") {
            match out.read(&mut buffer).unwrap() {
                0 => break,
                n => got.extend_from_slice(&buffer[..n]),
            }
        }
        let _ = child.kill();
        let _ = child.wait();
        let text = String::from_utf8_lossy(&got);
        assert_eq!(text.starts_with("SIP/2.0 200 OK"), answered, "{version}: {text}");
    }
    proxy.stop();
}

/// SIPp's phone registers with digest and is called; nobody else is there.
#[test]
fn sipp_registers_and_is_called() {
    if !have("sipp", "-v") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let proxy = registrar(&certificate(dir.path()), |_| ());
    let us = at(&proxy, Transport::Udp);
    let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("../loadtests/sipp");
    let free = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let sipp = |scenario: &str, local: SocketAddr, more: &[&str]| {
        Command::new("sipp")
            .arg("-sf")
            .arg(scenarios.join(scenario))
            .args([
                "-t",
                "u1",
                "-i",
                "127.0.0.1",
                "-p",
                &local.port().to_string(),
                "-nostdin",
                "-timeout",
                "60",
            ])
            .args(more)
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    let phone = free();
    let mut callee = sipp("proxy_uas.xml", phone, &[]);
    let register = |expires: &str| {
        let mut child = sipp(
            "register.xml",
            free(),
            &[
                &us.to_string(),
                "-m",
                "1",
                "-au",
                "100",
                "-ap",
                "pw-100",
                "-key",
                "user",
                "100",
                "-key",
                "contact",
                &phone.to_string(),
                "-key",
                "expires",
                expires,
            ],
        );
        assert!(child.wait().unwrap().success(), "REGISTER with expires {expires}");
    };
    let call = || {
        let more = [&us.to_string(), "-m", "20", "-r", "20", "-d", "20", "-s", "100"];
        sipp("proxy_uac.xml", free(), &more).wait().unwrap().success()
    };
    register("300");
    assert!(call(), "twenty calls");
    register("0");
    assert!(!call(), "nobody is there");
    let _ = callee.kill();
    let _ = callee.wait();
    proxy.stop();
}

/// Opens connections from these addresses until there are so many, or the proxy closes them; those that stay open.
fn crowd(at: SocketAddr, sources: std::ops::RangeInclusive<u8>, each: usize, first: &[u8]) -> Vec<TcpStream> {
    let mut open = Vec::new();
    for last in sources {
        for _ in 0..each {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            socket.bind(&SocketAddr::from(([127, 0, 9, last], 0)).into()).unwrap();
            if socket.connect_timeout(&at.into(), Duration::from_secs(10)).is_ok() {
                let mut stream = TcpStream::from(socket);
                let _ = stream.write_all(first);
                open.push(stream);
            }
        }
    }
    open
}

/// T-SIP-15, T-SIP-20: connections that say nothing, TLS that stops in its first message, and WebSockets that lie about their lengths, from
/// many sources: a quarter of all places is kept, and a known peer comes in and is served at once.
#[test]
fn t_sip_15_idle_half_open_and_lying_connections_keep_no_known_peer_out() {
    let dir = tempfile::tempdir().unwrap();
    let files = certificate(dir.path());
    let proxy = registrar(&files, |config| {
        config.streams.total = 240;
        config.streams.per_stranger = 20;
        config.streams.first_message = Duration::from_secs(600);
    });
    let tls = Tls::open(files).unwrap();
    let hello = {
        let mut session = tls.connect(Ipv4Addr::LOCALHOST.into()).unwrap();
        let mut bytes = Vec::new();
        session.take_output(&mut bytes);
        bytes.truncate(bytes.len() / 2);
        bytes
    };
    let upgrade = b"GET /sip HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Protocol: sip\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    // A frame of 2^63 - 1 bytes, one whose length has its highest bit set, one that is not masked, and one of half a GiB.
    let frames: [&[u8]; 4] = [
        b"\x81\xFF\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF\0\0\0\0INVITE",
        b"\x81\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\0\0\0\0INVITE",
        b"\x81\x06INVITE",
        b"\x82\xFF\0\0\0\0\x20\0\0\0\0\0\0\0INVITE",
    ];
    for (n, frame) in (1..).zip(frames) {
        let lie = [&upgrade[..], frame].concat();
        for mut stream in crowd(at(&proxy, Transport::Ws), 200 + n..=200 + n, 1, &lie) {
            stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            let mut said = Vec::new();
            stream.read_to_end(&mut said).expect("it is closed");
            let text = String::from_utf8_lossy(&said);
            assert!(text.starts_with("HTTP/1.1 101 "), "{text}");
            let close = said.windows(4).position(|w| w == b"\r\n\r\n").map(|i| said[i + 4]);
            assert_eq!(close, Some(0x88), "frame {n}: a close frame says why");
        }
    }
    let idle = crowd(at(&proxy, Transport::Tcp), 1..=5, 20, b"INVITE sip:");
    let half = crowd(at(&proxy, Transport::Tls), 6..=40, 20, &hello);
    assert_eq!((idle.len(), half.len()), (100, 700), "the kernel took all of them");
    for transport in [Transport::Tcp, Transport::Tls, Transport::Wss] {
        // At once: the places of the others are theirs for ten minutes.
        Phone::connect(&proxy, transport, &tls, "alice").register();
    }
    // Those beyond a stranger's share were closed; what he may hold is held.
    let refused = |all: &[TcpStream]| {
        let closed = |s: &&TcpStream| {
            s.set_nonblocking(true).unwrap();
            let read = s.peek(&mut [0; 1]);
            matches!(read, Ok(0)) || read.is_err_and(|e| e.kind() != std::io::ErrorKind::WouldBlock)
        };
        all.iter().filter(closed).count()
    };
    wait_for("three quarters of the places are held", || 800 - refused(&idle) - refused(&half) == 180);
    proxy.stop();
}
