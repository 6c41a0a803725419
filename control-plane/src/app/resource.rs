//! The use cases of a declared noun, for those who offer them to the world: what `api` makes endpoints of.

use serde::Serialize;
use utoipa::ToSchema;
use warp_model::id::Kind as IdKind;
use warp_model::{CustomerId, Id};

use super::fault::Fault;
use super::input::Input;
use super::listing::Listing;
use super::paging::Page;
use super::{Change, Ctx, Expected};
use crate::noun::Noun;

/// A declared noun of customers with what can be done with it. The functions check, and do what the noun means; how they are reached is declared.
pub trait Resource: 'static {
    /// The declaration of the noun.
    const NOUN: &'static Noun;
    /// The kind of its ids.
    type Kind: IdKind + Send;
    /// What is made and replaced.
    type Input: Input + ToSchema + Send;
    /// What is answered of it.
    type View: Serialize + ToSchema + Send + Sync;

    /// The id of what was answered.
    fn id(view: &Self::View) -> &str;
    /// One page of a list.
    fn list(ctx: &Ctx<'_>, listing: &Listing)
    -> impl Future<Output = Result<Page<Self::View>, Fault>> + Send;
    /// A new object of a customer.
    fn create(
        ctx: &Ctx<'_>,
        customer: CustomerId,
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
