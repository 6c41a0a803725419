//! ng clients are told by XML-RPC of calls whose media timed out (T-RTP-10), in the words of rtpengine.

mod common;
mod programs;

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use common::{World, answer, offer};
use programs::{DEADLINE, Program, free_port, has};
use warp_ng::codec::{Encoding, encode_request};
use warp_ng::{Command, Delete};

const CALL_ID: &str = "c&<1>@there";

fn sdp(port: u16) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"
    )
}

/// A client of a relay over UDP.
struct Client(UdpSocket);

impl Client {
    fn of(relay: SocketAddr) -> Client {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(relay).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        Client(socket)
    }

    /// Sent again until it is answered.
    fn ask(&self, cookie: &str, command: &Command) -> String {
        let mut request = Vec::new();
        encode_request(cookie.as_bytes(), Encoding::Bencode, false, command, &mut request);
        let (end, mut buffer) = (Instant::now() + DEADLINE, [0; 65_536]);
        loop {
            assert!(Instant::now() < end, "no answer");
            let _ = self.0.send(&request);
            if let Ok(len) = self.0.recv(&mut buffer)
                && buffer[..len].starts_with(cookie.as_bytes())
            {
                return String::from_utf8_lossy(&buffer[..len]).into_owned();
            }
        }
    }

    /// A call without media. `told`: who is named to be told.
    fn call(&self, told: Option<IpAddr>) {
        let mut offered = offer(CALL_ID, &sdp(40_000));
        offered.xmlrpc_callback = told;
        assert!(self.ask("c1", &Command::Offer(offered)).contains("2:ok"));
        assert!(self.ask("c2", &Command::Answer(answer(CALL_ID, &sdp(40_002)))).contains("2:ok"));
    }
}

/// The next request to `at`, answered with `body`.
fn next_request(at: &TcpListener, body: &str) -> String {
    at.set_nonblocking(true).unwrap();
    let end = Instant::now() + DEADLINE;
    let mut stream = loop {
        match at.accept() {
            Ok((stream, _)) => break stream,
            Err(_) => assert!(Instant::now() < end, "nobody was told"),
        }
        std::thread::yield_now();
    };
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let (mut got, mut buffer) = (Vec::new(), [0; 4_096]);
    while !String::from_utf8_lossy(&got).contains("</methodCall>\r\n") {
        let len = stream.read(&mut buffer).unwrap();
        assert!(len > 0, "{}", String::from_utf8_lossy(&got));
        got.extend_from_slice(&buffer[..len]);
    }
    let length = body.len();
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: {length}\r\n\r\n{body}")
        .unwrap();
    String::from_utf8(got).unwrap()
}

const DONE: &str = "<?xml version=\"1.0\"?><methodResponse><params><param><value><int>1</int></value></param></params></methodResponse>";
const FAULT: &str = "<?xml version=\"1.0\"?><methodResponse><fault><value><string>no</string></value></fault></methodResponse>";

/// Who it was said to, and what: the request's line, `Host`, type, and body.
fn parts(request: &str) -> (Vec<String>, String) {
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let wanted = |line: &&str| {
        ["POST ", "Host: ", "Content-Type: ", "Content-Length: "].iter().any(|w| line.starts_with(w))
    };
    let mut lines: Vec<String> = head.lines().filter(wanted).map(str::to_owned).collect();
    lines.sort_unstable();
    (lines, body.to_owned())
}

fn relay(url: String, format: u8) -> (World, Client) {
    let world = World::new(|c| {
        c.ng = Some("127.0.0.1:0".parse().unwrap());
        c.media_timeout_s = 1;
        (c.b2b_url, c.xmlrpc_format) = (Some(url), format);
    });
    let client = Client::of(world.relay.ng_addr().unwrap());
    (world, client)
}

#[test]
fn t_rtp_10_a_media_timeout_is_told_as_rtpengine_tells_it() {
    let other: IpAddr = "127.0.0.2".parse().unwrap();
    // Format, host of the URL, who is named in the offer, how often something is said.
    for (format, host, named, times) in [
        (0, "127.0.0.1", None, 2),
        (1, "127.0.0.1", None, 1),
        (2, "127.0.0.1", None, 1),
        (2, "%%", None, 1),
        (2, "%%", Some(other), 1),
    ] {
        let what = format!("{format} {host} {named:?}");
        let at = TcpListener::bind((named.unwrap_or([127, 0, 0, 1].into()), 0)).unwrap();
        let url = format!("http://{host}:{}/RPC2", at.local_addr().unwrap().port());
        // rtpengine's children say it side by side.
        let said = || -> std::collections::BTreeSet<_> {
            (0..times).map(|_| parts(&next_request(&at, DONE))).collect()
        };
        let (world, client) = relay(url.clone(), format);
        client.call(named);
        let ours = said();
        assert!(
            ours.iter().all(|(head, _)| head.iter().any(|l| l == "POST /RPC2 HTTP/1.1")),
            "{what}: {ours:?}"
        );
        world.wait("counted", |w| {
            w.metric("warp_media_timeout_callbacks_total{result=\"ok\"}") == f64::from(times)
        });
        assert_eq!(world.metric("warp_media_timeout_callbacks_total{result=\"failed\"}"), 0.0);
        assert_eq!(world.timed_out.recv_timeout(DEADLINE).unwrap(), CALL_ID.as_bytes(), "this process too");
        if !has("rtpengine", "t_rtp_10_a_media_timeout_is_told_as_rtpengine_tells_it") {
            continue;
        }
        let ng = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let arguments = [
            "--config-file=none".to_owned(),
            "--table=-1".to_owned(),
            "--interface=127.0.0.1".to_owned(),
            "--foreground".to_owned(),
            "--log-stderr".to_owned(),
            "--timeout=1".to_owned(),
            format!("--listen-ng={ng}"),
            format!("--b2b-url={url}"),
            format!("--xmlrpc-format={format}"),
        ];
        let _engine = Program::start("rtpengine", &arguments.each_ref().map(String::as_str));
        Client::of(ng).call(named);
        assert_eq!(said(), ours, "{what}");
    }
}

#[test]
fn t_rtp_10_who_cannot_be_told_costs_a_count_and_nothing_else() {
    let at = TcpListener::bind("127.0.0.1:0").unwrap();
    let (world, client) = relay(format!("http://{}/", at.local_addr().unwrap()), 2);
    let failed = |w: &World| w.metric("warp_media_timeout_callbacks_total{result=\"failed\"}");
    client.call(None);
    // Tried twice.
    for _ in 0..2 {
        assert!(next_request(&at, FAULT).contains("dlg.terminate_dlg"));
    }
    world.wait("a fault", |w| failed(w) == 1.0);
    client.ask("c3", &Command::Delete(Delete::call(CALL_ID)));
    drop(at);
    let again = Client::of(world.relay.ng_addr().unwrap());
    again.call(None);
    world.wait("nobody there", |w| failed(w) == 2.0);
    // A call of this process is told to this process alone.
    let control = world.relay.control();
    assert!(control.ask(Command::Offer(offer("ours", &sdp(40_000)))).is_ok());
    assert!(control.ask(Command::Answer(answer("ours", &sdp(40_002)))).is_ok());
    for id in [CALL_ID, CALL_ID, "ours"] {
        assert_eq!(world.timed_out.recv_timeout(DEADLINE).unwrap(), id.as_bytes());
    }
    assert_eq!((failed(&world), world.metric("warp_media_panics_total")), (2.0, 0.0));
    // A stop does not wait for anybody.
    world.relay.stop();
}
