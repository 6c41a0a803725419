//! Short messages (RFC 0037): lists and timelines of those that were taken, their texts, and sending one. What is sent is answered when the
//! SMSC has it on disk.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type as SchemaKind};
use utoipa::openapi::{RefOr, Schema};
use warp_model::id::MessageKind;
use warp_model::{CustomerId, MessageId, Wall};
use warp_policy::Refusal;
use warp_policy::messaging::recipient;
use warp_smpp::text::alphabet::encode_best;
use warp_smpp::text::{DataCoding, Reference, decode, split};

use super::Ctx;
use super::fault::{Fault, Kind, Problem};
use super::forms;
use super::input::{Field, Int, List, Phone, Printable, Ref, Text};
use super::messaging::{MessageDirection, SmppAccountKind};
use super::resource::{self, Of, Resource};
use super::view::{Shaped, Word};
use crate::noun::message::{MessageRow, MessageValues};
use crate::noun::smpp_account::SmppAccountRow;
use crate::store::types::{Amount, Time};
use crate::store::{Tx, messages as rows, messaging};

crate::choice! {
    /// How a message stands.
    pub enum MessageStatus {
        /// It waits for its time.
        Scheduled = "scheduled",
        /// It waits for its vendor.
        Queued = "queued",
        /// The vendor wants it later.
        Waiting = "waiting",
        /// It is with the vendor, which has not answered.
        Sent = "sent",
        /// The vendor has taken it; its end is not known yet.
        Carried = "carried",
        /// It was delivered to its recipient.
        Delivered = "delivered",
        /// It could not be delivered.
        Failed = "failed",
        /// Its validity was over.
        Expired = "expired",
        /// It was refused on its way.
        Rejected = "rejected",
        /// Its sender took it back.
        Cancelled = "cancelled",
        /// The vendor has taken it and said no more.
        Taken = "taken",
        /// Nobody knows what became of it.
        Unknown = "unknown",
        /// It was taken and not sent on, on purpose.
        Skipped = "skipped",
    }
}

crate::view! {
    /// One step of a message.
    pub struct TimelineEntry {
        /// When the step happened.
        pub at: Time,
        /// What happened: `accepted`, `sent`, `carried` (the vendor took it), `noticed` (the vendor said so again), `retry`, `held` (it
        /// waits for the end of the recipient's quiet hours), `moved` (to
        /// another vendor), `replaced`, `told` (its sender heard of it), or how it ended: one of the final statuses.
        pub step: String,
    }
}

crate::view! {
    /// A short message with its timeline. What was written in it is not part of it.
    pub struct Message from MessageRow {
        /// The message's id: `msg_` and 26 characters. Over SMPP and Jasmin's API it is the same number as a UUID.
        pub id: String,
        /// The customer whose message it is.
        pub customer_id: String,
        /// The SMPP account that it goes by.
        pub account_id: String,
        /// Which way it goes.
        pub direction: Word<MessageDirection>,
        /// How the message stands now.
        pub status: Word<MessageStatus>,
        /// The address that it is from; of a number its digits.
        pub source: String,
        /// The address that it is for; of a number its digits.
        pub destination: String,
        /// Segments that are paid for.
        pub segments: i32,
        /// Parts that its text was cut into here.
        pub parts: i32,
        /// The error that its end came with, 0 to 999. Null: it has not ended.
        pub error: Option<i32>,
        /// It is not sent before. Null: it was sent at once.
        pub not_before: Option<Time>,
        /// It is not sent after.
        pub expires_at: Option<Time>,
        /// When it ended. Null: it has not.
        pub finished_at: Option<Time>,
        /// What happened to it, in order.
        pub timeline: Shaped<Vec<TimelineEntry>>,
        /// The ISO 4217 currency of its price.
        pub currency: String,
        /// What its customer pays. Null: nothing.
        pub price: Option<Amount>,
        /// Whether the price was given back, because no vendor ever had it.
        pub refunded: bool,
        /// What the vendor asks. Operators only.
        pub cost: Option<Shaped<Amount>>,
        /// The bind that had it last (vbd_…). Operators only.
        pub bind_id: Option<String>,
        /// The vendor's id of it. Operators only.
        pub carrier_id: Option<String>,
        /// The place of the route that it took. Operators only.
        pub place: i32,
        /// How often it went on to another vendor. Operators only.
        pub moves: i32,
        /// When an operator put it away as a dead letter. Operators only.
        pub dropped_at: Option<Time>,
        /// When it was taken.
        pub created_at: Time,
        /// When something happened to it last.
        pub updated_at: Time,
        /// A number that rises with each change.
        pub version: i32,
    } with {
        /// What became of it, in one sentence.
        pub explanation: String,
    }
}

crate::view! {
    /// What was written in a message.
    pub struct MessageContent {
        /// The id of the message.
        pub id: String,
        /// The text. Null: it is none, or of an alphabet that is not read here.
        pub text: Option<String>,
        /// The octets of all parts, in hexadecimal.
        pub octets: String,
        /// The data_coding that it was sent with.
        pub coding: i32,
    }
}

crate::view! {
    /// What became of a message for one recipient.
    pub struct SentMessage {
        /// The recipient, in E.164.
        pub to: String,
        /// The id of the message. Null: it was not taken.
        pub id: Option<String>,
        /// Segments that its text takes.
        pub segments: i32,
        /// Why it was not taken: `no_route`, `no_credit`, `throttled`, `sender`, `opted_out`,
        /// `quiet_hours`, `unavailable`. Null: it was.
        pub refused: Option<String>,
    }
}

crate::view! {
    /// Messages that were taken, in the order of their recipients.
    pub struct SentMessages {
        /// One for each recipient.
        pub messages: Shaped<Vec<SentMessage>>,
    }
}

/// What is written in a message: 1 to 1,530 characters. Of the control characters there are tabs, line feeds, form feeds and carriage
/// returns: others would be sent as UCS-2, at more than twice the price, and no handset shows them.
#[derive(Clone, Debug)]
pub struct MessageText(pub String);

/// Characters of a text: ten parts in the alphabet of the network.
const CHARS: usize = 1_530;
/// Parts of a text; the longest one of the rarest characters has 46.
const PARTS: usize = 64;

impl Field for MessageText {
    fn read(value: Option<&Value>, path: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        let (code, message) = match value {
            None | Some(Value::Null) => ("required", "is required".to_owned()),
            Some(Value::String(text)) if (1..=CHARS).contains(&text.chars().count()) => {
                if forms::is_lines(text) {
                    return Some(Self(text.clone()));
                }
                ("invalid", "must not contain control characters but tabs and ends of lines".to_owned())
            }
            Some(Value::String(_)) => ("out_of_range", format!("must have 1 to {CHARS} characters")),
            Some(_) => ("wrong_type", "must be a text".to_owned()),
        };
        problems.push(Problem::new(path, code, message));
        None
    }
    fn field_schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new().schema_type(SchemaType::Type(SchemaKind::String));
        text.min_length(Some(1)).max_length(Some(CHARS)).pattern(Some(forms::LINES)).into()
    }
}

crate::input! {
    /// A message to send, to one recipient or several.
    pub struct MessageInput {
        /// Who it is for: 1 to 100 numbers, each of which gets a message of its own.
        pub to: List<Phone, 100, 1>,
        /// Who it is from: a number or short code of the account, or letters as they are shown.
        pub from: Printable<1, 20>,
        /// What is written in it. It is sent in the alphabet of the network where that has all of its characters, else as UCS-2, in as many
        /// parts as it needs.
        pub text: MessageText,
        /// The account that it goes by. Absent: the only one that the customer has.
        pub account_id: Option<Ref<SmppAccountKind>>,
        /// It is not sent before. Absent: at once. At most 7 days ahead.
        pub send_at: Option<Time>,
        /// Minutes for which it is worth being sent, from `send_at` on; 1,440 when absent.
        pub validity_min: Option<Int<1, 10_080>>,
        /// 0 to 3: a higher one goes before the others of the account; 0 when absent.
        pub priority: Option<Int<0, 3>>,
        /// Labels that routes look at.
        pub tags: List<Text<1, 64>, 16>,
    }
}

/// A message on its way to the SMSC.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// The account that it goes by.
    pub account: String,
    /// Digits of the recipient.
    pub to: String,
    /// Who the message is from.
    pub from: String,
    /// The octet data_coding of SMPP.
    pub coding: u8,
    /// The octets of the text.
    pub octets: Vec<u8>,
    /// Where it is cut.
    pub parts: Vec<Range<usize>>,
    /// When it is sent, as SMPP writes it; empty: at once.
    pub schedule: String,
    /// Minutes of its validity, from now on.
    pub validity_min: Option<u32>,
    /// Its priority, 0 to 3.
    pub priority: u8,
    /// Labels that routes look at.
    pub tags: Vec<String>,
}

/// Why the SMSC takes a message not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// There is no route, or no price.
    NoRoute,
    /// There is no money.
    NoCredit,
    /// Over the rate of the account.
    Throttled,
    /// The sender is not one of the account's.
    Sender,
    /// A time, or something else of it, cannot be carried out.
    Wrong,
    /// The recipient has opted out of messages from this sender.
    OptedOut,
    /// It is marketing, and is no longer valid when the recipient's quiet hours end.
    Quiet,
    /// The SMSC is full or ending.
    Unavailable,
}

impl NotTaken {
    fn word(self) -> &'static str {
        match self {
            Self::NoRoute => "no_route",
            Self::NoCredit => "no_credit",
            Self::Throttled => "throttled",
            Self::Sender => "sender",
            Self::Wrong => "wrong",
            Self::OptedOut => "opted_out",
            Self::Quiet => "quiet_hours",
            Self::Unavailable => "unavailable",
        }
    }

    fn fault(self) -> Fault {
        let later = |kind, message: &str| Fault { retry_after_s: Some(1), ..Fault::new(kind, message) };
        match self {
            Self::NoRoute => {
                Fault::field("to", "contradicts", "nobody carries messages there, or there is no price")
            }
            Self::NoCredit => Fault::new(Kind::NoCredit, "the billing account has no money for it")
                .hint("top the account up, or have its credit limit raised"),
            Self::Throttled => later(Kind::Throttled, "the account sends more messages a second than it may"),
            Self::Sender => Fault::field("from", "contradicts", "is not a sender of this account"),
            Self::Wrong => Fault::field("send_at", "contradicts", "must be at most 7 days ahead"),
            Self::OptedOut => {
                Fault::field("to", "opted_out", "has opted out of messages from this sender (STOP)")
                    .hint("the recipient can lift it by START; see /opt-outs")
            }
            Self::Quiet => Fault::field(
                "validity_min",
                "quiet_hours",
                "ends before the recipient's quiet hours do: marketing may go from 8:00 to 21:00 of its local time",
            ),
            Self::Unavailable => later(Kind::Unavailable, "the SMSC cannot take it now, try again"),
        }
    }
}

/// The answer of an SMSC, when it comes.
pub type Answered = Pin<Box<dyn Future<Output = Result<MessageId, NotTaken>> + Send>>;

/// How the SMSC of this process is reached.
#[derive(Clone)]
pub struct Door {
    /// Gives it a message; the answer comes when it is durable.
    pub send: Arc<dyn Fn(Outgoing) -> Answered + Send + Sync>,
}

/// Messages, as the API offers them: read only, as far as rows go.
pub struct Messages;

impl Resource for Messages {
    type Row = MessageRow;
    type Kind = MessageKind;
    type Parent = CustomerId;
    type Input = MessageInput;
    type View = Message;

    fn view(ctx: &Ctx<'_>, row: MessageRow) -> Message {
        let explanation = explained(&row);
        let mut timeline = row.timeline.0.clone();
        if ctx.scope.customer().is_some() {
            // Whom we buy from is nothing of the customer's.
            for entry in timeline.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
                entry.retain(|name, _| name != "bind_id" && name != "carrier_id");
            }
        }
        let row = MessageRow { timeline: crate::store::types::Json(timeline), ..row };
        Message::of(row, explanation)
    }

    async fn values(
        _: &Ctx<'_>,
        _: &mut Tx,
        _: Of<'_, Self>,
        _: &MessageInput,
    ) -> Result<MessageValues, Fault> {
        // No verb of the declaration writes one.
        Err(Fault::internal())
    }
}

/// Errors of messages that the SMSC itself ended (RFC 0052).
const OPTED_OUT: i32 = 901;
const QUIET: i32 = 902;
const GONE: i32 = 903;
const OVERTAKEN: i32 = 904;

/// What became of a message, in one sentence.
fn explained(row: &MessageRow) -> String {
    let took = row.finished_at.map(|end| end.0.0.saturating_sub(row.created_at.0.0) / 1_000);
    let after = took.map_or_else(String::new, |ms| match ms {
        0..10_000 => format!(" {ms} ms after it was taken"),
        _ => format!(" {} s after it was taken", ms / 1_000),
    });
    let error = row.error.filter(|e| *e != 0).map_or_else(String::new, |e| format!(" with error {e}"));
    let did = |step: &str| row.timeline.0.as_array().into_iter().flatten().any(|e| e["step"] == step);
    let had = did("carried");
    let paid = if row.refunded { "; its price was given back" } else { "" };
    let from_handset = row.direction == "from_handset";
    match row.status.as_str() {
        "scheduled" if did("held") => format!(
            "It is marketing, and waits for the end of its recipient's quiet hours{}.",
            row.not_before.map_or_else(String::new, |t| format!(", {}", t.0))
        ),
        "scheduled" => format!(
            "It waits for its time{}.",
            row.not_before.map_or_else(String::new, |t| format!(", {}", t.0))
        ),
        "queued" if row.moves > 0 => "Another vendor has it to send, after one that did not take it.".into(),
        "queued" if from_handset => "It waits for a bind of the account that receives.".into(),
        "queued" => "It waits for a bind to a vendor with room for it.".into(),
        "waiting" => "The vendor did not take it now; it is tried again.".into(),
        "sent" => "It is with the vendor, which has not answered yet.".into(),
        "carried" => "The vendor has taken it; whether it was delivered is not known yet.".into(),
        "delivered" if from_handset => format!("The customer took it{after}."),
        "delivered" => format!("It was delivered{after}."),
        "failed" if had => format!(
            "The network could not deliver it{error}{after}: mostly the number is not in use, or cannot be reached."
        ),
        "failed" => format!("No vendor took it{error}{after}{paid}."),
        "expired" if from_handset => format!("No bind of the account took it{after}."),
        "expired" if had => format!("The network did not deliver it within its validity{after}."),
        "expired" => format!("No vendor took it within its validity{after}{paid}."),
        "rejected" if from_handset => format!("The customer refused it{after}."),
        "rejected" if !had && row.error == Some(OPTED_OUT) => {
            format!(
                "It was not sent: its recipient opted out of messages from this sender after it was taken{paid}."
            )
        }
        "rejected" if !had && row.error == Some(GONE) => {
            format!("It was not sent: its account is gone, so that nobody knows whether it may go now{paid}.")
        }
        "rejected" if !had && row.error == Some(OVERTAKEN) => {
            format!("It was not sent: it confirms what its recipient has taken back since{paid}.")
        }
        "rejected" if !had && row.error == Some(QUIET) => {
            format!(
                "It was not sent: it is marketing, and its validity ends before its recipient's quiet hours do{paid}."
            )
        }
        "rejected" => format!("It was rejected on its way{error}{after}{paid}."),
        "cancelled" => format!("Its sender took it back{after}{paid}."),
        "taken" => format!("The vendor took it and said no more{after}."),
        "skipped" => format!("It was taken and not sent on, on purpose{after}."),
        _ => format!("Nobody knows whether it was delivered{after}."),
    }
}

/// How long a message that was just taken is waited for until its row is there.
const LAGS: Duration = Duration::from_secs(2);

/// A message. One that was taken a moment ago is waited for. Errors: there is none that the scope sees.
pub async fn get(ctx: &Ctx<'_>, id: MessageId) -> Result<Message, Fault> {
    let young = ctx.app.wall().0.saturating_sub(id.made_at().0) < 10_000_000;
    let until = tokio::time::Instant::now() + LAGS;
    loop {
        match resource::get::<Messages>(ctx, id).await {
            Err(fault) if fault.kind == Kind::NotFound && young && tokio::time::Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            found => return found,
        }
    }
}

/// What was written in a message. The look is in the audit log, which is written first. Errors: there is no such message.
pub async fn content(ctx: &Ctx<'_>, id: MessageId) -> Result<MessageContent, Fault> {
    let message = get(ctx, id).await?;
    let mut tx = ctx.begin().await?;
    let customer = message.customer_id.parse().ok();
    ctx.audit(&mut tx, customer, "message.content", &message.id, None).await?;
    let parts = rows::contents(&mut tx, id).await?;
    tx.commit().await?;
    let coding = parts.first().map_or(0, |(coding, _)| *coding);
    let octets: Vec<u8> = parts.into_iter().flat_map(|(_, octets)| octets).collect();
    let alphabet = DataCoding(u8::try_from(coding).unwrap_or(0)).alphabet();
    Ok(MessageContent {
        id: message.id,
        text: decode(&octets, alphabet, Default::default()),
        octets: warp_model::hex::encode(&octets),
        coding,
    })
}

/// Sends a message to each recipient. Errors: the input, or why none of them was taken.
pub async fn send(ctx: &Ctx<'_>, customer: CustomerId, input: MessageInput) -> Result<SentMessages, Fault> {
    numbers(ctx, &input.to.0)?;
    let door = ctx.app.message_door().ok_or_else(|| {
        Fault::new(Kind::Conflict, "this process has no SMSC").hint("ask the node that carries messages")
    })?;
    let account = account_of(ctx, customer, &input).await?;
    let mut octets = Vec::new();
    let coding = encode_best(&input.text.0, &mut octets);
    let parts = split(&octets, coding.alphabet(), Reference::Udh8, PARTS).map_err(|needed| {
        Fault::field("text", "out_of_range", format!("needs {needed} parts, more than {PARTS}"))
    })?;
    let segments = i32::try_from(parts.len()).unwrap_or(i32::MAX);
    let later = input.send_at.map(|t| t.0).filter(|at| *at > ctx.app.wall());
    let schedule = later
        .map_or_else(String::new, |at| String::from_utf8_lossy(&warp_smpp::time::absolute(at)).into_owned());
    // It is counted from the time at which the message may go.
    let waits = later.map_or(0, |at: Wall| at.0.saturating_sub(ctx.app.wall().0) / 60_000_000);
    let validity = input.validity_min.and_then(|m| u32::try_from(m.0.saturating_add(waits)).ok());
    let asked: Vec<(String, Answered)> = input
        .to
        .0
        .iter()
        .map(|Phone(to)| {
            let outgoing = Outgoing {
                account: account.clone(),
                to: to.trim_start_matches('+').to_owned(),
                from: input.from.0.clone(),
                coding: coding.0,
                octets: octets.clone(),
                parts: parts.clone(),
                schedule: schedule.clone(),
                validity_min: validity,
                priority: input.priority.and_then(|p| u8::try_from(p.0).ok()).unwrap_or(0),
                tags: input.tags.0.iter().map(|t| t.0.clone()).collect(),
            };
            (to.clone(), (door.send)(outgoing))
        })
        .collect();
    let mut sent = Vec::with_capacity(asked.len());
    let mut first = None;
    for (to, answer) in asked {
        let (id, refused) = match answer.await {
            Ok(id) => (Some(id.to_string()), None),
            Err(why) => {
                first.get_or_insert(why);
                (None, Some(why.word()))
            }
        };
        sent.push(serde_json::json!({ "to": to, "id": id, "segments": segments, "refused": refused }));
    }
    match first {
        Some(why) if sent.iter().all(|one| one["id"].is_null()) => Err(why.fault()),
        _ => Ok(SentMessages { messages: Value::from(sent).into() }),
    }
}

/// Whom a message is for has to be a number, as for a call: what begins like one would have its price, and reach nobody.
fn numbers(ctx: &Ctx<'_>, to: &[Phone]) -> Result<(), Fault> {
    let plan = ctx.app.publication.latest();
    let wrong = |(at, Phone(number)): (usize, &Phone)| {
        let why = match recipient(&plan.number_plan, number.as_bytes(), true).err()? {
            Refusal::IncompleteNumber => "it has too few digits",
            Refusal::UnassignedNumber => "nobody has been assigned its area code",
            _ => "there is no such number",
        };
        let message = format!("{number} is no phone number: {why}");
        Some(Problem::new(format!("to[{at}]"), "no_such_number", message))
    };
    let problems: Vec<Problem> = to.iter().enumerate().filter_map(wrong).collect();
    if problems.is_empty() { Ok(()) } else { Err(Fault::fields(problems)) }
}

/// The account that a message goes by.
async fn account_of(ctx: &Ctx<'_>, customer: CustomerId, input: &MessageInput) -> Result<String, Fault> {
    let mut tx = ctx.begin().await?;
    if let Some(account) = &input.account_id {
        let no = || Fault::field("account_id", "no_such_object", "there is no such SMPP account");
        let row = resource::read::<SmppAccountRow>(&mut tx, account.0).await.map_err(|f| match f.kind {
            Kind::NotFound => no(),
            _ => f,
        })?;
        return if row.customer_id == customer.to_string() { Ok(row.id) } else { Err(no()) };
    }
    let mut all = messaging::senders_of(&mut tx, &customer.to_string()).await?;
    match (all.pop(), all.is_empty()) {
        (Some(only), true) => Ok(only),
        (None, _) => Err(Fault::new(Kind::Conflict, "there is no SMPP account to send by")
            .hint("have the carrier make one for you")),
        _ => Err(Fault::field("account_id", "contradicts", "there are several SMPP accounts: name one")),
    }
}
