//! An endpoint is one value: method, path, who may, what goes in and comes out, and its handler. One table of them makes
//! the router, the permission check, the OpenAPI file and the isolation test, so that none of these can forget one.
//! There is no way to make an endpoint without naming its [`Access`] (T-API-01).

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::Bytes;
use axum::http::Method;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};
use warp_model::id::Kind;
use warp_model::{CustomerId, Id, KeyId};

use super::error::{ApiError, Code};
use super::input::{Input, parse_json};
use crate::App;
use crate::app::Change;
use crate::store::Scope;

/// Whose API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Audience {
    /// A customer's own things, under `/api/v1`.
    Customer,
    /// Everything, under `/api/v1/admin`.
    Operator,
}

impl Audience {
    /// As stored with a key.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Operator => "operator",
        }
    }
}

/// Who may call an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody: documentation and liveness only.
    Public,
    /// A key of this audience with this scope.
    Scope(Audience, &'static str),
}

/// Who calls.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The key.
    pub key: KeyId,
    /// Of which audience.
    pub audience: Audience,
    /// Of which tenant; `None` for operators.
    pub customer: Option<CustomerId>,
    /// What the key may; `*` is everything of its audience.
    pub scopes: Vec<String>,
}

impl Caller {
    /// The scope of its transactions. The tenant comes from the key and from nowhere else (T-API-04).
    pub fn scope(&self) -> Scope {
        match self.customer {
            Some(id) => Scope::Customer(id),
            None => Scope::Operator("api"),
        }
    }
}

/// What a handler gets.
#[derive(Clone, Debug)]
pub struct Request {
    /// Who calls; `None` only on public endpoints.
    pub caller: Option<Caller>,
    /// Id of the request.
    pub id: String,
    /// Parts of the path by name.
    pub path: Vec<(String, String)>,
    /// Query parameters, decoded.
    pub query: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
    /// The method is PUT.
    pub replaces: bool,
    /// Version of If-Match.
    pub if_match: Option<i32>,
    /// Source address of the connection.
    pub peer: IpAddr,
}

impl Request {
    /// The caller of an endpoint that has one.
    pub fn caller(&self) -> Result<&Caller, ApiError> {
        self.caller.as_ref().ok_or_else(|| ApiError::new(Code::Unauthorized, "an API key is needed"))
    }

    /// The scope of the caller's transactions.
    pub fn scope(&self) -> Result<Scope, ApiError> {
        self.caller().map(Caller::scope)
    }

    /// The tenant, on customer endpoints.
    pub fn customer(&self) -> Result<CustomerId, ApiError> {
        self.caller()?
            .customer
            .ok_or_else(|| ApiError::new(Code::Forbidden, "this endpoint is for customers' keys"))
    }

    /// A part of the path that is an id: what is not one does not exist.
    pub fn id<K: Kind>(&self, name: &str, what: &str) -> Result<Id<K>, ApiError> {
        self.part(name).and_then(|t| t.parse().ok()).ok_or_else(|| ApiError::not_found(what))
    }

    /// A part of the path.
    pub fn part(&self, name: &str) -> Option<&str> {
        self.path.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// A query parameter.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The body as JSON.
    pub fn json(&self) -> Result<Value, ApiError> {
        parse_json(&self.body)
    }

    /// What PUT and PATCH mean by a body.
    pub fn change<'v>(&self, body: &'v Value) -> Change<'v> {
        if self.replaces { Change::Replace(body) } else { Change::Patch(body) }
    }

    /// The body as a checked input.
    pub fn input<I: Input>(&self) -> Result<I, ApiError> {
        I::from_json(&self.json()?)
    }
}

/// What a handler gives.
#[derive(Clone, Debug)]
pub enum Reply {
    /// `{"success":true,"data":…}`.
    Data {
        /// HTTP status.
        status: u16,
        /// The payload.
        data: Value,
        /// Lists: cursor of the next page, `Some(None)` on the last.
        next: Option<Option<String>>,
        /// Version of the object, sent as ETag.
        version: Option<i64>,
    },
    /// Anything else: the documentation and the OpenAPI file.
    Raw {
        /// Content-Type.
        content_type: &'static str,
        /// Body.
        body: String,
    },
}

impl Reply {
    /// 200.
    pub fn ok(value: &impl Serialize) -> Answer {
        Self::data(200, value)
    }

    /// 201.
    pub fn created(value: &impl Serialize) -> Answer {
        Self::data(201, value)
    }

    /// 200 without a payload.
    pub fn done() -> Answer {
        Self::data(200, &Value::Null)
    }

    /// One page.
    pub fn page(page: Page<impl Serialize>) -> Answer {
        let data = to_json(&page.items)?;
        Ok(Reply::Data { status: 200, data, next: Some(page.next), version: None })
    }

    /// An object that has a version shows it as ETag.
    fn data(status: u16, value: &impl Serialize) -> Answer {
        let data = to_json(value)?;
        let version = data.get("version").and_then(Value::as_i64);
        Ok(Reply::Data { status, data, next: None, version })
    }
}

fn to_json(value: &impl Serialize) -> Result<Value, ApiError> {
    serde_json::to_value(value).map_err(|e| {
        tracing::error!(error = %e, "an answer cannot be written as JSON");
        ApiError::new(Code::Internal, "something went wrong on our side")
    })
}

/// A handler's outcome.
pub type Answer = Result<Reply, ApiError>;

/// One page of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// At most `limit`.
    pub items: Vec<T>,
    /// Cursor of the next page.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// From `limit + 1` rows in order; `key` gives the cursor of a row.
    pub fn of(mut rows: Vec<T>, limit: i64, key: impl Fn(&T) -> &str) -> Self {
        let limit = usize::try_from(limit).unwrap_or(0);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = if more { rows.last().map(|r| encode_cursor(key(r))) } else { None };
        Page { items: rows, next }
    }
}

/// Where a list goes on, and how far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paging {
    /// Key of the last row seen.
    pub after: Option<String>,
    /// 1 to 200.
    pub limit: i64,
    /// Which way.
    pub order: Order,
}

/// Order of a list: by id, which carries the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// `sort=-…`, and without `sort`.
    NewestFirst,
    /// `sort=…`.
    OldestFirst,
}

impl Paging {
    /// From `limit` and `cursor`.
    pub fn read(request: &Request) -> Result<Paging, ApiError> {
        let limit = match request.query("limit") {
            None => 50,
            Some(t) => t
                .parse::<i64>()
                .ok()
                .filter(|n| (1..=200).contains(n))
                .ok_or_else(|| ApiError::new(Code::InvalidQuery, "limit must be 1 to 200"))?,
        };
        let after = request.query("cursor").map(decode_cursor).transpose()?;
        // An endpoint that is not sorted refuses the parameter before it gets here.
        let order = match request.query("sort") {
            None => Order::NewestFirst,
            Some(text) if SORTS.iter().any(|s| s.0 == text) => Order::NewestFirst,
            Some(text) if SORTS.iter().any(|s| s.1 == text) => Order::OldestFirst,
            Some(_) => return Err(ApiError::new(Code::InvalidQuery, "sort is not of the fixed list")),
        };
        Ok(Paging { after, limit, order })
    }

    /// One of two statements (T-API-07: nothing of a request becomes SQL).
    pub fn statement(&self, newest_first: &'static str, oldest_first: &'static str) -> &'static str {
        match self.order {
            Order::NewestFirst => newest_first,
            Order::OldestFirst => oldest_first,
        }
    }

    /// Rows to ask for: one more, to know whether there is a next page.
    pub fn rows(&self) -> i64 {
        self.limit.saturating_add(1)
    }
}

fn encode_cursor(key: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(key)
}

/// The key of the last row seen.
pub(crate) fn decode_cursor(text: &str) -> Result<String, ApiError> {
    use base64::Engine;
    let wrong = || ApiError::new(Code::InvalidCursor, "cursor must be a value of meta.next_cursor");
    if text.len() > 128 {
        return Err(wrong());
    }
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).map_err(|_| wrong())?;
    let key = String::from_utf8(bytes).map_err(|_| wrong())?;
    // Our keys are ids; anything else could carry a zero byte, which PostgreSQL refuses.
    if key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') { Ok(key) } else { Err(wrong()) }
}

/// A handler: any `async fn(Arc<App>, Request) -> Answer`.
pub type Handler =
    Arc<dyn Fn(Arc<App>, Request) -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync>;

/// Name and schema of a type, and of the types that it names.
#[derive(Clone, Copy)]
pub struct TypeDoc {
    /// Component name.
    pub name: fn() -> String,
    /// Its schema.
    pub schema: fn() -> RefOr<Schema>,
    /// Schemas it refers to.
    pub others: fn(&mut Vec<(String, RefOr<Schema>)>),
}

/// Documentation of a type.
pub fn doc<T: ToSchema>() -> TypeDoc {
    TypeDoc { name: || T::name().into_owned(), schema: T::schema, others: T::schemas }
}

/// A query parameter that an endpoint takes.
#[derive(Clone, Copy, Debug)]
pub struct QueryDoc {
    /// Name.
    pub name: &'static str,
    /// `string` or `integer`.
    pub kind: &'static str,
    /// For people.
    pub description: &'static str,
    /// The only values; empty: any.
    pub values: &'static [&'static str],
}

/// What lists can be sorted by: newest first, oldest first.
const SORTS: &[(&str, &str)] = &[("-created_at", "created_at"), ("-setup_at", "setup_at")];

/// What comes back.
#[derive(Clone, Copy)]
pub enum Returns {
    /// `data` is one object.
    One(u16, TypeDoc),
    /// `data` is a list, `meta` has the cursor.
    Page(TypeDoc),
    /// `data` is null.
    Nothing,
    /// Not the envelope.
    Raw(&'static str),
}

/// What goes in.
#[derive(Clone, Copy)]
pub enum Takes {
    /// No body.
    Nothing,
    /// A JSON object.
    Json(TypeDoc),
    /// A JSON merge patch of that object (RFC 7396).
    Patch(TypeDoc),
    /// A CSV file of up to so many bytes.
    Csv(usize),
}

/// One endpoint.
#[derive(Clone)]
pub struct Endpoint {
    /// Method.
    pub method: Method,
    /// Template with `{name}` parts: also the value of the metric label `route`.
    pub path: &'static str,
    /// Who may.
    pub access: Access,
    /// One line.
    pub summary: &'static str,
    /// What goes in.
    pub takes: Takes,
    /// What comes back.
    pub returns: Returns,
    /// Query parameters; others are refused.
    pub query: Vec<QueryDoc>,
    /// The answer holds a secret that is shown once: it is not kept for Idempotency-Key replays.
    pub secret: bool,
    /// Does it.
    pub handler: Handler,
}

/// Starts an endpoint.
pub fn endpoint<F, Fut>(
    method: Method,
    path: &'static str,
    access: Access,
    summary: &'static str,
    handler: F,
) -> Endpoint
where
    F: Fn(Arc<App>, Request) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Answer> + Send + 'static,
{
    Endpoint {
        method,
        path,
        access,
        summary,
        takes: Takes::Nothing,
        returns: Returns::Nothing,
        query: Vec::new(),
        secret: false,
        handler: Arc::new(move |app, request| Box::pin(handler(app, request))),
    }
}

impl Endpoint {
    /// Takes a JSON object.
    pub fn takes<T: ToSchema>(mut self) -> Self {
        self.takes = Takes::Json(doc::<T>());
        self
    }

    /// Takes a merge patch.
    pub fn patches<T: ToSchema>(mut self) -> Self {
        self.takes = Takes::Patch(doc::<T>());
        self
    }

    /// Takes a CSV file.
    pub fn takes_csv(mut self, bytes: usize) -> Self {
        self.takes = Takes::Csv(bytes);
        self
    }

    /// Gives one object.
    pub fn gives<T: ToSchema>(mut self, status: u16) -> Self {
        self.returns = Returns::One(status, doc::<T>());
        self
    }

    /// Gives pages; takes `limit` and `cursor`.
    pub fn lists<T: ToSchema>(mut self) -> Self {
        self.returns = Returns::Page(doc::<T>());
        self.query("limit", "integer", "Items of a page, 1 to 200; 50 by default.").query(
            "cursor",
            "string",
            "meta.next_cursor of the page before.",
        )
    }

    /// Gives something outside the envelope.
    pub fn raw(mut self, content_type: &'static str) -> Self {
        self.returns = Returns::Raw(content_type);
        self
    }

    /// Takes a query parameter.
    pub fn query(mut self, name: &'static str, kind: &'static str, description: &'static str) -> Self {
        self.query.push(QueryDoc { name, kind, description, values: &[] });
        self
    }

    /// Takes a query parameter with a fixed list of values; others are refused.
    pub fn query_of(
        mut self,
        name: &'static str,
        values: &'static [&'static str],
        description: &'static str,
    ) -> Self {
        self.query.push(QueryDoc { name, kind: "string", description, values });
        self
    }

    /// A list that can be sorted by when its objects were made.
    pub fn sorted(self) -> Self {
        self.query_of("sort", &["-created_at", "created_at"], "Newest first (when absent), or oldest first.")
    }

    /// Its answer is shown once.
    pub fn secret(mut self) -> Self {
        self.secret = true;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn cursors_round_trip(raw in any::<u128>()) {
            let id = warp_model::CallId::from_u128(raw).to_string();
            prop_assert_eq!(decode_cursor(&encode_cursor(&id)).unwrap(), id);
        }

        #[test]
        fn any_cursor_is_read_without_panic(text in "\\PC{0,40}") {
            let _ = decode_cursor(&text);
        }
    }

    #[test]
    fn the_last_page_has_no_cursor() {
        let rows = |n: usize| (0..n).map(|i| format!("call_{i}")).collect::<Vec<_>>();
        assert!(Page::of(rows(2), 2, |r| r).next.is_none());
        let page = Page::of(rows(3), 2, |r| r);
        assert_eq!((page.items.len(), page.next), (2, Some(encode_cursor("call_1"))));
    }
}
