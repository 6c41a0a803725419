//! Customers' trunks: what they may do ([`limits`]) and where their calls come from ([`access`]).
//!
//! A trunk that a customer makes begins with the tightest of the carrier's limits on its other trunks, and one that is held tighter
//! than all others is not deleted with a customer's key: else a new trunk would lift what the old one held.

mod access;
mod limits;

pub use access::{
    CREDENTIALS_PER_TRUNK, Credential, CredentialInput, IPS_PER_TRUNK, Registration, TrunkIp, TrunkIpInput,
    add_credential, add_ip, get_credential, ha1, list_credentials, list_ips, remove_credential, remove_ip,
};
pub use limits::{SideLimits, TrunkLimits};

use warp_model::id::{BanKind, DeckKind, TrunkKind};
use warp_model::{Currency, CustomerId, TrunkId};

use self::limits::{OwnedLimits, Sides, begins_with, held_as_tightly, is_customer, no_limits, usual_words};
use super::fault::{Fault, Kind, Problem};
use super::headers::{CallerFormat, DiversionForm, HeaderFields, IdentityForm, ReasonForm, headers_of};
use super::input::{CodecName, HeaderRule, Int, Ip, List, Ref, TechPrefix, Text};
use super::resource::{self, Of, Resource};
use super::rounding::{PartialSecond, RoundingLevel, RoundingMode};
use super::routing::PartitionKind;
use super::view::Word;
use super::{Ctx, check_count, check_decks, ids, nanos, none_wrong};
use crate::noun::customer::CustomerRow;
use crate::noun::trunk::{TrunkRow, TrunkValues};
use crate::store::trunks as rows;
use crate::store::types::{Amount, Time};
use crate::store::{StoreError, Tx, nouns};

/// Trunks of one customer.
pub const TRUNKS_PER_CUSTOMER: i64 = 1_000;

crate::view! {
    /// A trunk: where a customer's calls come in, and what they may do. Its own fields are what the side of this key has set, so
    /// that sending them back by PUT changes nothing; `limits.in_force` is what counts.
    pub struct Trunk {
        /// The trunk's id: `trk_` and 26 characters.
        pub id: String,
        /// The customer that it belongs to.
        pub customer_id: String,
        /// The billing account that pays for its calls.
        pub ban_id: String,
        /// Its name, unique within the customer.
        pub name: String,
        /// `active`, or `disabled`: what this side says. The trunk takes calls when both sides say `active`.
        pub status: Word<TrunkStatus>,
        /// How many calls may be up at once, by this side. Null: this side sets no limit.
        pub channels: Option<i32>,
        /// How many calls may begin per second, by this side. Null: this side sets no limit.
        pub cps: Option<i32>,
        /// The highest price per minute that it pays, by this side; dearer calls are refused. Null: this side sets no limit.
        pub max_rate_per_min: Option<Amount>,
        /// The most that it spends in one day of the customer's time zone, by this side. Null: this side sets no limit.
        pub daily_spend: Option<Amount>,
        /// The longest that a call may last, in seconds, by this side. Null: this side sets no limit.
        pub max_duration_s: Option<i32>,
        /// The classes of destinations that this side allows. Null: all that the other side allows.
        pub destinations: Option<Vec<Word<Destination>>>,
        /// Further addresses that its media may come from.
        pub media_ips: Vec<String>,
        /// Technical prefixes that are taken off the dialled number.
        pub strip_prefixes: Vec<String>,
        /// Whether numbers without one of these prefixes are refused. Emergency numbers need none.
        pub strip_required: bool,
        /// Whether this side refuses calls without a valid caller number.
        pub require_valid_caller: bool,
        /// Whether its P-Asserted-Identity is believed.
        pub trust_asserted: bool,
        /// Whether it is within our circle of trust: then it is told who calls also where the caller asked for privacy. Else such a caller is
        /// anonymous to it.
        pub identity_trusted: bool,
        /// Where it is told who calls.
        pub identity_form: Word<IdentityForm>,
        /// How the caller's number is written in From, and in the header of `identity_form`.
        pub caller_format: Word<CallerFormat>,
        /// How diversions are told.
        pub diversion_form: Word<DiversionForm>,
        /// What it is told of causes (Reason).
        pub reason_form: Word<ReasonForm>,
        /// Headers that are added, set or removed in each message of a call that goes to it, in order.
        pub header_rules: Vec<String>,
        /// The only codecs that its calls may offer, besides `telephone-event`. Empty: all.
        pub codecs: Vec<String>,
        /// Session timers (RFC 4028): its calls are refreshed at least this often, in seconds, or end. Null: nobody is asked to.
        pub session_expires_s: Option<i32>,
        /// The least interval between refreshes that it may ask for, in seconds. Null: any.
        pub session_min_s: Option<i32>,
        /// Whether the media relay records its calls.
        pub recording: bool,
        /// Its price lists, in order. Empty: those of the customer.
        pub sell_deck_ids: Vec<String>,
        /// Its partition. Null: that of the customer.
        pub partition_id: Option<String>,
        /// How its charges are rounded.
        pub rounding_mode: Word<RoundingMode>,
        /// The decimal places that they are rounded to, 0 to 9.
        pub rounding_places: i32,
        /// What becomes of a begun second.
        pub partial_second: Word<PartialSecond>,
        /// Where the places are rounded to.
        pub rounding_level: Word<RoundingLevel>,
        /// What counts, and who has set which limit.
        pub limits: TrunkLimits,
        /// When it was made.
        pub created_at: Time,
        /// When it was changed last.
        pub updated_at: Time,
        /// A number that rises with each change. The ETag header carries it.
        pub version: i32,
    }
}

impl Trunk {
    /// As the side of this key sees it.
    fn seen_by(ctx: &Ctx<'_>, row: TrunkRow) -> Self {
        let words = |list: Vec<String>| list.into_iter().map(Word::from).collect::<Vec<_>>();
        let carrier = SideLimits {
            status: row.status.into(),
            channels: row.channels,
            cps: row.cps,
            max_rate_per_min: row.max_rate_per_min,
            daily_spend: row.daily_spend,
            max_duration_s: row.max_duration_s,
            destinations: Some(words(row.destinations)),
            require_valid_caller: row.require_valid_caller,
        };
        let customer = SideLimits {
            status: row.own_status.into(),
            channels: row.own_channels,
            cps: row.own_cps,
            max_rate_per_min: row.own_max_rate_per_min,
            daily_spend: row.own_daily_spend,
            max_duration_s: row.own_max_duration_s,
            destinations: row.own_destinations.map(words),
            require_valid_caller: row.own_require_valid_caller,
        };
        let own = if is_customer(ctx) { &customer } else { &carrier }.clone();
        Self {
            id: row.id,
            customer_id: row.customer_id,
            ban_id: row.ban_id.unwrap_or_default(),
            name: row.name,
            status: own.status,
            channels: own.channels,
            cps: own.cps,
            max_rate_per_min: own.max_rate_per_min,
            daily_spend: own.daily_spend,
            max_duration_s: own.max_duration_s,
            destinations: own.destinations,
            media_ips: row.media_ips,
            strip_prefixes: row.strip_prefixes,
            strip_required: row.strip_required,
            require_valid_caller: own.require_valid_caller,
            trust_asserted: row.trust_asserted,
            identity_trusted: row.identity_trusted,
            identity_form: row.identity_form.into(),
            caller_format: row.caller_format.into(),
            diversion_form: row.diversion_form.into(),
            reason_form: row.reason_form.into(),
            header_rules: row.header_rules,
            codecs: row.codecs,
            session_expires_s: row.session_expires_s,
            session_min_s: row.session_min_s,
            recording: row.recording,
            sell_deck_ids: row.sell_deck_ids,
            partition_id: row.partition_id,
            rounding_mode: row.rounding_mode.into(),
            rounding_places: row.rounding_places,
            partial_second: row.partial_second.into(),
            rounding_level: row.rounding_level.into(),
            limits: TrunkLimits { in_force: SideLimits::in_force(&carrier, &customer), carrier, customer },
            created_at: row.created_at,
            updated_at: row.updated_at,
            version: row.version,
        }
    }
}

crate::choice! {
    /// Whether a trunk takes calls.
    pub enum TrunkStatus {
        /// It takes calls, when the other side says so too.
        Active = "active",
        /// It refuses every call.
        Disabled = "disabled",
    }
}

crate::choice! {
    /// Classes of destinations; those after `international` are denied unless an operator allows them.
    pub enum Destination {
        /// The 50 states and DC.
        Domestic = "domestic",
        /// Toll-free numbers of the North American plan (8YY).
        TollFree = "toll_free",
        /// Numbers of Canada, geographic ones.
        Canada = "canada",
        /// PR, VI, GU, AS, MP.
        UsTerritory = "us_territory",
        /// Other countries of country code 1.
        NanpCountry = "nanp_country",
        /// Everything abroad that no other class has.
        International = "international",
        /// Ranges of premium services, in any country.
        Premium = "premium",
        /// Networks that are reached by satellite.
        Satellite = "satellite",
        /// Numbers that are known from fraud.
        HighRisk = "high_risk",
        /// Personal numbers, which follow their holder.
        Personal = "personal",
        /// Every other special range.
        Special = "special",
    }
}

crate::input! {
    /// A trunk to make or to replace. The limits are those of the side whose key is used: the carrier's with an operator's key,
    /// the customer's own with a customer's key. The lower of both counts.
    pub struct TrunkInput {
        /// Its name, unique within the customer.
        pub name: Text<1, 100>,
        /// The billing account that pays for its calls; the customer's first when absent.
        pub ban_id: Option<Ref<BanKind>>,
        /// Whether the trunk takes calls; `active` when absent.
        pub status: Option<TrunkStatus>,
        /// How many calls may be up at once. Absent: no limit of this side.
        pub channels: Option<Int<0, 1_000_000>>,
        /// How many calls may begin per second. Absent: no limit of this side.
        pub cps: Option<Int<0, 100_000>>,
        /// The highest price per minute that it pays. Absent: no limit of this side.
        pub max_rate_per_min: Option<Amount>,
        /// The most that it spends in one day of the customer's time zone. Absent: no limit of this side.
        pub daily_spend: Option<Amount>,
        /// The longest that a call may last, in seconds. Absent: no limit of this side.
        pub max_duration_s: Option<Int<1, 86_400>>,
        /// The classes of destinations that it may call. Absent: for an operator all but the risky ones, for a customer all
        /// that the carrier allows.
        pub destinations: Option<List<Destination, 11>>,
        /// Further addresses that its media may come from.
        pub media_ips: List<Ip, 32>,
        /// Technical prefixes that are taken off the dialled number.
        pub strip_prefixes: List<TechPrefix, 16>,
        /// Whether numbers without one of these prefixes are refused; false when absent. Emergency numbers need none.
        pub strip_required: Option<bool>,
        /// Whether calls without a valid caller number are refused; false when absent.
        pub require_valid_caller: Option<bool>,
        /// Whether its P-Asserted-Identity is believed; false when absent. Only an operator's key can turn it on.
        pub trust_asserted: Option<bool>,
        /// Whether it is within our circle of trust: then it is told who calls also where the caller asked for privacy. Else such a caller is
        /// anonymous to it. False when absent. Only an operator's key can set it.
        pub identity_trusted: Option<bool>,
        /// Where it is told who calls; `as_received` when absent. A header that we write ourselves names whom a peer that we believe has
        /// named, or a number that the calling customer has. Only an operator's key can set it.
        pub identity_form: Option<IdentityForm>,
        /// How the caller's number is written in From, and in the header of `identity_form`; `as_received` when absent. Only an operator's key can set it.
        pub caller_format: Option<CallerFormat>,
        /// How diversions are told; `as_received` when absent. Those of peers that we do not believe are told to nobody. Only an operator's key can set it.
        pub diversion_form: Option<DiversionForm>,
        /// What it is told of causes (Reason); `as_received` when absent. Only an operator's key can set it.
        pub reason_form: Option<ReasonForm>,
        /// Headers that are added, set or removed in each message of a call that goes to it, in order: `remove NAME`, `add NAME: VALUE`,
        /// `set NAME: VALUE`. What routes, pairs, frames or signs messages cannot be named, nor what other fields decide. Only an operator's key can set it.
        pub header_rules: Option<List<HeaderRule, 8>>,
        /// The only codecs that its calls may offer, besides `telephone-event`, by their names in SDP. Empty: all. An offer that has none of
        /// them stays as it is. Only an operator's key can set it.
        pub codecs: Option<List<CodecName, 16>>,
        /// Session timers (RFC 4028): its calls are refreshed at least this often, in seconds, where one side can; a call that nobody
        /// refreshes ends. Absent: nobody is asked to. Only an operator's key can set it.
        pub session_expires_s: Option<Int<90, 86_400>>,
        /// The least interval between refreshes that it may ask for, in seconds; less is answered 422. Absent: any. Only an operator's key can set it.
        pub session_min_s: Option<Int<90, 86_400>>,
        /// Whether the media relay records its calls, from the first offer on; false when absent. Only an operator's key can set it.
        pub recording: Option<bool>,
        /// Its price lists, in order. Empty: those of the customer. Only an operator's key can set them.
        pub sell_deck_ids: List<Ref<DeckKind>, 16>,
        /// Its partition. Null: that of the customer. Only an operator's key can set it.
        pub partition_id: Option<Ref<PartitionKind>>,
        /// How its charges are rounded; absent: `half_away_from_zero`, with a customer's key as it is. Only an operator's key can set it.
        pub rounding_mode: Option<RoundingMode>,
        /// The decimal places that they are rounded to; absent: 6, with a customer's key as it is. Only an operator's key can set it.
        pub rounding_places: Option<Int<0, 9>>,
        /// What becomes of a begun second; absent: `up`, with a customer's key as it is. Only an operator's key can set it.
        pub partial_second: Option<PartialSecond>,
        /// Where the places are rounded to; absent: `call`, with a customer's key as it is. Only an operator's key can set it.
        pub rounding_level: Option<RoundingLevel>,
    }
}

/// Trunks, as the API offers them.
pub struct Trunks;

impl Resource for Trunks {
    type Row = TrunkRow;
    type Kind = TrunkKind;
    type Parent = CustomerId;
    type Input = TrunkInput;
    type View = Trunk;

    fn view(ctx: &Ctx<'_>, row: TrunkRow) -> Trunk {
        Trunk::seen_by(ctx, row)
    }

    async fn values(
        ctx: &Ctx<'_>,
        tx: &mut Tx,
        of: Of<'_, Self>,
        input: &TrunkInput,
    ) -> Result<TrunkValues, Fault> {
        let (sides, currency, now) = match of {
            Of::New(_, customer) => {
                let currency = resource::read::<CustomerRow>(tx, customer).await?.currency;
                check_count(nouns::count::<TrunkRow>(tx, customer).await?, TRUNKS_PER_CUSTOMER, "trunks")?;
                let carrier = if is_customer(ctx) {
                    begins_with(rows::tightest(tx, customer, None).await?)
                } else {
                    OwnedLimits { destinations: Some(usual_words()), ..no_limits() }
                };
                (Sides { carrier, own: no_limits() }, currency, None)
            }
            Of::Now(_, now) => (Sides::of(now), now.currency.clone(), Some(now)),
        };
        operators_only(ctx, input, now, &sides)?;
        let mut problems = Vec::new();
        // A customer, who cannot set them, leaves them as they are.
        let kept = now.filter(|_| is_customer(ctx)).map(headers_now);
        let usual = kept.unwrap_or_else(|| HeaderFields::usual(false));
        let headers = HeaderFields::asked(headers_of!(input), usual, &mut problems);
        none_wrong(problems)?;
        values(ctx, tx, input, &currency, sides, (Rounds::of(ctx, input, now), headers)).await
    }

    async fn may_go(ctx: &Ctx<'_>, tx: &mut Tx, now: &TrunkRow) -> Result<(), Fault> {
        if !is_customer(ctx) {
            return Ok(());
        }
        let wrong = |_| StoreError::Internal("an id cannot be read".into());
        let (id, customer): (TrunkId, CustomerId) =
            (now.id.parse().map_err(wrong)?, now.customer_id.parse().map_err(wrong)?);
        let others = begins_with(rows::tightest(tx, customer, Some(id)).await?);
        if held_as_tightly(&Sides::of(now).carrier, &others) {
            return Ok(());
        }
        let message = "the carrier has set limits on this trunk; ask the carrier to delete it";
        Err(Fault::new(Kind::Forbidden, message))
    }
}

/// What a customer cannot decide for itself: prices, routing, destinations that the carrier does not allow.
fn operators_only(
    ctx: &Ctx<'_>,
    input: &TrunkInput,
    current: Option<&TrunkRow>,
    sides: &Sides,
) -> Result<(), Fault> {
    if !is_customer(ctx) {
        return Ok(());
    }
    let mut problems = Vec::new();
    let mut refuse = |field: &str| {
        problems.push(Problem::new(field, "operators_only", "only the carrier can change this"));
    };
    let decks = ids(&input.sell_deck_ids);
    if decks != current.map(|c| c.sell_deck_ids.clone()).unwrap_or_default() {
        refuse("sell_deck_ids");
    }
    if input.partition_id.as_ref().map(|p| p.0.to_string()) != current.and_then(|c| c.partition_id.clone()) {
        refuse("partition_id");
    }
    let allowed = sides.carrier.destinations.clone().unwrap_or_default();
    let had = sides.own.destinations.clone().unwrap_or_default();
    let wanted = input.destinations.iter().flat_map(|l| &l.0).map(|d| d.as_str().to_owned());
    if wanted.into_iter().any(|d| !allowed.contains(&d) && !had.contains(&d)) {
        refuse("destinations");
    }
    let (is, asked) = (Rounds::now(current), Rounds::asked(input, Rounds::now(current)));
    for (field, differs) in [
        ("rounding_mode", is.mode != asked.mode),
        ("rounding_places", is.places != asked.places),
        ("partial_second", is.second != asked.second),
        ("rounding_level", is.level != asked.level),
    ] {
        if differs {
            refuse(field);
        }
    }
    let had = current.map_or_else(|| HeaderFields::usual(false), headers_now);
    // What is wrong with them is said where they are written.
    for field in HeaderFields::asked(headers_of!(input), had.clone(), &mut Vec::new()).differing(&had) {
        refuse(field);
    }
    if input.trust_asserted.unwrap_or(false) && !current.is_some_and(|c| c.trust_asserted) {
        refuse("trust_asserted");
    }
    if problems.is_empty() { Ok(()) } else { Err(Fault { kind: Kind::Forbidden, ..Fault::fields(problems) }) }
}

/// How messages of calls are written towards it, as it stands in the row.
fn headers_now(row: &TrunkRow) -> HeaderFields {
    HeaderFields {
        trusted: row.identity_trusted,
        identity: row.identity_form.clone(),
        caller: row.caller_format.clone(),
        diversion: row.diversion_form.clone(),
        reason: row.reason_form.clone(),
        rules: row.header_rules.clone(),
        codecs: row.codecs.clone(),
        expires: row.session_expires_s,
        least: row.session_min_s,
        recording: row.recording,
    }
}

/// How a trunk's charges are rounded, as it stands in the row.
struct Rounds {
    mode: String,
    places: i32,
    second: String,
    level: String,
}

impl Rounds {
    /// Of a trunk as it is; of a new one the usual.
    fn now(current: Option<&TrunkRow>) -> Self {
        match current {
            Some(row) => Self {
                mode: row.rounding_mode.clone(),
                places: row.rounding_places,
                second: row.partial_second.clone(),
                level: row.rounding_level.clone(),
            },
            None => Self {
                mode: RoundingMode::HalfAwayFromZero.as_str().to_owned(),
                places: 6,
                second: PartialSecond::Up.as_str().to_owned(),
                level: RoundingLevel::Call.as_str().to_owned(),
            },
        }
    }

    /// What is asked for, over something else.
    fn asked(input: &TrunkInput, otherwise: Self) -> Self {
        Self {
            mode: input.rounding_mode.map_or(otherwise.mode, |m| m.as_str().to_owned()),
            places: input.rounding_places.map_or(otherwise.places, Int::as_i32),
            second: input.partial_second.map_or(otherwise.second, |s| s.as_str().to_owned()),
            level: input.rounding_level.map_or(otherwise.level, |l| l.as_str().to_owned()),
        }
    }

    /// What is written. A customer, who cannot set it, leaves it as it is.
    fn of(ctx: &Ctx<'_>, input: &TrunkInput, current: Option<&TrunkRow>) -> Self {
        let absent = if is_customer(ctx) { current } else { None };
        Self::asked(input, Self::now(absent))
    }
}

/// What is written: the side of this key as the input says, the other side as it was.
async fn values(
    ctx: &Ctx<'_>,
    tx: &mut Tx,
    input: &TrunkInput,
    currency: &str,
    sides: Sides,
    (rounds, headers): (Rounds, HeaderFields),
) -> Result<TrunkValues, Fault> {
    let currency: Currency = currency.parse().unwrap_or(Currency::USD);
    let mut problems = Vec::new();
    let max_rate_per_min = nanos(input.max_rate_per_min, currency, "max_rate_per_min", &mut problems);
    let daily_spend = nanos(input.daily_spend, currency, "daily_spend", &mut problems);
    let sell_deck_ids = ids(&input.sell_deck_ids);
    check_decks(tx, &sell_deck_ids, Some(currency), "sell_deck_ids", &mut problems).await?;
    none_wrong(problems)?;
    let mut written = OwnedLimits {
        status: input.status.unwrap_or(TrunkStatus::Active).as_str().to_owned(),
        channels: input.channels.map(Int::as_i32),
        cps: input.cps.map(Int::as_i32),
        max_rate_per_min,
        daily_spend,
        max_duration_s: input.max_duration_s.map(Int::as_i32),
        destinations: input
            .destinations
            .as_ref()
            .map(|l| l.0.iter().map(|d| d.as_str().to_owned()).collect()),
        require_valid_caller: input.require_valid_caller.unwrap_or(false),
    };
    let sides = if is_customer(ctx) {
        Sides { own: written, ..sides }
    } else {
        written.destinations.get_or_insert_with(usual_words);
        Sides { carrier: written, ..sides }
    };
    let Sides { carrier, own } = sides;
    Ok(TrunkValues {
        ban_id: input.ban_id.as_ref().map(|b| b.0.to_string()),
        name: input.name.0.clone(),
        status: carrier.status,
        channels: carrier.channels,
        cps: carrier.cps,
        max_rate_per_min: carrier.max_rate_per_min,
        daily_spend: carrier.daily_spend,
        max_duration_s: carrier.max_duration_s,
        destinations: carrier.destinations.unwrap_or_default(),
        require_valid_caller: carrier.require_valid_caller,
        own_status: own.status,
        own_channels: own.channels,
        own_cps: own.cps,
        own_max_rate_per_min: own.max_rate_per_min,
        own_daily_spend: own.daily_spend,
        own_max_duration_s: own.max_duration_s,
        own_destinations: own.destinations,
        own_require_valid_caller: own.require_valid_caller,
        media_ips: input.media_ips.0.iter().map(|i| i.0.to_string()).collect(),
        strip_prefixes: input.strip_prefixes.0.iter().map(|p| p.0.clone()).collect(),
        strip_required: input.strip_required.unwrap_or(false),
        trust_asserted: input.trust_asserted.unwrap_or(false),
        identity_trusted: headers.trusted,
        identity_form: headers.identity,
        caller_format: headers.caller,
        diversion_form: headers.diversion,
        reason_form: headers.reason,
        header_rules: headers.rules,
        codecs: headers.codecs,
        session_expires_s: headers.expires,
        session_min_s: headers.least,
        recording: headers.recording,
        sell_deck_ids,
        partition_id: input.partition_id.as_ref().map(|p| p.0.to_string()),
        rounding_mode: rounds.mode,
        rounding_places: rounds.places,
        partial_second: rounds.second,
        rounding_level: rounds.level,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use warp_policy::number_plan::DestinationClass;

    #[test]
    fn destinations_are_those_of_policy() {
        for word in Destination::WORDS {
            assert!(DestinationClass::parse(word).is_some(), "{word}");
        }
        assert_eq!(Destination::WORDS.len(), DestinationClass::ALL.len());
    }
}
