//! Numbers: the inventory, who has which, and which trunks their calls go to.
//!
//! Operators make numbers, assign them to customers and take them back. What a customer has, it leads to its own trunks. A number that was
//! taken back ages before somebody else may have it, so that calls for the last holder do not reach the next; it does so too when its row
//! is deleted and made again.

use warp_model::NumberId;
use warp_model::id::{CustomerKind, DeckKind, NumberKind, TrunkKind, VendorKind};

use super::calls::FilterDoc;
use super::fault::{Fault, Kind, Problem};
use super::input::{Cnam, Field, Int, List, Phone, Ref, SipUser, Text};
use super::paging::{Page, Paging};
use super::view::Word;
use super::{Change, Ctx, Expected, check_decks, deleted, none_wrong, patched, saved};
use crate::store::numbers::{self as rows, NumberQuery, NumberRow, NumberValues};
use crate::store::types::Time;
use crate::store::{StoreError, Tx};

/// How long a number ages after it was released.
const AGEING_DAYS: i32 = 90;

crate::choice! {
    /// Where a number stands.
    pub enum NumberState {
        /// Nobody has it; it can be assigned.
        Inventory = "inventory",
        /// A customer has it, and its calls go to the customer's trunks.
        Assigned = "assigned",
        /// It was released lately; its calls go nowhere until somebody may have it again.
        Ageing = "ageing",
    }
}

crate::view! {
    /// A trunk that takes calls of a number, or a registered user of it.
    pub struct NumberTarget {
        /// The trunk, of the same customer.
        pub trunk_id: String,
        /// The SIP user of the trunk whose registered phones take the calls. Null: the trunk's inbound addresses do.
        pub username: Option<String>,
        /// The smaller number is tried first.
        pub priority: i32,
        /// The share among equal priorities.
        pub weight: i32,
    }
}

crate::view! {
    /// A number that can be called.
    pub struct Number {
        /// The number's id: `num_` and 26 characters.
        pub id: String,
        /// The number in E.164.
        pub number: String,
        /// The vendor that brings its calls. Null for customers, and for a number of a block of our own.
        pub vendor_id: Option<String>,
        /// The customer who has it. Null: nobody has.
        pub customer_id: Option<String>,
        /// Where the number stands.
        pub state: Word<NumberState>,
        /// The price list of its calls. Null: those that the customer's inbound calls are sold by.
        pub sell_deck_id: Option<String>,
        /// The trunks that take its calls. Empty: calls are refused with 480.
        pub targets: Vec<NumberTarget>,
        /// The name that is shown where it calls, at most 15 characters.
        pub cnam: Option<String>,
        /// The address that help is sent to when it is called for from this number.
        pub e911_address: Option<String>,
        /// When the number was released; null: it was not, or is somebody's again.
        pub released_at: Option<Time>,
        /// When it was made.
        pub created_at: Time,
        /// When it was changed last.
        pub updated_at: Time,
        /// A number that rises with each change. The ETag header carries it.
        pub version: i32,
    }
}

impl Number {
    fn seen_by(ctx: &Ctx<'_>, row: NumberRow) -> Self {
        let customers = ctx.scope.customer().is_some();
        let target = |text: &String| {
            let mut parts = text.split(' ');
            let mut number = |other: i32| parts.next().map_or(other, |p| p.parse().unwrap_or(other));
            let trunk_id = text.split(' ').next().unwrap_or_default().to_owned();
            number(0);
            let (priority, weight) = (number(0), number(1));
            NumberTarget { trunk_id, username: parts.next().map(str::to_owned), priority, weight }
        };
        Self {
            id: row.id,
            number: row.number,
            vendor_id: row.vendor_id.filter(|_| !customers),
            customer_id: row.customer_id,
            state: row.state.into(),
            sell_deck_id: row.sell_deck_id,
            targets: row.targets.iter().map(target).collect(),
            cnam: row.cnam,
            e911_address: row.e911_address,
            released_at: row.released_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
            version: row.version,
        }
    }
}

crate::input! {
    /// A trunk that is to take calls of a number.
    pub struct NumberTargetInput {
        /// The trunk, of the customer who has the number.
        pub trunk_id: Ref<TrunkKind>,
        /// A SIP user of the trunk (`credentials`): his registered phones take the calls. Absent: the trunk's inbound addresses do.
        pub username: Option<SipUser>,
        /// The smaller number is tried first; 0 when absent.
        pub priority: Option<Int<0, 1000>>,
        /// The share among equal priorities; 1 when absent.
        pub weight: Option<Int<1, 1000>>,
    }
}

impl Field for NumberTargetInput {
    fn read(value: Option<&serde_json::Value>, path: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        super::input::nested(value?, path, problems)
    }
    fn field_schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        <Self as utoipa::PartialSchema>::schema()
    }
}

crate::input! {
    /// A number to add to the inventory.
    pub struct NewNumberInput {
        /// The number in any usual writing.
        pub number: Phone,
        /// The vendor that brings its calls. Absent: it is of a block of our own.
        pub vendor_id: Option<Ref<VendorKind>>,
        /// The customer who gets it at once. Absent: it stays in the inventory.
        pub customer_id: Option<Ref<CustomerKind>>,
    }
}

crate::input! {
    /// Another state of a number.
    pub struct NumberInput {
        /// The vendor that brings its calls. Only an operator's key can set it.
        pub vendor_id: Option<Ref<VendorKind>>,
        /// The price list of its calls. Only an operator's key can set it.
        pub sell_deck_id: Option<Ref<DeckKind>>,
        /// The trunks that take its calls. Only an assigned number has any.
        pub targets: List<NumberTargetInput, 8>,
        /// The name that is shown where it calls: at most 15 printable characters.
        pub cnam: Option<Cnam>,
        /// The address that help is sent to when it is called for from this number, at most 200 characters.
        pub e911_address: Option<Text<1, 200>>,
    }
}

crate::input! {
    /// Who gets a number.
    pub struct AssignInput {
        /// The customer who gets it.
        pub customer_id: Ref<CustomerKind>,
    }
}

/// What a list of numbers is filtered by.
pub const FILTERS: &[FilterDoc] = &[("number", Phone::field_schema, "Only this number.")];

/// The filters that operators have besides.
pub const OPERATORS_FILTERS: &[FilterDoc] = &[
    ("customer", Ref::<CustomerKind>::field_schema, "Only numbers of this customer (cus_…)."),
    ("vendor", Ref::<VendorKind>::field_schema, "Only numbers whose calls this vendor brings (vnd_…)."),
    ("state", NumberState::field_schema, "Only numbers that stand there."),
];

/// One page of the numbers that the scope sees, newest first unless the paging says otherwise.
pub async fn list<'q>(
    ctx: &Ctx<'_>,
    text: impl Fn(&str) -> Option<&'q str>,
    paging: &Paging,
) -> Result<Page<Number>, Fault> {
    let mut problems = Vec::new();
    let value = |name: &str| text(name).map(serde_json::Value::from);
    let number = value("number").and_then(|v| Phone::read(Some(&v), "number", &mut problems));
    let mut of = NumberQuery { number: number.map(|n| n.0), ..NumberQuery::default() };
    match ctx.scope.customer() {
        Some(customer) => of.customer = Some(customer.to_string()),
        None => {
            let customer = value("customer");
            let customer =
                customer.and_then(|v| Ref::<CustomerKind>::read(Some(&v), "customer", &mut problems));
            let vendor = value("vendor");
            let vendor = vendor.and_then(|v| Ref::<VendorKind>::read(Some(&v), "vendor", &mut problems));
            let state = value("state").and_then(|v| NumberState::read(Some(&v), "state", &mut problems));
            of.customer = customer.map(|c| c.0.to_string());
            of.vendor = vendor.map(|v| v.0.to_string());
            of.state = state.map(NumberState::as_str);
        }
    }
    none_wrong(problems)?;
    let mut tx = ctx.begin().await?;
    let rows = rows::list(&mut tx, of, paging).await?;
    Ok(Page::of(rows, paging.limit, |n| &n.id).map(|row| Number::seen_by(ctx, row)))
}

/// The number with this id. Errors: there is none that the scope sees.
pub async fn get(ctx: &Ctx<'_>, id: NumberId) -> Result<Number, Fault> {
    let mut tx = ctx.begin().await?;
    Ok(Number::seen_by(ctx, known(rows::get(&mut tx, id).await?)?))
}

fn known(row: Option<NumberRow>) -> Result<NumberRow, Fault> {
    row.ok_or_else(|| Fault::not_found("number"))
}

/// Adds a number to the inventory, or gives it to a customer at once. One that was deleted while it aged goes on ageing. Errors: it is
/// there, or what it names is not, or it would be a customer's and still ages.
pub async fn create(ctx: &Ctx<'_>, input: NewNumberInput) -> Result<Number, Fault> {
    let id: NumberId = ctx.new_id::<NumberKind>();
    let customer = input.customer_id.as_ref().map(|c| c.0);
    let values = NumberValues {
        vendor_id: input.vendor_id.map(|v| v.0.to_string()),
        customer_id: customer.map(|c| c.to_string()),
        state: state_of(customer.is_some()).as_str(),
        sell_deck_id: None,
        targets: Vec::new(),
        cnam: None,
        e911_address: None,
        released: false,
    };
    let mut tx = ctx.begin().await?;
    let row = match rows::insert(&mut tx, id, &input.number.0, values).await {
        Err(StoreError::Conflict(_)) => {
            return Err(Fault::field("number", "taken", "this number is there already"));
        }
        Err(StoreError::Reference(_)) => return Err(unknown_reference()),
        other => known(other?)?,
    };
    let row = match (rows::released(&mut tx, &input.number.0, AGEING_DAYS).await?, customer) {
        (None, _) => row,
        (Some(_), Some(_)) => return Err(still_ages()),
        (Some(since), None) => known(rows::age(&mut tx, id, since).await?)?,
    };
    saved(ctx, tx, customer, ("number.create", &id.to_string()), Number::seen_by(ctx, row)).await
}

fn still_ages() -> Fault {
    Fault::new(Kind::InUse, format!("the number was released less than {AGEING_DAYS} days ago"))
}

fn state_of(assigned: bool) -> NumberState {
    if assigned { NumberState::Assigned } else { NumberState::Inventory }
}

fn unknown_reference() -> Fault {
    Fault::field("customer_id", "no_such_object", "there is no such customer, vendor or deck")
}

/// Another state of a number: where its calls go, and what is known of it.
pub async fn update(
    ctx: &Ctx<'_>,
    id: NumberId,
    change: Change<'_>,
    expected: &Expected,
) -> Result<Number, Fault> {
    let mut tx = ctx.begin().await?;
    let row = known(rows::lock(&mut tx, id).await?)?;
    expected.check(row.version)?;
    let kept = (row.vendor_id.clone(), row.sell_deck_id.clone());
    let customer = row.customer_id.clone();
    let state = NumberState::parse(&row.state).unwrap_or(NumberState::Inventory);
    let customers_key = ctx.scope.customer().is_some();
    let current = Number::seen_by(ctx, row);
    let input: NumberInput = patched(&current, change)?;
    let mut problems = Vec::new();
    let vendor_id = input.vendor_id.map(|v| v.0.to_string());
    let sell_deck_id = input.sell_deck_id.map(|d| d.0.to_string());
    // A customer's key sees no vendor, and keeps what it does not see.
    let vendor_id = if customers_key { kept.0.clone() } else { vendor_id };
    if customers_key && sell_deck_id != kept.1 {
        problems.push(Problem::new("sell_deck_id", "operators_only", "only an operator's key can set it"));
    }
    let decks: Vec<String> = sell_deck_id.iter().cloned().collect();
    check_decks(&mut tx, &decks, None, "sell_deck_id", &mut problems).await?;
    let targets = checked_targets(&mut tx, customer.as_deref(), input.targets.0, &mut problems).await?;
    none_wrong(problems)?;
    let values = NumberValues {
        vendor_id,
        customer_id: customer.clone(),
        state: state.as_str(),
        sell_deck_id,
        targets,
        cnam: input.cnam.map(|t| t.0),
        e911_address: input.e911_address.map(|t| t.0),
        released: state == NumberState::Ageing,
    };
    let row = match rows::update(&mut tx, id, values).await {
        Err(StoreError::Reference(_)) => {
            return Err(Fault::field("vendor_id", "no_such_object", "there is no such vendor"));
        }
        other => known(other?)?,
    };
    let customer = customer.and_then(|c| c.parse().ok());
    saved(ctx, tx, customer, ("number.update", &id.to_string()), Number::seen_by(ctx, row)).await
}

/// Targets as they are stored. Each trunk must be the customer's, once.
async fn checked_targets(
    tx: &mut Tx,
    customer: Option<&str>,
    targets: Vec<NumberTargetInput>,
    problems: &mut Vec<Problem>,
) -> Result<Vec<String>, Fault> {
    let Some(customer) = customer else {
        if !targets.is_empty() {
            problems.push(Problem::new("targets", "contradicts", "only an assigned number has targets"));
        }
        return Ok(Vec::new());
    };
    let ids: Vec<String> = targets.iter().map(|t| t.trunk_id.0.to_string()).collect();
    let known = rows::trunks_of(tx, customer, &ids).await?;
    let users: Vec<Option<String>> =
        targets.iter().map(|t| t.username.as_ref().map(|u| u.0.clone())).collect();
    let known_users = rows::users_of(tx, &ids, &users.iter().flatten().cloned().collect::<Vec<_>>()).await?;
    for (i, (id, user)) in ids.iter().zip(&users).enumerate() {
        let at = format!("targets[{i}].trunk_id");
        if !known.contains(id) {
            problems.push(Problem::new(at, "no_such_object", "the customer of the number has no such trunk"));
        } else if user.as_ref().is_some_and(|user| !known_users.contains(&format!("{id} {user}"))) {
            let at = format!("targets[{i}].username");
            problems.push(Problem::new(at, "no_such_object", "the trunk has no such user"));
        } else if ids.iter().zip(&users).take(i).any(|other| other == (id, user)) {
            problems.push(Problem::new(at, "taken", "this trunk, or this user of it, is there twice"));
        }
    }
    let stored = targets.into_iter().map(|t| {
        let (priority, weight) = (t.priority.map_or(0, Int::as_i32), t.weight.map_or(1, Int::as_i32));
        let user = t.username.map_or_else(String::new, |user| format!(" {}", user.0));
        format!("{} {priority} {weight}{user}", t.trunk_id.0)
    });
    Ok(stored.collect())
}

/// Gives a number of the inventory, or one that has aged, to a customer. Errors: somebody has it, or it still ages.
pub async fn assign(
    ctx: &Ctx<'_>,
    id: NumberId,
    input: AssignInput,
    expected: &Expected,
) -> Result<Number, Fault> {
    let mut tx = ctx.begin().await?;
    let row = known(rows::lock(&mut tx, id).await?)?;
    expected.check(row.version)?;
    let customer = input.customer_id.0;
    if row.customer_id.is_some() {
        return Err(Fault::new(Kind::InUse, "a customer has this number; release it first"));
    }
    let aged = |released: Time| {
        released.0.0.saturating_add(i64::from(AGEING_DAYS) * 86_400_000_000) <= ctx.app.wall().0
    };
    if row.released_at.is_some_and(|r| !aged(r)) {
        return Err(still_ages());
    }
    let values = NumberValues {
        vendor_id: row.vendor_id,
        customer_id: Some(customer.to_string()),
        state: NumberState::Assigned.as_str(),
        sell_deck_id: None,
        targets: Vec::new(),
        cnam: None,
        e911_address: None,
        released: false,
    };
    let row = match rows::update(&mut tx, id, values).await {
        Err(StoreError::Reference(_)) => return Err(unknown_reference()),
        other => known(other?)?,
    };
    saved(ctx, tx, Some(customer), ("number.assign", &id.to_string()), Number::seen_by(ctx, row)).await
}

/// Takes a number back from its customer; it begins to age, and its calls go nowhere at once. Errors: nobody has it.
pub async fn release(ctx: &Ctx<'_>, id: NumberId, expected: &Expected) -> Result<Number, Fault> {
    let mut tx = ctx.begin().await?;
    let row = known(rows::lock(&mut tx, id).await?)?;
    expected.check(row.version)?;
    let Some(customer) = row.customer_id.clone() else {
        return Err(Fault::new(Kind::InUse, "nobody has this number"));
    };
    let values = NumberValues {
        vendor_id: row.vendor_id,
        customer_id: None,
        state: NumberState::Ageing.as_str(),
        sell_deck_id: None,
        targets: Vec::new(),
        cnam: None,
        e911_address: None,
        released: true,
    };
    let row = known(rows::update(&mut tx, id, values).await?)?;
    let customer = customer.parse().ok();
    saved(ctx, tx, customer, ("number.release", &id.to_string()), Number::seen_by(ctx, row)).await
}

/// Takes a number out of the inventory. When it ages, that is remembered. Errors: a customer has it.
pub async fn delete(ctx: &Ctx<'_>, id: NumberId, expected: &Expected) -> Result<(), Fault> {
    let mut tx = ctx.begin().await?;
    let row = known(rows::lock(&mut tx, id).await?)?;
    expected.check(row.version)?;
    if row.customer_id.is_some() {
        return Err(Fault::new(Kind::InUse, "a customer has this number; release it first"));
    }
    let rows = rows::delete(&mut tx, id).await;
    rows::forget_released(&mut tx, AGEING_DAYS).await?;
    deleted(ctx, tx, rows, ("number", &id.to_string()), None).await
}
