//! What rtpengine says by XML-RPC when the media of a call has timed out (`b2b-url`, `xmlrpc-format`), as it says it: requests of
//! 10.5.3 were recorded for each format.
//!
//! Pure: an URL and the tags of a call give HTTP requests. Who sends them is the server.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// `http://HOST[:PORT]/PATH` whose host may be `%%`: the client of the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallbackUrl {
    /// `None`: the client's address.
    host: Option<String>,
    port: u16,
    path: String,
}

/// Not an URL of that form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadUrl;

impl FromStr for CallbackUrl {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        let rest = text.strip_prefix("http://").ok_or(BadUrl)?;
        if rest.bytes().any(|b| !b.is_ascii_graphic()) {
            return Err(BadUrl);
        }
        let (authority, path) = match rest.find(['/', '?']) {
            Some(at) => rest.split_at_checked(at).ok_or(BadUrl)?,
            None => (rest, "/"),
        };
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        // The last colon, unless it is one of a bracketed address.
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| BadUrl)?),
            _ => (authority, 80),
        };
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        if bare.is_empty() || bare.contains(['@', '[', ']', '#']) || port == 0 {
            return Err(BadUrl);
        }
        Ok(Self { host: Some(bare.to_owned()).filter(|h| h != "%%"), port, path })
    }
}

impl CallbackUrl {
    /// Host and port to connect to for a call of this client; the host is an address or a name.
    pub fn target(&self, client: IpAddr) -> (String, u16) {
        (self.host.clone().unwrap_or_else(|| client.to_string()), self.port)
    }

    /// The whole HTTP request with this body.
    pub fn request(&self, client: IpAddr, body: &str) -> String {
        let host = match &self.host {
            Some(host) if host.contains(':') => format!("[{host}]:{}", self.port),
            Some(host) => format!("{host}:{}", self.port),
            None => SocketAddr::new(client, self.port).to_string(),
        };
        format!(
            "POST {} HTTP/1.1\r\nHost: {host}\r\nContent-Type: text/xml\r\nUser-Agent: warp\r\nConnection: close\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.path,
            body.len()
        )
    }
}

/// The XML-RPC calls for a call whose media has timed out, by `xmlrpc-format`. A call that nobody answered has no dialogue to
/// end, and nothing is said.
pub fn bodies(format: u8, call_id: &[u8], tags: &[[Vec<u8>; 2]]) -> Vec<String> {
    match format {
        0 => {
            let mut all: Vec<&[u8]> = tags.iter().flatten().map(Vec::as_slice).collect();
            // Branches share the caller.
            all.sort_unstable();
            all.dedup();
            let one = |tag| method_call("di", &[b"sbc", b"postControlCmd", tag, b"teardown"]);
            all.into_iter().map(one).collect()
        }
        1 if tags.is_empty() => Vec::new(),
        1 => vec![method_call("teardown", &[call_id])],
        _ => tags.iter().map(|[a, b]| method_call("dlg.terminate_dlg", &[call_id, a, b])).collect(),
    }
}

fn method_call(method: &str, strings: &[&[u8]]) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<methodCall>\r\n<methodName>");
    out.push_str(method);
    out.push_str("</methodName>\r\n<params>\r\n");
    for text in strings {
        out.push_str("<param><value><string>");
        escape(text, &mut out);
        out.push_str("</string></value></param>\r\n");
    }
    out.push_str("</params>\r\n</methodCall>\r\n");
    out
}

/// Text of an XML element. What XML cannot carry (control characters, bytes that are not UTF-8) becomes U+FFFD: nobody has such a
/// Call-ID or tag, because SIP has no place for them.
fn escape(text: &[u8], out: &mut String) {
    for c in String::from_utf8_lossy(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\r' => drop(write!(out, "&#x0d;")),
            '\t' | '\n' => out.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> IpAddr {
        "192.0.2.7".parse().unwrap()
    }

    #[test]
    fn urls_are_read_and_the_client_is_put_in() {
        let at = |url: &str| {
            let url: CallbackUrl = url.parse().unwrap();
            let (to, port) = url.target(client());
            let request = url.request(client(), "x");
            let [line, host] = [0, 1].map(|n| request.lines().nth(n).unwrap().to_owned());
            (format!("{to} {port}"), line, host)
        };
        let told = |to: &str, path: &str, host: &str| {
            (to.to_owned(), format!("POST {path} HTTP/1.1"), format!("Host: {host}"))
        };
        assert_eq!(at("http://127.0.0.1:8080/RPC2"), told("127.0.0.1 8080", "/RPC2", "127.0.0.1:8080"));
        assert_eq!(at("http://%%:5060/RPC2?x=1"), told("192.0.2.7 5060", "/RPC2?x=1", "192.0.2.7:5060"));
        assert_eq!(at("http://[2001:db8::1]"), told("2001:db8::1 80", "/", "[2001:db8::1]:80"));
        assert_eq!(at("http://[::1]:81?a"), told("::1 81", "/?a", "[::1]:81"));
        let bad = [
            "https://127.0.0.1/",
            "127.0.0.1",
            "http://",
            "http://:80/",
            "http://a:0/",
            "http://a:b/",
            "http://u@a/",
            "http://a/b c",
            "http://a/\r\nX: y",
            "http://[::1/",
        ];
        for url in bad {
            assert_eq!(url.parse::<CallbackUrl>(), Err(BadUrl), "{url:?}");
        }
    }

    #[test]
    fn each_format_says_what_rtpengine_says() {
        let tags = [[b"ft".to_vec(), b"tt".to_vec()]];
        let said = |format, tags: &[[Vec<u8>; 2]]| bodies(format, b"c&<1>@x", tags);
        // As recorded from rtpengine 10.5.3, byte for byte.
        let param = |text: &str| format!("<param><value><string>{text}</string></value></param>\r\n");
        let whole = |method: &str, strings: &[&str]| {
            let params: String = strings.iter().map(|s| param(s)).collect();
            format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<methodCall>\r\n<methodName>{method}</methodName>\r\n\
                 <params>\r\n{params}</params>\r\n</methodCall>\r\n"
            )
        };
        let di = |tag: &str| whole("di", &["sbc", "postControlCmd", tag, "teardown"]);
        assert_eq!(said(0, &tags), [di("ft"), di("tt")]);
        assert_eq!(said(1, &tags), [whole("teardown", &["c&amp;&lt;1&gt;@x"])]);
        assert_eq!(said(2, &tags), [whole("dlg.terminate_dlg", &["c&amp;&lt;1&gt;@x", "ft", "tt"])]);
        assert_eq!(said(2, &tags)[0].len(), 302);
        let fork = [tags[0].clone(), [b"ft".to_vec(), b"uu".to_vec()]];
        assert_eq!((said(0, &fork).len(), said(1, &fork).len(), said(2, &fork).len()), (3, 1, 2));
        assert!((0..3).all(|format| said(format, &[]).is_empty()), "nobody answered");
        let odd = [[b"a\0b\r\xFF".to_vec(), b"\"'".to_vec()]];
        assert!(said(2, &odd)[0].contains("<string>a\u{fffd}b&#x0d;\u{fffd}</string>"), "{odd:?}");
    }
}
