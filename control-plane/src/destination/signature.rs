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

/// The code that confirms that mail may be sent to the URL of a webhook: 16 characters of the HMAC-SHA256 of the webhook and the URL, so
/// that another address has another code, and whoever reads our deliveries does not read it.
pub fn code(secret: &Secret<String>, webhook: &str, url: &str) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.reveal().as_bytes()) else {
        return String::new();
    };
    for part in ["confirm", ".", webhook, ".", url] {
        mac.update(part.as_bytes());
    }
    let bytes = mac.finalize().into_bytes();
    hex::encode(bytes.get(..8).unwrap_or_default())
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

    #[test]
    fn a_code_is_of_one_webhook_one_address_and_one_secret() {
        let of = |s: &str, webhook: &str, url: &str| code(&secret(s), webhook, url);
        let first = of("a", "whk_1", "mailto:a@b.example");
        assert!(first.len() == 16 && first.bytes().all(|b| b.is_ascii_hexdigit()), "{first}");
        assert_eq!(first, of("a", "whk_1", "mailto:a@b.example"));
        for other in [
            of("b", "whk_1", "mailto:a@b.example"),
            of("a", "whk_2", "mailto:a@b.example"),
            of("a", "whk_1", "mailto:c@b.example"),
        ] {
            assert_ne!(first, other);
        }
    }

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
