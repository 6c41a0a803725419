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
use warp_model::{CustomerId, Id, Secret};

use super::error::{ApiError, Code};
use super::events::Live;
use super::json::parse_json;
use crate::App;
pub use crate::app::caller::{Audience, Caller};
use crate::app::fault::Fault;
use crate::app::input::{Field, Input, Int, Plain, words_schema};
use crate::app::listing::Listing;
use crate::app::paging::{Cursor, PAGE_MOST, PAGE_USUAL};
pub use crate::app::paging::{Order, Page, Paging};
use crate::app::permission::Permission;
use crate::app::{Change, Ctx, Expected};
use crate::noun::Noun;
use crate::store::Scope;
use crate::store::work::Work;

/// Who may call an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody: documentation and liveness only.
    Public,
    /// A browser that signs in to the API of this audience: its cookie and the issuer say whether it may.
    Browser(Audience),
    /// Anybody of this audience, whatever it may: who asks about itself.
    Anyone(Audience),
    /// Somebody of this audience who has this permission.
    Scope(Audience, Permission),
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
    /// The query parameters, decoded, in their order.
    pub query: Vec<(String, String)>,
    /// The body as it came, whole.
    pub body: Bytes,
    /// The method is PUT.
    pub replaces: bool,
    /// The versions that If-Match names.
    pub expected: Expected,
    /// The transaction that its use cases share, when their answer is kept with their work.
    pub work: Option<Arc<Work>>,
    /// Source address of the connection.
    pub peer: IpAddr,
    /// The path as it was asked for, without the query.
    pub place: String,
    /// What a cursor of its list names.
    pub cursor: Cursor,
    /// The Idempotency-Key, when there is one.
    pub idempotency_key: Option<String>,
    /// The last event that a reader of a stream has seen (Last-Event-ID).
    pub last_event_id: Option<String>,
    /// Whether `text/event-stream` is asked for (Accept).
    pub wants_stream: bool,
    /// All cookies, where a browser signs in; empty elsewhere.
    pub cookies: Secret<String>,
}

impl Request {
    /// What the caller calls this request, no other caller calls one so.
    pub fn key(&self) -> Result<String, ApiError> {
        let missing = || ApiError::new(Code::BadRequest, "this request needs an Idempotency-Key");
        let key = self.idempotency_key.as_deref().ok_or_else(missing)?;
        Ok(format!("{} {key}", self.caller()?.who))
    }

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
        self.part(name).and_then(|t| t.parse().ok()).ok_or_else(|| Fault::not_found(what).into())
    }

    /// A part of the path.
    pub fn part(&self, name: &str) -> Option<&str> {
        self.path.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The path of something in this list.
    pub fn below(&self, id: &str) -> String {
        format!("{}/{id}", self.place.trim_end_matches('/'))
    }

    /// The value of a query parameter; of several of one name the first.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// On whose behalf its use cases run.
    pub fn ctx<'a>(&self, app: &'a App) -> Result<Ctx<'a>, ApiError> {
        let caller = self.caller()?;
        Ok(Ctx {
            app,
            scope: caller.scope(),
            actor: caller.who.to_string(),
            may: caller.permissions,
            request_id: self.id.clone(),
            work: self.work.clone(),
        })
    }

    /// The page that `limit` and `cursor` ask for.
    pub fn paging(&self) -> Result<Paging, ApiError> {
        let limit = match self.query("limit") {
            None => PAGE_USUAL,
            Some(t) => t.parse::<i64>().ok().filter(|n| (1..=PAGE_MOST).contains(n)).ok_or_else(|| {
                ApiError::new(Code::InvalidQuery, format!("limit must be 1 to {PAGE_MOST}"))
            })?,
        };
        let after = self.query("cursor").map(|text| self.cursor.read(text)).transpose()?;
        // Words that are not of the endpoint's fixed list were refused before they got here.
        let order = match self.query("sort") {
            Some(word) if !word.starts_with('-') => Order::OldestFirst,
            _ => Order::NewestFirst,
        };
        Ok(Paging { after, limit, order })
    }

    /// What of a declared noun is asked for.
    pub fn listing(&self, noun: &Noun) -> Result<Listing, ApiError> {
        let audience = self.caller()?.audience;
        Ok(Listing::read(noun, self.paging()?, audience, |name| self.query(name))?)
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
        Ok(I::from_json(&self.json()?)?)
    }
}

/// What a handler gives.
#[derive(Clone, Debug)]
pub enum Reply {
    /// The envelope of a success: `{"success":true,"data":…}`.
    Data {
        /// The HTTP status: 200 or 201.
        status: u16,
        /// What stands in `data`.
        data: Value,
        /// Lists: cursor of the next page, `Some(None)` on the last.
        next: Option<Option<String>>,
        /// Lists that grow at their end: cursor to read on from later.
        last: Option<String>,
        /// Version of the object, sent as ETag.
        version: Option<i64>,
        /// Where what was made can be read, sent as Location.
        location: Option<String>,
    },
    /// Anything else: the documentation and the OpenAPI file.
    Raw {
        /// The Content-Type, with its charset.
        content_type: &'static str,
        /// The body as it is sent, UTF-8.
        body: String,
    },
    /// A body that is made while it is sent.
    Stream {
        /// The Content-Type, with its charset.
        content_type: &'static str,
        /// What is sent, piece by piece.
        live: Live,
    },
    /// A file to keep.
    File {
        /// The name that it is kept by: letters, digits, `_`, `-` and `.`.
        name: String,
        /// How many bytes it has.
        bytes: u64,
        /// What is in it, piece by piece.
        live: Live,
    },
    /// 302: a browser goes on elsewhere.
    Moved {
        /// Where: an address, whole.
        location: String,
    },
    /// A reply that gives a browser cookies.
    WithCookies {
        /// The reply that is sent.
        reply: Box<Reply>,
        /// Values of `Set-Cookie`, one for each cookie.
        cookies: Vec<String>,
    },
}

impl Reply {
    /// 200 with one object.
    pub fn ok(value: &impl Serialize) -> Answer {
        Self::data(200, value)
    }

    /// 201: what was made, and where it can be read.
    pub fn created(at: String, value: &impl Serialize) -> Answer {
        match Self::data(201, value)? {
            Reply::Data { status, data, next, last, version, .. } => {
                Ok(Reply::Data { status, data, next, last, version, location: Some(at) })
            }
            raw => Ok(raw),
        }
    }

    /// 200 without a payload.
    pub fn done() -> Answer {
        Self::data(200, &Value::Null)
    }

    /// The same with cookies for a browser.
    pub fn with_cookies(self, cookies: Vec<String>) -> Self {
        Self::WithCookies { reply: Box::new(self), cookies }
    }

    /// 200 with one page of a list.
    pub fn page(page: Page<impl Serialize>) -> Answer {
        let data = to_json(&page.items)?;
        Ok(Reply::Data {
            status: 200,
            data,
            next: Some(page.next),
            last: page.last,
            version: None,
            location: None,
        })
    }

    /// An object that has a version shows it as ETag.
    fn data(status: u16, value: &impl Serialize) -> Answer {
        let data = to_json(value)?;
        let version = data.get("version").and_then(Value::as_i64);
        Ok(Reply::Data { status, data, next: None, last: None, version, location: None })
    }
}

pub(super) fn to_json(value: &impl Serialize) -> Result<Value, ApiError> {
    serde_json::to_value(value).map_err(|e| {
        tracing::error!(error = %e, "an answer cannot be written as JSON");
        ApiError::new(Code::Internal, "something went wrong on our side")
    })
}

/// What a handler gives: a reply, or an error.
pub type Answer = Result<Reply, ApiError>;

/// A handler: any `async fn(Arc<App>, Request) -> Answer`.
pub type Handler =
    Arc<dyn Fn(Arc<App>, Request) -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync>;

/// Name and schema of a type, and of the types that it names.
#[derive(Clone, Copy)]
pub struct TypeDoc {
    /// The name among the components of the document.
    pub name: fn() -> String,
    /// The schema of the type.
    pub schema: fn() -> RefOr<Schema>,
    /// Schemas it refers to.
    pub others: fn(&mut Vec<(String, RefOr<Schema>)>),
}

/// Documentation of a type.
pub fn doc<T: ToSchema>() -> TypeDoc {
    TypeDoc { name: || T::name().into_owned(), schema: T::schema, others: T::schemas }
}

/// The published form of a value.
pub type Form = fn() -> RefOr<Schema>;

/// A query parameter that an endpoint takes.
#[derive(Clone, Copy)]
pub struct QueryDoc {
    /// The name as it stands in the query.
    pub name: &'static str,
    /// The form of its values.
    pub form: Form,
    /// What it says, as a sentence for people.
    pub description: &'static str,
    /// The only values; empty: any.
    pub values: &'static [&'static str],
    /// The use case reads it and says what is wrong with it, all problems at once.
    pub filter: bool,
    /// Characters that a value may have.
    pub most: usize,
    /// It must be there.
    pub required: bool,
    /// Its text is JSON of this type.
    pub json: Option<TypeDoc>,
}

impl QueryDoc {
    fn of(name: &'static str, form: Form, description: &'static str) -> Self {
        Self {
            name,
            form,
            description,
            values: &[],
            filter: false,
            most: QUERY_CHARS,
            required: false,
            json: None,
        }
    }

    /// The published form of its values.
    pub fn schema(&self) -> RefOr<Schema> {
        if self.values.is_empty() { (self.form)() } else { words_schema(self.values) }
    }
}

/// Characters of a value in the query, unless its parameter takes more.
const QUERY_CHARS: usize = 256;

/// Characters of a cursor that may have a name in it.
const LONG_CURSOR_CHARS: usize = 1_024;

/// What a successful answer holds.
#[derive(Clone, Copy)]
pub enum Returns {
    /// `data` is one object.
    One(u16, TypeDoc),
    /// `data` is a list, `meta` has the cursor.
    Page(TypeDoc),
    /// The envelope with `data` null.
    Nothing,
    /// Not the envelope but a body of this media type.
    Raw(&'static str),
    /// 302: a browser goes on elsewhere.
    Moved,
}

/// What the request's body holds.
#[derive(Clone, Copy)]
pub enum Takes {
    /// There is no body.
    Nothing,
    /// A JSON object of this type.
    Json(TypeDoc),
    /// A JSON merge patch of that object (RFC 7396).
    Patch(TypeDoc),
    /// A CSV file of up to so many bytes.
    Csv(usize),
}

/// An endpoint: method, path, who may, what goes in and comes out, and its handler.
#[derive(Clone)]
pub struct Endpoint {
    /// The HTTP method that it answers to.
    pub method: Method,
    /// Template with `{name}` parts: also the value of the metric label `route`.
    pub path: &'static str,
    /// Who may call it.
    pub access: Access,
    /// What it does, in one line.
    pub summary: &'static str,
    /// What the request's body holds.
    pub takes: Takes,
    /// What a successful answer holds.
    pub returns: Returns,
    /// Query parameters; others are refused.
    pub query: Vec<QueryDoc>,
    /// Other query parameters are ignored instead: an issuer may add some (RFC 6749 §4.1.2).
    pub ignores_others: bool,
    /// What the cursor of its list names.
    pub cursor: Cursor,
    /// The answer holds a secret that is shown once: it is not kept for Idempotency-Key replays.
    pub secret: bool,
    /// It is refused without an Idempotency-Key, because it moves money.
    pub keyed: bool,
    /// An example of the request's body.
    pub sent: Option<fn() -> Value>,
    /// An example of what is answered; in a list, of one item.
    pub seen: Option<fn(Audience) -> Value>,
    /// The declared noun that it answers of: its marks say what the document publishes.
    pub noun: Option<&'static Noun>,
    /// The function that carries it out.
    pub handler: Handler,
}

/// Begins an endpoint: what is not said after it stays at its default.
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
        ignores_others: false,
        cursor: Cursor::Id,
        secret: false,
        keyed: false,
        sent: None,
        seen: None,
        noun: None,
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

    /// A success gives one object, with this status.
    pub fn gives<T: ToSchema>(mut self, status: u16) -> Self {
        self.returns = Returns::One(status, doc::<T>());
        self
    }

    /// Gives pages; takes `limit` and `cursor`. Its cursors name ids, unless [`Endpoint::by`] says another thing.
    pub fn lists<T: ToSchema>(mut self) -> Self {
        self.returns = Returns::Page(doc::<T>());
        self.query("limit", Int::<1, PAGE_MOST>::field_schema, "Items of a page, 1 to 200; 50 by default.")
            .query(
                "cursor",
                // Its form follows from the list's cursor.
                Plain::field_schema,
                "Where to go on: `meta.next_cursor` of the page before.",
            )
    }

    /// What its cursors name.
    pub fn by(mut self, cursor: Cursor) -> Self {
        self.cursor = cursor;
        self
    }

    /// Gives pages of a declared noun, with the sorts and the filters that it has for this audience.
    pub fn lists_noun<T: ToSchema>(self, noun: &'static Noun, audience: Audience) -> Self {
        let sort = "What the list is sorted by; a minus turns it round. `-created_at`, the newest first, when absent.";
        let mut listing = self.lists::<T>().by(Cursor::Of(noun, audience));
        if noun.has_long_cursors(audience) {
            let cursor = listing.query.iter_mut().filter(|q| q.name == "cursor");
            cursor.for_each(|q| q.most = LONG_CURSOR_CHARS);
        }
        let listing = listing.query_of("sort", noun.sort_words(audience), sort);
        noun.filters_of(audience).fold(listing, |e, f| e.query(f.name, f.form, f.what))
    }

    /// Is refused without an Idempotency-Key.
    pub fn keyed(mut self) -> Self {
        self.keyed = true;
        self
    }

    /// Has an example of the request's body.
    pub fn sends(mut self, example: fn() -> Value) -> Self {
        self.sent = Some(example);
        self
    }

    /// Has an example of what is answered.
    pub fn shows(mut self, example: fn(Audience) -> Value) -> Self {
        self.seen = Some(example);
        self
    }

    /// Answers of a declared noun.
    pub fn answers(mut self, noun: &'static Noun) -> Self {
        self.noun = Some(noun);
        self
    }

    /// Gives something outside the envelope.
    pub fn raw(mut self, content_type: &'static str) -> Self {
        self.returns = Returns::Raw(content_type);
        self
    }

    /// Sends a browser elsewhere.
    pub fn moves(mut self) -> Self {
        self.returns = Returns::Moved;
        self
    }

    /// Ignores query parameters that it does not know.
    pub fn ignores_other_queries(mut self) -> Self {
        self.ignores_others = true;
        self
    }

    fn with(mut self, parameter: QueryDoc) -> Self {
        self.query.push(parameter);
        self
    }

    /// Takes a query parameter.
    pub fn query(self, name: &'static str, form: Form, description: &'static str) -> Self {
        self.with(QueryDoc::of(name, form, description))
    }

    /// Takes a query parameter of up to so many characters.
    pub fn query_up_to(self, most: usize, name: &'static str, form: Form, description: &'static str) -> Self {
        self.with(QueryDoc { most, ..QueryDoc::of(name, form, description) })
    }

    /// Takes a query parameter whose text is JSON, of up to 8,192 characters.
    pub fn query_json<T: ToSchema>(self, name: &'static str, description: &'static str) -> Self {
        let plain = QueryDoc::of(name, Plain::field_schema, description);
        self.with(QueryDoc { most: 8_192, json: Some(doc::<T>()), ..plain })
    }

    /// Takes a query parameter that must be there.
    pub fn needs(self, name: &'static str, form: Form, description: &'static str) -> Self {
        self.with(QueryDoc { filter: true, required: true, ..QueryDoc::of(name, form, description) })
    }

    /// Takes a query parameter with a fixed list of values; others are refused.
    pub fn query_of(
        self,
        name: &'static str,
        values: &'static [&'static str],
        description: &'static str,
    ) -> Self {
        self.with(QueryDoc { values, ..QueryDoc::of(name, Plain::field_schema, description) })
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
