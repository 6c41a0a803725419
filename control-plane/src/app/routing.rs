//! Partitions (sets of vendors with a strategy) and exclusions (vendors not to be used for a time).

use std::collections::HashMap;

use warp_model::id::{Kind as IdKind, VendorKind};
use warp_model::{Currency, Id, Nanos, Wall};

use super::fault::{Fault, Kind, Problem};
use super::input::{Digits, Field, Int, List, Ref, Text};
use super::resource::{self, Of, Resource};
use super::view::Word;
use super::{Ctx, none_wrong};
use crate::noun::exclusion::{ExclusionRow, ExclusionValues};
use crate::noun::partition::{PartitionRow, PartitionValues};
use crate::noun::vendor::VendorRow;
use crate::store::partitions::{self as rows, MemberRow};
use crate::store::types::{Amount, Time};
use crate::store::{StoreError, Tx};

/// The kind of partition ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionKind {}
impl IdKind for PartitionKind {
    const PREFIX: &'static str = "prt";
}
/// The id of a partition: `prt_` and 26 characters.
pub type PartitionId = Id<PartitionKind>;

/// The kind of exclusion ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExclusionKind {}
impl IdKind for ExclusionKind {
    const PREFIX: &'static str = "exc";
}
/// The id of an exclusion: `exc_` and 26 characters.
pub type ExclusionId = Id<ExclusionKind>;

crate::choice! {
    /// How candidates are ordered.
    pub enum StrategyName {
        /// The vendor who is cheapest for the call comes first.
        Cost = "cost",
        /// By priority, then cheapest first.
        PriorityCost = "priority_cost",
        /// By weight: a stable hash of the call.
        WeightedShare = "weighted_share",
    }
}

crate::view! {
    /// A vendor of a partition.
    pub struct PartitionVendor from MemberRow {
        /// The partition that the vendor belongs to.
        pub partition_id: String,
        /// The vendor that may get calls.
        pub vendor_id: String,
        /// With the strategy `priority_cost` the smaller number comes first.
        pub priority: i32,
        /// With the strategy `weighted_share` its share of the calls.
        pub weight: i32,
    }
}

crate::view! {
    /// A partition: a set of vendors and how to choose among them. The customer's price does not depend on it.
    pub struct Partition from PartitionRow {
        /// The partition's id: `prt_` and 26 characters.
        pub id: String,
        /// Its name. No other partition has the same.
        pub name: String,
        /// How the vendors are ordered for a call.
        pub strategy: Word<StrategyName>,
        /// How many vendors are tried for one call, 1 to 8.
        pub max_candidates: i32,
        /// The duration, in seconds, that prices are compared for.
        pub expected_duration_s: i32,
        /// What must be left of the customer's price, per minute. Where it is not 0, only calls that are sold in its currency
        /// are carried.
        pub margin_per_min: Amount,
        /// What must be left of the customer's price, in hundredths of a percent of it.
        pub margin_bps: i32,
        /// Whether calls below the margin are carried too.
        pub loss_ok: bool,
        /// When it was made.
        pub created_at: Time,
        /// When it was changed last.
        pub updated_at: Time,
        /// A number that rises with each change. The ETag header carries it.
        pub version: i32,
    } with {
        /// The vendors that it chooses among.
        pub vendors: Vec<PartitionVendor>,
    }
}

crate::input! {
    /// A vendor of a partition.
    pub struct PartitionVendorInput {
        /// Ignored: it is the partition's.
        pub partition_id: Option<Ref<PartitionKind>>,
        /// The vendor that may get calls.
        pub vendor_id: Ref<VendorKind>,
        /// With the strategy `priority_cost` the smaller number comes first; 0 when absent.
        pub priority: Option<Int<0, 1000>>,
        /// With the strategy `weighted_share` its share of the calls; 1 when absent.
        pub weight: Option<Int<1, 1000>>,
    }
}

impl Field for PartitionVendorInput {
    fn read(value: Option<&serde_json::Value>, path: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        super::input::nested(value?, path, problems)
    }
    fn field_schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        <Self as utoipa::PartialSchema>::schema()
    }
}

crate::input! {
    /// A partition to make or to replace.
    pub struct PartitionInput {
        /// Its name. No other partition has the same.
        pub name: Text<1, 64>,
        /// In what order vendors are tried; `cost` when absent.
        pub strategy: Option<StrategyName>,
        /// How many vendors are tried for one call; 4 when absent.
        pub max_candidates: Option<Int<1, 8>>,
        /// The duration, in seconds, that prices are compared for; 180 when absent.
        pub expected_duration_s: Option<Int<1, 86_400>>,
        /// What must be left of the customer's price, per minute; 0 when absent. Where it is not 0, only calls that are sold in
        /// its currency are carried.
        pub margin_per_min: Option<Amount>,
        /// What must be left of the customer's price, in hundredths of a percent of it; 0 when absent.
        pub margin_bps: Option<Int<0, 10_000>>,
        /// Whether calls below the margin are carried too; false when absent.
        pub loss_ok: Option<bool>,
        /// Its vendors, each once. A list that is sent takes the place of the whole list, by PATCH too.
        pub vendors: List<PartitionVendorInput, 1000>,
    }
}

crate::view! {
    /// An exclusion: a vendor that is not used, everywhere or below a dial code, for a time.
    pub struct Exclusion from ExclusionRow {
        /// The exclusion's id: `exc_` and 26 characters.
        pub id: String,
        /// The vendor that is not used.
        pub vendor_id: String,
        /// Only for numbers that begin with these digits. Null: for all.
        pub code: Option<String>,
        /// Why it is not used.
        pub kind: Word<ExclusionReason>,
        /// Why it is not used, in words.
        pub reason: String,
        /// When it begins. Null: it has begun.
        pub starts_at: Option<Time>,
        /// When it ends. Null only for `permanent`.
        pub ends_at: Option<Time>,
        /// When it was made.
        pub created_at: Time,
        /// When it was changed last.
        pub updated_at: Time,
        /// A number that rises with each change. The ETag header carries it.
        pub version: i32,
    }
}

crate::choice! {
    /// Why a vendor is not used.
    pub enum ExclusionReason {
        /// Calls over the vendor were bad.
        Quality = "quality",
        /// We argue about a bill.
        Dispute = "dispute",
        /// Maintenance and the like.
        Temporary = "temporary",
        /// The exclusion does not end by itself.
        Permanent = "permanent",
    }
}

crate::input! {
    /// An exclusion to make or to replace.
    pub struct ExclusionInput {
        /// The vendor that is not used.
        pub vendor_id: Ref<VendorKind>,
        /// Only for numbers that begin with these digits. Absent: for all.
        pub code: Option<Digits>,
        /// Why it is not used. All but `permanent` must end.
        pub kind: ExclusionReason,
        /// Why it is not used, in words.
        pub reason: Text<1, 200>,
        /// When it begins; at once when absent.
        pub starts_at: Option<Time>,
        /// When it ends: from this moment on the vendor is used again.
        pub ends_at: Option<Time>,
    }
}

/// Partitions, as the API offers them.
pub struct Partitions;

impl Resource for Partitions {
    type Row = PartitionRow;
    type Kind = PartitionKind;
    type Parent = ();
    type Input = PartitionInput;
    type View = Partition;

    fn view(_: &Ctx<'_>, row: PartitionRow) -> Partition {
        Partition::of(row, Vec::new())
    }

    async fn completed(tx: &mut Tx, mut views: Vec<Partition>) -> Result<Vec<Partition>, Fault> {
        let mut of: HashMap<String, Vec<PartitionVendor>> = HashMap::new();
        for member in rows::members(tx, views.iter().map(|p| p.id.clone()).collect()).await? {
            of.entry(member.partition_id.clone()).or_default().push(member.into());
        }
        for view in &mut views {
            view.vendors = of.remove(&view.id).unwrap_or_default();
        }
        Ok(views)
    }

    async fn values(
        _: &Ctx<'_>,
        _: &mut Tx,
        _: Of<'_, Self>,
        input: &PartitionInput,
    ) -> Result<PartitionValues, Fault> {
        let mut problems = Vec::new();
        let vendors = &input.vendors.0;
        for (i, v) in vendors.iter().enumerate() {
            if vendors.iter().take(i).any(|other| other.vendor_id.0 == v.vendor_id.0) {
                let field = format!("vendors[{i}].vendor_id");
                problems.push(Problem::new(field, "taken", "this vendor is there twice"));
            }
        }
        none_wrong(problems)?;
        let margin = input.margin_per_min.map_or(Nanos(0).of(Currency::USD), |a| a.0);
        Ok(PartitionValues {
            name: input.name.0.clone(),
            strategy: input.strategy.unwrap_or(StrategyName::Cost).as_str().to_owned(),
            max_candidates: input.max_candidates.map_or(4, Int::as_i32),
            expected_duration_s: input.expected_duration_s.map_or(180, Int::as_i32),
            margin_per_min: margin.amount.0,
            margin_currency: margin.currency.to_string(),
            margin_bps: input.margin_bps.map_or(0, Int::as_i32),
            loss_ok: input.loss_ok.unwrap_or(false),
        })
    }

    async fn beside(tx: &mut Tx, id: PartitionId, input: &PartitionInput) -> Result<(), Fault> {
        let members = &input.vendors.0;
        let vendors = members.iter().map(|v| v.vendor_id.0.to_string()).collect();
        let priorities = members.iter().map(|v| v.priority.map_or(0, Int::as_i32)).collect();
        let weights = members.iter().map(|v| v.weight.map_or(1, Int::as_i32)).collect();
        match rows::set_members(tx, &id.to_string(), vendors, priorities, weights).await {
            Err(StoreError::Reference(_)) => {
                Err(Fault::field("vendors", "no_such_object", "each must be an existing vendor"))
            }
            other => Ok(other?),
        }
    }
}

/// Exclusions, as the API offers them.
pub struct Exclusions;

impl Resource for Exclusions {
    type Row = ExclusionRow;
    type Kind = ExclusionKind;
    type Parent = ();
    type Input = ExclusionInput;
    type View = Exclusion;

    fn view(_: &Ctx<'_>, row: ExclusionRow) -> Exclusion {
        row.into()
    }

    async fn values(
        ctx: &Ctx<'_>,
        tx: &mut Tx,
        of: Of<'_, Self>,
        input: &ExclusionInput,
    ) -> Result<ExclusionValues, Fault> {
        // One that is over can be kept as it was, and its reason corrected.
        let ended = match &of {
            Of::New(..) => None,
            Of::Now(_, now) => now.ends_at,
        };
        let mut problems = Vec::new();
        let permanent = input.kind == ExclusionReason::Permanent;
        let begins = input.starts_at.map_or(ctx.app.wall(), |s| s.0);
        match (permanent, input.ends_at) {
            (true, Some(_)) => {
                problems.push(Problem::new("ends_at", "contradicts", "a permanent exclusion does not end"));
            }
            (false, None) => {
                problems.push(Problem::new("ends_at", "contradicts", "this kind of exclusion must end"));
            }
            (false, Some(end)) if end.0 <= begins && ended != Some(end) => {
                problems.push(Problem::new("ends_at", "contradicts", "must be after the start"));
            }
            _ => {}
        }
        if input.starts_at.is_some_and(|start| input.ends_at.is_some_and(|end| end <= start)) {
            problems.push(Problem::new("ends_at", "contradicts", "must be after the start"));
        }
        problems.dedup_by(|a, b| a.field == b.field);
        none_wrong(problems)?;
        resource::read::<VendorRow>(tx, input.vendor_id.0).await.map_err(|fault| match fault.kind {
            Kind::NotFound => Fault::field("vendor_id", "no_such_object", "there is no such vendor"),
            _ => fault,
        })?;
        let us = |t: Option<Time>| t.map(|Time(Wall(us))| us);
        Ok(ExclusionValues {
            vendor_id: input.vendor_id.0.to_string(),
            code: input.code.as_ref().map(|c| c.0.clone()),
            kind: input.kind.as_str().to_owned(),
            reason: input.reason.0.clone(),
            starts_at: us(input.starts_at),
            ends_at: us(input.ends_at),
        })
    }
}
