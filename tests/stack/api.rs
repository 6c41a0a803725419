//! The REST API as tests use it: one key, JSON in, the envelope's `data` out.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

/// A client with one key.
#[derive(Clone)]
pub struct Api {
    base: String,
    key: String,
    agent: ureq::Agent,
}

impl Api {
    /// `key` may be empty: then no Authorization header is sent.
    pub fn new(addr: SocketAddr, key: &str) -> Api {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(30)))
            .build();
        Api { base: format!("http://{addr}/api/v1"), key: key.to_owned(), agent: config.into() }
    }

    /// Status and body of any request; `body` is JSON unless it is a string, which goes as CSV.
    pub fn send(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let (content_type, bytes) = match body {
            None => ("", Vec::new()),
            Some(Value::String(csv)) => ("text/csv", csv.clone().into_bytes()),
            Some(json) => ("application/json", json.to_string().into_bytes()),
        };
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.base));
        if !self.key.is_empty() {
            request = request.header("Authorization", format!("Bearer {}", self.key));
        }
        if !content_type.is_empty() {
            request = request.header("Content-Type", content_type);
        }
        let request = request.body(bytes).expect("request");
        let mut response = self.agent.run(request).unwrap_or_else(|e| panic!("{method} {path}: {e}"));
        let status = response.status().as_u16();
        let text = response.body_mut().read_to_string().expect("body");
        let json = serde_json::from_str(&text).unwrap_or(Value::String(text));
        (status, json)
    }

    /// As [`Api::send`], for calls that must succeed: the envelope's `data`.
    pub fn ok(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let (status, mut json) = self.send(method, path, body);
        assert!((200..300).contains(&status), "{method} {path} {body:?}: {status} {json}");
        assert_eq!(json["success"], true, "{json}");
        assert!(json["meta"]["request_id"].as_str().is_some_and(|r| r.starts_with("req_")), "{json}");
        json["data"].take()
    }

    /// GET that must succeed.
    pub fn get(&self, path: &str) -> Value {
        self.ok("GET", path, None)
    }

    /// POST that must succeed.
    pub fn post(&self, path: &str, body: Value) -> Value {
        self.ok("POST", path, Some(&body))
    }
}
