//! The HTTP client of the command line: one key, JSON in, the envelope's `data` out.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::{Common, Failure};

/// A client of one API with one key.
pub(crate) struct Client {
    base: String,
    key: String,
    agent: ureq::Agent,
}

/// Most rows of a page.
pub(crate) const MOST: usize = 200;

/// A page of a list.
pub(crate) struct Page {
    pub(crate) items: Vec<Value>,
    /// Cursor of the next page.
    pub(crate) next: Option<String>,
    /// Cursor to read on from later, of lists that grow at their end.
    pub(crate) last: Option<String>,
}

impl Client {
    /// Where it asks.
    #[cfg(test)]
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// `base` without a path, for example `http://127.0.0.1:8080`.
    pub(crate) fn new(base: &str, key: &str) -> Self {
        Self::with(base, key, ureq::tls::TlsConfig::default())
    }

    /// The same for an API whose certificate comes from one of this file, and not from a public one.
    fn trusting(base: &str, key: &str, ca: &Path) -> Result<Self, Failure> {
        let wrong = |why: String| Failure::new(format!("{}: {why}", ca.display())).with_code(2);
        let pem = std::fs::read(ca).map_err(|e| wrong(e.to_string()))?;
        let mut roots = Vec::new();
        for item in ureq::tls::parse_pem(&pem) {
            match item.map_err(|e| wrong(e.to_string()))? {
                ureq::tls::PemItem::Certificate(root) => roots.push(root),
                _ => return Err(wrong("has something else than certificates".to_owned())),
            }
        }
        if roots.is_empty() {
            return Err(wrong("has no certificate (PEM)".to_owned()));
        }
        let roots = ureq::tls::RootCerts::new_with_certs(&roots);
        Ok(Self::with(base, key, ureq::tls::TlsConfig::builder().root_certs(roots).build()))
    }

    fn with(base: &str, key: &str, tls: ureq::tls::TlsConfig) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            // The API is on this machine or in this network; a proxy of the environment must not see the key.
            .proxy(None)
            .tls_config(tls)
            .timeout_global(Some(Duration::from_secs(60)))
            .build();
        Self { base: base.trim_end_matches('/').to_owned(), key: key.to_owned(), agent: config.into() }
    }

    /// From flags, then `WARP_API_URL` and `WARP_API_KEY`, then the dev world in this folder (its operator's key).
    pub(crate) fn of(common: &Common) -> Result<Self, Failure> {
        let dev = dev_secrets(Path::new(".warp/dev"));
        let env = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
        let of_dev = |name: &str| dev.as_ref()?.get("api")?.get(name)?.as_str().map(str::to_owned);
        let base = common.api_url.clone().or_else(|| env("WARP_API_URL")).or_else(|| of_dev("url"));
        let key = common.api_key.clone().or_else(|| env("WARP_API_KEY")).or_else(|| of_dev("operator_key"));
        match (base, key) {
            (Some(base), Some(key)) => {
                let ca = common.api_ca.clone().or_else(|| env("WARP_API_CA").map(Into::into));
                match ca {
                    None => Ok(Self::new(&base, &key)),
                    Some(ca) => Self::trusting(&base, &key, &ca),
                }
            }
            _ => Err(Failure::new("no API to talk to")
                .with_code(2)
                .hint("start `warp dev` in this folder, or give --api-url and --api-key (WARP_API_URL, WARP_API_KEY)")),
        }
    }

    /// Status and body.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: Vec<u8>,
    ) -> Result<(u16, Value), Failure> {
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}/api/v1{path}", self.base))
            .header("Authorization", format!("Bearer {}", self.key));
        if !content_type.is_empty() {
            request = request.header("Content-Type", content_type);
        }
        self.run(request.body(body))
    }

    fn run(
        &self,
        request: Result<ureq::http::Request<impl ureq::AsSendBody>, ureq::http::Error>,
    ) -> Result<(u16, Value), Failure> {
        let request = request.map_err(|e| {
            let message = format!("{}: {e}", self.base);
            Failure::new(message).with_code(2).hint("the API's URL looks like http://127.0.0.1:8080")
        })?;
        let unavailable = |e: ureq::Error| {
            Failure::new(format!("{}: {e}", self.base)).with_code(6).hint(not_reached(&self.base))
        };
        let mut response = self.agent.run(request).map_err(unavailable)?;
        let status = response.status().as_u16();
        let text = response.body_mut().with_config().limit(64 << 20).read_to_string().map_err(unavailable)?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    /// A request that must succeed; the whole envelope.
    fn ok(&self, method: &str, path: &str, content_type: &str, body: Vec<u8>) -> Result<Value, Failure> {
        self.good(self.send(method, path, content_type, body)?)
    }

    /// The envelope of an answer that must be a success.
    fn good(&self, (status, body): (u16, Value)) -> Result<Value, Failure> {
        if (200..300).contains(&status) {
            return Ok(body);
        }
        let error = &body["error"];
        let mut message = error["message"].as_str().unwrap_or("the API refused").to_owned();
        for detail in error["details"].as_array().into_iter().flatten().take(10) {
            let text = |name: &str| detail[name].as_str().unwrap_or_default().to_owned();
            let line = format!("{}: {}", text("field"), text("message"));
            // One problem is often the message itself: said once.
            if !message.contains(&line) {
                message.push_str(&format!("\n  {line}"));
            }
        }
        let code = match status {
            401 | 403 => 4,
            404 => 3,
            409 | 412 => 5,
            429 | 502..=504 => 6,
            400 | 413 | 415 | 422 => 2,
            _ => 1,
        };
        Err(Failure::new(format!("{message} ({status})"))
            .with_code(code)
            .hint(error["hint"].as_str().unwrap_or_default()))
    }

    /// What an operator and a customer both may, each under its own path: as an operator, and when the key is not one, as a
    /// customer.
    pub(crate) fn either<T>(&self, mut ask: impl FnMut(&str) -> Result<T, Failure>) -> Result<T, Failure> {
        match ask("/admin") {
            Err(refused) if refused.code == 4 => {
                ask("").map_err(|own| if own.code == 4 { refused } else { own })
            }
            other => other,
        }
    }

    /// `data` of a GET.
    pub(crate) fn get(&self, path: &str) -> Result<Value, Failure> {
        Ok(self.ok("GET", path, "", Vec::new())?["data"].take())
    }

    /// One page of a list.
    pub(crate) fn page(&self, path: &str) -> Result<Page, Failure> {
        let mut body = self.ok("GET", path, "", Vec::new())?;
        let cursor = |name: &str| body["meta"][name].as_str().map(str::to_owned);
        let (next, last) = (cursor("next_cursor"), cursor("last_cursor"));
        let Value::Array(items) = body["data"].take() else {
            return Err(Failure::new(format!("{path} is no list")));
        };
        Ok(Page { items, next, last })
    }

    /// Gives the rows of a list one after another, over all pages, until `take` says that it has enough. `limit` is the size of a
    /// page.
    pub(crate) fn walk(
        &self,
        path: &str,
        limit: usize,
        mut take: impl FnMut(Value) -> ControlFlow<()>,
    ) -> Result<(), Failure> {
        let join = if path.contains('?') { '&' } else { '?' };
        let mut after = String::new();
        loop {
            let page = self.page(&format!("{path}{join}limit={limit}{after}"))?;
            for item in page.items {
                if take(item).is_break() {
                    return Ok(());
                }
            }
            match page.next {
                Some(cursor) => after = format!("&cursor={}", encoded(&cursor)),
                None => return Ok(()),
            }
        }
    }

    /// The first row of a list for which `is` holds.
    pub(crate) fn find(&self, path: &str, is: impl Fn(&Value) -> bool) -> Result<Option<Value>, Failure> {
        let mut found = None;
        self.walk(path, MOST, |row| {
            if !is(&row) {
                return ControlFlow::Continue(());
            }
            found = Some(row);
            ControlFlow::Break(())
        })?;
        Ok(found)
    }

    /// A file, as long as it takes; its length.
    pub(crate) fn download(&self, path: &str, to: &mut impl std::io::Write) -> Result<u64, Failure> {
        let unavailable = |why: String| Failure::new(format!("{}: {why}", self.base)).with_code(6);
        let request = self.agent.get(format!("{}/api/v1{path}", self.base));
        let request = request.header("Authorization", format!("Bearer {}", self.key));
        let mut response = request
            .config()
            .timeout_global(None)
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .build()
            .call()
            .map_err(|e| unavailable(e.to_string()))?;
        let status = response.status().as_u16();
        if status != 200 {
            let text = response.body_mut().read_to_string().map_err(|e| unavailable(e.to_string()))?;
            return self
                .good((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
                .map(|_| 0);
        }
        std::io::copy(&mut response.body_mut().as_reader(), to).map_err(|e| unavailable(e.to_string()))
    }

    /// `data` of a request with a JSON body.
    pub(crate) fn json(&self, method: &str, path: &str, body: &Value) -> Result<Value, Failure> {
        Ok(self.ok(method, path, "application/json", body.to_string().into_bytes())?["data"].take())
    }

    /// `data` of a change; of this version of the object and no later one, where it is given.
    pub(crate) fn patch(&self, path: &str, version: Option<i64>, body: &Value) -> Result<Value, Failure> {
        let Some(version) = version else { return self.json("PATCH", path, body) };
        let request = ureq::http::Request::builder()
            .method("PATCH")
            .uri(format!("{}/api/v1{path}", self.base))
            .header("Authorization", format!("Bearer {}", self.key))
            .header("Content-Type", "application/json")
            .header("If-Match", format!("\"{version}\""));
        Ok(self.good(self.run(request.body(body.to_string().into_bytes()))?)?["data"].take())
    }

    /// `data` of a POST that moves money, once per key.
    pub(crate) fn keyed(&self, path: &str, key: &str, body: &Value) -> Result<Value, Failure> {
        let request = ureq::http::Request::builder()
            .method("POST")
            .uri(format!("{}/api/v1{path}", self.base))
            .header("Authorization", format!("Bearer {}", self.key))
            .header("Content-Type", "application/json")
            .header("Idempotency-Key", key);
        Ok(self.good(self.run(request.body(body.to_string().into_bytes()))?)?["data"].take())
    }

    /// `data` of a file's upload; the bar shows how much went out.
    pub(crate) fn upload(
        &self,
        path: &str,
        content_type: &str,
        bytes: Vec<u8>,
        bar: super::decks::Bar,
    ) -> Result<Value, Failure> {
        let request = ureq::http::Request::builder()
            .method("POST")
            .uri(format!("{}/api/v1{path}", self.base))
            .header("Authorization", format!("Bearer {}", self.key))
            .header("Content-Type", content_type)
            .header("Content-Length", bytes.len().to_string());
        let body = ureq::SendBody::from_owned_reader(super::decks::Metered::of(bytes, bar));
        Ok(self.good(self.run(request.body(body))?)?["data"].take())
    }

    /// `data` of a CSV upload.
    #[cfg(feature = "dev")]
    pub(crate) fn csv(&self, path: &str, csv: String) -> Result<Value, Failure> {
        Ok(self.ok("POST", path, "text/csv", csv.into_bytes())?["data"].take())
    }

    /// A DELETE that must succeed.
    pub(crate) fn delete(&self, path: &str) -> Result<(), Failure> {
        self.ok("DELETE", path, "", Vec::new()).map(|_| ())
    }
}

/// What to do about an API that does not answer: that of a dev world is started, of another one it is looked for.
fn not_reached(base: &str) -> String {
    let of_dev = dev_secrets(Path::new(".warp/dev"));
    let of_dev =
        of_dev.is_some_and(|all| all.get("api").and_then(|api| api.get("url")?.as_str()) == Some(base));
    match of_dev {
        true => "is it running? (`warp dev` in this folder)".to_owned(),
        false => format!(
            "is this the address (--api-url, WARP_API_URL)? `warp serve` listens at api.listen, and says so in its log; `curl {base}/api/docs` tries it from here"
        ),
    }
}

/// `secrets.toml` of a dev world.
pub(crate) fn dev_secrets(dir: &Path) -> Option<toml::Table> {
    std::fs::read_to_string(dir.join("secrets.toml")).ok()?.parse().ok()
}

/// Percent-encodes everything but letters, digits and `-._~` (RFC 3986 §2.3).
pub(crate) fn encoded(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(b).to_string(),
            _ => format!("%{b:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_that_does_not_answer_is_looked_for_where_it_was_said_to_be() {
        // No address of this machine listens at port 9 of this one.
        let why = Client::new("http://127.0.0.9:9", "k").get("/admin/trunks").unwrap_err();
        assert_eq!(why.code, 6);
        assert!(why.hint.contains("--api-url") && why.hint.contains("http://127.0.0.9:9"), "{}", why.hint);
        assert!(!why.hint.contains("warp dev"), "{}", why.hint);
    }
}
