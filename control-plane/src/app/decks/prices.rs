//! What a version of a deck holds: its rows, page by page, as the calls are priced by them. A version never changes, so that the
//! place of a row in it is a cursor.

use warp_model::{Currency, DeckId};
use warp_policy::Code;
use warp_policy::deck::{Deck as PolicyDeck, Row};

use super::report::increments;
use super::row;
use super::upload::blocking;
use crate::app::Ctx;
use crate::app::fault::Fault;
use crate::app::paging::{Page, Paging};
use crate::store::decks as store;
use crate::store::types::{Amount, Time};

crate::view! {
    /// A row of a rate deck: what a dial code costs, and from when to when.
    pub struct DeckPrice {
        /// The dial code. The row prices the numbers that begin with it, where no longer code of the deck does.
        pub code: String,
        /// Whether the code is carried. Where it is not, no price of the deck holds for its numbers, that of a shorter code neither.
        pub carried: bool,
        /// The price per minute between states; where no jurisdiction applies, and in an A-Z deck, the price. Null: the code is not
        /// carried.
        pub interstate: Option<Amount>,
        /// The price per minute within a state. Null: the code is not carried.
        pub intrastate: Option<Amount>,
        /// The price per minute where the states are not known. Null: the code is not carried.
        pub indeterminate: Option<Amount>,
        /// The increments in seconds: the first and the further ones, as `60/1`. Null: the code is not carried.
        pub increments: Option<String>,
        /// What each answered call costs besides. Null: the code is not carried.
        pub setup_fee: Option<Amount>,
        /// When the row begins. Null: it always was.
        pub from: Option<Time>,
        /// When the row ends: at this moment it counts no more. Null: it is open.
        pub until: Option<Time>,
    }
}

impl DeckPrice {
    /// A row of the policy in the API's words.
    pub(super) fn of(row: Row, currency: Currency) -> DeckPrice {
        let [interstate, intrastate, indeterminate] =
            row.rates.map(|rate| (!row.blocked).then(|| Amount(rate.of(currency))));
        DeckPrice {
            code: row.code.to_string(),
            carried: !row.blocked,
            interstate,
            intrastate,
            indeterminate,
            increments: (!row.blocked).then(|| increments(&row.terms)),
            setup_fee: (!row.blocked).then(|| Amount(row.terms.setup_fee.of(currency))),
            from: row.from.map(Time),
            until: row.until.map(Time),
        }
    }
}

/// A page of a version's rows, by code and then by date; those whose code begins with `code` when it is given.
///
/// Errors: `code` is no dial code; there is no such version.
pub async fn prices(
    ctx: &Ctx<'_>,
    id: DeckId,
    number: i32,
    code: Option<&str>,
    paging: &Paging,
) -> Result<Page<DeckPrice>, Fault> {
    let head =
        code.map(|text| text.parse::<Code>().map_err(|e| Fault::field("code", "invalid", e.to_string())));
    let head = head.transpose()?;
    let mut tx = ctx.begin().await?;
    tx.allow_long_statements().await?;
    row(&mut tx, id).await?;
    let content = store::content(&mut tx, id, number).await?;
    let content = content.ok_or_else(|| Fault::not_found("deck version"))?;
    drop(tx);
    let (after, limit) = (paging.number_after::<usize>(), paging.limit);
    let rows = usize::try_from(paging.rows()).unwrap_or(1);
    let page = blocking(move || {
        let deck = PolicyDeck::from_bytes(&content)?;
        let all = head.map_or(0..deck.len(), |head| deck.below(head));
        let from = after.map_or(all.start, |seen| seen.saturating_add(1).max(all.start));
        let currency = deck.meta().currency;
        let found = (from..all.end).take(rows).filter_map(|i| Some((i.to_string(), deck.row(i)?)));
        let page = Page::of(found.collect(), limit, |(key, _): &(String, Row)| key);
        Ok::<_, warp_policy::deck::DeckError>(page.map(|(_, row)| DeckPrice::of(row, currency)))
    });
    page.await?.map_err(|e| {
        tracing::error!(deck = %id, number, error = %e, "a stored deck is damaged");
        Fault::internal()
    })
}
