//! Vendors' trunks, where calls go out.

use warp_model::id::VendorTrunkKind;
use warp_model::{Secret, VendorId, VendorTrunkId};

use super::fault::{Fault, Problem};
use super::headers::{CallerFormat, DiversionForm, HeaderFields, IdentityForm, ReasonForm, headers_of};
use super::input::{CodecName, DialPrefix, FarIp, HeaderRule, HostName, Int, Ip, List, Socket, Text};
use super::resource::{self, Of, Resource};
use super::trunks::TrunkStatus;
use super::view::Word;
use super::{Ctx, none_wrong};
use crate::noun::vendor::VendorRow;
use crate::noun::vendor_trunk::{VendorTrunkRow, VendorTrunkValues};
use crate::store::types::{SealedChange, Time};
use crate::store::{Tx, seal};

crate::view! {
    /// A vendor trunk: where calls go out to a vendor.
    pub struct VendorTrunk from VendorTrunkRow {
        /// The vendor trunk's id: `vtk_` and 26 characters.
        pub id: String,
        /// The vendor that it belongs to.
        pub vendor_id: String,
        /// Its name, unique within the vendor.
        pub name: String,
        /// `active`, or `disabled`: then it never gets a call.
        pub status: Word<TrunkStatus>,
        /// The SIP transport towards it.
        pub transport: Word<VendorTransport>,
        /// Names of its platform that are looked up in DNS (RFC 3263), in order. They come before `addresses`.
        pub hosts: Vec<String>,
        /// Where its INVITEs go, in order.
        pub addresses: Vec<String>,
        /// How many calls it takes at once. Null: no limit.
        pub channels: Option<i32>,
        /// How many calls it takes per second. Null: no limit.
        pub cps: Option<i32>,
        /// Digits that are put in front of the number.
        pub tech_prefix: String,
        /// How numbers are written towards it.
        pub number_format: Word<NumberFormat>,
        /// Further addresses that its media may come from.
        pub media_ips: Vec<String>,
        /// The other nodes of its platform: addresses that its requests within a call may come from, and that those of ours may go to.
        pub signalling_ips: Vec<String>,
        /// Whether its redirections (3xx) are followed, to its own addresses only. If not, a redirection is the next candidate's turn.
        pub follow_redirects: bool,
        /// Whether a REFER within a call is passed on to it. With one its end may place a call that nobody has priced. If not, REFER is
        /// answered 403.
        pub allow_refer: bool,
        /// Whether it is within our circle of trust: then it is told who calls also where the caller asked for privacy. Else such a caller is
        /// anonymous to it.
        pub identity_trusted: bool,
        /// Where it is told who calls.
        pub identity_form: Word<IdentityForm>,
        /// How the caller's number is written in From, and in the header of `identity_form`.
        pub caller_format: Word<CallerFormat>,
        /// How diversions are told.
        pub diversion_form: Word<DiversionForm>,
        /// What it is told of causes (Reason).
        pub reason_form: Word<ReasonForm>,
        /// Headers that are added, set or removed in each message of a call that goes to it, in order.
        pub header_rules: Vec<String>,
        /// The only codecs that its calls may offer, besides `telephone-event`. Empty: all.
        pub codecs: Vec<String>,
        /// Session timers (RFC 4028): its calls are refreshed at least this often, in seconds, or end. Null: nobody is asked to.
        pub session_expires_s: Option<i32>,
        /// The least interval between refreshes that it may ask for, in seconds. Null: any.
        pub session_min_s: Option<i32>,
        /// Whether the media relay records its calls.
        pub recording: bool,
        /// Trunks of one vendor are tried by priority: the smaller number first.
        pub priority: i32,
        /// Among equal priorities the larger weight is tried first.
        pub weight: i32,
        /// Our user name towards it.
        pub auth_username: Option<String>,
        /// The only realm that our password is used for.
        pub auth_realm: Option<String>,
        /// When it was made.
        pub created_at: Time,
        /// When it was changed last.
        pub updated_at: Time,
        /// A number that rises with each change. The ETag header carries it.
        pub version: i32,
    }
}

crate::choice! {
    /// SIP transport towards a vendor.
    pub enum VendorTransport {
        /// SIP over UDP, the usual one.
        Udp = "udp",
        /// SIP over TCP, without TLS.
        Tcp = "tcp",
        /// SIP over TLS. The certificate must have the name of `hosts`, or the address. It needs a `tls:` socket in `sip.listen`.
        Tls = "tls",
        /// What DNS says of a name (NAPTR, SRV); UDP for addresses.
        Auto = "auto",
    }
}

crate::choice! {
    /// How numbers are written towards a vendor.
    pub enum NumberFormat {
        /// E.164 with a plus: `+14155550123`.
        PlusE164 = "plus_e164",
        /// E.164 without a plus: `14155550123`.
        E164 = "e164",
        /// National form inside the North American plan: `4155550123`.
        National = "national",
    }
}

crate::input! {
    /// A vendor trunk to make or to replace.
    pub struct VendorTrunkInput {
        /// Its name, unique within the vendor.
        pub name: Text<1, 100>,
        /// Whether the trunk gets calls; `active` when absent.
        pub status: Option<TrunkStatus>,
        /// The transport of its SIP; `udp` when absent.
        pub transport: Option<VendorTransport>,
        /// Names of its platform that are looked up in DNS (RFC 3263: NAPTR, SRV, addresses), in order; they come before `addresses`. With a
        /// port only the addresses of the name are looked up.
        pub hosts: List<HostName, 4>,
        /// Where its INVITEs go, in order; at least one, or one of `hosts`.
        pub addresses: List<Socket, 16>,
        /// How many calls it takes at once. Absent: no limit.
        pub channels: Option<Int<0, 1_000_000>>,
        /// How many calls it takes per second. Absent: no limit.
        pub cps: Option<Int<0, 100_000>>,
        /// Digits that are put in front of the number.
        pub tech_prefix: Option<DialPrefix>,
        /// How numbers are written; `plus_e164` when absent.
        pub number_format: Option<NumberFormat>,
        /// Further addresses that its media may come from.
        pub media_ips: List<Ip, 32>,
        /// The other nodes of its platform: addresses, without port, that its requests within a call may come from, and that those of
        /// ours may go to. No call begins there. The platform sends nothing to a link-local address, so none can stand here.
        pub signalling_ips: List<FarIp, 32>,
        /// Whether its redirections (3xx) are followed, to its own addresses (`addresses` and `signalling_ips`) only and with the number
        /// that was priced. False when absent: a redirection is the next candidate's turn.
        pub follow_redirects: Option<bool>,
        /// Whether a REFER within a call is passed on to it. With one its end may place a call that nobody has priced. False when absent:
        /// REFER is answered 403.
        pub allow_refer: Option<bool>,
        /// Whether it is within our circle of trust: then it is told who calls also where the caller asked for privacy. Else such a caller is
        /// anonymous to it. True when absent.
        pub identity_trusted: Option<bool>,
        /// Where it is told who calls; `as_received` when absent. A header that we write ourselves names whom a peer that we believe has
        /// named, or a number that the calling customer has.
        pub identity_form: Option<IdentityForm>,
        /// How the caller's number is written in From, and in the header of `identity_form`; `as_received` when absent.
        pub caller_format: Option<CallerFormat>,
        /// How diversions are told; `as_received` when absent. Those of peers that we do not believe are told to nobody.
        pub diversion_form: Option<DiversionForm>,
        /// What it is told of causes (Reason); `as_received` when absent.
        pub reason_form: Option<ReasonForm>,
        /// Headers that are added, set or removed in each message of a call that goes to it, in order: `remove NAME`, `add NAME: VALUE`,
        /// `set NAME: VALUE`. What routes, pairs, frames or signs messages cannot be named, nor what other fields decide.
        pub header_rules: Option<List<HeaderRule, 8>>,
        /// The only codecs that its calls may offer, besides `telephone-event`, by their names in SDP. Empty: all. An offer that has none of
        /// them stays as it is.
        pub codecs: Option<List<CodecName, 16>>,
        /// Session timers (RFC 4028): its calls are refreshed at least this often, in seconds, where one side can; a call that nobody
        /// refreshes ends. Absent: nobody is asked to.
        pub session_expires_s: Option<Int<90, 86_400>>,
        /// The least interval between refreshes that it may ask for, in seconds; less is answered 422. Absent: any.
        pub session_min_s: Option<Int<90, 86_400>>,
        /// Whether the media relay records its calls, from the first offer on; false when absent.
        pub recording: Option<bool>,
        /// The smaller number is tried first; 0 when absent.
        pub priority: Option<Int<0, 1000>>,
        /// Among equal priorities the larger weight is tried first; 1 when absent.
        pub weight: Option<Int<1, 1000>>,
        /// Our user name towards it. It needs a password.
        pub auth_username: Option<Text<1, 128>>,
        /// Our password towards it. It is never shown; a change without it keeps the old one.
        pub auth_password: Option<Text<1, 128>>,
        /// The only realm that our password is used for.
        pub auth_realm: Option<Text<1, 128>>,
    }
}

/// Vendor trunks, as the API offers them.
pub struct VendorTrunks;

impl Resource for VendorTrunks {
    type Row = VendorTrunkRow;
    type Kind = VendorTrunkKind;
    type Parent = VendorId;
    type Input = VendorTrunkInput;
    type View = VendorTrunk;

    fn view(_: &Ctx<'_>, row: VendorTrunkRow) -> VendorTrunk {
        row.into()
    }

    async fn values(
        ctx: &Ctx<'_>,
        tx: &mut Tx,
        of: Of<'_, Self>,
        input: &VendorTrunkInput,
    ) -> Result<VendorTrunkValues, Fault> {
        let has_user = match &of {
            Of::New(_, vendor) => {
                resource::read::<VendorRow>(tx, vendor).await?;
                false
            }
            Of::Now(_, now) => now.auth_username.is_some(),
        };
        // A change without a password keeps the old one.
        let (user, password) = (input.auth_username.is_some(), input.auth_password.is_some());
        if user != password && !(user && has_user) {
            return Err(Fault::field(
                "auth_password",
                "belongs_together",
                "user name and password belong together",
            ));
        }
        values(ctx, of.id(), input)
    }
}

fn values(ctx: &Ctx<'_>, id: VendorTrunkId, input: &VendorTrunkInput) -> Result<VendorTrunkValues, Fault> {
    let mut problems = Vec::new();
    twice(&input.addresses, "addresses", "this address is there twice", &mut problems);
    twice(&input.hosts, "hosts", "this name is there twice", &mut problems);
    if input.addresses.0.is_empty() && input.hosts.0.is_empty() {
        problems.push(Problem::new(
            "addresses",
            "belongs_together",
            "at least one address or name is needed",
        ));
    }
    twice(&input.signalling_ips, "signalling_ips", "this address is there twice", &mut problems);
    let headers = HeaderFields::asked(headers_of!(input), HeaderFields::usual(true), &mut problems);
    none_wrong(problems)?;
    let auth_secret = match &input.auth_password {
        Some(password) => SealedChange::Set(seal_password(ctx, id, password.0.clone())?),
        // A change without a password keeps the old one while there is a user.
        None if input.auth_username.is_some() => SealedChange::Keep,
        None => SealedChange::Forget,
    };
    Ok(VendorTrunkValues {
        name: input.name.0.clone(),
        status: input.status.unwrap_or(TrunkStatus::Active).as_str().to_owned(),
        transport: input.transport.unwrap_or(VendorTransport::Udp).as_str().to_owned(),
        hosts: input.hosts.0.iter().map(|h| h.0.clone()).collect(),
        addresses: input.addresses.0.iter().map(|a| a.0.to_string()).collect(),
        channels: input.channels.map(Int::as_i32),
        cps: input.cps.map(Int::as_i32),
        tech_prefix: input.tech_prefix.as_ref().map_or_else(String::new, |p| p.0.clone()),
        number_format: input.number_format.unwrap_or(NumberFormat::PlusE164).as_str().to_owned(),
        media_ips: input.media_ips.0.iter().map(|i| i.0.to_string()).collect(),
        signalling_ips: input.signalling_ips.0.iter().map(|i| i.0.to_string()).collect(),
        follow_redirects: input.follow_redirects.unwrap_or(false),
        allow_refer: input.allow_refer.unwrap_or(false),
        identity_trusted: headers.trusted,
        identity_form: headers.identity,
        caller_format: headers.caller,
        diversion_form: headers.diversion,
        reason_form: headers.reason,
        header_rules: headers.rules,
        codecs: headers.codecs,
        session_expires_s: headers.expires,
        session_min_s: headers.least,
        recording: headers.recording,
        priority: input.priority.map_or(0, Int::as_i32),
        weight: input.weight.map_or(1, Int::as_i32),
        auth_username: input.auth_username.as_ref().map(|t| t.0.clone()),
        auth_secret,
        auth_realm: input.auth_realm.as_ref().map(|t| t.0.clone()),
    })
}

/// Says which of a list stand there twice.
pub(super) fn twice<T: PartialEq, const MOST: usize>(
    list: &List<T, MOST>,
    field: &str,
    message: &'static str,
    problems: &mut Vec<Problem>,
) {
    for (i, one) in list.0.iter().enumerate() {
        if list.0.iter().take(i).any(|other| other == one) {
            problems.push(Problem::new(format!("{field}[{i}]"), "taken", message));
        }
    }
}

fn seal_password(ctx: &Ctx<'_>, id: VendorTrunkId, password: String) -> Result<Vec<u8>, Fault> {
    let password = Secret::new(password);
    let place = seal::password_place(&id.to_string());
    ctx.app.store.seal().seal(&place, password.reveal().as_bytes()).map_err(|e| {
        tracing::error!(error = %e, "a password cannot be sealed");
        Fault::internal()
    })
}
