//! ng over TCP, HTTP and WebSocket: the same answers as over UDP, and nothing for a web page that is not ours (T-NG-02, T-NG-03).

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use common::World;

const SDP: &str = "v=0\\r\\no=u 1 1 IN IP4 127.0.0.1\\r\\ns=-\\r\\nc=IN IP4 127.0.0.1\\r\\nt=0 0\\r\\nm=audio 40000 RTP/AVP 0\\r\\n";

fn world() -> World {
    World::new(|c| {
        c.ng_tcp = Some("127.0.0.1:0".parse().unwrap());
        c.http = Some("127.0.0.1:0".parse().unwrap());
    })
}

fn connect(at: Option<SocketAddr>) -> TcpStream {
    let stream = TcpStream::connect(at.unwrap()).unwrap();
    stream.set_read_timeout(Some(common::DEADLINE)).unwrap();
    stream
}

/// Reads until the text holds what is waited for, or the other side closes.
fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let (mut text, mut piece) = (String::new(), [0; 4_096]);
    while !text.contains(end) {
        match stream.read(&mut piece).unwrap() {
            0 => break,
            n => text.push_str(&String::from_utf8_lossy(&piece[..n])),
        }
    }
    text
}

fn offer(call: &str) -> String {
    format!(r#"{{"command":"offer","call-id":"{call}","from-tag":"f","sdp":"{SDP}"}}"#)
}

#[test]
fn t_ng_02_03_over_tcp_messages_follow_each_other_and_a_cookie_counts_once() {
    let world = world();
    let mut client = connect(world.relay.ng_tcp_addr());
    // Two in one write, one in two.
    client.write_all(b"1 d7:command4:pinge\n2 {\"command\":\"ping\"}3 d7:comm").unwrap();
    let first = read_until(&mut client, "2 {\"result\":\"pong\"}");
    assert_eq!(first, "1 d6:result4:ponge2 {\"result\":\"pong\"}");
    client.write_all(b"and4:pinge").unwrap();
    assert_eq!(read_until(&mut client, "e"), "3 d6:result4:ponge");
    // A repeated cookie gets the stored answer; the text is canonical, as at every door.
    client.write_all(format!("4 {}", offer("t")).as_bytes()).unwrap();
    let answer = read_until(&mut client, "\"result\":\"ok\"}");
    assert!(answer.contains("a=rtpmap:0 PCMU/8000") && answer.contains("a=sendrecv"), "{answer}");
    client.write_all(format!("4 {}", offer("another")).as_bytes()).unwrap();
    assert_eq!(read_until(&mut client, "\"result\":\"ok\"}"), answer);
    client.write_all(b"5 {\"command\":\"list\"}").unwrap();
    assert_eq!(read_until(&mut client, "}"), "5 {\"calls\":[\"t\"],\"result\":\"ok\"}");
    // An unknown command is answered; what can be no message ends this connection and no other.
    client.write_all(b"6 {\"command\":\"dance\"}").unwrap();
    assert!(read_until(&mut client, "}").contains("Unrecognized command"));
    let mut broken = connect(world.relay.ng_tcp_addr());
    broken.write_all(b"7 nonsense").unwrap();
    assert_eq!(read_until(&mut broken, "never"), "");
    client.write_all(b"8 d7:command4:pinge").unwrap();
    assert_eq!(read_until(&mut client, "e"), "8 d6:result4:ponge");
}

fn post(path: &str, fields: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1:2223\r\n{fields}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn over_http_documents_come_with_and_without_a_cookie() {
    let world = world();
    let mut client = connect(world.relay.http_addr());
    let ng = "Content-Type: application/x-rtpengine-ng\r\n";
    let json = "Content-Type: application/json; charset=utf-8\r\n";
    for (request, body) in [
        (post("/ng", ng, "c1 d7:command4:pinge"), "c1 d6:result4:ponge"),
        (post("/ng-plain", ng, "d7:command4:pinge"), "d6:result4:ponge"),
        (post("/ng-plain", json, "{\"command\":\"ping\"}"), "{\"result\":\"pong\"}"),
        ("GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), "pong"),
    ] {
        client.write_all(request.as_bytes()).unwrap();
        let answer = read_until(&mut client, body);
        assert!(
            answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with(&format!("\r\n\r\n{body}")),
            "{answer}"
        );
    }
    client.write_all(post("/ng-plain", json, &offer("h")).as_bytes()).unwrap();
    assert!(read_until(&mut client, "\"result\":\"ok\"}").contains("a=rtcp:"));
}

#[test]
fn t_ng_01_http_and_websocket_refuse_web_pages_of_others() {
    let world = world();
    let ng = "Content-Type: application/x-rtpengine-ng\r\n";
    let ping = "c1 d7:command4:pinge";
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: ng.rtpengine.com\r\n";
    let get = |host: &str, fields: &str| format!("GET / HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n");
    for (request, status) in [
        (post("/ng", &format!("{ng}Origin: http://evil.example\r\n"), ping), "403"),
        (post("/ng", &format!("{ng}Origin: null\r\n"), ping), "403"),
        (post("/ng", ng, ping).replace("127.0.0.1:2223", "evil.example:2223"), "403"),
        (post("/ng", "Content-Type: text/plain\r\n", ping), "415"),
        (post("/ng", "Content-Type: application/x-www-form-urlencoded\r\n", ping), "415"),
        (post("/ng", "Content-Type: application/json\r\n", ping), "415"),
        (post("/ng", "", ping), "415"),
        (post("/ng", &format!("{ng}Transfer-Encoding: chunked\r\n"), ping), "411"),
        (post("/ng", ng, ping).replace("Length: 20", "Length: 99999"), "413"),
        (post("/ng", &format!("{ng}Content-Length: 3\r\n"), ping), "400"),
        (post("/other", ng, ping), "404"),
        ("PUT /ng HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".to_owned(), "405"),
        ("GET /ping HTTP/1.1\r\n\r\n".to_owned(), "403"),
        ("nonsense\r\n\r\n".to_owned(), "400"),
        (get("127.0.0.1", &format!("{upgrade}Origin: https://evil.example\r\n")), "403"),
        (get("evil.example", upgrade), "403"),
        (get("127.0.0.1", &upgrade.replace("ng.rtpengine.com", "chat")), "400"),
        (get("127.0.0.1", &upgrade.replace("dGhlIHNhbXBsZSBub25jZQ==", "short")), "400"),
    ] {
        let mut client = connect(world.relay.http_addr());
        client.write_all(request.as_bytes()).unwrap();
        let answer = read_until(&mut client, "never");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}\n{answer}");
    }
    let mut client = connect(world.relay.http_addr());
    client
        .write_all(post("/ng", &format!("{ng}Origin: http://127.0.0.1:2223\r\n"), ping).as_bytes())
        .unwrap();
    assert!(read_until(&mut client, "ponge").starts_with("HTTP/1.1 200 "));
}

/// A client's frame, masked.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first, 0x80 | 126];
    out.extend((payload.len() as u16).to_be_bytes());
    out.extend([1, 2, 3, 4]);
    out.extend(payload.iter().zip([1, 2, 3, 4].into_iter().cycle()).map(|(b, m)| b ^ m));
    out
}

#[test]
fn over_websocket_each_message_is_a_request_and_fragments_make_one() {
    let world = world();
    for (protocol, request, reply) in [
        ("ng.rtpengine.com", "c1 d7:command4:pinge", "c1 d6:result4:ponge"),
        ("ng-plain.rtpengine.com", "{\"command\":\"ping\"}", "{\"result\":\"pong\"}"),
    ] {
        let mut client = connect(world.relay.http_addr());
        client
            .write_all(
                format!(
                    "GET /ng HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
                     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: x, {protocol}\r\n\r\n"
                )
                .as_bytes(),
            )
            .unwrap();
        // The example of RFC 6455 §1.3.
        let answer = read_until(&mut client, "\r\n\r\n");
        assert!(
            answer.starts_with("HTTP/1.1 101 ")
                && answer.contains("Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
            "{answer}"
        );
        assert!(answer.contains(&format!("Protocol: {protocol}\r\n")));
        client.write_all(&frame(0x81, request.as_bytes())).unwrap();
        let mut read = |wanted: &[u8]| {
            let mut bytes = vec![0; wanted.len()];
            client.read_exact(&mut bytes).unwrap();
            assert_eq!(bytes, wanted);
            client.try_clone().unwrap()
        };
        let whole = [&[0x81, reply.len() as u8][..], reply.as_bytes()].concat();
        let mut out = read(&whole);
        // In two pieces with a ping between them, then a close.
        let (a, b) = request.as_bytes().split_at(5);
        out.write_all(&[frame(0x01, a), frame(0x89, b"hi"), frame(0x80, b)].concat()).unwrap();
        read(&[0x8A, 2, b'h', b'i']);
        let mut out = read(&whole);
        out.write_all(&frame(0x88, &[])).unwrap();
        read(&[0x88, 2, 3, 232]);
    }
    // Bytes that are not masked are no client's.
    let mut client = connect(world.relay.http_addr());
    client.write_all(b"GET / HTTP/1.1\r\nHost: [::1]:80\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: ng.rtpengine.com\r\n\r\n").unwrap();
    read_until(&mut client, "\r\n\r\n");
    client.write_all(&[0x81, 1, b'x']).unwrap();
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, [0x88, 2, 3, 234]);
}

#[test]
fn a_relay_with_open_doors_and_connections_stops() {
    let world = world();
    let mut clients = [connect(world.relay.ng_tcp_addr()), connect(world.relay.http_addr())];
    clients[0].write_all(b"1 d7:command4:pinge").unwrap();
    read_until(&mut clients[0], "e");
    world.relay.stop();
    for client in &mut clients {
        assert_eq!(client.read(&mut [0; 10]).unwrap(), 0);
    }
}
