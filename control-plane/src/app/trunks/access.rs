//! Where a trunk's calls may come from: its IP ACL and its digest users.

use md5::Digest as _;
use warp_model::{CustomerId, TrunkId, hex};

use super::super::fault::Fault;
use super::super::forms::network;
use super::super::input::{Net, Password, SipUser};
use super::super::paging::{Page, Paging};
use super::super::{Ctx, check_count, resource};
use crate::noun::trunk::TrunkRow;
use crate::store::trunks::{self as rows, AddressRow, CredentialRow};
use crate::store::types::Time;
use crate::store::{StoreError, Tx};

/// Digest users of one trunk.
pub const CREDENTIALS_PER_TRUNK: i64 = 1_000;
/// Addresses of one trunk.
pub const IPS_PER_TRUNK: i64 = 256;

crate::view! {
    /// An address of a trunk: calls from there are this trunk's.
    pub struct TrunkIp from AddressRow {
        /// The address or network, in CIDR form.
        pub address: String,
        /// When it was added.
        pub created_at: Time,
    }
}

crate::input! {
    /// An address to add to a trunk.
    pub struct TrunkIpInput {
        /// An address or a network. It can belong to one trunk of the whole platform only.
        pub address: Net,
    }
}

crate::view! {
    /// A phone that has registered at this node.
    pub struct Registration {
        /// What calls to it are addressed to, as the phone wrote it.
        pub contact: String,
        /// The transport that it registered by.
        pub transport: String,
        /// The address and port that it registered from.
        pub source: String,
        /// What the phone says of itself. Null: nothing.
        pub user_agent: Option<String>,
        /// Seconds until the registration ends.
        pub expires_in_s: i64,
    }
}

crate::view! {
    /// A digest user of a trunk. Its password is never shown, because it is not kept.
    pub struct Credential from CredentialRow {
        /// The SIP user name. No other trunk has the same.
        pub username: String,
        /// The realm that the user registers in.
        pub realm: String,
        /// When it was added.
        pub created_at: Time,
    } with {
        /// The phones that the user has registered at the node that answers. Empty: none, or that node carries no calls.
        pub registrations: Vec<Registration>,
    }
}

impl Credential {
    fn shown(ctx: &Ctx<'_>, row: CredentialRow) -> Self {
        let phones = ctx.app.trunk_door().map(|door| (door.registrations)(&row.username, &row.realm));
        Self::of(row, phones.unwrap_or_default())
    }
}

crate::input! {
    /// A digest user to add. Only hashes of the password (HA1 by MD5 and SHA-256) are kept.
    pub struct CredentialInput {
        /// The SIP user name. It must be unique over all trunks of the platform.
        pub username: SipUser,
        /// The password, 12 to 128 characters.
        pub password: Password,
    }
}

async fn read(tx: &mut Tx, id: TrunkId) -> Result<TrunkRow, Fault> {
    resource::read(tx, id).await
}

fn owner(row: &TrunkRow) -> Result<CustomerId, Fault> {
    let read = row.customer_id.parse();
    Ok(read.map_err(|_| StoreError::Internal("a customer's id cannot be read".into()))?)
}

/// Its IP ACL, in the order of the addresses; only one address when it is named.
pub async fn list_ips(
    ctx: &Ctx<'_>,
    id: TrunkId,
    address: Option<&str>,
    paging: &Paging,
) -> Result<Page<TrunkIp>, Fault> {
    let wrong =
        || Fault::field("address", "invalid", "must be an address or network such as 198.51.100.0/28");
    let address = address.map(|a| network(a).ok_or_else(wrong)).transpose()?;
    let mut tx = ctx.begin().await?;
    read(&mut tx, id).await?;
    let rows = rows::addresses(&mut tx, id, address.as_deref(), paging).await?;
    Ok(Page::of(rows, paging.limit, |a| &a.address).map(TrunkIp::from))
}

/// Adds an address to a trunk. Errors: an unknown trunk, an address that another trunk has, or too many.
pub async fn add_ip(ctx: &Ctx<'_>, id: TrunkId, input: TrunkIpInput) -> Result<TrunkIp, Fault> {
    let mut tx = ctx.begin().await?;
    let customer = owner(&read(&mut tx, id).await?)?;
    check_count(rows::count_addresses(&mut tx, id).await?, IPS_PER_TRUNK, "addresses on this trunk")?;
    let row = rows::insert_address(&mut tx, customer, id, &input.address.0).await?;
    let ip: TrunkIp = row.ok_or_else(|| Fault::not_found("trunk"))?.into();
    let detail = Some(ip.address.clone().into());
    ctx.audit(&mut tx, Some(customer), "trunk.ip.add", &id.to_string(), detail).await?;
    ctx.commit(tx).await?;
    Ok(ip)
}

/// One less; `address` in any writing.
pub async fn remove_ip(ctx: &Ctx<'_>, id: TrunkId, address: &str) -> Result<(), Fault> {
    let address = network(address).ok_or_else(|| Fault::not_found("address"))?;
    let mut tx = ctx.begin().await?;
    let customer = owner(&read(&mut tx, id).await?)?;
    if rows::delete_address(&mut tx, id, &address).await? == 0 {
        return Err(Fault::not_found("address"));
    }
    ctx.audit(&mut tx, Some(customer), "trunk.ip.remove", &id.to_string(), Some(address.into())).await?;
    ctx.commit(tx).await?;
    Ok(())
}

/// Its digest users, by name.
pub async fn list_credentials(
    ctx: &Ctx<'_>,
    id: TrunkId,
    paging: &Paging,
) -> Result<Page<Credential>, Fault> {
    let mut tx = ctx.begin().await?;
    read(&mut tx, id).await?;
    let rows = rows::credentials(&mut tx, id, paging).await?;
    Ok(Page::of(rows, paging.limit, |c| &c.username).map(|row| Credential::shown(ctx, row)))
}

/// The digest user of a name. Errors: there is none on the trunk.
pub async fn get_credential(ctx: &Ctx<'_>, id: TrunkId, username: &str) -> Result<Credential, Fault> {
    let mut tx = ctx.begin().await?;
    read(&mut tx, id).await?;
    let row = rows::credential(&mut tx, id, username).await?;
    Ok(Credential::shown(ctx, row.ok_or_else(|| Fault::not_found("user"))?))
}

/// One more digest user.
pub async fn add_credential(ctx: &Ctx<'_>, id: TrunkId, input: CredentialInput) -> Result<Credential, Fault> {
    let realm = ctx.app.config.realm.clone();
    let username = input.username.0;
    let ha1 = ha1(&username, &realm, input.password.0.reveal());
    let mut tx = ctx.begin().await?;
    let customer = owner(&read(&mut tx, id).await?)?;
    check_count(rows::count_credentials(&mut tx, id).await?, CREDENTIALS_PER_TRUNK, "users on this trunk")?;
    let row = rows::insert_credential(&mut tx, (customer, id), &username, &realm, ha1).await?;
    let credential = Credential::shown(ctx, row.ok_or_else(|| Fault::not_found("trunk"))?);
    let detail = Some(username.into());
    ctx.audit(&mut tx, Some(customer), "trunk.credential.add", &id.to_string(), detail).await?;
    ctx.commit(tx).await?;
    Ok(credential)
}

/// Takes a digest user away. Errors: the trunk or the user does not exist.
pub async fn remove_credential(ctx: &Ctx<'_>, id: TrunkId, username: &str) -> Result<(), Fault> {
    let mut tx = ctx.begin().await?;
    let customer = owner(&read(&mut tx, id).await?)?;
    if rows::delete_credential(&mut tx, id, username).await? == 0 {
        return Err(Fault::not_found("user"));
    }
    let detail = Some(username.into());
    ctx.audit(&mut tx, Some(customer), "trunk.credential.remove", &id.to_string(), detail).await?;
    ctx.commit(tx).await?;
    Ok(())
}

/// H(user:realm:password) by MD5 and SHA-256, lower-case hex (RFC 2617 §3.2.2.2, RFC 8760 §2.3).
pub fn ha1(username: &str, realm: &str, password: &str) -> (String, String) {
    let text = format!("{username}:{realm}:{password}");
    (hex::encode(&md5::Md5::digest(text.as_bytes())), hex::encode(&sha2::Sha256::digest(text.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ha1_of_rfc_2617_and_rfc_7616() {
        let rfc2617 = ha1("Mufasa", "testrealm@host.com", "Circle Of Life").0;
        assert_eq!(rfc2617, "939e7578ed9e3c518a452acee763bce9");
        let rfc7616 = ha1("Mufasa", "http-auth@example.org", "Circle of Life").1;
        assert_eq!(rfc7616, "7987c64c30e25f1b74be53f966b49b90f2808aa92faf9a00262392d7b4794232");
    }
}
