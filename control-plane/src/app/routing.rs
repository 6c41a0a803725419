//! Partitions (sets of vendors with a strategy) and exclusions (vendors not to be used for a time).

use std::collections::HashMap;

use warp_model::id::{Kind, VendorKind};
use warp_model::{Currency, Id, Wall};

use super::fault::{Fault, Problem};
use super::input::{Digits, Field, Int, List, Ref, Text};
use super::paging::{Page, Paging};
use super::vendors::delete_row;
use super::{Change, Ctx, nanos, none_wrong, not_updated, patched};
use crate::store::types::{Amount, Time};
use crate::store::{StoreError, Tx, sql};

/// A partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionKind {}
impl Kind for PartitionKind {
    const PREFIX: &'static str = "prt";
}
/// `prt_…`
pub type PartitionId = Id<PartitionKind>;

/// An exclusion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExclusionKind {}
impl Kind for ExclusionKind {
    const PREFIX: &'static str = "exc";
}
/// `exc_…`
pub type ExclusionId = Id<ExclusionKind>;

crate::choice! {
    /// How candidates are ordered.
    pub enum StrategyName {
        /// Cheapest first.
        Cost = "cost",
        /// By priority, then cheapest first.
        PriorityCost = "priority_cost",
        /// By weight: a stable hash of the call.
        WeightedShare = "weighted_share",
    }
}

crate::record! {
    /// The columns of a partition.
    pub struct PartitionRow {
        /// `prt_…`
        pub id: String,
        /// Unique.
        pub name: String,
        /// `cost`, `priority_cost` or `weighted_share`.
        pub strategy: String,
        /// Vendors tried per call, 1 to 8.
        pub max_candidates: i32,
        /// Duration that prices are compared for.
        pub expected_duration_s: i32,
        /// What must be left of the customer's price, per minute.
        pub margin_per_min: Amount,
        /// The same in hundredths of a percent of the customer's price.
        pub margin_bps: i32,
        /// Carry calls below the margin too.
        pub loss_ok: bool,
        /// Made.
        pub created_at: Time,
        /// Last change.
        pub updated_at: Time,
        /// Rises with each change; the ETag.
        pub version: i32,
    }
}

crate::record! {
    /// A vendor of a partition.
    pub struct PartitionVendor {
        /// Of which partition.
        pub partition_id: String,
        /// Who.
        pub vendor_id: String,
        /// The smaller first (`priority_cost`).
        pub priority: i32,
        /// Share (`weighted_share`).
        pub weight: i32,
    }
}

/// A partition: a set of vendors with a strategy. The customer's price does not depend on it.
#[derive(Clone, Debug, serde::Serialize, utoipa::ToSchema)]
pub struct Partition {
    /// Its own values.
    #[serde(flatten)]
    pub row: PartitionRow,
    /// Its vendors.
    pub vendors: Vec<PartitionVendor>,
}

crate::input! {
    /// A vendor of a partition.
    pub struct PartitionVendorInput {
        /// Ignored: it is the partition's.
        pub partition_id: Option<Ref<PartitionKind>>,
        /// Who.
        pub vendor_id: Ref<VendorKind>,
        /// The smaller first; 0 when absent.
        pub priority: Option<Int<0, 1000>>,
        /// Share; 1 when absent.
        pub weight: Option<Int<1, 1000>>,
    }
}

impl Field for PartitionVendorInput {
    fn read(value: Option<&serde_json::Value>, path: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        use super::input::Input;
        match Self::from_json(value?) {
            Ok(v) => Some(v),
            Err(e) if e.details.is_empty() => {
                problems.push(Problem::new(path, "wrong_type", "must be an object"));
                None
            }
            Err(e) => {
                let inner = e.details.into_iter();
                problems.extend(inner.map(|p| Problem { field: format!("{path}.{}", p.field), ..p }));
                None
            }
        }
    }
    fn field_schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        <Self as utoipa::PartialSchema>::schema()
    }
}

crate::input! {
    /// A partition to make or replace.
    pub struct PartitionInput {
        /// Unique.
        pub name: Text<1, 64>,
        /// `cost` when absent.
        pub strategy: Option<StrategyName>,
        /// Vendors tried per call; 4 when absent.
        pub max_candidates: Option<Int<1, 8>>,
        /// Duration that prices are compared for; 180 when absent.
        pub expected_duration_s: Option<Int<1, 86_400>>,
        /// What must be left of the customer's price, per minute; 0 when absent.
        pub margin_per_min: Option<Amount>,
        /// The same in hundredths of a percent; 0 when absent.
        pub margin_bps: Option<Int<0, 10_000>>,
        /// Carry calls below the margin too; false when absent.
        pub loss_ok: Option<bool>,
        /// Its vendors.
        pub vendors: List<PartitionVendorInput, 1000>,
    }
}

crate::record! {
    /// A vendor that is not used, everywhere or below a dial code, for a time.
    pub struct Exclusion {
        /// `exc_…`
        pub id: String,
        /// Who.
        pub vendor_id: String,
        /// Only below this dial code.
        pub code: Option<String>,
        /// `quality`, `dispute`, `temporary` or `permanent`.
        pub kind: String,
        /// In words.
        pub reason: String,
        /// From; null = at once.
        pub starts_at: Option<Time>,
        /// Until; null only for `permanent`.
        pub ends_at: Option<Time>,
        /// Made.
        pub created_at: Time,
    }
}

crate::choice! {
    /// Why a vendor is not used.
    pub enum ExclusionReason {
        /// Bad calls.
        Quality = "quality",
        /// We argue about a bill.
        Dispute = "dispute",
        /// Maintenance and the like.
        Temporary = "temporary",
        /// For good.
        Permanent = "permanent",
    }
}

crate::input! {
    /// An exclusion to make.
    pub struct ExclusionInput {
        /// Who.
        pub vendor_id: Ref<VendorKind>,
        /// Only below this dial code.
        pub code: Option<Digits>,
        /// Why; all but `permanent` must end.
        pub kind: ExclusionReason,
        /// In words.
        pub reason: Text<1, 200>,
        /// From; at once when absent.
        pub starts_at: Option<Time>,
        /// Until (exclusive).
        pub ends_at: Option<Time>,
    }
}

/// Newest first.
pub async fn list(ctx: &Ctx<'_>, paging: &Paging) -> Result<Page<Partition>, Fault> {
    let mut tx = ctx.begin().await?;
    let query = sqlx::query(sql::PARTITION_LIST).bind(paging.after.as_deref()).bind(paging.rows());
    let rows: Vec<PartitionRow> = tx.all(query).await?;
    let page = Page::of(rows, paging.limit, |p: &PartitionRow| &p.id);
    Ok(Page { items: with_vendors(&mut tx, page.items).await?, next: page.next })
}

/// One.
pub async fn get(ctx: &Ctx<'_>, id: PartitionId) -> Result<Partition, Fault> {
    let mut tx = ctx.begin().await?;
    let row: Option<PartitionRow> = tx.first(sqlx::query(sql::PARTITION_GET).bind(id.to_string())).await?;
    let mut all = with_vendors(&mut tx, row.into_iter().collect()).await?;
    all.pop().ok_or_else(|| Fault::not_found("partition"))
}

async fn with_vendors(tx: &mut Tx, rows: Vec<PartitionRow>) -> Result<Vec<Partition>, StoreError> {
    let ids: Vec<String> = rows.iter().map(|r| r.id.clone()).collect();
    let vendors: Vec<PartitionVendor> = tx.all(sqlx::query(sql::PARTITION_VENDOR_LIST).bind(ids)).await?;
    let mut of: HashMap<String, Vec<PartitionVendor>> = HashMap::new();
    for v in vendors {
        of.entry(v.partition_id.clone()).or_default().push(v);
    }
    Ok(rows
        .into_iter()
        .map(|row| Partition { vendors: of.remove(&row.id).unwrap_or_default(), row })
        .collect())
}

/// A new partition.
pub async fn create(ctx: &Ctx<'_>, input: PartitionInput) -> Result<Partition, Fault> {
    let row = write(ctx, sql::PARTITION_INSERT, ctx.new_id::<PartitionKind>(), input, None).await?;
    row.ok_or_else(|| Fault::not_found("partition"))
}

/// Another state of it.
pub async fn update(
    ctx: &Ctx<'_>,
    id: PartitionId,
    change: Change<'_>,
    version: Option<i32>,
) -> Result<Partition, Fault> {
    let current = get(ctx, id).await?;
    let version = Some(version.unwrap_or(current.row.version));
    let row = write(ctx, sql::PARTITION_UPDATE, id, patched(&current, change)?, Some(version)).await?;
    row.ok_or_else(|| not_updated(true, "partition"))
}

async fn write(
    ctx: &Ctx<'_>,
    statement: &'static str,
    id: PartitionId,
    input: PartitionInput,
    version: Option<Option<i32>>,
) -> Result<Option<Partition>, Fault> {
    let mut problems = Vec::new();
    let margin = nanos(input.margin_per_min, Currency::USD, "margin_per_min", &mut problems).unwrap_or(0);
    let vendors: Vec<String> = input.vendors.0.iter().map(|v| v.vendor_id.0.to_string()).collect();
    for (i, v) in vendors.iter().enumerate() {
        if vendors.iter().take(i).any(|other| other == v) {
            problems.push(Problem::new(
                format!("vendors[{i}].vendor_id"),
                "taken",
                "this vendor is there twice",
            ));
        }
    }
    none_wrong(problems)?;
    let mut query = sqlx::query(statement)
        .bind(id.to_string())
        .bind(input.name.0)
        .bind(input.strategy.unwrap_or(StrategyName::Cost).as_str())
        .bind(input.max_candidates.map_or(4, Int::as_i32))
        .bind(input.expected_duration_s.map_or(180, Int::as_i32))
        .bind(margin)
        .bind(input.margin_bps.map_or(0, Int::as_i32))
        .bind(input.loss_ok.unwrap_or(false));
    let action = if version.is_some() { "partition.update" } else { "partition.create" };
    if let Some(v) = version {
        query = query.bind(v);
    }
    let mut tx = ctx.begin().await?;
    let row: Option<PartitionRow> = tx.first(query).await?;
    let Some(row) = row else { return Ok(None) };
    tx.run(sqlx::query(sql::PARTITION_VENDOR_CLEAR).bind(&row.id)).await?;
    let fill = sqlx::query(sql::PARTITION_VENDOR_FILL)
        .bind(&row.id)
        .bind(vendors)
        .bind(input.vendors.0.iter().map(|v| v.priority.map_or(0, Int::as_i32)).collect::<Vec<_>>())
        .bind(input.vendors.0.iter().map(|v| v.weight.map_or(1, Int::as_i32)).collect::<Vec<_>>());
    tx.run(fill).await?;
    let partition = with_vendors(&mut tx, vec![row]).await?.pop();
    ctx.audit(&mut tx, None, action, &id.to_string(), serde_json::to_value(&partition).ok()).await?;
    ctx.commit(tx).await?;
    Ok(partition)
}

/// Gone, unless a customer or trunk uses it.
pub async fn delete(ctx: &Ctx<'_>, id: PartitionId) -> Result<(), Fault> {
    delete_row(ctx, sql::PARTITION_DELETE, &id.to_string(), "partition").await
}

/// Exclusions, newest first.
pub async fn list_exclusions(ctx: &Ctx<'_>, paging: &Paging) -> Result<Page<Exclusion>, Fault> {
    let mut tx = ctx.begin().await?;
    let query = sqlx::query(sql::EXCLUSION_LIST).bind(paging.after.as_deref()).bind(paging.rows());
    Ok(Page::of(tx.all(query).await?, paging.limit, |e: &Exclusion| &e.id))
}

/// A new exclusion.
pub async fn create_exclusion(ctx: &Ctx<'_>, input: ExclusionInput) -> Result<Exclusion, Fault> {
    let mut problems = Vec::new();
    let permanent = input.kind == ExclusionReason::Permanent;
    match (permanent, input.ends_at) {
        (true, Some(_)) => {
            problems.push(Problem::new("ends_at", "invalid", "a permanent exclusion does not end"))
        }
        (false, None) => {
            problems.push(Problem::new("ends_at", "required", "this kind of exclusion must end"))
        }
        (false, Some(end)) if end.0 <= input.starts_at.map_or(ctx.app.wall(), |s| s.0) => {
            problems.push(Problem::new("ends_at", "out_of_range", "must be after the start"));
        }
        _ => {}
    }
    none_wrong(problems)?;
    let us = |t: Option<Time>| t.map(|Time(Wall(us))| us);
    let mut tx = ctx.begin().await?;
    let query = sqlx::query(sql::EXCLUSION_INSERT)
        .bind(ctx.new_id::<ExclusionKind>().to_string())
        .bind(input.vendor_id.0.to_string())
        .bind(input.code.map(|c| c.0))
        .bind(input.kind.as_str())
        .bind(input.reason.0)
        .bind(us(input.starts_at))
        .bind(us(input.ends_at));
    let row: Option<Exclusion> = tx.first(query).await?;
    let row = row.ok_or_else(|| Fault::not_found("vendor"))?;
    ctx.audit(&mut tx, None, "exclusion.create", &row.id, serde_json::to_value(&row).ok()).await?;
    ctx.commit(tx).await?;
    Ok(row)
}

/// Over.
pub async fn delete_exclusion(ctx: &Ctx<'_>, id: ExclusionId) -> Result<(), Fault> {
    delete_row(ctx, sql::EXCLUSION_DELETE, &id.to_string(), "exclusion").await
}
