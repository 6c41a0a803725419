//! Vendors, from whom we buy, and the emergency route.

use warp_model::id::{DeckKind, VendorKind, VendorTrunkKind};

use super::customers::Status;
use super::fault::Fault;
use super::input::{Int, List, Ref, Slug, State, Text};
use super::resource::{Of, Resource};
use super::rounding::{PartialSecond, RoundingLevel, RoundingMode};
use super::view::Word;
use super::{Ctx, check_decks, ids, none_wrong};
use crate::noun::vendor::{VendorRow, VendorValues};
use crate::store::types::Time;
use crate::store::vendors as rows;
use crate::store::{StoreError, Tx};

crate::view! {
    /// A vendor: a carrier that we buy from.
    pub struct Vendor from VendorRow {
        /// The vendor's id: `vnd_` and 26 characters.
        pub id: String,
        /// Its short name, as it stands in metrics and in the banner.
        pub slug: String,
        /// Its name, for people.
        pub name: String,
        /// `active`, or `suspended`: then it never gets a call.
        pub status: Word<Status>,
        /// Its price lists, in order.
        pub buy_deck_ids: Vec<String>,
        /// The state of the point of interconnection, when that decides the jurisdiction instead of the caller's state.
        pub interconnection: Option<String>,
        /// How its invoices round a charge.
        pub rounding_mode: Word<RoundingMode>,
        /// The decimal places that they round to, 0 to 9.
        pub rounding_places: i32,
        /// What becomes of a begun second.
        pub partial_second: Word<PartialSecond>,
        /// Where the places are rounded to.
        pub rounding_level: Word<RoundingLevel>,
        /// When it was made.
        pub created_at: Time,
        /// When it was changed last.
        pub updated_at: Time,
        /// A number that rises with each change. The ETag header carries it.
        pub version: i32,
    }
}

crate::input! {
    /// A vendor to make or to replace.
    pub struct VendorInput {
        /// Its short name. No other vendor has the same.
        pub slug: Slug,
        /// Its name, for people.
        pub name: Text<1, 100>,
        /// Whether the vendor gets calls; `active` when absent.
        pub status: Option<Status>,
        /// Its price lists, in order.
        pub buy_deck_ids: List<Ref<DeckKind>, 16>,
        /// The state of the point of interconnection, when that decides the jurisdiction.
        pub interconnection: Option<State>,
        /// How its invoices round a charge; `half_away_from_zero` when absent.
        pub rounding_mode: Option<RoundingMode>,
        /// The decimal places that they round to; 6 when absent.
        pub rounding_places: Option<Int<0, 9>>,
        /// What becomes of a begun second; `up` when absent.
        pub partial_second: Option<PartialSecond>,
        /// Where the places are rounded to; `call` when absent.
        pub rounding_level: Option<RoundingLevel>,
    }
}

crate::input! {
    /// Where emergency calls go.
    pub struct EmergencyRouteInput {
        /// Vendor trunks in order, each once. Empty: emergency calls are refused, with an alarm.
        pub vendor_trunk_ids: List<Ref<VendorTrunkKind>, 16>,
    }
}

crate::view! {
    /// Where emergency calls go.
    pub struct EmergencyRoute {
        /// Vendor trunks in order.
        pub vendor_trunk_ids: Vec<String>,
    }
}

/// Vendors, as the API offers them.
pub struct Vendors;

impl Resource for Vendors {
    type Row = VendorRow;
    type Kind = VendorKind;
    type Parent = ();
    type Input = VendorInput;
    type View = Vendor;

    fn view(_: &Ctx<'_>, row: VendorRow) -> Vendor {
        row.into()
    }

    async fn values(
        _: &Ctx<'_>,
        tx: &mut Tx,
        _: Of<'_, Self>,
        input: &VendorInput,
    ) -> Result<VendorValues, Fault> {
        let buy_deck_ids = ids(&input.buy_deck_ids);
        let mut problems = Vec::new();
        check_decks(tx, &buy_deck_ids, None, "buy_deck_ids", &mut problems).await?;
        none_wrong(problems)?;
        Ok(VendorValues {
            slug: input.slug.0.clone(),
            name: input.name.0.clone(),
            status: input.status.unwrap_or(Status::Active).as_str().to_owned(),
            buy_deck_ids,
            interconnection: input.interconnection.as_ref().map(|s| s.0.clone()),
            rounding_mode: input.rounding_mode.unwrap_or(RoundingMode::HalfAwayFromZero).as_str().to_owned(),
            rounding_places: input.rounding_places.map_or(6, Int::as_i32),
            partial_second: input.partial_second.unwrap_or(PartialSecond::Up).as_str().to_owned(),
            rounding_level: input.rounding_level.unwrap_or(RoundingLevel::Call).as_str().to_owned(),
        })
    }
}

/// Where emergency calls go.
pub async fn emergency_route(ctx: &Ctx<'_>) -> Result<EmergencyRoute, Fault> {
    let mut tx = ctx.begin().await?;
    Ok(EmergencyRoute { vendor_trunk_ids: rows::emergency_route(&mut tx).await? })
}

/// Replaces the emergency route. Errors: a trunk that does not exist.
pub async fn set_emergency_route(ctx: &Ctx<'_>, input: EmergencyRouteInput) -> Result<EmergencyRoute, Fault> {
    let ids = ids(&input.vendor_trunk_ids);
    let mut tx = ctx.begin().await?;
    match rows::set_emergency_route(&mut tx, &ids).await {
        Err(StoreError::Reference(_) | StoreError::Conflict(_)) => {
            let message = "each must be an existing vendor trunk, once";
            return Err(Fault::field("vendor_trunk_ids", "no_such_object", message));
        }
        other => other?,
    }
    ctx.audit(&mut tx, None, "emergency_route.update", "emergency_route", Some(ids.clone().into())).await?;
    ctx.commit(tx).await?;
    Ok(EmergencyRoute { vendor_trunk_ids: ids })
}
