//! The closed catalogue of events (RFC 0016): each with its name, who reads it and what it says. The JSON schemas of
//! `control-plane/events/` are made from it, and a test compares them.
//!
//! Names that begin with `message.`, `trunk.` and `registration.` are reserved for messages, customers' trunks and phones.

use serde_json::{Value, json};
use utoipa::openapi::{RefOr, Schema};

use crate::app::bans::BanMode;
use crate::app::calls::{CallDirection, CallOutcome};
use crate::app::jobs::JobTask;
use crate::app::permission::CustomerRole;
use crate::app::users::UserStatus;
use crate::app::view::Word;
use crate::noun::Who;
use crate::store::types::{Amount, Time};

/// An event as it is declared.
#[derive(Debug)]
pub struct Entry {
    /// Its name: what it is about, a dot, and what happened.
    pub name: &'static str,
    /// What happened, in a sentence.
    pub what: &'static str,
    /// Who reads it: customers those of their own things, or operators only.
    pub who: Who,
    /// The schema of its `data`.
    pub data: fn() -> RefOr<Schema>,
    /// The schemas that it refers to.
    pub others: fn(&mut Vec<(String, RefOr<Schema>)>),
}

impl Entry {
    /// The entry of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        CATALOGUE.iter().find(|e| e.name == name)
    }

    /// The JSON Schema (draft 2020-12) of the whole event, as it is read by the API and sent to webhooks.
    pub fn schema(&self) -> Value {
        let plain = |schema: &RefOr<Schema>| serde_json::to_value(schema).unwrap_or_default();
        let mut others = Vec::new();
        (self.others)(&mut others);
        let others: serde_json::Map<String, Value> =
            others.iter().map(|(name, schema)| (name.clone(), plain(schema))).collect();
        let mut customer =
            json!({ "type": "string", "description": "The customer whose things it is about." });
        if self.who == Who::Operators {
            customer = json!({ "type": "null", "description": "It is about the carrier's own things." });
        } else if ["key.", "job.", "schedule.", "webhook."].iter().any(|of| self.name.starts_with(of)) {
            // Operators have keys, jobs, schedules and webhooks too.
            customer["type"] = json!(["string", "null"]);
        }
        let mut schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": self.name,
            "description": self.what,
            "type": "object",
            "properties": {
                "id": { "type": "string", "pattern": "^evt_[0-7][0-9a-hjkmnp-tv-z]{25}$",
                        "description": "The event's id: the same however often the event comes." },
                "type": { "const": self.name },
                "created_at": { "type": "string", "format": "date-time", "description": "When it happened." },
                "customer_id": customer,
                "data": plain(&(self.data)()),
            },
            "required": ["id", "type", "created_at", "customer_id", "data"],
        });
        if !others.is_empty() {
            schema["$defs"] = Value::Object(others);
        }
        refer_within(&mut schema);
        schema
    }
}

/// References of an OpenAPI document become those of a schema that stands alone.
fn refer_within(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                match (key.as_str(), value.as_str().and_then(|t| t.strip_prefix("#/components/schemas/"))) {
                    ("$ref", Some(name)) => *value = Value::String(format!("#/$defs/{name}")),
                    _ => refer_within(value),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(refer_within),
        _ => {}
    }
}

macro_rules! catalogue {
    ($($(#[doc = $what:literal])* $event:ident = $name:literal, for $who:ident, $(#[doc = $top:literal])* {
        $($(#[doc = $doc:literal])* $field:ident: $ty:ty,)*
    })*) => {
        $(crate::view! {
            $(#[doc = $top])*
            pub struct $event { $($(#[doc = $doc])* pub $field: $ty,)* }
        })*

        /// Something that happened, with what there is to say of it.
        #[derive(Clone, Debug)]
        pub enum Event { $($(#[doc = $what])* $event($event)),* }

        impl Event {
            /// Its entry in the catalogue.
            pub fn entry(&self) -> &'static Entry {
                let name = match self { $(Self::$event(_) => $name),* };
                Entry::named(name).unwrap_or(&CATALOGUE[0])
            }

            /// What it says, as JSON.
            pub fn data(&self) -> Value {
                let data = match self { $(Self::$event(data) => serde_json::to_value(data)),* };
                data.unwrap_or_default()
            }
        }

        $(impl From<$event> for Event {
            fn from(data: $event) -> Self {
                Self::$event(data)
            }
        })*

        /// Every event that there is.
        pub static CATALOGUE: &[Entry] = &[$(Entry {
            name: $name,
            what: concat!($($what),*).trim_ascii(),
            who: Who::$who,
            data: <$event as utoipa::PartialSchema>::schema,
            others: <$event as utoipa::ToSchema>::schemas,
        }),*];
    };
}

/// The name of the event that asks the reader of an address for agreement.
pub const CONFIRM: &str = "webhook.confirm";

impl Entry {
    /// Whether its events are kept to be read: those of calls are in the list of calls.
    pub fn is_kept(&self) -> bool {
        !self.name.starts_with("call.") && !self.is_of_one_webhook()
    }

    /// Whether it is sent to the webhook that it is about, whatever that asks for.
    pub fn is_of_one_webhook(&self) -> bool {
        [CONFIRM, "webhook.test"].contains(&self.name)
    }
}

crate::choice! {
    /// Which limit was reached.
    pub enum ReachedLimit {
        /// The account has nothing left: a prepaid one no balance, a postpaid one no credit.
        Credit = "credit",
        /// The day's spend of a trunk or of its customer would be passed.
        DailySpend = "daily_spend",
    }
}

catalogue! {
    /// The balance of a billing account fell below the line that the account names (`low_balance`). It is told once, and again only
    /// when the balance was at the line or above meanwhile.
    BalanceLow = "balance.low", for Everybody,
    /// The balance of an account below its line.
    {
        /// The billing account whose money it is.
        ban_id: String,
        /// Whether it pays before or after its calls.
        mode: Word<BanMode>,
        /// What it has now; negative is what it owes.
        balance: Amount,
        /// The line that the balance fell below.
        low_balance: Amount,
    }

    /// A limit was reached: new calls that it stands for are refused. Credit is told once, and again only when there was room meanwhile;
    /// the spend of a day with the first call that it refuses, once for a trunk and a day of its customer.
    LimitReached = "limit.reached", for Everybody,
    /// A limit that was reached.
    {
        /// Which limit it is.
        limit: Word<ReachedLimit>,
        /// The billing account whose money it is.
        ban_id: String,
        /// Whether it pays before or after its calls.
        mode: Word<BanMode>,
        /// What the account has now; negative is what it owes.
        balance: Amount,
        /// How far it may owe. Null: it is prepaid and owes nothing, or may owe any amount.
        credit_limit: Option<Amount>,
        /// The trunk whose calls are refused, of `daily_spend`. Null: all that the account pays for.
        trunk_id: Option<String>,
        /// The lowest of the limits of a day that count for it, of `daily_spend`. Null: it is another limit, or there is none any more.
        daily_spend: Option<Amount>,
    }

    /// A call that was answered has ended, and is posted. For webhooks only: `GET /calls` lists calls.
    CallCompleted = "call.completed", for Everybody,
    /// A call that was answered.
    {
        /// The call that it is about.
        call_id: String,
        /// The customer's trunk.
        trunk_id: Option<String>,
        /// Which way it went, seen from the customer.
        direction: Word<CallDirection>,
        /// The caller, in E.164 where that is known.
        caller: String,
        /// The called number, in E.164 where that is known.
        called: String,
        /// When the INVITE came.
        setup_at: Time,
        /// When it was answered.
        answer_at: Option<Time>,
        /// When it ended.
        end_at: Time,
        /// From answer to end, in milliseconds.
        duration_ms: i64,
        /// What the customer pays. Null: nothing.
        price: Option<Amount>,
    }

    /// A call was not answered, and is posted. For webhooks only: `GET /calls` lists calls.
    CallFailed = "call.failed", for Everybody,
    /// A call that was not answered.
    {
        /// The call that it is about.
        call_id: String,
        /// The customer's trunk. Null: the call was refused before one was known.
        trunk_id: Option<String>,
        /// Which way it went, seen from the customer.
        direction: Word<CallDirection>,
        /// The caller, in E.164 where that is known.
        caller: String,
        /// The called number, in E.164 where that is known.
        called: String,
        /// When the INVITE came.
        setup_at: Time,
        /// When it ended.
        end_at: Time,
        /// How it ended.
        outcome: Word<CallOutcome>,
        /// The final SIP status.
        sip_code: i32,
        /// Our own reason, when the SIP status does not say all. Empty otherwise.
        internal_code: String,
    }

    /// A webhook took no delivery for three days, and is sent nothing any more.
    WebhookDisabled = "webhook.disabled", for Everybody,
    /// The webhook that was disabled.
    {
        /// The webhook that it is about.
        webhook_id: String,
        /// Where it leads.
        url: String,
        /// Since when it took nothing.
        failing_since: Time,
    }

    /// Somebody wants to see whether deliveries arrive. It is sent to one webhook only.
    WebhookTest = "webhook.test", for Everybody,
    /// The webhook that is tested.
    {
        /// The webhook that it is about.
        webhook_id: String,
    }

    /// Somebody wants events to be mailed to an address. It is sent to that address only, with a code that says that its reader agrees.
    WebhookConfirm = "webhook.confirm", for Everybody,
    /// The webhook whose address is to be confirmed.
    {
        /// The webhook that it is about.
        webhook_id: String,
    }

    /// An API key was made.
    KeyCreated = "key.created", for Everybody,
    /// The key that was made.
    {
        /// The key's id.
        key_id: String,
        /// Its name, for people.
        name: String,
        /// What it may do.
        scopes: Vec<String>,
        /// The addresses and networks that may use it. Empty: all.
        ip_allow: Vec<String>,
        /// When it ends. Null: it does not.
        expires_at: Option<Time>,
    }

    /// An API key is followed by a new one; both live during the overlap.
    KeyRotated = "key.rotated", for Everybody,
    /// The key that ends, and the one that follows it.
    {
        /// The key that ends.
        key_id: String,
        /// The key that follows it.
        replaced_by: String,
        /// When the old one ends.
        ends_at: Time,
    }

    /// An API key was revoked: its next request is refused.
    KeyRevoked = "key.revoked", for Everybody,
    /// The key that was revoked.
    {
        /// The key's id.
        key_id: String,
        /// Its name, for people.
        name: String,
    }

    /// An operator's key was made on the machine itself, because the last one was lost.
    KeyRecovered = "key.recovered", for Operators,
    /// The key that was made.
    {
        /// The key's id.
        key_id: String,
        /// Who made it.
        actor: String,
        /// When it ends. Null: it does not.
        expires_at: Option<Time>,
    }

    /// A user was made.
    UserCreated = "user.created", for Everybody,
    /// The user that was made.
    {
        /// The user's id.
        user_id: String,
        /// The name, for people.
        name: String,
        /// What the user may.
        role: Word<CustomerRole>,
        /// Whether the user may come in.
        status: Word<UserStatus>,
    }

    /// A user was changed: name, role, status or who it is at the issuer.
    UserChanged = "user.changed", for Everybody,
    /// The user as it is since then.
    {
        /// The user's id.
        user_id: String,
        /// The name, for people.
        name: String,
        /// What the user may.
        role: Word<CustomerRole>,
        /// Whether the user may come in.
        status: Word<UserStatus>,
    }

    /// A user was deleted: its next request is refused.
    UserDeleted = "user.deleted", for Everybody,
    /// The user that was deleted.
    {
        /// The user's id.
        user_id: String,
        /// The name, for people.
        name: String,
    }

    /// A job was carried out; when it makes a file, that can be downloaded.
    JobDone = "job.done", for Everybody,
    /// The job that was carried out.
    {
        /// The job's id.
        job_id: String,
        /// What it did.
        kind: Word<JobTask>,
        /// Its name, as people gave it. Null: it has none.
        name: Option<String>,
    }

    /// A job failed and is not tried again by itself.
    JobFailed = "job.failed", for Everybody,
    /// The job that failed.
    {
        /// The job's id.
        job_id: String,
        /// What it was to do.
        kind: Word<JobTask>,
        /// Its name, as people gave it. Null: it has none.
        name: Option<String>,
        /// Why it failed, in a sentence.
        error: String,
    }

    /// Times of a schedule were missed: left out, or begun more than five minutes late.
    ScheduleMissed = "schedule.missed", for Everybody,
    /// The schedule whose times were missed.
    {
        /// The schedule's own id.
        schedule_id: String,
        /// Its name, as people gave it.
        name: String,
        /// How many times were missed since it was told last.
        missed: i32,
        /// The last of these times.
        last_missed_at: Time,
        /// The job that was begun at this look. Null: none was.
        job_id: Option<String>,
    }

    /// A version of a rate deck came into force.
    DeckActivated = "deck.activated", for Operators,
    /// The version that is in force since then.
    {
        /// The deck whose prices are in force now.
        deck_id: String,
        /// Its name, as people gave it.
        name: String,
        /// The version that is in force now.
        number: i32,
        /// The version that was in force before. Null: none.
        previous: Option<i32>,
    }

    /// A node takes a vendor trunk out of rotation.
    VendorTrunkDown = "vendor_trunk.down", for Operators,
    /// The trunk, and the node that sees it so.
    {
        /// The vendor that it is about.
        vendor_id: String,
        /// The trunk of that vendor that it is about.
        vendor_trunk_id: String,
        /// Its name, as people gave it.
        name: String,
        /// The node that sees it so.
        node: String,
        /// Why, in a word of the API's health of vendor trunks.
        reason: Option<String>,
    }

    /// A node takes a vendor trunk back into rotation.
    VendorTrunkUp = "vendor_trunk.up", for Operators,
    /// The trunk, and the node that sees it so.
    {
        /// The vendor that it is about.
        vendor_id: String,
        /// The trunk of that vendor that it is about.
        vendor_trunk_id: String,
        /// Its name, as people gave it.
        name: String,
        /// The node that sees it so.
        node: String,
    }

    /// A node has no trunk of a vendor left in rotation.
    VendorDown = "vendor.down", for Operators,
    /// The vendor, and the node that sees it so.
    {
        /// The vendor that it is about.
        vendor_id: String,
        /// Its name, as people gave it.
        name: String,
        /// The node that sees it so.
        node: String,
    }

    /// A node has a trunk of a vendor in rotation again.
    VendorUp = "vendor.up", for Operators,
    /// The vendor, and the node that sees it so.
    {
        /// The vendor that it is about.
        vendor_id: String,
        /// Its name, as people gave it.
        name: String,
        /// The node that sees it so.
        node: String,
    }
}
