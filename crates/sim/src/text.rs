//! Messages as the agents read and answer them, in code of their own.

/// A message, split into what an agent needs.
#[derive(Clone, Debug, Default)]
pub struct Parsed {
    /// The start line, without its end.
    pub start: String,
    /// All header lines in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body; empty when there is none.
    pub body: String,
}

impl Parsed {
    /// Reads a message; agents only get what the proxy sent, so a broken one is a failed test.
    pub fn read(bytes: &[u8]) -> Parsed {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let mut lines = head.split("\r\n");
        let start = lines.next().unwrap_or("").to_owned();
        let headers = lines
            .map(|l| {
                let (n, v) = l.split_once(':').unwrap_or_else(|| panic!("header line {l:?} in\n{text}"));
                (n.trim().to_lowercase(), v.trim().to_owned())
            })
            .collect();
        Parsed { start, headers, body: body.to_owned() }
    }

    /// First value of a header.
    pub fn get(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v)
    }

    /// All values of a header.
    pub fn all<'a>(&'a self, name: &'a str) -> impl DoubleEndedIterator<Item = &'a str> + 'a {
        self.headers.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// Status of a response, 0 of a request.
    pub fn status(&self) -> u16 {
        self.start.strip_prefix("SIP/2.0 ").and_then(|s| s.get(..3)?.parse().ok()).unwrap_or(0)
    }

    /// Method, of a request or of the CSeq.
    pub fn method(&self) -> &str {
        self.get("cseq").split_whitespace().nth(1).unwrap_or("")
    }

    /// Number of the CSeq.
    pub fn cseq(&self) -> u32 {
        self.get("cseq").split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0)
    }

    /// Branch of the top Via.
    pub fn branch(&self) -> &str {
        param(self.get("via"), "branch").unwrap_or("")
    }

    /// The tag of To; `None` without one.
    pub fn to_tag(&self) -> Option<&str> {
        param(self.get("to"), "tag")
    }
}

fn param<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    value.split(';').skip(1).find_map(|p| p.trim().strip_prefix(name)?.strip_prefix('='))
}

/// The URI between angle brackets.
pub(crate) fn inner(value: &str) -> &str {
    value.split_once('<').and_then(|(_, r)| r.split_once('>')).map_or(value, |(u, _)| u)
}

/// A response to `m`; `tag` goes into To when it has none.
pub(crate) fn respond(m: &Parsed, status: &str, tag: Option<u16>, extra: &str) -> Vec<u8> {
    respond_with(m, status, tag, extra, "")
}

pub(crate) fn respond_with(m: &Parsed, status: &str, tag: Option<u16>, extra: &str, body: &str) -> Vec<u8> {
    let mut text = format!("SIP/2.0 {status}\r\n");
    for name in ["via", "record-route", "from", "to", "call-id", "cseq"] {
        for value in m.all(name) {
            match (name, tag) {
                ("to", Some(tag)) if !value.contains(";tag=") => {
                    // One tag per branch: forks of one call differ, repeats do not.
                    let branch = m.branch();
                    text.push_str(&format!(
                        "to: {value};tag=v{tag}x{}\r\n",
                        &branch[branch.len().saturating_sub(12)..]
                    ));
                }
                _ => text.push_str(&format!("{name}: {value}\r\n")),
            }
        }
    }
    text.push_str(extra);
    text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    text.into_bytes()
}
