//! Customers, which are tenants.

use warp_model::Currency;
use warp_model::id::{CustomerKind, DeckKind};

use super::fault::{Fault, Problem};
use super::input::{CurrencyCode, Int, List, Ref, Text};
use super::resource::{Of, Resource};
use super::routing::PartitionKind;
use super::view::Word;
use super::{Ctx, check_decks, ids, nanos, none_wrong};
use crate::noun::customer::{CustomerRow, CustomerValues};
use crate::store::Tx;
use crate::store::types::{Amount, Time};

crate::view! {
    /// A customer of the carrier: a tenant with its own trunks, keys and calls.
    pub struct Customer from CustomerRow {
        /// The customer's id: `cus_` and 26 characters.
        pub id: String,
        /// The customer's name, for people.
        pub name: String,
        /// `active`, or `suspended`: then no key of the customer works and every call is refused.
        pub status: Word<Status>,
        /// The ISO 4217 currency of all amounts of this customer. It never changes.
        pub currency: String,
        /// How many calls may be up at once, over all trunks. Null: no limit.
        pub channels: Option<i32>,
        /// How many calls may begin per second, over all trunks. Null: no limit.
        pub cps: Option<i32>,
        /// The highest price per minute that this customer pays; dearer calls are refused. Null: no limit.
        pub max_rate_per_min: Option<Amount>,
        /// The most that this customer spends in one day of its own time zone. Null: no limit.
        pub daily_spend: Option<Amount>,
        /// The customer's time zone in minutes east of UTC. It says when its day begins.
        pub utc_offset_min: i32,
        /// The price lists of its trunks, in order. A trunk may have its own.
        pub sell_deck_ids: Vec<String>,
        /// The partition of its trunks. A trunk may have its own.
        pub partition_id: Option<String>,
        /// When it was made.
        pub created_at: Time,
        /// When it was changed last.
        pub updated_at: Time,
        /// A number that rises with each change. The ETag header carries it.
        pub version: i32,
    }
}

crate::choice! {
    /// Whether a customer or vendor is in business with us.
    pub enum Status {
        /// It is in business with us.
        Active = "active",
        /// It is not, until it is active again.
        Suspended = "suspended",
    }
}

crate::input! {
    /// A customer to make or to replace.
    pub struct CustomerInput {
        /// The customer's name, for people.
        pub name: Text<1, 100>,
        /// Whether the customer may call; `active` when absent.
        pub status: Option<Status>,
        /// The ISO 4217 currency of all its amounts; `USD` when absent. It cannot change.
        pub currency: Option<CurrencyCode>,
        /// How many calls may be up at once, over all trunks. Absent: no limit.
        pub channels: Option<Int<0, 1_000_000>>,
        /// How many calls may begin per second, over all trunks. Absent: no limit.
        pub cps: Option<Int<0, 100_000>>,
        /// The highest price per minute that it pays. Absent: no limit.
        pub max_rate_per_min: Option<Amount>,
        /// The most that it spends in one day of its time zone. Absent: no limit.
        pub daily_spend: Option<Amount>,
        /// Its time zone in minutes east of UTC; 0 when absent.
        pub utc_offset_min: Option<Int<-840, 840>>,
        /// The price lists of its trunks, in order.
        pub sell_deck_ids: List<Ref<DeckKind>, 16>,
        /// The partition of its trunks.
        pub partition_id: Option<Ref<PartitionKind>>,
    }
}

/// Customers, as the API offers them.
pub struct Customers;

impl Resource for Customers {
    type Row = CustomerRow;
    type Kind = CustomerKind;
    type Parent = ();
    type Input = CustomerInput;
    type View = Customer;

    fn view(_: &Ctx<'_>, row: CustomerRow) -> Customer {
        row.into()
    }

    async fn values(
        _: &Ctx<'_>,
        tx: &mut Tx,
        of: Of<'_, Self>,
        input: &CustomerInput,
    ) -> Result<CustomerValues, Fault> {
        let wanted = input.currency.as_ref().map(|c| c.0);
        let currency = match of {
            Of::New(..) => wanted.unwrap_or(Currency::USD),
            Of::Now(_, now) if wanted.is_some_and(|c| c.as_str() != now.currency) => {
                let message = "the currency of a customer cannot change";
                return Err(Fault::field("currency", "cannot_change", message));
            }
            Of::Now(_, now) => now.currency.parse().unwrap_or(Currency::USD),
        };
        let mut problems: Vec<Problem> = Vec::new();
        let max_rate_per_min = nanos(input.max_rate_per_min, currency, "max_rate_per_min", &mut problems);
        let daily_spend = nanos(input.daily_spend, currency, "daily_spend", &mut problems);
        let sell_deck_ids = ids(&input.sell_deck_ids);
        check_decks(tx, &sell_deck_ids, Some(currency), "sell_deck_ids", &mut problems).await?;
        none_wrong(problems)?;
        Ok(CustomerValues {
            name: input.name.0.clone(),
            status: input.status.unwrap_or(Status::Active).as_str().to_owned(),
            currency: currency.as_str().to_owned(),
            channels: input.channels.map(Int::as_i32),
            cps: input.cps.map(Int::as_i32),
            max_rate_per_min,
            daily_spend,
            utc_offset_min: input.utc_offset_min.map_or(0, Int::as_i32),
            sell_deck_ids,
            partition_id: input.partition_id.as_ref().map(|p| p.0.to_string()),
        })
    }
}
