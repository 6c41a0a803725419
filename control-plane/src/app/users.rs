//! People: users of customers, and the carrier's own. An issuer says who somebody is; the row here says of which customer, and in
//! which role. A person without an active row does not come in, whatever the token says.

use warp_model::{CustomerId, Wall};

use super::caller::{Audience, Caller, UserKind, Who};
use super::events::catalogue::{Event, UserChanged, UserCreated, UserDeleted};
use super::fault::{Fault, Kind};
use super::input::Text;
use super::permission::{CustomerRole, OperatorRole, Permissions, Role};
use super::resource::{self, Done, Of, Resource};
use super::view::Word;
use super::{Ctx, check_count};
use crate::noun::customer::CustomerRow;
use crate::noun::operator::{OperatorRow, OperatorValues};
use crate::noun::user::{UserRow, UserValues};
use crate::oidc::token::Claims;
use crate::store::types::Time;
use crate::store::users::{self as rows, PersonRow};
use crate::store::{Scope, Store, StoreError, Tx, nouns};

/// Users of one customer, and operators.
pub const USERS: i64 = 10_000;

/// Who a believed token is; `None` when nobody here is bound to its subject.
pub async fn authenticate(
    store: &Store,
    audience: Audience,
    issuer: &str,
    claims: &Claims,
) -> Result<Option<Caller>, StoreError> {
    let mut tx = store.begin(Scope::Operator("authentication")).await?;
    let identity = (issuer, claims.subject.as_str(), claims.organisation.as_str());
    let Some(row) = rows::find(&mut tx, audience, identity).await? else { return Ok(None) };
    let shown = claims.second_factor_at.map(|s| Wall::from_unix_ms(s.saturating_mul(1_000)));
    let caller = caller(audience, &row, shown)?;
    if row.touch {
        rows::touch(&mut tx, audience, &row.id).await?;
    }
    tx.commit().await?;
    Ok(Some(caller))
}

/// Who a person is that has come in.
pub(super) fn caller(
    audience: Audience,
    row: &PersonRow,
    second_factor_at: Option<Wall>,
) -> Result<Caller, StoreError> {
    let broken = |what: &str| StoreError::Internal(format!("a user's {what} cannot be read"));
    let customer = row.customer_id.as_deref().map(str::parse).transpose().map_err(|_| broken("customer"))?;
    // A user of nobody would be an operator.
    if customer.is_none() != (audience == Audience::Operator) {
        return Err(broken("customer"));
    }
    Ok(Caller {
        who: Who::User(row.id.parse().map_err(|_| broken("id"))?),
        audience,
        customer,
        permissions: Role::parse(audience, &row.role).map_or(Permissions::NONE, Role::permissions),
        ip_allow: Vec::new(),
        expires_at: None,
        recovered: false,
        second_factor_at,
        session: None,
    })
}

crate::choice! {
    /// Whether somebody may come in.
    pub enum UserStatus {
        /// May come in, as far as the role goes.
        Active = "active",
        /// May not come in.
        Disabled = "disabled",
    }
}

crate::view! {
    /// A person of a customer.
    pub struct User from UserRow {
        /// The user's id: `usr_` and 26 characters.
        pub id: String,
        /// The customer that it belongs to.
        pub customer_id: String,
        /// The name, for people.
        pub name: String,
        /// Where it can be written to, for people.
        pub email: Option<String>,
        /// What the user may.
        pub role: Word<CustomerRole>,
        /// Whether the user may come in.
        pub status: Word<UserStatus>,
        /// The OpenID Connect issuer that says who it is.
        pub issuer: String,
        /// Who it is to the issuer (`sub`).
        pub subject: String,
        /// The organisation that it signs in through (`org_id`). Empty: through none.
        pub organisation: String,
        /// When it was here last, to the minute.
        pub last_seen_at: Option<Time>,
        /// When it was made.
        pub created_at: Time,
        /// When it was changed last.
        pub updated_at: Time,
        /// A number that rises with each change. The ETag header carries it.
        pub version: i32,
    }
}

crate::input! {
    /// A user to make or to replace.
    pub struct UserInput {
        /// The name, for people.
        pub name: Text<1, 100>,
        /// Where it can be written to, for people.
        pub email: Option<Text<3, 254>>,
        /// What the user may. Nobody gives a role that may more than himself.
        pub role: CustomerRole,
        /// Whether the user may come in; `active` when absent.
        pub status: Option<UserStatus>,
        /// Who it is to the issuer of customers' users (`sub` of its tokens).
        pub subject: Text<1, 256>,
        /// The organisation that it signs in through (`org_id` of its tokens). Absent or empty: through none.
        pub organisation: Option<Text<0, 256>>,
    }
}

crate::view! {
    /// A person of the carrier.
    pub struct Operator from OperatorRow {
        /// The operator's id: `usr_` and 26 characters.
        pub id: String,
        /// The name, for people.
        pub name: String,
        /// Where it can be written to, for people.
        pub email: Option<String>,
        /// What the operator may.
        pub role: Word<OperatorRole>,
        /// Whether the operator may come in.
        pub status: Word<UserStatus>,
        /// The OpenID Connect issuer that says who it is.
        pub issuer: String,
        /// Who it is to the issuer (`sub`).
        pub subject: String,
        /// When it was here last, to the minute.
        pub last_seen_at: Option<Time>,
        /// When it was made.
        pub created_at: Time,
        /// When it was changed last.
        pub updated_at: Time,
        /// A number that rises with each change. The ETag header carries it.
        pub version: i32,
    }
}

crate::input! {
    /// A person of the carrier to make or to replace.
    pub struct OperatorInput {
        /// The name, for people.
        pub name: Text<1, 100>,
        /// Where it can be written to, for people.
        pub email: Option<Text<3, 254>>,
        /// What the operator may. Nobody gives a role that may more than himself.
        pub role: OperatorRole,
        /// Whether the operator may come in; `active` when absent.
        pub status: Option<UserStatus>,
        /// Who it is to the issuer of operators (`sub` of its tokens).
        pub subject: Text<1, 256>,
    }
}

/// Nobody makes or touches anybody who may more than himself (T-API-05).
fn no_more_than_oneself(ctx: &Ctx<'_>, role: Option<Role>) -> Result<(), Fault> {
    let wanted = role.map_or(Permissions::NONE, Role::permissions);
    if ctx.may.cover(wanted) {
        return Ok(());
    }
    Err(Fault::new(Kind::Forbidden, "this role may more than you: somebody who has it must do this"))
}

/// The issuer that a person is bound to: where he is known already as the same subject, that one, else the issuer of today.
fn issuer(
    ctx: &Ctx<'_>,
    audience: Audience,
    known: Option<(&str, &str)>,
    subject: &str,
) -> Result<String, Fault> {
    if let Some((issuer, _)) = known.filter(|(_, of)| *of == subject) {
        return Ok(issuer.to_owned());
    }
    let none = || {
        let why = "there is no issuer that could say who somebody is ([login] of the configuration)";
        Fault::new(Kind::Conflict, why)
    };
    Ok(ctx.app.issuers.of(audience).ok_or_else(none)?.settings().issuer.clone())
}

/// Users of customers, as the API offers them.
pub struct Users;

impl Resource for Users {
    type Row = UserRow;
    type Kind = UserKind;
    type Parent = CustomerId;
    type Input = UserInput;
    type View = User;

    fn view(_: &Ctx<'_>, row: UserRow) -> User {
        row.into()
    }

    async fn values(
        ctx: &Ctx<'_>,
        tx: &mut Tx,
        of: Of<'_, Self>,
        input: &UserInput,
    ) -> Result<UserValues, Fault> {
        no_more_than_oneself(ctx, Some(Role::Customer(input.role)))?;
        let known = match &of {
            Of::New(_, customer) => {
                resource::read::<CustomerRow>(tx, customer).await?;
                check_count(nouns::count::<UserRow>(tx, customer).await?, USERS, "users")?;
                None
            }
            Of::Now(_, now) => {
                no_more_than_oneself(ctx, Role::parse(Audience::Customer, &now.role))?;
                Some((now.issuer.as_str(), now.subject.as_str()))
            }
        };
        Ok(UserValues {
            name: input.name.0.clone(),
            email: input.email.as_ref().map(|e| e.0.clone()),
            role: input.role.as_str().to_owned(),
            status: input.status.unwrap_or(UserStatus::Active).as_str().to_owned(),
            issuer: issuer(ctx, Audience::Customer, known, &input.subject.0)?,
            subject: input.subject.0.clone(),
            organisation: input.organisation.as_ref().map(|o| o.0.clone()).unwrap_or_default(),
        })
    }

    fn told(done: Done, row: &UserRow) -> Option<Event> {
        let (user_id, name) = (row.id.clone(), row.name.clone());
        let (role, status) = (row.role.clone().into(), row.status.clone().into());
        Some(match done {
            Done::Create => UserCreated { user_id, name, role, status }.into(),
            Done::Update => UserChanged { user_id, name, role, status }.into(),
            Done::Delete => UserDeleted { user_id, name }.into(),
        })
    }

    async fn may_go(ctx: &Ctx<'_>, _: &mut Tx, now: &UserRow) -> Result<(), Fault> {
        no_more_than_oneself(ctx, Role::parse(Audience::Customer, &now.role))
    }
}

/// The carrier's own people, as the API offers them.
pub struct Operators;

impl Resource for Operators {
    type Row = OperatorRow;
    type Kind = UserKind;
    type Parent = ();
    type Input = OperatorInput;
    type View = Operator;

    fn view(_: &Ctx<'_>, row: OperatorRow) -> Operator {
        row.into()
    }

    async fn values(
        ctx: &Ctx<'_>,
        tx: &mut Tx,
        of: Of<'_, Self>,
        input: &OperatorInput,
    ) -> Result<OperatorValues, Fault> {
        no_more_than_oneself(ctx, Some(Role::Operator(input.role)))?;
        let known = match &of {
            Of::New(..) => {
                check_count(rows::operator_count(tx).await?, USERS, "operators")?;
                None
            }
            Of::Now(_, now) => {
                no_more_than_oneself(ctx, Role::parse(Audience::Operator, &now.role))?;
                Some((now.issuer.as_str(), now.subject.as_str()))
            }
        };
        Ok(OperatorValues {
            name: input.name.0.clone(),
            email: input.email.as_ref().map(|e| e.0.clone()),
            role: input.role.as_str().to_owned(),
            status: input.status.unwrap_or(UserStatus::Active).as_str().to_owned(),
            issuer: issuer(ctx, Audience::Operator, known, &input.subject.0)?,
            subject: input.subject.0.clone(),
        })
    }

    async fn may_go(ctx: &Ctx<'_>, _: &mut Tx, now: &OperatorRow) -> Result<(), Fault> {
        no_more_than_oneself(ctx, Role::parse(Audience::Operator, &now.role))
    }
}
