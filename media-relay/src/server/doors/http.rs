//! HTTP/1.1 for ng: `POST /ng` with a cookie in the body, `POST /ng-plain` without, `GET /ping`, and the way into a WebSocket.

use std::io;
use std::net::{IpAddr, SocketAddr};

use warp_model::limits::NG_BYTES;

use super::{Client, websocket};

/// Bytes of a request's head at most.
const HEAD_BYTES: usize = 8_192;
/// Type of an ng document with or without its cookie.
const NG_TYPE: &str = "application/x-rtpengine-ng";
const JSON_TYPE: &str = "application/json";

/// The head of one request.
#[derive(Debug, Default)]
pub(super) struct Head {
    method: String,
    path: String,
    fields: Vec<(String, String)>,
}

impl Head {
    /// `None`: it is no HTTP/1.1, or says something twice that may be said once.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut lines = text.split("\r\n");
        let mut words = lines.next()?.split(' ');
        let (method, path, version) = (words.next()?, words.next()?, words.next()?);
        if version != "HTTP/1.1" || words.next().is_some() {
            return None;
        }
        let mut head = Self { method: method.to_owned(), path: path.to_owned(), fields: Vec::new() };
        for line in lines.filter(|l| !l.is_empty()) {
            let (name, value) = line.split_once(':')?;
            let name = name.to_ascii_lowercase();
            let once = ["content-length", "content-type", "host", "origin", "transfer-encoding"];
            if once.contains(&name.as_str()) && head.field(&name).is_some() {
                return None;
            }
            head.fields.push((name, value.trim().to_owned()));
        }
        Some(head)
    }

    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Whether a list of words in a field has this one, in any letter case.
    pub(super) fn lists(&self, name: &str, word: &str) -> bool {
        let mut values = self.fields.iter().filter(|(n, _)| n == name).flat_map(|(_, v)| v.split(','));
        values.any(|w| w.trim().eq_ignore_ascii_case(word))
    }

    /// Not sent by somebody else's web page: the host is an address or `localhost`, and an origin is that host.
    fn is_ours(&self) -> bool {
        let Some(host) = self.field("host") else { return false };
        let name = host
            .rsplit_once(':')
            .map_or(host, |(name, port)| if port.bytes().all(|b| b.is_ascii_digit()) { name } else { host });
        let is_address = host.parse::<SocketAddr>().is_ok()
            || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
            || name.eq_ignore_ascii_case("localhost");
        let is_same = |origin: &str| origin.strip_prefix("http://").is_some_and(|o| o == host);
        is_address && self.field("origin").is_none_or(is_same)
    }

    /// Type of the body, without parameters.
    fn content_type(&self) -> &str {
        self.field("content-type").and_then(|t| t.split(';').next()).unwrap_or_default().trim()
    }
}

/// Requests one after the other, until one is refused or becomes a WebSocket.
pub(super) fn serve(client: &mut Client) -> io::Result<()> {
    loop {
        let end = loop {
            if let Some(at) = client.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break at.saturating_add(4);
            }
            if client.buffer.len() > HEAD_BYTES {
                return refuse(client, "431 Request Header Fields Too Large");
            }
            client.fill()?;
        };
        let head = client.take(end)?;
        let Some(head) = Head::parse(&head) else { return refuse(client, "400 Bad Request") };
        if !head.is_ours() {
            return refuse(client, "403 Forbidden");
        }
        if head.lists("upgrade", "websocket") {
            return match websocket::accept(&head) {
                Some((answer, plain)) => {
                    client.send(answer.as_bytes())?;
                    websocket::serve(client, plain)
                }
                None => refuse(client, "400 Bad Request"),
            };
        }
        let plain = match (head.method.as_str(), head.path.as_str()) {
            ("GET", "/ping") => {
                answer(client, "text/plain", b"pong")?;
                continue;
            }
            ("POST", "/ng") => false,
            ("POST", "/ng-plain") => true,
            (_, "/ping" | "/ng" | "/ng-plain") => return refuse(client, "405 Method Not Allowed"),
            _ => return refuse(client, "404 Not Found"),
        };
        let kind = head.content_type();
        if kind != NG_TYPE && !(plain && kind == JSON_TYPE) {
            return refuse(client, "415 Unsupported Media Type");
        }
        let length = head.field("content-length").filter(|_| head.field("transfer-encoding").is_none());
        let Some(length) = length.and_then(|l| l.parse::<usize>().ok()) else {
            return refuse(client, "411 Length Required");
        };
        if length > NG_BYTES {
            return refuse(client, "413 Content Too Large");
        }
        if head.lists("expect", "100-continue") {
            client.send(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let body = client.take(length)?;
        match reply(client, &body, plain) {
            Some(reply) => answer(client, kind, &reply)?,
            None => return refuse(client, "400 Bad Request"),
        }
        if head.lists("connection", "close") {
            return Ok(());
        }
    }
}

/// The reply to one document; `plain`: neither has a cookie.
pub(super) fn reply(client: &Client, document: &[u8], plain: bool) -> Option<Vec<u8>> {
    // Each request may come by a connection of its own: the client is its address.
    let source = SocketAddr::new(client.from.ip(), 0);
    if !plain {
        return client.shared.reply(document, client.from, Some(source));
    }
    let message = [b"0 ", document].concat();
    let mut out = client.shared.reply(&message, client.from, None)?;
    Some(out.split_off(2))
}

fn answer(client: &mut Client, kind: &str, body: &[u8]) -> io::Result<()> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n", body.len());
    client.send(&[head.as_bytes(), body].concat())
}

/// Says why, and ends the connection.
fn refuse(client: &mut Client, status: &str) -> io::Result<()> {
    client.shared.bad();
    client.send(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").as_bytes())
}
