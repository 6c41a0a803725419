//! Billing accounts (BAN): the unit of balance, cycle, terms and invoice. A customer has one from its beginning; the first one pays
//! for whatever names none.

use warp_model::id::BanKind;
use warp_model::{BanId, Currency, CustomerId};

use super::fault::{Fault, Problem};
use super::input::{CurrencyCode, Int, Text};
use super::resource::{self, Of, Resource};
use super::view::Word;
use super::{Ctx, nanos, none_wrong};
use crate::noun::ban::{BanRow, BanValues};
use crate::noun::customer::CustomerRow;
use crate::store::types::{Amount, Time};
use crate::store::{StoreError, Tx, ledger};

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
        /// The event `balance.low` is told when its balance falls below this. Null: never.
        pub low_balance: Option<Amount>,
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
        /// The event `balance.low` is told when its balance falls below this. Absent: never.
        pub low_balance: Option<Amount>,
    }
}

crate::whole_of! {
    /// Days until an invoice is due.
    pub struct TermsDays: [0, 15, 30, 60];
}

/// Billing accounts, as the API offers them.
pub struct Bans;

impl Resource for Bans {
    type Row = BanRow;
    type Kind = BanKind;
    type Parent = CustomerId;
    type Input = BanInput;
    type View = Ban;

    fn view(_: &Ctx<'_>, row: BanRow) -> Ban {
        row.into()
    }

    async fn values(
        _: &Ctx<'_>,
        tx: &mut Tx,
        of: Of<'_, Self>,
        input: &BanInput,
    ) -> Result<BanValues, Fault> {
        let currency = match of {
            Of::New(_, customer) => resource::read::<CustomerRow>(tx, customer).await?.currency,
            Of::Now(_, now) => now.currency.clone(),
        };
        values(input, &currency)
    }

    /// Other lines may have been crossed by being drawn elsewhere.
    async fn beside(tx: &mut Tx, id: BanId, _: &BanInput) -> Result<(), Fault> {
        Ok(ledger::tell_of_lines(tx, &[&id.to_string()]).await?)
    }
}

pub(super) fn owner(row: &BanRow) -> Result<CustomerId, Fault> {
    let read = row.customer_id.parse();
    Ok(read.map_err(|_| StoreError::Internal("a customer's id cannot be read".into()))?)
}

fn values(input: &BanInput, currency: &str) -> Result<BanValues, Fault> {
    let of_customer: Currency = currency.parse().unwrap_or(Currency::USD);
    let mut problems = Vec::new();
    if input.currency.as_ref().is_some_and(|c| c.0 != of_customer) {
        let message = format!("must be {of_customer}, the currency of the customer");
        problems.push(Problem::new("currency", "currency_mismatch", message));
    }
    let credit_limit = nanos(input.credit_limit, of_customer, "credit_limit", &mut problems);
    let low_balance = nanos(input.low_balance, of_customer, "low_balance", &mut problems);
    let mode = input.mode.unwrap_or(BanMode::Postpaid);
    if mode == BanMode::Prepaid && credit_limit.is_some() {
        problems.push(Problem::new("credit_limit", "contradicts", "a prepaid account has no credit"));
    }
    none_wrong(problems)?;
    Ok(BanValues {
        name: input.name.0.clone(),
        currency: currency.to_owned(),
        cycle_day: input.cycle_day.map_or(1, Int::as_i32),
        terms_days: input.terms_days.as_ref().map_or(30, |d| d.0),
        mode: mode.as_str().to_owned(),
        credit_limit,
        low_balance,
    })
}
