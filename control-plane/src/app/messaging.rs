//! What messaging is made of (RFC 0037): accounts of customers, binds to vendors, routes, prices. An SMSC follows a change within a second.

use argon2::password_hash::SaltString;
use argon2::{Argon2, PasswordHasher};
use warp_model::id::{BanKind, CustomerKind, Kind as IdKind, VendorKind};
use warp_model::{CustomerId, Id, Secret, VendorId};
use warp_policy::messaging::Pattern;

use super::fault::{Fault, Kind, Problem};
use super::input::{
    DialCode, Graphic, GraphicPassword, Int, List, MessageTarget, Printable, Ref, Socket, Text,
};
use super::resource::{self, Of, Resource};
use super::trunks::TrunkStatus;
use super::view::Word;
use super::{Ctx, none_wrong};
use crate::noun::customer::CustomerRow;
use crate::noun::message_price::{MessagePriceRow, MessagePriceValues};
use crate::noun::message_route::{MessageRouteRow, MessageRouteValues};
use crate::noun::smpp_account::{SmppAccountRow, SmppAccountValues};
use crate::noun::vendor::VendorRow;
use crate::noun::vendor_bind::{VendorBindRow, VendorBindValues};
use crate::store::nouns::NounRow;
use crate::store::types::{Amount, SealedChange, Time};
use crate::store::{Tx, messaging as rows, seal};

macro_rules! kind {
    ($($(#[$doc:meta])* $kind:ident, $alias:ident, $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $kind {}
        impl IdKind for $kind {
            const PREFIX: &'static str = $prefix;
        }
        $(#[$doc])*
        pub type $alias = Id<$kind>;
    )*};
}

kind! {
    /// An id of an SMPP account.
    SmppAccountKind, SmppAccountId, "sac";
    /// An id of a bind to a vendor.
    VendorBindKind, VendorBindId, "vbd";
    /// An id of a route of messages.
    MessageRouteKind, MessageRouteId, "mrt";
    /// An id of a price of messages.
    MessagePriceKind, MessagePriceId, "smp";
}

crate::choice! {
    /// Which way a message goes, seen from the platform.
    pub enum MessageDirection {
        /// A customer sends it to a handset (MT).
        FromCustomer = "from_customer",
        /// A handset sends it to a customer (MO).
        FromHandset = "from_handset",
    }
}

crate::choice! {
    /// Whether a bind to a vendor carries messages.
    pub enum BindStatus {
        /// It is bound, and messages go out.
        Active = "active",
        /// It is bound, and messages wait; receipts and messages of handsets come in.
        Paused = "paused",
        /// It is not bound; what waited for it goes to the next vendor of its route.
        Disabled = "disabled",
    }
}

crate::choice! {
    /// How a vendor writes its ids of messages.
    pub enum MessageIdForm {
        /// In responses as in receipts.
        AsGiven = "as_given",
        /// Hexadecimal in responses, decimal in receipts.
        HexThenDecimal = "hex_then_decimal",
        /// Decimal in responses, hexadecimal in receipts.
        DecimalThenHex = "decimal_then_hex",
    }
}

crate::choice! {
    /// What becomes of a message that may be with a vendor, and nobody knows.
    pub enum InDoubtRule {
        /// It is sent again, and counted as a possible duplicate.
        SendAgain = "send_again",
        /// It ends as `unknown`.
        MarkUnknown = "mark_unknown",
    }
}

crate::choice! {
    /// How a route chooses among its targets.
    pub enum RouteKind {
        /// There is one target.
        Static = "static",
        /// Each has the same share; all parts of a text take the same one.
        Random = "random",
        /// The first that can be reached.
        Failover = "failover",
        /// The one that asks least for most destinations and can be reached.
        LeastCost = "least_cost",
    }
}

crate::view! {
    /// An SMPP account: what a customer sends and receives short messages by, over SMPP and REST.
    pub struct SmppAccount from SmppAccountRow {
        /// The account's id: `sac_` and 26 characters.
        pub id: String,
        /// The customer whose account it is.
        pub customer_id: String,
        /// The billing account that pays for its messages.
        pub ban_id: Option<String>,
        /// Its name, unique within the customer.
        pub name: String,
        /// `active`, or `disabled`: it neither binds nor sends.
        pub status: Word<TrunkStatus>,
        /// Who binds, unique on the platform.
        pub system_id: String,
        /// Messages a second over all doors. Null: no limit.
        pub messages_per_s: Option<i32>,
        /// How many binds it may have at a time.
        pub binds: i32,
        /// Requests of one bind without an answer: further ones wait up to a second unread, then they are ESME_RTHROTTLED.
        pub send_window: i32,
        /// The source addresses that it may use. Null: any.
        pub senders: Option<Vec<String>>,
        /// The group that routes look at. Null: none.
        pub group_name: Option<String>,
        /// Whether its messages are marketing, which keeps the quiet hours of the recipient.
        pub marketing: bool,
        /// When it was made.
        pub created_at: Time,
        /// When it was changed last.
        pub updated_at: Time,
        /// A number that rises with each change. The ETag header carries it.
        pub version: i32,
    }
}

crate::input! {
    /// An SMPP account to make or to replace.
    pub struct SmppAccountInput {
        /// Its name, unique within the customer.
        pub name: Text<1, 100>,
        /// The billing account that pays for its messages; the customer's first when absent.
        pub ban_id: Option<Ref<BanKind>>,
        /// Whether it may bind and send; `active` when absent.
        pub status: Option<TrunkStatus>,
        /// Who binds, unique on the platform: 1 to 15 visible characters of ASCII.
        pub system_id: Graphic<1, 15>,
        /// What it binds with. SMPP 3.4 has room for 8 characters, and many clients cut what is longer: give more only to a client that is
        /// known to send them. It is kept as a hash by argon2id and never shown; a change without it keeps the old one. Without any the
        /// account sends over REST only.
        pub password: Option<GraphicPassword<8, 64>>,
        /// Messages a second over all doors. Absent: no limit.
        pub messages_per_s: Option<Int<1, 100_000>>,
        /// How many binds it may have at a time; 8 when absent.
        pub binds: Option<Int<1, 1_000>>,
        /// Requests of one bind without an answer; 100 when absent.
        pub send_window: Option<Int<1, 10_000>>,
        /// The source addresses that it may use: numbers, short codes, or letters as they are shown. Absent: any.
        pub senders: Option<List<Printable<1, 20>, 10_000>>,
        /// The group that routes look at. Absent: none.
        pub group_name: Option<Text<1, 64>>,
        /// Whether its messages are marketing, which keeps the quiet hours of the recipient; false when absent.
        pub marketing: Option<bool>,
    }
}

crate::view! {
    /// A bind to a vendor: where short messages go out, and receipts come in.
    pub struct VendorBind from VendorBindRow {
        /// The bind's id: `vbd_` and 26 characters.
        pub id: String,
        /// The vendor whose it is.
        pub vendor_id: String,
        /// Its name, unique within the vendor.
        pub name: String,
        /// Whether it carries messages.
        pub status: Word<BindStatus>,
        /// One connection to each of these addresses, by turns.
        pub addresses: Vec<String>,
        /// The name that its certificate must have. Null: it is reached without TLS.
        pub tls_name: Option<String>,
        /// Who we bind as.
        pub system_id: String,
        /// The kind of ESME that we are; mostly empty.
        pub system_type: String,
        /// Messages of one connection without an answer: what a crash may double.
        pub send_window: i32,
        /// Messages a second over all connections. Null: no limit.
        pub messages_per_s: Option<i32>,
        /// How its ids of messages are written.
        pub message_ids: Word<MessageIdForm>,
        /// What becomes of a message that may be with it, and nobody knows.
        pub in_doubt: Word<InDoubtRule>,
        /// When it was made.
        pub created_at: Time,
        /// When it was changed last.
        pub updated_at: Time,
        /// A number that rises with each change. The ETag header carries it.
        pub version: i32,
    }
}

crate::input! {
    /// A bind to a vendor to make or to replace.
    pub struct VendorBindInput {
        /// Its name, unique within the vendor.
        pub name: Text<1, 100>,
        /// Whether it carries messages; `active` when absent.
        pub status: Option<BindStatus>,
        /// One connection to each of these addresses, by turns.
        pub addresses: List<Socket, 64, 1>,
        /// The name that its certificate must have. Absent: it is reached without TLS.
        pub tls_name: Option<Text<1, 253>>,
        /// Who we bind as: 1 to 15 visible characters of ASCII.
        pub system_id: Graphic<1, 15>,
        /// What we bind with. It is never shown; a change without it keeps the old one. Absent: nothing.
        pub password: Option<GraphicPassword<1, 64>>,
        /// The kind of ESME that we are; empty when absent.
        pub system_type: Option<Printable<0, 12>>,
        /// Messages of one connection without an answer; 10 when absent.
        pub send_window: Option<Int<1, 10_000>>,
        /// Messages a second over all connections. Absent: no limit.
        pub messages_per_s: Option<Int<1, 100_000>>,
        /// How its ids of messages are written; `as_given` when absent.
        pub message_ids: Option<MessageIdForm>,
        /// What becomes of a message that may be with it, and nobody knows; `send_again` when absent.
        pub in_doubt: Option<InDoubtRule>,
    }
}

crate::view! {
    /// A route of short messages. Of the routes of a direction the highest place is looked at first; all that a route names must fit.
    pub struct MessageRoute from MessageRouteRow {
        /// The route's id: `mrt_` and 26 characters.
        pub id: String,
        /// Which way its messages go.
        pub direction: Word<MessageDirection>,
        /// Its place among the routes of its direction, each once; 0 is the default route, which fits every message.
        pub place: i32,
        /// How it chooses among its targets.
        pub kind: Word<RouteKind>,
        /// Binds (`vbd_…`) for messages of customers, accounts (`sac_…`) for those of handsets, in the order of their turns.
        pub targets: Vec<String>,
        /// Only messages of this account. Null: of any.
        pub account_id: Option<String>,
        /// Only messages of accounts of this group. Null: of any.
        pub group_name: Option<String>,
        /// Only messages that came by this bind. Null: by any.
        pub bind_id: Option<String>,
        /// A pattern for the source address. Null: any.
        pub source: Option<String>,
        /// A pattern for the destination, its digits without +. Null: any.
        pub destination: Option<String>,
        /// A pattern for the text. Null: any.
        pub message: Option<String>,
        /// A label of the message. Null: none is needed.
        pub tag: Option<String>,
        /// Whether a message that a target reports as undelivered goes to the next one.
        pub next_when_undelivered: bool,
        /// A message of which a target reports nothing for so many seconds goes to the next one, and may arrive twice. Null: it does not.
        pub next_without_receipt_s: Option<i32>,
        /// Whether it may carry what costs more than it is sold for, or in another currency.
        pub loss_ok: bool,
        /// Why it was made, in words.
        pub reason: String,
        /// When it was made.
        pub created_at: Time,
        /// When it was changed last.
        pub updated_at: Time,
        /// A number that rises with each change. The ETag header carries it.
        pub version: i32,
    }
}

crate::input! {
    /// A route of short messages to make or to replace. Patterns are regular expressions without backtracking, held against the beginning.
    pub struct MessageRouteInput {
        /// Which way its messages go.
        pub direction: MessageDirection,
        /// Its place among the routes of its direction, each once; 0 is the default route, which names nothing of a message.
        pub place: Int<0, 65_535>,
        /// How it chooses among its targets; `static` when absent.
        pub kind: Option<RouteKind>,
        /// Binds (`vbd_…`) for messages of customers, accounts (`sac_…`) for those of handsets, in the order of their turns.
        pub targets: List<MessageTarget, 64, 1>,
        /// Only messages of this account. Absent: of any.
        pub account_id: Option<Ref<SmppAccountKind>>,
        /// Only messages of accounts of this group. Absent: of any.
        pub group_name: Option<Text<1, 64>>,
        /// Only messages that came by this bind. Absent: by any.
        pub bind_id: Option<Ref<VendorBindKind>>,
        /// A pattern for the source address. Absent: any.
        pub source: Option<Text<1, 1_024>>,
        /// A pattern for the destination, its digits without +. Absent: any.
        pub destination: Option<Text<1, 1_024>>,
        /// A pattern for the text. Absent: any.
        pub message: Option<Text<1, 1_024>>,
        /// A label of the message. Absent: none is needed.
        pub tag: Option<Text<1, 64>>,
        /// Whether a message that a target reports as undelivered goes to the next one; false when absent.
        pub next_when_undelivered: Option<bool>,
        /// A message of which a target reports nothing for so many seconds goes to the next one. Absent: it does not.
        pub next_without_receipt_s: Option<Int<1, 604_800>>,
        /// Whether it may carry what costs more than it is sold for, or in another currency; false when absent.
        pub loss_ok: Option<bool>,
        /// Why it is made, in words.
        pub reason: Text<1, 200>,
    }
}

crate::view! {
    /// The price of one segment, by the digits with which the destination begins: the longest code that fits counts. A message without a
    /// price on both sides is not carried.
    pub struct MessagePrice from MessagePriceRow {
        /// The price's id: `smp_` and 26 characters.
        pub id: String,
        /// What this customer pays. Null: a vendor's, or what all customers pay that have no price of their own.
        pub customer_id: Option<String>,
        /// What this vendor asks. Null: what customers pay.
        pub vendor_id: Option<String>,
        /// Digits with which the destination begins, without +.
        pub code: String,
        /// What one segment costs.
        pub price: Amount,
        /// When it was made.
        pub created_at: Time,
        /// When it was changed last.
        pub updated_at: Time,
        /// A number that rises with each change. The ETag header carries it.
        pub version: i32,
    }
}

crate::input! {
    /// The price of one segment to make or to replace: a customer's, a vendor's, or (of neither) every customer's.
    pub struct MessagePriceInput {
        /// What this customer pays. Absent: a vendor's, or what all customers pay that have no price of their own.
        pub customer_id: Option<Ref<CustomerKind>>,
        /// What this vendor asks. Absent: what customers pay.
        pub vendor_id: Option<Ref<VendorKind>>,
        /// Digits with which the destination begins, without +.
        pub code: DialCode,
        /// What one segment costs, 0 or more.
        pub price: Amount,
    }
}

/// SMPP accounts, as the API offers them.
pub struct SmppAccounts;

impl Resource for SmppAccounts {
    type Row = SmppAccountRow;
    type Kind = SmppAccountKind;
    type Parent = CustomerId;
    type Input = SmppAccountInput;
    type View = SmppAccount;

    fn view(_: &Ctx<'_>, row: SmppAccountRow) -> SmppAccount {
        row.into()
    }

    async fn values(
        ctx: &Ctx<'_>,
        tx: &mut Tx,
        of: Of<'_, Self>,
        input: &SmppAccountInput,
    ) -> Result<SmppAccountValues, Fault> {
        if let Of::New(_, customer) = &of {
            resource::read::<CustomerRow>(tx, customer).await?;
        }
        let secret = match &input.password {
            None => SealedChange::Keep,
            Some(password) => {
                let hash = hashed(ctx, password.0.clone()).await?;
                SealedChange::Set(sealed(ctx, &of.id().to_string(), &hash)?)
            }
        };
        Ok(SmppAccountValues {
            ban_id: input.ban_id.as_ref().map(|b| b.0.to_string()),
            name: input.name.0.clone(),
            status: input.status.unwrap_or(TrunkStatus::Active).as_str().to_owned(),
            system_id: input.system_id.0.clone(),
            secret,
            messages_per_s: input.messages_per_s.map(Int::as_i32),
            binds: input.binds.map_or(8, Int::as_i32),
            send_window: input.send_window.map_or(100, Int::as_i32),
            senders: input.senders.as_ref().map(|all| all.0.iter().map(|s| s.0.clone()).collect()),
            group_name: input.group_name.as_ref().map(|g| g.0.clone()),
            marketing: input.marketing.unwrap_or(false),
        })
    }
}

/// Binds to vendors, as the API offers them.
pub struct VendorBinds;

impl Resource for VendorBinds {
    type Row = VendorBindRow;
    type Kind = VendorBindKind;
    type Parent = VendorId;
    type Input = VendorBindInput;
    type View = VendorBind;

    fn view(_: &Ctx<'_>, row: VendorBindRow) -> VendorBind {
        row.into()
    }

    async fn values(
        ctx: &Ctx<'_>,
        tx: &mut Tx,
        of: Of<'_, Self>,
        input: &VendorBindInput,
    ) -> Result<VendorBindValues, Fault> {
        if let Of::New(_, vendor) = &of {
            resource::read::<VendorRow>(tx, vendor).await?;
        }
        let password = match &input.password {
            None => SealedChange::Keep,
            Some(password) => SealedChange::Set(sealed(ctx, &of.id().to_string(), &password.0)?),
        };
        Ok(VendorBindValues {
            name: input.name.0.clone(),
            status: input.status.unwrap_or(BindStatus::Active).as_str().to_owned(),
            addresses: input.addresses.0.iter().map(|a| a.0.to_string()).collect(),
            tls_name: input.tls_name.as_ref().map(|t| t.0.clone()),
            system_id: input.system_id.0.clone(),
            password,
            system_type: input.system_type.as_ref().map_or_else(String::new, |t| t.0.clone()),
            send_window: input.send_window.map_or(10, Int::as_i32),
            messages_per_s: input.messages_per_s.map(Int::as_i32),
            message_ids: input.message_ids.unwrap_or(MessageIdForm::AsGiven).as_str().to_owned(),
            in_doubt: input.in_doubt.unwrap_or(InDoubtRule::SendAgain).as_str().to_owned(),
        })
    }

    async fn may_go(_: &Ctx<'_>, tx: &mut Tx, row: &VendorBindRow) -> Result<(), Fault> {
        not_routed(tx, &row.id).await
    }
}

/// Refuses to take away what a route leads to.
async fn not_routed(tx: &mut Tx, id: &str) -> Result<(), Fault> {
    if rows::is_target(tx, id).await? {
        return Err(Fault::new(Kind::InUse, "a route of messages leads there"));
    }
    Ok(())
}

/// Routes of messages, as the API offers them.
pub struct MessageRoutes;

impl Resource for MessageRoutes {
    type Row = MessageRouteRow;
    type Kind = MessageRouteKind;
    type Parent = ();
    type Input = MessageRouteInput;
    type View = MessageRoute;

    fn view(_: &Ctx<'_>, row: MessageRouteRow) -> MessageRoute {
        row.into()
    }

    async fn values(
        _: &Ctx<'_>,
        tx: &mut Tx,
        _: Of<'_, Self>,
        input: &MessageRouteInput,
    ) -> Result<MessageRouteValues, Fault> {
        let kind = input.kind.unwrap_or(RouteKind::Static);
        let mut problems = Vec::new();
        route_problems(input, kind, &mut problems);
        for (i, target) in input.targets.0.iter().enumerate() {
            let there = match input.direction {
                MessageDirection::FromCustomer => exists::<VendorBindRow>(tx, &target.0).await?,
                MessageDirection::FromHandset => exists::<SmppAccountRow>(tx, &target.0).await?,
            };
            let what = match input.direction {
                MessageDirection::FromCustomer => "there is no such bind",
                MessageDirection::FromHandset => "there is no such account",
            };
            if !there {
                problems.push(Problem::new(format!("targets[{i}]"), "no_such_object", what));
            }
        }
        none_wrong(problems)?;
        let text = |t: &Option<Text<1, 1_024>>| t.as_ref().map(|t| t.0.clone());
        let short = |t: &Option<Text<1, 64>>| t.as_ref().map(|t| t.0.clone());
        Ok(MessageRouteValues {
            direction: input.direction.as_str().to_owned(),
            place: input.place.as_i32(),
            kind: kind.as_str().to_owned(),
            targets: input.targets.0.iter().map(|t| t.0.clone()).collect(),
            account_id: input.account_id.as_ref().map(|a| a.0.to_string()),
            group_name: short(&input.group_name),
            bind_id: input.bind_id.as_ref().map(|b| b.0.to_string()),
            source: text(&input.source),
            destination: text(&input.destination),
            message: text(&input.message),
            tag: short(&input.tag),
            next_when_undelivered: input.next_when_undelivered.unwrap_or(false),
            next_without_receipt_s: input.next_without_receipt_s.map(Int::as_i32),
            loss_ok: input.loss_ok.unwrap_or(false),
            reason: input.reason.0.clone(),
        })
    }
}

/// What of a route contradicts itself.
fn route_problems(input: &MessageRouteInput, kind: RouteKind, problems: &mut Vec<Problem>) {
    let mut wrong = |field: &str, what: String| problems.push(Problem::new(field, "contradicts", what));
    let from_customer = input.direction == MessageDirection::FromCustomer;
    if kind == RouteKind::Static && input.targets.0.len() > 1 {
        wrong(
            "targets",
            "a static route has one target; for several say the kind: failover, random or least_cost".into(),
        );
    }
    let of_customers = [
        ("account_id", input.account_id.is_some()),
        ("group_name", input.group_name.is_some()),
        ("tag", input.tag.is_some()),
    ];
    for (field, _) in of_customers.iter().filter(|(_, there)| *there && !from_customer) {
        wrong(field, "means nothing for messages of handsets".into());
    }
    if input.bind_id.is_some() && from_customer {
        wrong("bind_id", "means nothing for messages of customers".into());
    }
    if kind == RouteKind::LeastCost && !from_customer {
        wrong("kind", "messages of handsets cost nothing to choose by".into());
    }
    let patterns =
        [("source", &input.source), ("destination", &input.destination), ("message", &input.message)];
    let filtered = patterns.iter().any(|(_, p)| p.is_some())
        || input.account_id.is_some()
        || input.group_name.is_some()
        || input.bind_id.is_some()
        || input.tag.is_some();
    if filtered != (input.place.0 != 0) {
        let what = if filtered {
            "the default route (0) fits every message, and names nothing of one"
        } else {
            "only the default route (0) fits every message: give this one source, destination, message, account_id, group_name, bind_id or tag"
        };
        wrong("place", what.into());
    }
    for (field, pattern) in patterns {
        if let Some(Err(e)) = pattern.as_ref().map(|p| Pattern::new(&p.0)) {
            problems.push(Problem::new(field, "invalid_pattern", e.why));
        }
    }
}

async fn exists<N: NounRow>(tx: &mut Tx, id: &str) -> Result<bool, Fault> {
    match resource::read::<N>(tx, id).await {
        Ok(_) => Ok(true),
        Err(fault) if fault.kind == Kind::NotFound => Ok(false),
        Err(fault) => Err(fault),
    }
}

/// Prices of messages, as the API offers them.
pub struct MessagePrices;

impl Resource for MessagePrices {
    type Row = MessagePriceRow;
    type Kind = MessagePriceKind;
    type Parent = ();
    type Input = MessagePriceInput;
    type View = MessagePrice;

    fn view(_: &Ctx<'_>, row: MessagePriceRow) -> MessagePrice {
        row.into()
    }

    async fn values(
        _: &Ctx<'_>,
        tx: &mut Tx,
        _: Of<'_, Self>,
        input: &MessagePriceInput,
    ) -> Result<MessagePriceValues, Fault> {
        let money = input.price.0;
        let mut problems = Vec::new();
        if input.customer_id.is_some() && input.vendor_id.is_some() {
            let what = "it is what a customer pays or what a vendor asks, not both";
            problems.push(Problem::new("vendor_id", "contradicts", what));
        }
        if money.amount.0 < 0 {
            problems.push(Problem::new("price", "out_of_range", "must be 0 or more"));
        }
        if let Some(customer) = &input.customer_id {
            match resource::read::<CustomerRow>(tx, customer.0).await {
                Ok(row) if row.currency != money.currency.as_str() => problems.push(Problem::new(
                    "price",
                    "currency_mismatch",
                    format!("must be in {}, the currency of the customer", row.currency),
                )),
                Ok(_) => {}
                Err(fault) if fault.kind == Kind::NotFound => {
                    problems.push(Problem::new("customer_id", "no_such_object", "there is no such customer"));
                }
                Err(fault) => return Err(fault),
            }
        }
        if let Some(vendor) = &input.vendor_id
            && !exists::<VendorRow>(tx, &vendor.0.to_string()).await?
        {
            problems.push(Problem::new("vendor_id", "no_such_object", "there is no such vendor"));
        }
        none_wrong(problems)?;
        Ok(MessagePriceValues {
            customer_id: input.customer_id.as_ref().map(|c| c.0.to_string()),
            vendor_id: input.vendor_id.as_ref().map(|v| v.0.to_string()),
            code: input.code.0.clone(),
            price: money.amount.0,
            currency: money.currency.to_string(),
        })
    }
}

/// The hash of a password by argon2id, as a PHC string; made away from the threads of requests, because it takes long on purpose.
async fn hashed(ctx: &Ctx<'_>, password: Secret<String>) -> Result<Secret<String>, Fault> {
    let mut salt = [0u8; 16];
    ctx.app.random(&mut salt);
    let made = tokio::task::spawn_blocking(move || {
        let salt = SaltString::encode_b64(&salt)?;
        let hash = Argon2::default().hash_password(password.reveal().as_bytes(), &salt)?;
        Ok::<_, argon2::password_hash::Error>(Secret::new(hash.to_string()))
    });
    let made = made.await.map_err(|e| e.to_string()).and_then(|hash| hash.map_err(|e| e.to_string()));
    made.map_err(|error| {
        tracing::error!(error, "a password cannot be hashed");
        Fault::internal()
    })
}

fn sealed(ctx: &Ctx<'_>, id: &str, secret: &Secret<String>) -> Result<Vec<u8>, Fault> {
    let place = seal::password_place(id);
    ctx.app.store.seal().seal(&place, secret.reveal().as_bytes()).map_err(|e| {
        tracing::error!(error = %e, "a secret cannot be sealed");
        Fault::internal()
    })
}
