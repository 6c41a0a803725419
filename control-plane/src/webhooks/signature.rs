//! How a delivery is signed (PRODUCT §6): `Warp-Signature: t=SECONDS,v1=HEX`, the HMAC-SHA256 (RFC 2104) of `ID.SECONDS.BODY` with the
//! text of the secret as the key. While a secret rolls there are two `v1`, the new one first. Pure.

use hmac::{Hmac, Mac};
use sha2::Sha256;
use warp_model::{Secret, Wall, hex};

/// The value of `Warp-Signature`, with a `v1` for each secret.
pub fn header(id: &str, at: Wall, body: &[u8], secrets: &[Secret<String>]) -> String {
    let seconds = at.unix_ms().div_euclid(1_000);
    let mut out = format!("t={seconds}");
    for secret in secrets {
        out.push_str(",v1=");
        out.push_str(&hex::encode(&mac(id, seconds, body, secret)));
    }
    out
}

fn mac(id: &str, seconds: i64, body: &[u8], secret: &Secret<String>) -> Vec<u8> {
    let key = secret.reveal().as_bytes();
    // HMAC takes keys of every length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    mac.update(id.as_bytes());
    mac.update(b".");
    mac.update(seconds.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    /// The value was computed by Python's `hmac` and by OpenSSL.
    #[test]
    fn t_hook_02_a_signature_binds_id_time_and_body() {
        let at = Wall::from_unix_ms(1_700_000_000_999);
        let sign = |id: &str, at, body: &[u8], key: &str| header(id, at, body, &[secret(key)]);
        let good = sign("evt_1", at, b"{\"a\":1}", "whsec_test");
        assert_eq!(good, format!("t=1700000000,v1={KNOWN}"));
        for other in [
            sign("evt_2", at, b"{\"a\":1}", "whsec_test"),
            sign("evt_1", Wall::from_unix_ms(1_700_000_001_000), b"{\"a\":1}", "whsec_test"),
            sign("evt_1", at, b"{\"a\":2}", "whsec_test"),
            sign("evt_1", at, b"{\"a\":1}", "whsec_tesT"),
        ] {
            assert_ne!(other.split("v1=").nth(1), good.split("v1=").nth(1));
        }
        let both = header("evt_1", at, b"{\"a\":1}", &[secret("new"), secret("whsec_test")]);
        assert!(both.ends_with(&format!(",v1={KNOWN}")) && both.matches("v1=").count() == 2, "{both}");
    }

    const KNOWN: &str = "8b7abda022d1032b001d413b787d1d9c6dfbadba36ee2a7a91333569f777b61c";
}
