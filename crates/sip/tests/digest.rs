//! Digest against the examples of RFC 2617 §3.5 and RFC 7616 §3.9.1, both sides against each other, and the rules of T-SIP-08 and T-SIP-09.

use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;
use warp_model::{Mono, Wall};
use warp_sip::digest::{self, Algorithm, Challenge, Credentials, Ha1, NonceCounts, NonceIssuer, NonceState};
use warp_sip::header::Header;
use warp_sip::message::{Message, ResponseDraft};

const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

#[test]
fn rfc2617_3_5_and_rfc7616_3_9_1_examples() {
    #[allow(clippy::type_complexity)]
    let cases: [(&[u8], &[u8], &str, Algorithm, &str, &str); 3] = [
        (
            b"testrealm@host.com",
            b"Circle Of Life",
            "dcd98b7102dd2f0e8b11d0f600bfb0c093",
            Algorithm::Md5,
            "0a4f113b",
            "6629fae49393a05397450978507c4ef1",
        ),
        (
            b"http-auth@example.org",
            b"Circle of Life",
            "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
            Algorithm::Md5,
            "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
            "8ca523f5e9506fed4657c9700eebdbec",
        ),
        (
            b"http-auth@example.org",
            b"Circle of Life",
            "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
            Algorithm::Sha256,
            "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
        ),
    ];
    for (realm, password, nonce, algorithm, cnonce, response) in cases {
        let ha1 = Ha1::new(algorithm, b"Mufasa", realm, password);
        let text = format!(
            "Digest username=\"Mufasa\", realm=\"{}\",\r\n uri=\"/dir/index.html\", algorithm={}, nonce=\"{nonce}\", nc=00000001, cnonce=\"{cnonce}\", \
             qop=auth, response=\"{response}\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"",
            String::from_utf8_lossy(realm),
            algorithm.token()
        );
        let credentials = Credentials::parse(text.as_bytes()).unwrap();
        assert!(digest::verify(&credentials, b"GET", &ha1), "{text}");
        assert!(!digest::verify(&credentials, b"PUT", &ha1));
        assert_eq!(Ha1::from_hex(ha1.reveal()), Some(ha1.clone()));
        let challenge = Challenge {
            realm,
            nonce: nonce.as_bytes(),
            algorithm,
            qop_auth: true,
            opaque: None,
            stale: false,
        };
        let mut ours = Vec::new();
        digest::respond(
            &challenge,
            b"Mufasa",
            &ha1,
            b"GET",
            b"/dir/index.html",
            cnonce.as_bytes(),
            1,
            &mut ours,
        );
        assert_eq!(Credentials::parse(&ours).unwrap().response, response.as_bytes());
    }
}

#[test]
fn a_challenge_without_qop_is_answered_as_rfc2069() {
    // The example of RFC 2069 §2.4 with its erratum 749.
    let challenge = Challenge::parse(
        b"Digest realm=\"testrealm@host.com\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", opaque=\"5ccc\"",
    )
    .unwrap();
    assert!(!challenge.qop_auth);
    let ha1 = Ha1::new(Algorithm::Md5, b"Mufasa", b"testrealm@host.com", b"CircleOfLife");
    let mut out = Vec::new();
    digest::respond(&challenge, b"Mufasa", &ha1, b"GET", b"/dir/index.html", b"x", 1, &mut out);
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains("response=\"1949323746fe6a43ef61f9606e7febea\""), "{text}");
    assert!(text.ends_with("opaque=\"5ccc\"") && !text.contains("qop"), "{text}");
}

#[test]
fn t_sip_08_sha256_first_and_chosen_by_the_client() {
    let request = b"REGISTER sip:h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:a@h>\r\nCall-ID: 1\r\nCSeq: 1 REGISTER\r\n\r\n";
    let request = Message::parse(request).unwrap();
    let issuer = NonceIssuer::new([1; 32], None);
    let nonce = issuer.issue(Wall(0), 5, b"r", HOME);
    for order in [[Algorithm::Sha256, Algorithm::Md5], [Algorithm::Md5, Algorithm::Sha256]] {
        let lines = order.map(|a| {
            let mut line = Vec::new();
            digest::challenge(b"r", &nonce, a, true, &mut line);
            line
        });
        let mut out = Vec::new();
        ResponseDraft {
            headers: &[("WWW-Authenticate", &lines[0]), ("WWW-Authenticate", &lines[1])],
            ..ResponseDraft::new(401)
        }
        .write(&request, &mut out);
        let response = Message::parse(&out).unwrap();
        let (header, challenge) = digest::best_challenge(&response).unwrap();
        assert_eq!((header, challenge.algorithm), (Header::Authorization, Algorithm::Sha256));
        assert!(challenge.stale && challenge.qop_auth);
        assert_eq!(challenge.nonce, nonce);
    }
}

#[test]
fn t_sip_08_what_is_not_qop_auth_is_refused() {
    let good = "Digest username=\"u\", realm=\"r\", nonce=\"n\", uri=\"sip:h\", response=\"00\", cnonce=\"c\", nc=00000001, qop=auth";
    assert!(Credentials::parse(good.as_bytes()).is_ok());
    for (from, to) in [
        (", qop=auth", ""),
        ("qop=auth", "qop=auth-int"),
        ("Digest", "Basic"),
        ("nc=00000001", "nc=1"),
        ("nc=00000001", "nc=0000000g"),
        ("\"c\"", "\"\""),
        (", uri=\"sip:h\"", ""),
        ("qop=auth", "qop=auth, nonce=\"m\""),
        ("qop=auth", "qop=auth, algorithm=SHA-512"),
        ("qop=auth", "qop=auth x"),
        ("\"u\"", "\"u"),
        ("Digest ", "Digest"),
        ("realm=", "realm"),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good);
        assert!(Credentials::parse(bad.as_bytes()).is_err(), "{bad}");
    }
    let many = format!("{good}{}", ", a=b".repeat(60));
    assert!(Credentials::parse(many.as_bytes()).is_err());
}

#[test]
fn t_sip_08_wrong_algorithm_or_length_never_verifies() {
    let md5 = Ha1::new(Algorithm::Md5, b"u", b"r", b"p");
    let challenge = Challenge {
        realm: b"r",
        nonce: b"n",
        algorithm: Algorithm::Md5,
        qop_auth: true,
        opaque: None,
        stale: false,
    };
    let mut out = Vec::new();
    digest::respond(&challenge, b"u", &md5, b"INVITE", b"sip:h", b"c", 1, &mut out);
    let text = String::from_utf8(out).unwrap();
    let check = |text: &str, ha1: &Ha1| {
        Credentials::parse(text.as_bytes()).is_ok_and(|c| digest::verify(&c, b"INVITE", ha1))
    };
    assert!(check(&text, &md5));
    assert!(check(&text.replace("algorithm=MD5, ", ""), &md5));
    assert!(!check(&text.replace("algorithm=MD5", "algorithm=SHA-256"), &md5));
    assert!(!check(&text, &Ha1::new(Algorithm::Sha256, b"u", b"r", b"p")));
    assert!(!check(&text, &Ha1::decoy(Algorithm::Md5)));
    let at = text.find("response=\"").unwrap() + 10;
    let mut longer = text.clone();
    longer.insert(at + 32, '0');
    assert!(!check(&longer, &md5));
    let mut empty = text.clone();
    empty.replace_range(at..at + 32, "");
    assert!(!check(&empty, &md5));
    assert_eq!(format!("{md5:?}"), "Ha1(MD5)");
}

#[test]
fn t_sip_09_nonces_are_bound_to_time_realm_source_and_key() {
    let issuer = NonceIssuer::new([7; 32], None);
    let made = Wall::from_unix_ms(1_000_000);
    let nonce = issuer.issue(made, 42, b"r", HOME);
    let at = |ms: i64| Wall::from_unix_ms(1_000_000 + ms);
    assert!(matches!(issuer.check(&nonce, at(60_000), b"r", HOME), NonceState::Fresh(_)));
    assert_eq!(issuer.check(&nonce, at(60_001), b"r", HOME), NonceState::Stale);
    assert_eq!(issuer.check(&nonce, at(-60_001), b"r", HOME), NonceState::Stale);
    assert_eq!(issuer.check(&nonce, made, b"other", HOME), NonceState::Forged);
    assert_eq!(issuer.check(&nonce, made, b"r", [192, 0, 3, 7].into()), NonceState::Forged);
    assert!(matches!(issuer.check(&nonce, made, b"r", [192, 0, 2, 99].into()), NonceState::Fresh(_)));
    assert_eq!(issuer.check(&nonce[1..], made, b"r", HOME), NonceState::Forged);
    assert_eq!(issuer.check(b"", made, b"r", HOME), NonceState::Forged);
    let mut changed = nonce;
    changed[10] = if changed[10] == b'0' { b'1' } else { b'0' };
    assert_eq!(issuer.check(&changed, made, b"r", HOME), NonceState::Forged);
    let rotated = NonceIssuer::new([8; 32], Some([7; 32]));
    assert!(matches!(rotated.check(&nonce, made, b"r", HOME), NonceState::Fresh(_)));
    assert_eq!(NonceIssuer::new([8; 32], None).check(&nonce, made, b"r", HOME), NonceState::Forged);
}

#[test]
fn t_sip_09_counts_rise_and_memory_is_bounded() {
    let t = |s| Mono::default() + Duration::from_secs(s);
    let mut counts = NonceCounts::new(3, t(0));
    assert!(counts.accept(1, 1, t(0)));
    assert!(!counts.accept(1, 1, t(1)), "a replay");
    assert!(counts.accept(1, 2, t(1)));
    assert!(!counts.accept(1, 1, t(1)));
    assert!(!counts.accept(2, 0, t(1)));
    assert!(counts.accept(2, 9, t(1)) && counts.accept(3, 1, t(1)));
    assert!(!counts.accept(4, 1, t(1)), "full");
    assert!(!counts.accept(1, 2, t(119)) && !counts.accept(1, 2, t(121)), "remembered over the turn");
    assert!(counts.accept(1, 3, t(122)));
    assert!(counts.accept(4, 1, t(900)));
    assert_eq!(counts.len(), 1);
}

proptest! {
    /// What the client side writes the server side reads and accepts; another password it does not.
    #[test]
    fn both_sides_agree(user in "[a-z0-9@.+-]{1,20}", realm in "[a-z. ]{0,20}", password in "[ -~]{0,30}", nonce in "[a-zA-Z0-9/=+]{1,64}",
                        cnonce in "[a-z0-9]{1,32}", nc in 1..u32::MAX, sha in any::<bool>()) {
        let algorithm = if sha { Algorithm::Sha256 } else { Algorithm::Md5 };
        let mut line = Vec::new();
        digest::challenge(realm.as_bytes(), nonce.as_bytes(), algorithm, false, &mut line);
        let challenge = Challenge::parse(&line).unwrap();
        prop_assert_eq!(challenge.realm, realm.as_bytes());
        let ha1 = Ha1::new(algorithm, user.as_bytes(), realm.as_bytes(), password.as_bytes());
        let mut out = Vec::new();
        digest::respond(&challenge, user.as_bytes(), &ha1, b"INVITE", b"sip:a@b", cnonce.as_bytes(), nc, &mut out);
        let credentials = Credentials::parse(&out).unwrap();
        prop_assert_eq!(credentials.count(), nc);
        prop_assert!(digest::verify(&credentials, b"INVITE", &ha1));
        let other = Ha1::new(algorithm, user.as_bytes(), realm.as_bytes(), format!("{password}x").as_bytes());
        prop_assert!(!digest::verify(&credentials, b"INVITE", &other));
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "Digest [a-z=\", \\\\]{0,100}") {
        let _ = (Credentials::parse(&bytes), Challenge::parse(&bytes), Credentials::parse(text.as_bytes()), Challenge::parse(text.as_bytes()));
    }
}
