//! Webhooks of customers and of the carrier: where events are sent, with which secret, and what became of each delivery.

use serde_json::Value;
use subtle::ConstantTimeEq as _;
use utoipa::openapi::{RefOr, Schema};
use warp_model::id::Kind as IdKind;
use warp_model::{EventId, Id, Secret};

use super::calls::FilterDoc;
use super::events::catalogue::{CONFIRM, WebhookConfirm, WebhookTest};
use super::events::{EventView, customers_names, webhook_names};
use super::fault::{Fault, Kind, Problem};
use super::input::{Field, Int, List, Text, operators_words, word, words_schema};
use super::keys::push_base32;
use super::paging::{Page, Paging};
use super::resource::{self, Of, Owner, Resource};
use super::view::{Sometimes, Word};
use super::{Ctx, check_count, none_wrong};
use crate::App;
use crate::destination::address::{self, Address};
use crate::destination::signature;
use crate::destination::target::Target;
use crate::noun::customer::CustomerRow;
use crate::noun::webhook::{WebhookRow, WebhookValues};
use crate::store::types::{SealedChange, Time};
use crate::store::webhooks::{self as rows, DeliveryRow, NewDelivery};
use crate::store::{Tx, nouns, outbox, seal};

/// The kind of webhooks' ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookKind {}
impl IdKind for WebhookKind {
    const PREFIX: &'static str = "whk";
}
/// The id of a webhook: `whk_` and 26 characters.
pub type WebhookId = Id<WebhookKind>;

/// Webhooks of one customer, or of the carrier.
const WEBHOOKS: i64 = 100;
/// Addresses that a customer may ask for agreement within a day.
const ASKED: i64 = 20;
/// Seconds that a secret lives on beside the one that follows it, when nobody says.
const OVERLAP_S: i32 = 86_400;
/// Deliveries of one range that are sent again.
pub const REPLAYED: i64 = 10_000;

crate::choice! {
    /// Whether anything is sent there.
    pub enum WebhookStatus {
        /// Events are sent there.
        Active = "active",
        /// Nothing is sent: somebody said so, or it failed for three days.
        Disabled = "disabled",
        /// It is an address of mail whose reader has not agreed yet: a code was sent there, and nothing else is.
        Unconfirmed = "unconfirmed",
    }
}

crate::choice! {
    /// Where a delivery stands.
    pub enum DeliveryStatus {
        /// It is tried, or will be.
        Waiting = "waiting",
        /// The endpoint answered 2xx.
        Delivered = "delivered",
        /// It was tried for 24 hours and is not tried any more. A replay begins anew.
        Dead = "dead",
    }
}

crate::view! {
    /// A webhook: where events are sent.
    pub struct Webhook from WebhookRow {
        /// The webhook's id: `whk_` and 26 characters.
        pub id: String,
        /// The customer that it belongs to. Null: the carrier, and events of all customers are sent.
        pub customer_id: Option<String>,
        /// Its name, for people.
        pub name: String,
        /// Where events are sent: `https:`, or `mailto:` with one address.
        pub url: String,
        /// The events that are sent. Empty: all of the customer's; of the carrier's webhook, all but those of calls.
        pub events: Vec<String>,
        /// Whether anything is sent there.
        pub status: Word<WebhookStatus>,
        /// Until when the secret before this one signs as well. Null: there was none, or that is long ago.
        pub secret_before_until: Option<Time>,
        /// Since when no delivery was taken. Null: the last one was. After three days the webhook is disabled.
        pub failing_since: Option<Time>,
        /// When it was disabled because it failed. Null: it was not.
        pub disabled_at: Option<Time>,
        /// When it was made.
        pub created_at: Time,
        /// When it was changed last.
        pub updated_at: Time,
        /// A number that rises with each change. The ETag header carries it.
        pub version: i32,
    } with {
        /// The secret that deliveries are signed with. It is in the answer to the making of the webhook and in no other one. Mail has none.
        pub secret: Sometimes<String>,
    }
}

crate::input! {
    /// A webhook to make or to replace.
    pub struct WebhookInput {
        /// Its name, for people.
        pub name: Text<1, 100>,
        /// Where events are sent: https on port 443 or 8443, to a public address; or `mailto:` with one address, whose reader is asked first
        /// unless it is the carrier's. Calls are not mailed.
        pub url: WebhookUrl,
        /// The events that are sent. Absent or empty: all of the customer's; of the carrier's webhook, all but those of calls.
        pub events: List<EventType, 64>,
        /// Whether anything is sent there; `active` when absent. An address of mail whose reader has not agreed is `unconfirmed` instead.
        pub status: Option<WebhookStatus>,
    }
}

crate::input! {
    /// That whoever reads mail at an address agrees.
    pub struct ConfirmInput {
        /// The code that was sent there.
        pub code: Text<1, 64>,
    }
}

crate::input! {
    /// How a secret is followed by a new one.
    pub struct SecretInput {
        /// Seconds that the old secret signs as well, up to 7 days. 0: it ends at once. Absent: one day.
        pub overlap_s: Option<Int<0, 604_800>>,
    }
}

crate::input! {
    /// Which deliveries are sent again.
    pub struct ReplayInput {
        /// Those of events that happened at or after this time.
        pub from: Time,
        /// And before this time.
        pub until: Time,
        /// Only those that stand so; `dead` when absent.
        pub status: Option<DeliveryStatus>,
    }
}

crate::view! {
    /// How many deliveries are sent again.
    pub struct Replayed {
        /// How many: 10,000 at most. The oldest are the first; ask again for the others.
        pub deliveries: i64,
    }
}

crate::view! {
    /// The new secret of a webhook: the only time that it is shown.
    pub struct NewSecret {
        /// The webhook that it is about.
        pub webhook_id: String,
        /// The secret that deliveries are signed with from now on.
        pub secret: String,
        /// Until when the old one signs as well.
        pub before_until: Time,
    }
}

crate::view! {
    /// What became of an event at a webhook.
    pub struct Delivery {
        /// The webhook that it is about.
        pub webhook_id: String,
        /// The event that is sent.
        pub event_id: String,
        /// What happened: a name of the catalogue.
        pub r#type: String,
        /// Where the delivery stands.
        pub status: Word<DeliveryStatus>,
        /// How often it was tried since it was sent first, or again.
        pub attempts: i32,
        /// When it is tried next. Null: not any more.
        pub next_at: Option<Time>,
        /// The HTTP status of the last answer. Null: there was none.
        pub last_status: Option<i32>,
        /// How long the last attempt took, in milliseconds.
        pub last_ms: Option<i32>,
        /// Why there was no answer.
        pub last_error: Option<String>,
        /// The first 512 bytes of the last answer.
        pub last_answer: Option<String>,
        /// When it was delivered, or given up.
        pub finished_at: Option<Time>,
        /// When it was made.
        pub created_at: Time,
        /// What is sent, to the byte. Lists do not have it.
        pub body: Sometimes<String>,
    }
}

impl Delivery {
    fn of(row: DeliveryRow, whole: bool) -> Self {
        let waiting = row.status == DeliveryStatus::Waiting.as_str();
        Self {
            webhook_id: row.webhook_id,
            event_id: row.event_id,
            r#type: row.kind,
            status: row.status.into(),
            attempts: row.attempts,
            next_at: waiting.then_some(row.next_at),
            last_status: row.last_status,
            last_ms: row.last_ms,
            last_error: row.last_error,
            last_answer: row.last_answer,
            finished_at: row.finished_at,
            created_at: row.created_at,
            body: Sometimes(whole.then_some(row.body)),
        }
    }
}

/// The name of an event that a webhook can ask for: a customer's one for what customers read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventType(pub String);

impl Field for EventType {
    fn read(value: Option<&Value>, path: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        word(value, path, webhook_names(), problems).map(|s| Self(s.to_owned()))
    }
    fn field_schema() -> RefOr<Schema> {
        let own = customers_names();
        let of_operators = webhook_names().iter().filter(|name| !own.contains(name));
        operators_words(words_schema(webhook_names()), of_operators)
    }
}

/// A URL that events can be sent to, as far as its text says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookUrl(pub String);

impl Field for WebhookUrl {
    fn read(value: Option<&Value>, path: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        let text = Text::<1, 2_048>::read(value, path, problems)?;
        let mail =
            text.0.get(..address::SCHEME.len()).is_some_and(|s| s.eq_ignore_ascii_case(address::SCHEME));
        let read = if mail {
            Address::parse(&text.0).map(drop).map_err(str::to_owned)
        } else {
            Target::parse(&text.0).map(drop).map_err(|why| why.to_string())
        };
        match read {
            Ok(()) => Some(Self(text.0)),
            Err(why) => {
                problems.push(Problem::new(path, "invalid", why));
                None
            }
        }
    }
    fn field_schema() -> RefOr<Schema> {
        let https =
            r"https://([A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,63}(:(443|8443))?(/[A-Za-z0-9._~/-]{0,512})?";
        let form = format!("^({https}|{})$", address::FORM);
        utoipa::openapi::schema::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::SchemaType::Type(utoipa::openapi::schema::Type::String))
            .pattern(Some(form))
            .into()
    }
}

/// Webhooks, as the API offers them.
pub struct Webhooks;

impl Resource for Webhooks {
    type Row = WebhookRow;
    type Kind = WebhookKind;
    type Parent = Owner;
    type Input = WebhookInput;
    type View = Webhook;
    const SHOWS_SECRET: bool = true;

    fn view(_: &Ctx<'_>, row: WebhookRow) -> Webhook {
        Webhook::of(row, Sometimes(None))
    }

    fn with_secret(view: &mut Webhook, secret: &Secret<String>) {
        view.secret = Sometimes(Some(secret.reveal().clone()));
    }

    async fn values(
        ctx: &Ctx<'_>,
        tx: &mut Tx,
        of: Of<'_, Self>,
        input: &WebhookInput,
    ) -> Result<WebhookValues, Fault> {
        let mut problems = Vec::new();
        let mail = Address::parse(&input.url.0).is_ok();
        if mail {
            problems.extend(not_mailed(ctx, input));
        } else if let Err(why) =
            // What the URL's name leads to is looked at with each delivery.
            Target::parse(&input.url.0).and_then(|t| t.check(ctx.app.webhooks.networks()))
        {
            problems.push(Problem::new("url", "invalid", why.to_string()));
        }
        let owner = match &of {
            Of::New(_, Owner(customer)) => customer.map(|c| c.to_string()),
            Of::Now(_, row) => row.customer_id.clone(),
        };
        if owner.is_some() {
            let names = input.events.0.iter().enumerate();
            for (i, name) in names.filter(|(_, name)| !customers_names().contains(&name.0.as_str())) {
                let message = format!("{} is sent to webhooks of the carrier only", name.0);
                problems.push(Problem::new(format!("events[{i}]"), "operators_only", message));
            }
        }
        none_wrong(problems)?;
        // The carrier's own people know whom they write to.
        let agreed = !mail || owner.is_none() || rows::agreed(tx, of.id(), &input.url.0).await?.0;
        let status = match input.status {
            Some(WebhookStatus::Disabled) => WebhookStatus::Disabled,
            _ if agreed => WebhookStatus::Active,
            _ => WebhookStatus::Unconfirmed,
        };
        let secret_sealed = match &of {
            Of::New(id, Owner(customer)) => {
                if let Some(customer) = customer {
                    resource::read::<CustomerRow>(tx, customer).await?;
                }
                check_count(rows::count(tx, owner.as_deref()).await?, WEBHOOKS, "webhooks")?;
                SealedChange::Set(sealed(ctx, *id, &new_secret(ctx.app))?)
            }
            Of::Now(..) => SealedChange::Keep,
        };
        Ok(WebhookValues {
            name: input.name.0.clone(),
            url: input.url.0.clone(),
            events: input.events.0.iter().map(|e| e.0.clone()).collect(),
            status: status.as_str().to_owned(),
            secret_sealed,
        })
    }

    /// One that is active has not failed yet.
    async fn beside(tx: &mut Tx, id: WebhookId, input: &WebhookInput) -> Result<(), Fault> {
        if input.status != Some(WebhookStatus::Disabled) {
            rows::revive(tx, id).await?;
        }
        if input.status != Some(WebhookStatus::Disabled) && Address::parse(&input.url.0).is_ok() {
            let row = resource::read::<WebhookRow>(tx, id).await?;
            let asked = rows::agreed(tx, id, &row.url).await?.1;
            if row.status == WebhookStatus::Unconfirmed.as_str() && !asked {
                ask(tx, id, &row).await?;
            }
        }
        Ok(())
    }

    async fn secret(ctx: &Ctx<'_>, tx: &mut Tx, id: WebhookId) -> Result<Option<Secret<String>>, Fault> {
        // Mail is not signed, and the code that its reader is sent is made of the secret.
        let row = resource::read::<WebhookRow>(tx, id).await?;
        if Address::parse(&row.url).is_ok() {
            return Ok(None);
        }
        Ok(rows::secrets(tx, id, ctx.app.store.seal()).await?.into_iter().next())
    }
}

/// Why nothing can be mailed there.
fn not_mailed(ctx: &Ctx<'_>, input: &WebhookInput) -> Vec<Problem> {
    let mut problems = Vec::new();
    if ctx.app.mail.is_none() {
        let message = "this platform sends no mail: mail.host of its configuration is not set";
        problems.push(Problem::new("url", "not_configured", message));
    }
    let names = input.events.0.iter().enumerate();
    for (i, _) in names.filter(|(_, name)| name.0.starts_with("call.")) {
        let message = "calls are not mailed, because there are many: export them, or use an https URL";
        problems.push(Problem::new(format!("events[{i}]"), "contradicts", message));
    }
    problems
}

/// Asks the reader of an address whether events may be mailed there. Errors: this customer has asked too many lately.
async fn ask(tx: &mut Tx, id: WebhookId, row: &WebhookRow) -> Result<EventId, Fault> {
    let customer = row.customer_id.as_deref().unwrap_or_default();
    check_count(rows::asked_lately(tx, customer).await?, ASKED, "addresses that were asked within a day")?;
    rows::asked(tx, id, customer).await?;
    let data = serde_json::to_value(WebhookConfirm { webhook_id: row.id.clone() }).unwrap_or_default();
    alone(tx, row, CONFIRM, data).await
}

/// A delivery to one webhook of what is about it alone.
async fn alone(tx: &mut Tx, row: &WebhookRow, name: &str, data: Value) -> Result<EventId, Fault> {
    let event = outbox::new_id()?;
    let view = EventView {
        id: event.to_string(),
        r#type: name.to_owned(),
        customer_id: row.customer_id.clone(),
        created_at: Time(crate::wall_now()),
        data: crate::store::types::Json(data),
    };
    let delivery = NewDelivery {
        webhook: row.id.clone(),
        customer: row.customer_id.clone(),
        event: view.id.clone(),
        kind: name.to_owned(),
        body: body(&view),
    };
    rows::insert(tx, &[delivery]).await?;
    Ok(event)
}

/// The reader of an address agrees that events are mailed there. Errors: there is no such webhook; nobody was asked; it is not the code.
pub async fn confirm(ctx: &Ctx<'_>, id: WebhookId, input: ConfirmInput) -> Result<Webhook, Fault> {
    let mut tx = ctx.begin().await?;
    let row = resource::known::<WebhookRow>(nouns::lock(&mut tx, id).await?)?;
    if row.status != WebhookStatus::Unconfirmed.as_str() {
        return Err(Fault::new(
            Kind::Conflict,
            format!("this webhook is {}: nothing is to be confirmed", row.status),
        ));
    }
    let secrets = rows::secrets(&mut tx, id, ctx.app.store.seal()).await?;
    let expected =
        secrets.first().map(|secret| signature::code(secret, &row.id, &row.url)).unwrap_or_default();
    let given = input.code.0.trim().to_ascii_lowercase();
    if expected.is_empty() || !bool::from(expected.as_bytes().ct_eq(given.as_bytes())) {
        return Err(Fault::field("code", "contradicts", "is not the code that was sent to this address"));
    }
    rows::confirm(&mut tx, id).await?;
    ctx.audit(&mut tx, Webhooks::customer(&row), "webhook.confirm", &row.id, None).await?;
    let now = resource::read::<WebhookRow>(&mut tx, id).await?;
    tx.commit().await?;
    Ok(Webhook::of(now, Sometimes(None)))
}

fn new_secret(app: &App) -> Secret<String> {
    let mut random = [0u8; 25];
    app.random(&mut random);
    let mut text = String::from("whsec_");
    push_base32(&mut text, &random);
    Secret::new(text)
}

fn sealed(ctx: &Ctx<'_>, id: WebhookId, secret: &Secret<String>) -> Result<Vec<u8>, Fault> {
    let place = seal::webhook_place(&id.to_string());
    ctx.app.store.seal().seal(&place, secret.reveal().as_bytes()).map_err(|e| {
        tracing::error!(error = %e, "the secret of a webhook cannot be sealed");
        Fault::internal()
    })
}

/// A new secret; the one before signs as well for a while. Errors: there is no such webhook.
pub async fn roll(ctx: &Ctx<'_>, id: WebhookId, input: SecretInput) -> Result<NewSecret, Fault> {
    let mut tx = ctx.begin().await?;
    let row = resource::known::<WebhookRow>(nouns::lock(&mut tx, id).await?)?;
    if Address::parse(&row.url).is_ok() {
        return Err(Fault::new(Kind::Conflict, "mail is not signed: this webhook has no secret to show"));
    }
    let overlap = input.overlap_s.map_or(OVERLAP_S, |s| s.as_i32()).unsigned_abs();
    let until = ctx.app.wall().plus(std::time::Duration::from_secs(u64::from(overlap)));
    let secret = new_secret(ctx.app);
    rows::roll(&mut tx, id, sealed(ctx, id, &secret)?, until).await?;
    let detail = serde_json::json!({ "before_until": until.to_string() });
    ctx.audit(&mut tx, Webhooks::customer(&row), "webhook.roll", &row.id, Some(detail)).await?;
    tx.commit().await?;
    Ok(NewSecret { webhook_id: row.id, secret: secret.reveal().clone(), before_until: Time(until) })
}

/// An event that says nothing is sent to a webhook, to see whether it arrives; where the reader of an address has not agreed yet, the
/// question once more. Errors: there is no such webhook, or it is disabled; too many were asked lately.
pub async fn test(ctx: &Ctx<'_>, id: WebhookId) -> Result<Delivery, Fault> {
    let mut tx = ctx.begin().await?;
    let row = resource::known::<WebhookRow>(nouns::lock(&mut tx, id).await?)?;
    let event = match WebhookStatus::parse(&row.status) {
        Some(WebhookStatus::Active) => {
            let data = serde_json::to_value(WebhookTest { webhook_id: row.id.clone() }).unwrap_or_default();
            alone(&mut tx, &row, "webhook.test", data).await?
        }
        Some(WebhookStatus::Unconfirmed) => ask(&mut tx, id, &row).await?,
        _ => {
            let disabled = Fault::new(Kind::Conflict, "this webhook is disabled");
            return Err(disabled.hint("change its status to active first"));
        }
    };
    let made = rows::get(&mut tx, id, event).await?.ok_or_else(Fault::internal)?;
    tx.commit().await?;
    Ok(Delivery::of(made, true))
}

/// An event as it is sent, to the byte.
pub fn body(event: &EventView) -> String {
    serde_json::to_string(event).unwrap_or_default()
}

/// What a list of deliveries is filtered by.
pub const FILTERS: &[FilterDoc] =
    &[("status", DeliveryStatus::field_schema, "Only deliveries that stand so.")];

/// One page of what became of events at a webhook, the newest event first. Errors: there is no such webhook.
pub async fn deliveries(
    ctx: &Ctx<'_>,
    id: WebhookId,
    status: Option<&str>,
    paging: &Paging,
) -> Result<Page<Delivery>, Fault> {
    let mut problems = Vec::new();
    let status = status.and_then(|s| DeliveryStatus::read(Some(&s.into()), "status", &mut problems));
    none_wrong(problems)?;
    let mut tx = ctx.begin().await?;
    resource::read::<WebhookRow>(&mut tx, id).await?;
    let rows = rows::list(&mut tx, id, status.map(DeliveryStatus::as_str), paging).await?;
    Ok(Page::of(rows, paging.limit, |d| &d.event_id).map(|row| Delivery::of(row, false)))
}

/// What became of an event at a webhook, with what is sent. Errors: there is no such delivery.
pub async fn delivery(ctx: &Ctx<'_>, id: WebhookId, event: EventId) -> Result<Delivery, Fault> {
    let mut tx = ctx.begin().await?;
    let row = rows::get(&mut tx, id, event).await?;
    Ok(Delivery::of(row.ok_or_else(|| Fault::not_found("delivery"))?, true))
}

/// Sends an event to a webhook again, as if it had just happened. Errors: there is no such delivery.
pub async fn replay(ctx: &Ctx<'_>, id: WebhookId, event: EventId) -> Result<Delivery, Fault> {
    let mut tx = ctx.begin().await?;
    if rows::again(&mut tx, id, event).await? == 0 {
        return Err(Fault::not_found("delivery"));
    }
    let row = rows::get(&mut tx, id, event).await?.ok_or_else(|| Fault::not_found("delivery"))?;
    let customer = row.customer_id.as_deref().and_then(|c| c.parse().ok());
    let detail = serde_json::json!({ "event_id": row.event_id });
    ctx.audit(&mut tx, customer, "webhook.replay", &row.webhook_id, Some(detail)).await?;
    tx.commit().await?;
    Ok(Delivery::of(row, true))
}

/// Sends the deliveries of a range again. Errors: there is no such webhook.
pub async fn replay_range(ctx: &Ctx<'_>, id: WebhookId, input: ReplayInput) -> Result<Replayed, Fault> {
    let mut tx = ctx.begin().await?;
    let row: WebhookRow = resource::read(&mut tx, id).await?;
    let status = input.status.unwrap_or(DeliveryStatus::Dead);
    let deliveries = rows::range_again(&mut tx, id, (input.from.0, input.until.0), status.as_str()).await?;
    let deliveries = i64::try_from(deliveries).unwrap_or(i64::MAX);
    let detail = serde_json::json!({ "from": input.from, "until": input.until, "deliveries": deliveries });
    ctx.audit(&mut tx, Webhooks::customer(&row), "webhook.replay", &row.id, Some(detail)).await?;
    tx.commit().await?;
    Ok(Replayed { deliveries })
}
