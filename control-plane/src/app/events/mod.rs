//! Events as customers and operators read them: a list in the order of their places, and a stream that goes on from one of them.

pub mod catalogue;

use warp_model::EventId;
use warp_model::id::{CustomerKind, EventKind};

use super::Ctx;
use super::caller::Audience;
use super::calls::FilterDoc;
use super::fault::{Fault, Problem};
use super::input::{Field, Ref, word, words_schema};
use super::paging::{Order, Page, Paging, encode_cursor};
use crate::store::outbox::{self as rows, EventRow, Which};
use crate::store::types::{Json, Time};
use catalogue::CATALOGUE;

crate::view! {
    /// Something that happened, to a customer or to the carrier.
    pub struct EventView {
        /// The event's id: `evt_` and 26 characters. It stays the same however often the event is read or sent.
        pub id: String,
        /// What happened: a name of the catalogue.
        pub r#type: String,
        /// The customer whose things it is about. Null: it is about the carrier's own.
        pub customer_id: Option<String>,
        /// When it happened, by the database.
        pub created_at: Time,
        /// What there is to say of it, by the JSON schema of its type.
        pub data: Json,
    }
}

impl From<EventRow> for EventView {
    fn from(row: EventRow) -> Self {
        Self {
            id: row.id,
            r#type: row.kind,
            customer_id: row.customer_id,
            created_at: row.created_at,
            data: row.data,
        }
    }
}

/// The names of the events that an audience may read.
pub fn names(audience: Audience) -> Vec<&'static str> {
    CATALOGUE.iter().filter(|e| e.who.has(audience) && e.is_kept()).map(|e| e.name).collect()
}

/// The names of the events that a customer's webhook can ask for.
pub fn customers_names() -> &'static [&'static str] {
    static NAMES: std::sync::OnceLock<Vec<&'static str>> = std::sync::OnceLock::new();
    NAMES.get_or_init(|| {
        let wanted = CATALOGUE.iter().filter(|e| e.who.has(Audience::Customer) && !e.is_of_one_webhook());
        wanted.map(|e| e.name).collect()
    })
}

/// The names of the events that a webhook can ask for: a webhook of the carrier for any.
pub fn webhook_names() -> &'static [&'static str] {
    static NAMES: std::sync::OnceLock<Vec<&'static str>> = std::sync::OnceLock::new();
    NAMES.get_or_init(|| CATALOGUE.iter().filter(|e| !e.is_of_one_webhook()).map(|e| e.name).collect())
}

/// Filters of both audiences; the name is one of that audience's.
pub fn filters(audience: Audience) -> Vec<FilterDoc> {
    fn own() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        words_schema(leaked(Audience::Customer))
    }
    fn all() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        words_schema(leaked(Audience::Operator))
    }
    let mut out: Vec<FilterDoc> =
        vec![("type", if audience == Audience::Customer { own } else { all }, "Only events of this type.")];
    if audience == Audience::Operator {
        out.push(("customer", Ref::<CustomerKind>::field_schema, "Only events of this customer (cus_…)."));
    }
    out
}

/// The names of an audience for as long as the program runs; made once.
fn leaked(audience: Audience) -> &'static [&'static str] {
    static OWN: std::sync::OnceLock<Vec<&'static str>> = std::sync::OnceLock::new();
    static ALL: std::sync::OnceLock<Vec<&'static str>> = std::sync::OnceLock::new();
    let place = if audience == Audience::Customer { &OWN } else { &ALL };
    place.get_or_init(|| names(audience))
}

/// What a query asks for. Errors: all filters that mean nothing, at once.
pub fn which<'q>(
    ctx: &Ctx<'_>,
    audience: Audience,
    text: impl Fn(&str) -> Option<&'q str>,
) -> Result<Which, Fault> {
    let mut problems: Vec<Problem> = Vec::new();
    let given = |name: &str| text(name).map(serde_json::Value::from);
    let kind = given("type").and_then(|v| {
        let known = word(Some(&v), "type", leaked(audience), &mut problems)?;
        Some(known.to_owned())
    });
    let asked =
        given("customer").and_then(|v| Ref::<CustomerKind>::read(Some(&v), "customer", &mut problems));
    super::none_wrong(problems)?;
    // Row-level security says the same again.
    let customer = ctx.scope.customer().or(asked.map(|c| c.0));
    Ok(Which { kind, customer: customer.map(|c| c.to_string()) })
}

/// One page of events, newest first unless the paging says otherwise. Its last cursor is where to go on later.
pub async fn list(ctx: &Ctx<'_>, which: &Which, paging: &Paging) -> Result<Page<EventView>, Fault> {
    let mut tx = ctx.begin().await?;
    let rows = rows::list(&mut tx, which, paging).await?;
    let page = Page::of(rows, paging.limit, |e| &e.id);
    let last = match paging.order {
        Order::OldestFirst => page.items.last().map(|e| e.id.clone()).or_else(|| paging.after.clone()),
        // Who wants only what comes from now on begins behind the newest one.
        Order::NewestFirst => page.items.first().map(|e| e.id.clone()).filter(|_| paging.after.is_none()),
    };
    let last = last.map(|id| encode_cursor(&id));
    Ok(Page { last, ..page.map(EventView::from) })
}

/// The event with this id. Errors: there is none that the scope sees.
pub async fn get(ctx: &Ctx<'_>, id: EventId) -> Result<EventView, Fault> {
    let mut tx = ctx.begin().await?;
    let row = rows::get(&mut tx, id).await?;
    Ok(row.ok_or_else(|| Fault::not_found("event"))?.into())
}

/// Where a stream goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With what happens from now on.
    Now,
    /// Behind this event; from the oldest one that is kept when it is not there any more.
    After(EventId),
}

impl Start {
    /// Of what a reader says that it saw last. Errors: the text is no id of an event.
    pub fn read(last: Option<&str>) -> Result<Self, Fault> {
        let Some(text) = last else { return Ok(Self::Now) };
        let id = Ref::<EventKind>::read(Some(&text.into()), "after", &mut Vec::new());
        id.map(|id| Self::After(id.0)).ok_or_else(|| {
            let what = "Last-Event-ID and after are the id of an event (evt_…)";
            Fault::field("after", "invalid", what)
        })
    }
}

/// Reads events in the order of their places, page by page.
#[derive(Clone, Debug)]
pub struct Follower {
    which: Which,
    place: i64,
}

impl Follower {
    /// From a start on. Errors: the database is away.
    pub async fn new(ctx: &Ctx<'_>, which: Which, start: Start) -> Result<Self, Fault> {
        let mut tx = ctx.begin().await?;
        let place = match start {
            Start::Now => rows::last_place(&mut tx).await?,
            Start::After(id) => rows::place_of(&mut tx, id).await?.unwrap_or(0),
        };
        Ok(Self { which, place })
    }

    /// What comes next, at most `most`.
    pub async fn next(&mut self, ctx: &Ctx<'_>, most: i64) -> Result<Vec<EventView>, Fault> {
        let mut tx = ctx.begin().await?;
        let rows = rows::after(&mut tx, &self.which, self.place, most).await?;
        if let Some(last) = rows.last() {
            self.place = last.position;
        }
        Ok(rows.into_iter().map(EventView::from).collect())
    }
}
