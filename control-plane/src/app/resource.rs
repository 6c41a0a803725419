//! What can be done with a declared noun, once for all of them. A noun says in its [`Resource`] what it checks, what it writes and
//! how it is shown; the rest (pages, locks, If-Match, merge patches, audit lines, commits) stands here, and `api` makes endpoints
//! of it.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use warp_model::id::Kind as IdKind;
use warp_model::{CustomerId, Id, Secret};

use super::events::catalogue::Event;
use super::fault::{Fault, Kind};
use super::input::Input;
use super::listing::Listing;
use super::paging::Page;
use super::{Change, Ctx, Expected, patched};
use crate::noun::Noun;
use crate::store::audit::Difference;
use crate::store::nouns::{self, NounRow};
use crate::store::{StoreError, Tx, outbox};

/// What a noun checks and means. How it is reached is declared.
pub trait Resource: Sized + Send + Sync + 'static {
    /// Its row, which knows the declaration.
    type Row: NounRow;
    /// The kind of its ids.
    type Kind: IdKind + Send + Sync;
    /// The id of what it belongs to; `()` when it stands by itself.
    type Parent: Belonging;
    /// What is made and replaced.
    type Input: Input + ToSchema + Send + Sync;
    /// What is answered of it.
    type View: Serialize + ToSchema + Send + Sync;

    /// A row as this caller sees it.
    fn view(ctx: &Ctx<'_>, row: Self::Row) -> Self::View;

    /// Adds to what is shown what does not stand in the rows.
    fn completed(
        _: &mut Tx,
        views: Vec<Self::View>,
    ) -> impl Future<Output = Result<Vec<Self::View>, Fault>> + Send {
        async { Ok(views) }
    }

    /// Checks what was asked for and gives what is written.
    fn values(
        ctx: &Ctx<'_>,
        tx: &mut Tx,
        of: Of<'_, Self>,
        input: &Self::Input,
    ) -> impl Future<Output = Result<<Self::Row as NounRow>::Values, Fault>> + Send;

    /// Writes what does not stand in the row, after it.
    fn beside(
        _: &mut Tx,
        _: Id<Self::Kind>,
        _: &Self::Input,
    ) -> impl Future<Output = Result<(), Fault>> + Send {
        async { Ok(()) }
    }

    /// Whether what is made has a secret that the answer to its making shows, and no other one.
    const SHOWS_SECRET: bool = false;

    /// The secret of a new object.
    fn secret(
        _: &Ctx<'_>,
        _: &mut Tx,
        _: Id<Self::Kind>,
    ) -> impl Future<Output = Result<Option<Secret<String>>, Fault>> + Send {
        async { Ok(None) }
    }

    /// Puts it into the answer, after the audit line was written.
    fn with_secret(_: &mut Self::View, _: &Secret<String>) {}

    /// What is told of a write of an object, in its transaction; `None`: nothing.
    fn told(_: Done, _: &Self::Row) -> Option<Event> {
        None
    }

    /// The customer that a row is, or belongs to.
    fn customer(row: &Self::Row) -> Option<CustomerId> {
        row.id().parse().ok().or_else(|| row.parent()?.parse().ok())
    }

    /// Refuses a deletion that this caller may not do.
    fn may_go(_: &Ctx<'_>, _: &mut Tx, _: &Self::Row) -> impl Future<Output = Result<(), Fault>> + Send {
        async { Ok(()) }
    }
}

/// What was done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// It is a new one.
    Create,
    /// It is another than before.
    Update,
    /// It is there no more.
    Delete,
}

impl Done {
    /// The word of the audit log.
    fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// The declaration of a noun.
pub fn noun<R: Resource>() -> &'static Noun {
    R::Row::NOUN
}

/// Which object is written.
pub enum Of<'a, R: Resource> {
    /// A new one, with this id, of this parent.
    New(Id<R::Kind>, R::Parent),
    /// One that is there, as it is now.
    Now(Id<R::Kind>, &'a R::Row),
}

impl<R: Resource> Of<'_, R> {
    /// The id of that object.
    pub fn id(&self) -> Id<R::Kind> {
        match self {
            Self::New(id, _) | Self::Now(id, _) => *id,
        }
    }
}

/// The id of what objects of a noun belong to, or whose they are.
pub trait Belonging: Copy + Send + Sync + 'static {
    /// From that part of the path, when the path has one. `None`: the text is no such id.
    fn read(part: Option<&str>) -> Option<Self>;
    /// When it is a customer: this one.
    fn of_customer(customer: CustomerId) -> Option<Self>;
    /// As it stands in the row.
    fn key(self) -> Option<String>;
}

impl<K: IdKind + Send + Sync + 'static> Belonging for Id<K> {
    fn read(part: Option<&str>) -> Option<Self> {
        part?.parse().ok()
    }
    fn of_customer(customer: CustomerId) -> Option<Self> {
        // Only a customer's id has its prefix.
        customer.to_string().parse().ok()
    }
    fn key(self) -> Option<String> {
        Some(self.to_string())
    }
}

/// Whose an object is that customers and the carrier itself have (`None`: the carrier's).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner(pub Option<CustomerId>);

impl Belonging for Owner {
    fn read(part: Option<&str>) -> Option<Self> {
        part.map_or(Some(Self(None)), |id| id.parse().ok().map(|id| Self(Some(id))))
    }
    fn of_customer(customer: CustomerId) -> Option<Self> {
        Some(Self(Some(customer)))
    }
    fn key(self) -> Option<String> {
        self.0.map(|customer| customer.to_string())
    }
}

impl Belonging for () {
    fn read(_: Option<&str>) -> Option<Self> {
        Some(())
    }
    fn of_customer(_: CustomerId) -> Option<Self> {
        None
    }
    fn key(self) -> Option<String> {
        None
    }
}

/// One page of what the scope sees.
pub async fn list<R: Resource>(ctx: &Ctx<'_>, listing: &Listing) -> Result<Page<R::View>, Fault> {
    let mut tx = ctx.begin().await?;
    let page = listing.page(nouns::list::<R::Row>(&mut tx, listing).await?);
    let views = page.items.into_iter().map(|row| R::view(ctx, row)).collect();
    Ok(Page { items: R::completed(&mut tx, views).await?, next: page.next, last: page.last })
}

/// The object with this id. Errors: there is none that the scope sees.
pub async fn get<R: Resource>(ctx: &Ctx<'_>, id: Id<R::Kind>) -> Result<R::View, Fault> {
    let mut tx = ctx.begin().await?;
    let row = known::<R::Row>(nouns::get(&mut tx, id).await?)?;
    shown::<R>(ctx, &mut tx, row).await
}

/// A new object of its parent, and its id. Errors: what the noun refuses.
pub async fn create<R: Resource>(
    ctx: &Ctx<'_>,
    parent: R::Parent,
    input: R::Input,
) -> Result<(Id<R::Kind>, R::View), Fault> {
    let id: Id<R::Kind> = ctx.new_id::<R::Kind>();
    let mut tx = ctx.begin().await?;
    let values = R::values(ctx, &mut tx, Of::New(id, parent), &input).await?;
    let row = known::<R::Row>(nouns::insert(&mut tx, id, parent.key(), values).await?)?;
    R::beside(&mut tx, id, &input).await?;
    let secret = R::secret(ctx, &mut tx, id).await?;
    let mut answer = saved::<R>(ctx, tx, Done::Create, None, row).await?;
    if let Some(secret) = &secret {
        R::with_secret(&mut answer, secret);
    }
    Ok((id, answer))
}

/// Another state of an object. Errors: there is none; it has another version; what the noun refuses.
pub async fn update<R: Resource>(
    ctx: &Ctx<'_>,
    id: Id<R::Kind>,
    change: Change<'_>,
    expected: &Expected,
) -> Result<R::View, Fault> {
    let mut tx = ctx.begin().await?;
    let now = known::<R::Row>(nouns::lock(&mut tx, id).await?)?;
    expected.check(now.version())?;
    let current = shown::<R>(ctx, &mut tx, now.clone()).await?;
    let before = line::<R>(&current, &now);
    let input: R::Input = patched(&current, change)?;
    let values = R::values(ctx, &mut tx, Of::Now(id, &now), &input).await?;
    let parent = now.parent().map(str::to_owned);
    let row = known::<R::Row>(nouns::update(&mut tx, id, parent, values).await?)?;
    R::beside(&mut tx, id, &input).await?;
    saved::<R>(ctx, tx, Done::Update, before, row).await
}

/// One object less, unless something still refers to it. Errors: as [`update`].
pub async fn delete<R: Resource>(ctx: &Ctx<'_>, id: Id<R::Kind>, expected: &Expected) -> Result<(), Fault> {
    let mut tx = ctx.begin().await?;
    let now = known::<R::Row>(nouns::lock(&mut tx, id).await?)?;
    expected.check(now.version())?;
    R::may_go(ctx, &mut tx, &now).await?;
    let before = line::<R>(&shown::<R>(ctx, &mut tx, now.clone()).await?, &now);
    match nouns::delete::<R::Row>(&mut tx, id).await {
        Ok(0) => return Err(Fault::not_found(noun::<R>().called)),
        Ok(_) => {}
        Err(StoreError::Reference(_)) => {
            let what = noun::<R>().called;
            return Err(Fault::new(Kind::InUse, format!("something still refers to this {what}")));
        }
        Err(e) => return Err(e.into()),
    }
    written::<R>(ctx, &mut tx, Done::Delete, &now, Difference { before, detail: None }).await?;
    Ok(ctx.commit(tx).await?)
}

/// The row, or that there is none.
pub fn known<N: NounRow>(row: Option<N>) -> Result<N, Fault> {
    row.ok_or_else(|| Fault::not_found(N::NOUN.called))
}

/// The row of a parent that must be there. Errors: there is none that the scope sees.
pub async fn read<N: NounRow>(tx: &mut Tx, id: impl std::fmt::Display) -> Result<N, Fault> {
    known(nouns::get(tx, id).await?)
}

async fn shown<R: Resource>(ctx: &Ctx<'_>, tx: &mut Tx, row: R::Row) -> Result<R::View, Fault> {
    let mut views = R::completed(tx, vec![R::view(ctx, row)]).await?;
    Ok(views.pop().ok_or_else(|| StoreError::Internal("a view is lost".into()))?)
}

/// What each write ends with: the audit line of what it was and of what is answered, what is told of it, and the commit.
async fn saved<R: Resource>(
    ctx: &Ctx<'_>,
    mut tx: Tx,
    done: Done,
    before: Option<Value>,
    row: R::Row,
) -> Result<R::View, Fault> {
    let answer = shown::<R>(ctx, &mut tx, row.clone()).await?;
    let detail = line::<R>(&answer, &row);
    written::<R>(ctx, &mut tx, done, &row, Difference { before, detail }).await?;
    ctx.commit(tx).await?;
    Ok(answer)
}

/// An object as the audit log has it.
fn line<R: Resource>(view: &R::View, row: &R::Row) -> Option<Value> {
    let line = |answer| R::Row::NOUN.audited(answer, |column| row.is_set(column));
    serde_json::to_value(view).ok().map(line)
}

async fn written<R: Resource>(
    ctx: &Ctx<'_>,
    tx: &mut Tx,
    done: Done,
    row: &R::Row,
    difference: Difference,
) -> Result<(), Fault> {
    let action = format!("{}.{}", R::Row::NOUN.one, done.word());
    ctx.audit_change(tx, R::customer(row), (&action, row.id()), difference).await?;
    if let Some(event) = R::told(done, row) {
        outbox::tell(tx, R::customer(row), event).await?;
    }
    Ok(())
}
