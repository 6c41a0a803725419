//! Rules about calls, each for a time: overrides (which partition routes them) and blocks (which are not carried).

use warp_model::id::{CustomerKind, Kind as IdKind, TrunkKind};
use warp_model::{Id, Wall};

use super::fault::{Fault, Kind, Problem};
use super::input::{DayHours, DialCode, Int, List, Ref, Text};
use super::resource::{self, Of, Resource};
use super::routing::PartitionKind;
use super::trunks::Destination;
use super::view::Word;
use super::{Ctx, none_wrong};
use crate::noun::call_block::{BlockRow, BlockValues};
use crate::noun::customer::CustomerRow;
use crate::noun::partition::PartitionRow;
use crate::noun::route_override::{OverrideRow, OverrideValues};
use crate::noun::trunk::TrunkRow;
use crate::store::Tx;
use crate::store::nouns::NounRow;
use crate::store::types::Time;

/// The kind of ids of overrides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverrideKind {}
impl IdKind for OverrideKind {
    const PREFIX: &'static str = "ovr";
}
/// The id of an override: `ovr_` and 26 characters.
pub type OverrideId = Id<OverrideKind>;

/// The kind of ids of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockKind {}
impl IdKind for BlockKind {
    const PREFIX: &'static str = "blk";
}
/// The id of a block: `blk_` and 26 characters.
pub type BlockId = Id<BlockKind>;

crate::choice! {
    /// A day of the week.
    pub enum Weekday {
        /// Monday, the first of the week.
        Mon = "mon",
        /// Tuesday, the second of the week.
        Tue = "tue",
        /// Wednesday, the third of the week.
        Wed = "wed",
        /// Thursday, the fourth of the week.
        Thu = "thu",
        /// Friday, the fifth of the week.
        Fri = "fri",
        /// Saturday, the sixth of the week.
        Sat = "sat",
        /// Sunday, the seventh of the week.
        Sun = "sun",
    }
}

crate::view! {
    /// An override: calls that another partition routes than that of their trunk. What the customer pays stays as it is. Of those in force
    /// the most specific one decides: of the trunk, else of the customer, else of the route (with neither, and a code or a class), else of
    /// every call; within each of these the longest code, then the class, then all numbers; of two like these one with hours, then the one
    /// that began later.
    pub struct Override from OverrideRow {
        /// The override's id: `ovr_` and 26 characters.
        pub id: String,
        /// The partition that routes the calls.
        pub partition_id: String,
        /// Only calls of this trunk. Null: of any.
        pub trunk_id: Option<String>,
        /// Only calls of this customer. Null: of any.
        pub customer_id: Option<String>,
        /// Only numbers that begin with these digits; of a ported number its routing number counts. Null: all.
        pub code: Option<String>,
        /// Only numbers of this class. Null: of any.
        pub class: Option<Word<Destination>>,
        /// Why it was made, in words.
        pub reason: String,
        /// When it begins. Null: it has begun.
        pub starts_at: Option<Time>,
        /// When it ends. Null: it does not end by itself.
        pub ends_at: Option<Time>,
        /// The days of the week on which its hours begin. Empty: every day.
        pub days: Vec<Word<Weekday>>,
        /// The hours of these days, `22:00-06:00`; they may reach into the next day. Null: all day.
        pub hours: Option<String>,
        /// Minutes east of UTC by which days and hours are counted. It does not follow daylight saving.
        pub utc_offset_min: i32,
        /// When it was made.
        pub created_at: Time,
        /// When it was changed last.
        pub updated_at: Time,
        /// A number that rises with each change. The ETag header carries it.
        pub version: i32,
    }
}

crate::input! {
    /// An override to make or to replace. It names a trunk or a customer or neither, and a code or a class or neither.
    pub struct OverrideInput {
        /// The partition that routes the calls.
        pub partition_id: Ref<PartitionKind>,
        /// Only calls of this trunk. Absent: of any.
        pub trunk_id: Option<Ref<TrunkKind>>,
        /// Only calls of this customer. Absent: of any.
        pub customer_id: Option<Ref<CustomerKind>>,
        /// Only numbers that begin with these digits; of a ported number its routing number counts. Absent: all.
        pub code: Option<DialCode>,
        /// Only numbers of this class. Absent: of any.
        pub class: Option<Destination>,
        /// Why it was made, in words.
        pub reason: Text<1, 200>,
        /// When it begins; at once when absent.
        pub starts_at: Option<Time>,
        /// When it ends. Absent: it does not end by itself.
        pub ends_at: Option<Time>,
        /// The days of the week on which its hours begin. Empty: every day.
        pub days: List<Weekday, 7>,
        /// The hours of these days; they may reach into the next day. Absent: all day.
        pub hours: Option<DayHours>,
        /// Minutes east of UTC by which days and hours are counted; 0 when absent. It does not follow daylight saving.
        pub utc_offset_min: Option<Int<-840, 840>>,
    }
}

crate::view! {
    /// A block: calls that are refused with 403, by destination, by caller or by both. A call for help is never blocked.
    pub struct Block from BlockRow {
        /// The block's id: `blk_` and 26 characters.
        pub id: String,
        /// Only calls of this trunk. Null: of any.
        pub trunk_id: Option<String>,
        /// Only calls of this customer. Null: of any.
        pub customer_id: Option<String>,
        /// Only dialled numbers that begin with these digits. Null: all.
        pub code: Option<String>,
        /// Only dialled numbers of this class. Null: of any.
        pub class: Option<Word<Destination>>,
        /// Only callers whose number begins with these digits. Null: all callers, also those without a number.
        pub caller_code: Option<String>,
        /// Why, in words. Customers do not see it.
        pub reason: String,
        /// When it begins. Null: it has begun.
        pub starts_at: Option<Time>,
        /// When it ends. Null: it does not end by itself.
        pub ends_at: Option<Time>,
        /// The days of the week on which its hours begin. Empty: every day.
        pub days: Vec<Word<Weekday>>,
        /// The hours of these days, `22:00-06:00`; they may reach into the next day. Null: all day.
        pub hours: Option<String>,
        /// Minutes east of UTC by which days and hours are counted. It does not follow daylight saving.
        pub utc_offset_min: i32,
        /// When it was made.
        pub created_at: Time,
        /// When it was changed last.
        pub updated_at: Time,
        /// A number that rises with each change. The ETag header carries it.
        pub version: i32,
    }
}

crate::input! {
    /// A block to make or to replace. It names a trunk or a customer or neither, and a code or a class or neither.
    pub struct BlockInput {
        /// Only calls of this trunk. Absent: of any.
        pub trunk_id: Option<Ref<TrunkKind>>,
        /// Only calls of this customer. Absent: of any.
        pub customer_id: Option<Ref<CustomerKind>>,
        /// Only dialled numbers that begin with these digits. Absent: all.
        pub code: Option<DialCode>,
        /// Only dialled numbers of this class. Absent: of any.
        pub class: Option<Destination>,
        /// Only callers whose number begins with these digits. Absent: all callers, also those without a number.
        pub caller_code: Option<DialCode>,
        /// Why, in words. Customers do not see it.
        pub reason: Text<1, 200>,
        /// When it begins; at once when absent.
        pub starts_at: Option<Time>,
        /// When it ends. Absent: it does not end by itself.
        pub ends_at: Option<Time>,
        /// The days of the week on which its hours begin. Empty: every day.
        pub days: List<Weekday, 7>,
        /// The hours of these days; they may reach into the next day. Absent: all day.
        pub hours: Option<DayHours>,
        /// Minutes east of UTC by which days and hours are counted; 0 when absent. It does not follow daylight saving.
        pub utc_offset_min: Option<Int<-840, 840>>,
    }
}

/// What both kinds of rules say of the calls that they are for.
struct Scope<'i> {
    trunk: Option<&'i Ref<TrunkKind>>,
    customer: Option<&'i Ref<CustomerKind>>,
    code: Option<&'i DialCode>,
    class: Option<Destination>,
    starts_at: Option<Time>,
    ends_at: Option<Time>,
    /// The end that it has already: a rule that is over can be kept as it was.
    ended: Option<Time>,
}

impl Scope<'_> {
    /// Refuses what contradicts itself, and ids of nobody.
    async fn check(&self, ctx: &Ctx<'_>, tx: &mut Tx) -> Result<(), Fault> {
        let mut problems = Vec::new();
        if self.trunk.is_some() && self.customer.is_some() {
            let message = "it is for a trunk or for a customer, not for both";
            problems.push(Problem::new("customer_id", "contradicts", message));
        }
        if self.code.is_some() && self.class.is_some() {
            problems.push(Problem::new("class", "contradicts", "it has a code or a class, not both"));
        }
        let begins = self.starts_at.unwrap_or(Time(ctx.app.wall()));
        let backwards = self.ends_at.is_some_and(|end| {
            self.starts_at.is_some_and(|start| end <= start) || (end <= begins && self.ended != Some(end))
        });
        if backwards {
            problems.push(Problem::new("ends_at", "contradicts", "must be after the start"));
        }
        none_wrong(problems)?;
        if let Some(trunk) = self.trunk {
            there::<TrunkRow>(tx, trunk.0, "trunk_id", "there is no such trunk").await?;
        }
        if let Some(customer) = self.customer {
            there::<CustomerRow>(tx, customer.0, "customer_id", "there is no such customer").await?;
        }
        Ok(())
    }
}

/// The scope of an input; the two kinds have the same fields for it.
macro_rules! scope_of {
    ($input:ident, $of:ident) => {
        Scope {
            trunk: $input.trunk_id.as_ref(),
            customer: $input.customer_id.as_ref(),
            code: $input.code.as_ref(),
            class: $input.class,
            starts_at: $input.starts_at,
            ends_at: $input.ends_at,
            ended: if let Of::Now(_, now) = &$of { now.ends_at } else { None },
        }
    };
}

/// The columns of an input: those that both kinds have, and the one that this kind has besides.
macro_rules! values_of {
    ($values:ident, $input:ident, $own:ident) => {
        $values {
            $own,
            trunk_id: $input.trunk_id.as_ref().map(|t| t.0.to_string()),
            customer_id: $input.customer_id.as_ref().map(|c| c.0.to_string()),
            code: $input.code.as_ref().map(|c| c.0.clone()),
            class: $input.class.map(|c| c.as_str().to_owned()),
            reason: $input.reason.0.clone(),
            starts_at: us($input.starts_at),
            ends_at: us($input.ends_at),
            days: days(&$input.days),
            hours: $input.hours.as_ref().map(|h| h.0.clone()),
            utc_offset_min: $input.utc_offset_min.map_or(0, Int::as_i32),
        }
    };
}

/// Refuses the id of nobody, by its field.
async fn there<N: NounRow>(
    tx: &mut Tx,
    id: impl std::fmt::Display,
    field: &'static str,
    message: &'static str,
) -> Result<(), Fault> {
    let read = resource::read::<N>(tx, id).await;
    read.map(drop).map_err(|fault| match fault.kind {
        Kind::NotFound => Fault::field(field, "no_such_object", message),
        _ => fault,
    })
}

fn us(time: Option<Time>) -> Option<i64> {
    time.map(|Time(Wall(us))| us)
}

/// Each day once, in the order of the week.
fn days(list: &List<Weekday, 7>) -> Vec<String> {
    let all = Weekday::WORDS.iter().filter(|word| list.0.iter().any(|day| day.as_str() == **word));
    all.map(|word| (*word).to_owned()).collect()
}

/// Overrides, as the API offers them.
pub struct Overrides;

impl Resource for Overrides {
    type Row = OverrideRow;
    type Kind = OverrideKind;
    type Parent = ();
    type Input = OverrideInput;
    type View = Override;

    fn view(_: &Ctx<'_>, row: OverrideRow) -> Override {
        row.into()
    }

    async fn values(
        ctx: &Ctx<'_>,
        tx: &mut Tx,
        of: Of<'_, Self>,
        input: &OverrideInput,
    ) -> Result<OverrideValues, Fault> {
        scope_of!(input, of).check(ctx, tx).await?;
        there::<PartitionRow>(tx, input.partition_id.0, "partition_id", "there is no such partition").await?;
        let partition_id = input.partition_id.0.to_string();
        Ok(values_of!(OverrideValues, input, partition_id))
    }
}

/// Blocks, as the API offers them.
pub struct Blocks;

impl Resource for Blocks {
    type Row = BlockRow;
    type Kind = BlockKind;
    type Parent = ();
    type Input = BlockInput;
    type View = Block;

    fn view(_: &Ctx<'_>, row: BlockRow) -> Block {
        row.into()
    }

    async fn values(
        ctx: &Ctx<'_>,
        tx: &mut Tx,
        of: Of<'_, Self>,
        input: &BlockInput,
    ) -> Result<BlockValues, Fault> {
        scope_of!(input, of).check(ctx, tx).await?;
        let caller_code = input.caller_code.as_ref().map(|c| c.0.clone());
        Ok(values_of!(BlockValues, input, caller_code))
    }
}
