//! Exchange rates: by them the cost of a vendor that asks in another currency is compared with what the customer pays.

use warp_model::Id;
use warp_model::id::Kind as IdKind;

use super::fault::{Fault, Problem};
use super::input::{CurrencyCode, Text};
use super::resource::{Of, Resource};
use super::{Ctx, none_wrong};
use crate::noun::exchange_rate::{ExchangeRateRow, ExchangeRateValues};
use crate::store::Tx;
use crate::store::types::{Amount, Time};

/// The kind of ids of exchange rates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExchangeRateKind {}
impl IdKind for ExchangeRateKind {
    const PREFIX: &'static str = "fxr";
}
/// The id of an exchange rate: `fxr_` and 26 characters.
pub type ExchangeRateId = Id<ExchangeRateKind>;

crate::view! {
    /// What one unit of a currency is worth in another one. It serves the margin guard, the order of vendors and the margin of a call; no
    /// price is converted, and what is bought is rounded up. A pair that is not here is not guessed from other pairs, nor from its inverse:
    /// vendors of that currency are excluded.
    pub struct ExchangeRate from ExchangeRateRow {
        /// The exchange rate's id: `fxr_` and 26 characters.
        pub id: String,
        /// The ISO 4217 currency that vendors ask in.
        pub currency: String,
        /// What one unit of it is worth, in the currency that customers pay in.
        pub worth: Amount,
        /// Where the rate is from, in words.
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
    /// An exchange rate to make or to replace. There is one for each pair of currencies.
    pub struct ExchangeRateInput {
        /// The ISO 4217 currency that vendors ask in.
        pub currency: CurrencyCode,
        /// What one unit of it is worth, above 0, in the currency that customers pay in.
        pub worth: Amount,
        /// Where the rate is from, in words.
        pub reason: Text<1, 200>,
    }
}

/// Exchange rates, as the API offers them.
pub struct ExchangeRates;

impl Resource for ExchangeRates {
    type Row = ExchangeRateRow;
    type Kind = ExchangeRateKind;
    type Parent = ();
    type Input = ExchangeRateInput;
    type View = ExchangeRate;

    fn view(_: &Ctx<'_>, row: ExchangeRateRow) -> ExchangeRate {
        row.into()
    }

    async fn values(
        _: &Ctx<'_>,
        _: &mut Tx,
        _: Of<'_, Self>,
        input: &ExchangeRateInput,
    ) -> Result<ExchangeRateValues, Fault> {
        let (currency, worth) = (input.currency.0, input.worth.0);
        let mut problems = Vec::new();
        if worth.currency == currency {
            problems.push(Problem::new("worth", "contradicts", "must be in another currency"));
        }
        if worth.amount.0 <= 0 {
            problems.push(Problem::new("worth", "contradicts", "must be above 0"));
        }
        problems.truncate(1);
        none_wrong(problems)?;
        Ok(ExchangeRateValues {
            currency: currency.to_string(),
            worth: worth.amount.0,
            worth_currency: worth.currency.to_string(),
            reason: input.reason.0.clone(),
        })
    }
}
