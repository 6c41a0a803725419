//! The use cases of a declared noun, for those who offer them to the world: what `api` makes endpoints of.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use warp_model::id::Kind as IdKind;
use warp_model::{CustomerId, Id};

use super::fault::Fault;
use super::input::Input;
use super::listing::Listing;
use super::paging::Page;
use super::{Change, Ctx, Expected};
use crate::noun::Noun;
use crate::store::Tx;
use crate::store::nouns::NounRow;

/// A declared noun with what can be done with it. The functions check, and do what the noun means; how they are reached is declared.
pub trait Resource: 'static {
    /// The declaration of the noun.
    const NOUN: &'static Noun;
    /// The kind of its ids.
    type Kind: IdKind + Send;
    /// The kind of the ids of what it belongs to.
    type Parent: IdKind + Send;
    /// What is made and replaced.
    type Input: Input + ToSchema + Send;
    /// What is answered of it.
    type View: Serialize + ToSchema + Send + Sync;

    /// The id of what was answered.
    fn id(view: &Self::View) -> &str;
    /// What the objects of a customer belong to; `None` when the noun is operators' only.
    fn of_customer(customer: CustomerId) -> Option<Id<Self::Parent>>;
    /// One page of a list.
    fn list(ctx: &Ctx<'_>, listing: &Listing)
    -> impl Future<Output = Result<Page<Self::View>, Fault>> + Send;
    /// A new object of its parent.
    fn create(
        ctx: &Ctx<'_>,
        parent: Id<Self::Parent>,
        input: Self::Input,
    ) -> impl Future<Output = Result<Self::View, Fault>> + Send;
    /// The object with this id.
    fn get(ctx: &Ctx<'_>, id: Id<Self::Kind>) -> impl Future<Output = Result<Self::View, Fault>> + Send;
    /// Another state of an object.
    fn update(
        ctx: &Ctx<'_>,
        id: Id<Self::Kind>,
        change: Change<'_>,
        expected: &Expected,
    ) -> impl Future<Output = Result<Self::View, Fault>> + Send;
    /// One object less, by its id.
    fn delete(
        ctx: &Ctx<'_>,
        id: Id<Self::Kind>,
        expected: &Expected,
    ) -> impl Future<Output = Result<(), Fault>> + Send;
}

/// What each write of a declared noun ends with: the audit line of what is answered, and the commit. `row` is what was written, and
/// says of secrets whether they are set.
pub(super) async fn saved<V: Serialize, R: NounRow>(
    ctx: &Ctx<'_>,
    tx: Tx,
    customer: Option<CustomerId>,
    (what, row): (&str, R),
    view: impl FnOnce(R) -> V,
) -> Result<V, Fault> {
    let secrets: Vec<&str> =
        R::NOUN.columns.iter().map(|c| c.name).filter(|column| row.is_set(column)).collect();
    let (action, id) = (format!("{}.{what}", R::NOUN.one), row.id().to_owned());
    let answer = view(row);
    let line = |answer: Value| R::NOUN.audited(answer, |column| secrets.contains(&column));
    let detail = serde_json::to_value(&answer).ok().map(line);
    super::saved_as(ctx, tx, customer, (&action, &id), detail).await?;
    Ok(answer)
}
