//! Billing accounts (BAN): the unit of balance, cycle, terms and invoice. A customer has one from its beginning; the first one pays
//! for whatever names none.

use warp_model::id::{BanKind, CustomerKind};
use warp_model::{BanId, Currency, CustomerId};

use super::fault::{Fault, Problem};
use super::input::{CurrencyCode, Int, Text};
use super::listing::Listing;
use super::paging::Page;
use super::resource::{self, Resource};
use super::view::Word;
use super::{Change, Ctx, Expected, customers, deleted, nanos, none_wrong, patched};
use crate::noun::Noun;
use crate::noun::ban::{BAN, BanRow, BanValues};
use crate::store::types::{Amount, Time};
use crate::store::{StoreError, nouns};

crate::view! {
    /// A billing account: the unit of balance, cycle, terms and invoice.
    pub struct Ban from BanRow {
        /// The account's id: `ban_` and 26 characters.
        pub id: String,
        /// The customer that it belongs to.
        pub customer_id: String,
        /// Its name, for people.
        pub name: String,
        /// The ISO 4217 currency that it is billed in: the one of the customer.
        pub currency: String,
        /// The day of the month, 1 to 28, on which its cycle begins.
        pub cycle_day: i32,
        /// Days until an invoice is due: 0, 15, 30 or 60.
        pub terms_days: i32,
        /// Whether it pays before or after its calls.
        pub mode: Word<BanMode>,
        /// How far a postpaid account may owe. Null: any amount; a prepaid account owes nothing.
        pub credit_limit: Option<Amount>,
        /// When it was made.
        pub created_at: Time,
        /// When it was changed last.
        pub updated_at: Time,
        /// A number that rises with each change. The ETag header carries it.
        pub version: i32,
    }
}

crate::choice! {
    /// How a billing account pays.
    pub enum BanMode {
        /// It pays before its calls.
        Prepaid = "prepaid",
        /// It pays after its calls, by invoice.
        Postpaid = "postpaid",
    }
}

impl crate::noun::Filtering for BanMode {
    fn stored(self) -> String {
        self.as_str().to_owned()
    }
}

crate::input! {
    /// A billing account to make or to replace.
    pub struct BanInput {
        /// Its name, for people.
        pub name: Text<1, 100>,
        /// The currency of the customer, which is also the default. It cannot be another one.
        pub currency: Option<CurrencyCode>,
        /// The day of the month on which its cycle begins; 1 when absent.
        pub cycle_day: Option<Int<1, 28>>,
        /// Days until an invoice is due: 0, 15, 30 (when absent) or 60.
        pub terms_days: Option<TermsDays>,
        /// How the account pays; `postpaid` when absent.
        pub mode: Option<BanMode>,
        /// How far it may owe. Absent: any amount. A prepaid account has none.
        pub credit_limit: Option<Amount>,
    }
}

crate::whole_of! {
    /// Days until an invoice is due.
    pub struct TermsDays: [0, 15, 30, 60];
}

/// Billing accounts, as the API offers them.
pub struct Bans;

impl Resource for Bans {
    const NOUN: &'static Noun = &BAN;
    type Kind = BanKind;
    type Parent = CustomerKind;
    type Input = BanInput;
    type View = Ban;

    fn id(view: &Ban) -> &str {
        &view.id
    }
    fn of_customer(customer: CustomerId) -> Option<CustomerId> {
        Some(customer)
    }
    async fn list(ctx: &Ctx<'_>, listing: &Listing) -> Result<Page<Ban>, Fault> {
        let mut tx = ctx.begin().await?;
        let rows: Vec<BanRow> = nouns::list(&mut tx, listing).await?;
        Ok(listing.page(rows).map(Ban::from))
    }
    async fn create(ctx: &Ctx<'_>, customer: CustomerId, input: BanInput) -> Result<Ban, Fault> {
        let currency = customers::get(ctx, customer).await?.currency;
        let id: BanId = ctx.new_id::<BanKind>();
        let values = values(input, &currency)?;
        let mut tx = ctx.begin().await?;
        let row = nouns::insert(&mut tx, id, customer, values).await?;
        let row: BanRow = row.ok_or_else(|| Fault::not_found("customer"))?;
        resource::saved(ctx, tx, Some(customer), ("create", row), Ban::from).await
    }
    async fn get(ctx: &Ctx<'_>, id: BanId) -> Result<Ban, Fault> {
        let mut tx = ctx.begin().await?;
        Ok(known(nouns::get(&mut tx, id).await?)?.into())
    }
    async fn update(ctx: &Ctx<'_>, id: BanId, change: Change<'_>, expected: &Expected) -> Result<Ban, Fault> {
        let mut tx = ctx.begin().await?;
        let current = known(nouns::lock(&mut tx, id).await?)?;
        expected.check(current.version)?;
        let customer = owner(&current)?;
        let currency = current.currency.clone();
        let values = values(patched(&Ban::from(current), change)?, &currency)?;
        let row = known(nouns::update(&mut tx, id, customer, values).await?)?;
        resource::saved(ctx, tx, Some(customer), ("update", row), Ban::from).await
    }
    async fn delete(ctx: &Ctx<'_>, id: BanId, expected: &Expected) -> Result<(), Fault> {
        let mut tx = ctx.begin().await?;
        let current = known(nouns::lock(&mut tx, id).await?)?;
        expected.check(current.version)?;
        let rows = nouns::delete::<BanRow>(&mut tx, id).await;
        let customer = owner(&current)?;
        deleted(ctx, tx, rows, (BAN.called, &id.to_string()), Some(customer)).await
    }
}

pub(super) fn known(row: Option<BanRow>) -> Result<BanRow, Fault> {
    row.ok_or_else(|| Fault::not_found(BAN.called))
}

pub(super) fn owner(row: &BanRow) -> Result<CustomerId, Fault> {
    let read = row.customer_id.parse();
    Ok(read.map_err(|_| StoreError::Internal("a customer's id cannot be read".into()))?)
}

fn values(input: BanInput, currency: &str) -> Result<BanValues, Fault> {
    let of_customer: Currency = currency.parse().unwrap_or(Currency::USD);
    let mut problems = Vec::new();
    if input.currency.is_some_and(|c| c.0 != of_customer) {
        let message = format!("must be {of_customer}, the currency of the customer");
        problems.push(Problem::new("currency", "currency_mismatch", message));
    }
    let credit_limit = nanos(input.credit_limit, of_customer, "credit_limit", &mut problems);
    let mode = input.mode.unwrap_or(BanMode::Postpaid);
    if mode == BanMode::Prepaid && credit_limit.is_some() {
        problems.push(Problem::new("credit_limit", "contradicts", "a prepaid account has no credit"));
    }
    none_wrong(problems)?;
    Ok(BanValues {
        name: input.name.0,
        currency: currency.to_owned(),
        cycle_day: input.cycle_day.map_or(1, Int::as_i32),
        terms_days: input.terms_days.map_or(30, |d| d.0),
        mode: mode.as_str().to_owned(),
        credit_limit,
    })
}
