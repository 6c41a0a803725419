//! Addresses that mail is sent to (RFC 0032): the URL of a webhook that is `mailto:ADDRESS`. Pure.

/// Octets of an address (RFC 5321 §4.5.3.1.3, without the brackets).
pub const ADDRESS_BYTES: usize = 254;
/// Octets of what stands before the `@` (RFC 5321 §4.5.3.1.1).
const LOCAL_BYTES: usize = 64;
/// What the URL of a mail begins with.
pub const SCHEME: &str = "mailto:";
/// The published form of an address in a URL.
pub const FORM: &str = r"mailto:[A-Za-z0-9_+-]{1,12}(\.[A-Za-z0-9_+-]{1,12}){0,3}@([A-Za-z0-9]([A-Za-z0-9-]{0,12}[A-Za-z0-9])?\.){1,8}[A-Za-z]{2,24}";

/// One address that mail is sent to, such as `ops@example.com`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(String);

/// What is wrong with a text that is no address.
const NO_ADDRESS: &str = "must be mailto: and one address, such as mailto:ops@example.com";

impl Address {
    /// Of a URL `mailto:ADDRESS`. Names and hosts of letters, digits and `-_+.`: what needs quotes or escapes (RFC 6068 §2) is refused,
    /// and so are further addresses, subjects and every other header. Errors: in words.
    pub fn parse(url: &str) -> Result<Self, &'static str> {
        let scheme = url.get(..SCHEME.len()).filter(|s| s.eq_ignore_ascii_case(SCHEME)).ok_or(NO_ADDRESS)?;
        let text = url.get(scheme.len()..).unwrap_or_default();
        let (local, host) = text.rsplit_once('@').ok_or(NO_ADDRESS)?;
        let atom =
            |a: &str| !a.is_empty() && a.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_+".contains(&b));
        let label = |l: &str| {
            (1..=63).contains(&l.len())
                && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !l.starts_with('-')
                && !l.ends_with('-')
        };
        let top = host.rsplit('.').next().unwrap_or_default();
        let whole = text.len() <= ADDRESS_BYTES && local.len() <= LOCAL_BYTES && host.contains('.');
        let fits = whole
            && local.split('.').all(atom)
            && host.split('.').all(label)
            && top.len() >= 2
            && top.bytes().all(|b| b.is_ascii_alphabetic());
        if fits { Ok(Self(text.to_owned())) } else { Err(NO_ADDRESS) }
    }

    /// The address without the scheme.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
